"""The codes that the bank's generator issued."""

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from amk_sandbox.faults import policy_of_payer
from amk_sandbox.khqr_writer import CodeContents, Merchant, write_khqr
from amk_sandbox.moments import stored
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from chassis.money import Currency, Money

LIFETIME = timedelta(minutes=30)
_WRONG_CRC = {"0": "1"}  # the last digit, turned into another


class CodeState(Enum):
    """How a code stands; one that is paid can be paid again."""

    LIVE = "LIVE"
    PAID = "PAID"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, kw_only=True)
class Code:
    """A code as issued; `policy_number` is the fault's policy that its payer named, if any.

    `shown_for` is the number that the customer's app asked the insurer for: the phone knows
    it, the bank does not.
    """

    id: int
    bill_id: int
    amount: Money
    payload: str
    md5: str
    policy_number: str | None
    created_at: str
    expires_at: str
    times_paid: int
    shown_for: str | None

    def state(self, *, now: datetime) -> CodeState:
        """Return how the code stands at `now`."""
        if self.times_paid:
            return CodeState.PAID
        return CodeState.EXPIRED if self.expires_at <= stored(moment=now) else CodeState.LIVE


class Codes:
    """The codes of the bank."""

    def __init__(self, *, store: Store, merchant: Merchant, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock
        self.merchant = merchant

    def now(self) -> datetime:
        """Return the moment by which codes expire."""
        return self._clock()

    def issue(self, *, bill_id: int, payer: str, amount: Money, is_crc_wrong: bool) -> Code:
        """Return a new code of `amount` for the bill, good for half an hour.

        :raises ValueError: the amount is longer than a code can say.
        """
        now = self._clock()
        payload = write_khqr(
            contents=CodeContents(
                merchant=self.merchant,
                amount=amount,
                bill_number=str(bill_id),
                created_at=now,
                expires_at=now + LIFETIME,
            )
        )
        if is_crc_wrong:
            payload = payload[:-1] + _WRONG_CRC.get(payload[-1], "0")
        # Bakong's key of a code is the MD5 of its text; nothing is kept secret by it.
        md5 = hashlib.md5(payload.encode(), usedforsecurity=False).hexdigest()
        with self._store.transaction():
            self._know(bill_id, payer, amount, now)
            self._store.run(
                "INSERT INTO codes (bill_id, hundredths, currency, payload, md5, policy_number,"
                " created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                *(bill_id, amount.hundredths, amount.currency.name, payload, md5),
                *(policy_of_payer(payer=payer), stored(moment=now), stored(moment=now + LIFETIME)),
            )
            found = self.scanned(payload=payload)
        if found is None:
            raise AssertionError("a code that was just issued is there")
        return found

    def of_bill(self, *, bill_id: int, code_id: int | None = None) -> Code:
        """Return the bill's code with this id; without one, its latest.

        :raises Refusal: it has none.
        """
        row = self._store.row(
            "SELECT * FROM codes WHERE bill_id = ?1 AND id = COALESCE(?2, id)"
            " ORDER BY id DESC LIMIT 1",
            *(bill_id, code_id),
        )
        if row is None:
            raise Refusal(status=404, code="UNKNOWN_CODE", message="Show a code for it first")
        return _code(row)

    def scanned(self, *, payload: str) -> Code | None:
        """Return the issued code with this text, if there is one."""
        row = self._store.row("SELECT * FROM codes WHERE payload = ?", payload)
        return _code(row) if row else None

    def latest(self, *, most: int) -> list[Code]:
        """Return the latest codes, newest first, `most` of them at most."""
        return [
            _code(row)
            for row in self._store.rows("SELECT * FROM codes ORDER BY id DESC LIMIT ?", most)
        ]

    def count_payment(self, *, code: Code) -> None:
        """Note that the code was paid once more."""
        self._store.run("UPDATE codes SET times_paid = times_paid + 1 WHERE id = ?", code.id)

    def keep_shown(self, *, code: Code, image: bytes, query: str) -> Code:
        """Return the code, with the image that the insurer showed of it for `query` kept."""
        self._store.run(
            "UPDATE codes SET shown_image = ?, shown_for = ? WHERE id = ?", image, query, code.id
        )
        return self.of_bill(bill_id=code.bill_id, code_id=code.id)

    def shown_image(self, *, code: Code) -> bytes | None:
        """Return the image that the insurer showed of the code, if it did."""
        row = self._store.row("SELECT shown_image FROM codes WHERE id = ?", code.id)
        return row["shown_image"] if row else None

    def is_bill_paid(self, *, code: Code) -> bool:
        """Return whether the code's bill has a transfer, by this code or otherwise."""
        row = self._store.row(
            "SELECT 1 FROM transfers WHERE bill_id = ? AND state <> 'REVERSED'", code.bill_id
        )
        return row is not None

    def policy_of(self, *, bill_id: int) -> str | None:
        """Return the policy of the bill, as far as the bank knows it."""
        row = self._store.row(
            "SELECT policy_number FROM (SELECT policy_number, 1 AS place FROM bills WHERE id = ?1"
            " UNION ALL SELECT policy_number, 2 FROM codes WHERE bill_id = ?1)"
            " WHERE policy_number <> '' ORDER BY place LIMIT 1",
            bill_id,
        )
        return row["policy_number"] if row else None

    def _know(self, bill_id: int, payer: str, amount: Money, now: datetime) -> None:
        # A code tells neither policy nor due date; a look-up in the bank's app fills them in.
        self._store.run(
            "INSERT INTO bills VALUES (?, '', '', ?, ?, ?, '', ?) ON CONFLICT DO NOTHING",
            *(bill_id, payer, amount.hundredths, amount.currency.name, stored(moment=now)),
        )


def _code(row: sqlite3.Row) -> Code:
    return Code(
        id=row["id"],
        bill_id=row["bill_id"],
        amount=Money(hundredths=row["hundredths"], currency=Currency(row["currency"])),
        payload=row["payload"],
        md5=row["md5"],
        policy_number=row["policy_number"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        times_paid=row["times_paid"],
        shown_for=row["shown_for"],
    )
