"""Transfers of both channels: money that a customer moved to the insurer."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from amk_sandbox.books import Books
from amk_sandbox.moments import PHNOM_PENH, stored
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from chassis.money import Currency, Money


class Channel(Enum):
    """How the customer paid."""

    BILL = "BILL"  # a bill, in the bank's app
    KHQR = "KHQR"  # a code, scanned


class TransferState(Enum):
    """How a transfer stands between the bank and the insurer."""

    PENDING = "PENDING"  # booked; the insurer has not given a final answer
    CONFIRMED = "CONFIRMED"  # the insurer said yes
    REVERSED = "REVERSED"  # the money went back to the customer
    REFUSED = "REFUSED"  # the insurer said no for a reason that a person must look at


class SentBy(Enum):
    """Who had the webhook sent."""

    BANK = "BANK"  # the payment itself
    SCHEDULE = "SCHEDULE"  # again, by itself
    OPERATOR = "OPERATOR"  # again, on demand


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A movement of money for a bill, and where its webhook stands."""

    bank_transaction_id: str
    bill_id: int
    amount: Money
    paid_at: str
    state: TransferState
    body: bytes
    attempts: int
    next_send_at: str | None  # of a bill's webhook; a code's are notices
    channel: Channel


class Transfers:
    """The transfers of the bank."""

    def __init__(self, *, store: Store, books: Books) -> None:
        self._store = store
        self._books = books

    def book(
        self,
        *,
        bill_id: int,
        channel: Channel,
        amount: Money,
        paid_at: datetime,
        body: Callable[[str], bytes],
    ) -> str:
        """Return the number of a new transfer whose money has moved; `body` writes its webhook.

        :raises Refusal: the customer does not have the money; then nothing is kept.
        """
        with self._store.transaction():
            number = self._next_number(paid_at)
            self._store.run(
                "INSERT INTO transfers (bank_transaction_id, bill_id, hundredths, currency,"
                " paid_at, state, body, channel) VALUES (?, ?, ?, ?, ?, 'PENDING', ?, ?)",
                *(number, bill_id, amount.hundredths, amount.currency.name),
                *(stored(moment=paid_at), body(number), channel.value),
            )
            self._books.transfer(bank_transaction_id=number, amount=amount)
            return number

    def find(self, *, bank_transaction_id: str) -> Transfer:
        """Return the transfer with this number.

        :raises Refusal: there is none.
        """
        row = self._store.row(
            "SELECT * FROM transfers WHERE bank_transaction_id = ?", bank_transaction_id
        )
        if row is None:
            raise Refusal(status=404, code="UNKNOWN_TRANSFER", message="No such transfer")
        return _transfer(row)

    def latest(self, *, most: int) -> list[Transfer]:
        """Return the latest transfers, newest first, `most` of them at most."""
        rows = self._store.rows("SELECT * FROM transfers ORDER BY rowid DESC LIMIT ?", most)
        return [_transfer(row) for row in rows]

    def latest_of(self, *, bill_id: int) -> Transfer | None:
        """Return the bill's latest transfer whose money stayed, else the latest, if any."""
        row = self._store.row(
            "SELECT * FROM transfers WHERE bill_id = ?"
            " ORDER BY state = 'REVERSED', rowid DESC LIMIT 1",
            bill_id,
        )
        return _transfer(row) if row else None

    def refuse_paid(self, *, bill_id: int) -> None:
        """Return if no money was moved for the bill, or it all went back.

        :raises Refusal: the bill is paid.
        """
        latest = self.latest_of(bill_id=bill_id)
        if latest and latest.state is not TransferState.REVERSED:
            raise Refusal(
                status=409, code="ALREADY_PAID", message="This bill has a transfer already"
            )

    def _next_number(self, paid_at: datetime) -> str:
        """Return the day's next transfer number, such as AMK202510070001."""
        prefix = f"AMK{paid_at.astimezone(PHNOM_PENH):%Y%m%d}"
        row = self._store.row(
            "SELECT COALESCE(MAX(CAST(substr(bank_transaction_id, ?) AS INTEGER)), 0) AS last"
            " FROM transfers WHERE bank_transaction_id LIKE ?",
            *(len(prefix) + 1, f"{prefix}%"),
        )
        return f"{prefix}{(row['last'] if row else 0) + 1:04d}"


def _transfer(row: sqlite3.Row) -> Transfer:
    return Transfer(
        bank_transaction_id=row["bank_transaction_id"],
        bill_id=row["bill_id"],
        amount=Money(hundredths=row["hundredths"], currency=Currency(row["currency"])),
        paid_at=row["paid_at"],
        state=TransferState(row["state"]),
        body=row["body"],
        attempts=row["attempts"],
        next_send_at=row["next_send_at"],
        channel=Channel(row["channel"]),
    )
