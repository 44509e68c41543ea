"""KHQR webhooks: what the bank tells the insurer of codes that were paid.

Each is kept byte for byte with every answer, and sent again after 429, 5xx and silence on
the schedule of the bill webhooks. The money is settled already, so nothing is reversed:
a refusal waits for a person.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

import msgspec

from amk_sandbox.bank import RESEND_PAUSES_S, state_after
from amk_sandbox.insurer import TIMEOUT_S, Answer, Insurer
from amk_sandbox.moments import paid_datetime, stored
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from amk_sandbox.transfers import SentBy, TransferState
from chassis.money import Money

_write_json = msgspec.json.Encoder(decimal_format="number").encode


class NoticeState(Enum):
    """How a notice stands."""

    PENDING = "PENDING"  # not answered finally
    CONFIRMED = "CONFIRMED"  # the insurer took it
    REFUSED = "REFUSED"  # the insurer said no; a person must look at it
    WITHHELD = "WITHHELD"  # never sent by itself


@dataclass(frozen=True, kw_only=True)
class Notice:
    """A KHQR webhook and where it stands."""

    id: int
    bill_id: int
    bank_transaction_id: str | None  # None: no money moved
    body: bytes
    claims_success: bool
    forged: bool
    copies: int
    fault: str | None
    state: NoticeState
    attempts: int
    next_send_at: str | None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a notice says."""

    bill_id: int
    merchant_id: str
    amount: Money
    paid_at: datetime
    status: str = "SUCCESS"

    def body(self) -> bytes:
        """Return the webhook, member for member as in the specification's example."""
        return _write_json(
            {
                "invoice_number": str(self.bill_id),
                "status": self.status,
                "merchant_number": self.merchant_id,
                "paid_amount": Decimal(str(self.amount)),
                "currency": self.amount.currency.name,
                "paid_datetime": paid_datetime(moment=self.paid_at),
            }
        )


