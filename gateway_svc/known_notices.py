"""What is known of the natural keys of a batch: notices on disk, and numbers that are taken."""

from functools import lru_cache
from typing import Any

from sqlalchemy import cast, null, select, union_all

from chassis.sets import with_rows
from gateway_svc.law import Book
from gateway_svc.payment import Channel
from gateway_svc.rows import known_notice_from
from gateway_svc.tables import notices, payments

KNOWN = (
    *("bank_code", "natural_key", "bill_id", "policy_number"),
    *("amount_hundredths", "currency", "answer"),
)


@lru_cache
def known_among(dialect: str) -> Any:
    """Return the statement for notices of the bill channel, and payments of the other one.

    It is about the natural keys given as `keys`; a payment has no answer.
    """
    noticed = with_rows(
        wanted=select(*(notices.c[name] for name in KNOWN)).where(
            notices.c.channel == Channel.BILL
        ),
        columns=(notices.c.bank_code, notices.c.natural_key),
        name="keys",
        dialect=dialect,
    )
    taken = with_rows(
        wanted=select(
            payments.c.bank_code,
            payments.c.transaction_id,
            *(cast(null(), notices.c[name].type).label(name) for name in KNOWN[2:]),
        ).where(payments.c.channel == Channel.KHQR),
        columns=(payments.c.bank_code, payments.c.transaction_id),
        name="keys",
        dialect=dialect,
    )
    return union_all(noticed, taken)


def remember(*, book: Book, row: Any) -> None:
    """Keep in `book` what `row`, with the columns of `KNOWN`, says of its natural key."""
    key = (row.bank_code, row.natural_key)
    if row.answer is None:
        book.taken.add(key)
    else:
        book.known.setdefault(key, []).append(known_notice_from(row))