class Notices:
    """The KHQR webhooks of the bank."""

    def __init__(self, *, store: Store, insurer: Insurer, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._insurer = insurer
        self._clock = clock

    def write(
        self,
        *,
        claim: Claim,
        bank_transaction_id: str | None,
        fault: str | None,
        forged: bool = False,
        copies: int = 1,
        after_s: int | None = TIMEOUT_S,
    ) -> int:
        """Return the number of a new notice, not yet sent.

        The schedule sends it in `after_s` seconds unless it was sent before; None: never.
        """
        state = NoticeState.WITHHELD if after_s is None else NoticeState.PENDING
        row = self._store.row(
            "INSERT INTO notices (bill_id, bank_transaction_id, body, claims_success, forged,"
            " copies, fault, state, next_send_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            *(claim.bill_id, bank_transaction_id, claim.body(), int(claim.status == "SUCCESS")),
            *(int(forged), copies, fault, state.value),
            None if after_s is None else self._after(after_s),
        )
        return int(row["id"]) if row else 0

    async def send(self, *, number: int, by: SentBy) -> Notice:
        """Return the notice after it was sent: the first time in all its copies.

        :raises Refusal: there is none.
        """
        notice = self.find(number=number)
        # Planned before it is sent: nobody sends it a second time meanwhile.
        self._plan(number, attempts=notice.attempts + 1, answer_in_s=TIMEOUT_S)
        sent_at = self._now()
        copies = 1 if notice.attempts else notice.copies
        answers = await asyncio.gather(
            *(
                self._insurer.tell_scanned(body=notice.body, forged=notice.forged)
                for _ in range(copies)
            )
        )
        with self._store.transaction():
            for answer in answers:
                self._store.run(
                    "INSERT INTO notice_sendings (notice_id, sent_at, sent_by, status, answer,"
                    " elapsed_ms) VALUES (?, ?, ?, ?, ?, ?)",
                    *(number, sent_at, by.value, answer.status, answer.text, answer.elapsed_ms),
                )
            now = self.find(number=number)
            if now.state is not NoticeState.CONFIRMED:
                self._move_on(now, notice_state(answers=answers))
        return self.find(number=number)

    async def run_once(self) -> int:
        """Return how many notices were sent because their time had come."""
        waiting = self._store.rows(
            "SELECT id FROM notices WHERE state = 'PENDING' AND next_send_at <= ?"
            " ORDER BY next_send_at, id",
            self._now(),
        )
        for row in waiting:
            await self.send(number=row["id"], by=SentBy.SCHEDULE)
        return len(waiting)

    def find(self, *, number: int) -> Notice:
        """Return the notice with this number.

        :raises Refusal: there is none.
        """
        row = self._store.row("SELECT * FROM notices WHERE id = ?", number)
        if row is None:
            raise Refusal(status=404, code="UNKNOWN_NOTICE", message="No such webhook")
        return _notice(row)

    def latest(self, *, most: int) -> list[Notice]:
        """Return the latest notices, newest first, `most` of them at most."""
        rows = self._store.rows("SELECT * FROM notices ORDER BY id DESC LIMIT ?", most)
        return [_notice(row) for row in rows]

    def latest_of(self, *, bank_transaction_id: str) -> Notice:
        """Return the latest notice of the transfer.

        :raises Refusal: there is none.
        """
        row = self._store.row(
            "SELECT * FROM notices WHERE bank_transaction_id = ? ORDER BY id DESC LIMIT 1",
            bank_transaction_id,
        )
        if row is None:
            raise Refusal(status=404, code="UNKNOWN_NOTICE", message="It has no webhook")
        return _notice(row)

    def _move_on(self, notice: Notice, state: NoticeState) -> None:
        self._store.run("UPDATE notices SET state = ? WHERE id = ?", state.value, notice.id)
        if state is NoticeState.PENDING:
            self._plan(notice.id, attempts=notice.attempts, answer_in_s=0)
        else:
            self._store.run("UPDATE notices SET next_send_at = NULL WHERE id = ?", notice.id)
        if notice.claims_success and notice.bank_transaction_id is not None:
            # A yes stays, whatever is answered to a further notice.
            self._store.run(
                "UPDATE transfers SET state = ?, attempts = ?"
                " WHERE bank_transaction_id = ? AND state <> 'CONFIRMED'",
                *(state.value, notice.attempts, notice.bank_transaction_id),
            )

    def _plan(self, number: int, *, attempts: int, answer_in_s: int) -> None:
        """Note the try and when the next one is due: never, after the last pause."""
        next_send_at = None
        if attempts <= len(RESEND_PAUSES_S):
            next_send_at = self._after(RESEND_PAUSES_S[max(attempts, 1) - 1] + answer_in_s)
        self._store.run(
            "UPDATE notices SET attempts = ?, next_send_at = ? WHERE id = ?",
            *(attempts, next_send_at, number),
        )

    def _after(self, seconds: int) -> str:
        return stored(moment=self._clock() + timedelta(seconds=seconds))

    def _now(self) -> str:
        return stored(moment=self._clock())


def notice_state(*, answers: list[Answer]) -> NoticeState:
    """Return what the insurer's answers make of a notice: one yes is enough."""
    states = {state_after(answer=answer) for answer in answers}
    for one, state in (
        (TransferState.CONFIRMED, NoticeState.CONFIRMED),
        (TransferState.PENDING, NoticeState.PENDING),
    ):
        if one in states:
            return state
    return NoticeState.REFUSED


def _notice(row: sqlite3.Row) -> Notice:
    return Notice(
        id=row["id"],
        bill_id=row["bill_id"],
        bank_transaction_id=row["bank_transaction_id"],
        body=row["body"],
        claims_success=bool(row["claims_success"]),
        forged=bool(row["forged"]),
        copies=row["copies"],
        fault=row["fault"],
        state=NoticeState(row["state"]),
        attempts=row["attempts"],
        next_send_at=row["next_send_at"],
    )
