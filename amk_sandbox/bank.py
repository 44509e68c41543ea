"""The bank: its app looks a bill up and pays it, its back office tells the insurer.

A transfer is booked, then told to the insurer; what was sent is kept byte for byte with
every answer. Only an explicit yes confirms it. 409 makes the bank reverse it; 429, 5xx
and silence are sent again on a short schedule; any other answer waits for an operator.
"""

import json
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec

from amk_sandbox.bills import Bill, read_bill, refused_look_up
from amk_sandbox.books import Books
from amk_sandbox.insurer import TIMEOUT_S, Answer, Insurer
from amk_sandbox.moments import paid_date, stored
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from amk_sandbox.transfers import Channel, SentBy, Transfer, Transfers, TransferState
from chassis.money import Currency, Money

# After a first try that failed the bank tries five times more, then leaves it to a person.
RESEND_PAUSES_S = (2, 5, 15, 60, 300)
_OK = 200
_CONFLICT = 409
_TOO_MANY = 429
_SERVER_ERRORS = range(500, 600)

_write_json = msgspec.json.Encoder(decimal_format="number").encode


class Bank:
    """The bank's app and back office."""

    def __init__(
        self,
        *,
        store: Store,
        books: Books,
        transfers: Transfers,
        insurer: Insurer,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._books = books
        self._transfers = transfers
        self._insurer = insurer
        self._clock = clock

    async def look_up(self, *, query: str) -> Bill:
        """Return the bill that the insurer says can be paid for `query`.

        :raises Refusal: the insurer knows none, cannot be reached, or answers unreadably.
        """
        answer = await self._insurer.look_up(query=query)
        if answer.status != _OK:
            raise refused_look_up(answer=answer)
        bill = read_bill(query=query, answer=answer)
        self._store.run(
            "INSERT INTO bills VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " query = excluded.query, policy_number = excluded.policy_number,"
            " payer = excluded.payer, hundredths = excluded.hundredths,"
            " currency = excluded.currency, due_on = excluded.due_on,"
            " looked_up_at = excluded.looked_up_at",
            *(bill.id, query, bill.policy_number, bill.payer, bill.amount.hundredths),
            *(bill.amount.currency.name, bill.due_on.isoformat(), self._now()),
        )
        return bill

    async def pay(self, *, bill_id: int, again: bool) -> Transfer:
        """Return the transfer that pays the bill, after its webhook was answered or not.

        `again` pays a bill that already has a transfer, as a customer in a hurry does.

        :raises Refusal: unknown bill; already paid; not enough money.
        """
        row = self._store.row("SELECT * FROM bills WHERE id = ?", bill_id)
        if row is None or not row["policy_number"]:  # a code alone does not tell the policy
            raise Refusal(status=404, code="UNKNOWN_BILL", message="Look the bill up first")
        with self._store.transaction():
            if not again:
                self._transfers.refuse_paid(bill_id=bill_id)
            number = self._book(row)
        return await self._send(number, by=SentBy.BANK)

    async def resend(self, *, bank_transaction_id: str) -> Transfer:
        """Return the transfer after its webhook was sent once more, byte for byte.

        :raises Refusal: no such transfer.
        """
        self._transfers.find(bank_transaction_id=bank_transaction_id)
        return await self._send(bank_transaction_id, by=SentBy.OPERATOR)

    def reverse(self, *, bank_transaction_id: str) -> Transfer:
        """Return the transfer after its money went back, for one that the insurer refused.

        :raises Refusal: no such transfer; or it is not one that waits for a person.
        """
        transfer = self._transfers.find(bank_transaction_id=bank_transaction_id)
        gave_up = transfer.state is TransferState.PENDING and transfer.next_send_at is None
        # KHQR money is settled already: the bank cannot take it back from the insurer.
        is_settled = transfer.channel is Channel.KHQR
        if is_settled or (not gave_up and transfer.state is not TransferState.REFUSED):
            raise Refusal(
                status=409,
                code="NOT_REVERSIBLE",
                message=f"The transfer is {transfer.state.value}: nothing to reverse by hand",
            )
        with self._store.transaction():
            self._move_on(transfer, TransferState.REVERSED)
        return self._transfers.find(bank_transaction_id=bank_transaction_id)

    async def run_once(self) -> int:
        """Return how many webhooks were sent again because their time had come."""
        waiting = self._store.rows(
            "SELECT bank_transaction_id FROM transfers"
            " WHERE state = 'PENDING' AND next_send_at <= ? ORDER BY next_send_at",
            self._now(),
        )
        for row in waiting:
            await self._send(row["bank_transaction_id"], by=SentBy.SCHEDULE)
        return len(waiting)

    def _book(self, bill: sqlite3.Row) -> str:
        """Move the money and write the webhook; return the transfer's number."""
        paid_at = self._clock()
        amount = Money(hundredths=bill["hundredths"], currency=Currency(bill["currency"]))
        number = self._transfers.book(
            bill_id=bill["id"],
            channel=Channel.BILL,
            amount=amount,
            paid_at=paid_at,
            body=lambda number: _webhook_body(bill, amount, number, paid_at),
        )
        # Should the process end before the first try, the schedule does it.
        self._plan(number, attempts=0, answer_in_s=TIMEOUT_S)
        return number

    async def _send(self, number: str, *, by: SentBy) -> Transfer:
        transfer = self._transfers.find(bank_transaction_id=number)
        # Planned before it is sent: nobody sends it a second time meanwhile.
        self._plan(number, attempts=transfer.attempts + 1, answer_in_s=TIMEOUT_S)
        sent_at = self._now()
        answer = await self._insurer.tell_paid(body=transfer.body)
        with self._store.transaction():
            self._store.run(
                "INSERT INTO sendings"
                " (bank_transaction_id, sent_at, sent_by, status, answer, elapsed_ms)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                *(number, sent_at, by.value, answer.status, answer.text, answer.elapsed_ms),
            )
            now = self._transfers.find(bank_transaction_id=number)
            if now.state in (TransferState.PENDING, TransferState.REFUSED):
                self._move_on(now, state_after(answer=answer))
        return self._transfers.find(bank_transaction_id=number)

    def _move_on(self, transfer: Transfer, state: TransferState) -> None:
        number = transfer.bank_transaction_id
        self._store.run(
            "UPDATE transfers SET state = ? WHERE bank_transaction_id = ?", state.value, number
        )
        if state is TransferState.REVERSED:
            self._books.reverse(bank_transaction_id=number, amount=transfer.amount)
        if state is TransferState.PENDING:
            self._plan(number, attempts=transfer.attempts, answer_in_s=0)
        else:
            self._store.run(
                "UPDATE transfers SET next_send_at = NULL WHERE bank_transaction_id = ?", number
            )

    def _plan(self, number: str, *, attempts: int, answer_in_s: int) -> None:
        """Note the try and when the next one is due: never, after the last pause."""
        next_send_at = None
        if attempts <= len(RESEND_PAUSES_S):
            pause_s = RESEND_PAUSES_S[max(attempts, 1) - 1] + answer_in_s
            next_send_at = stored(moment=self._clock() + timedelta(seconds=pause_s))
        self._store.run(
            "UPDATE transfers SET attempts = ?, next_send_at = ? WHERE bank_transaction_id = ?",
            *(attempts, next_send_at, number),
        )

    def _now(self) -> str:
        return stored(moment=self._clock())


def state_after(*, answer: Answer) -> TransferState:
    """Return what the insurer's `answer` makes of a transfer; only an explicit yes is a yes."""
    if answer.status == _CONFLICT:
        return TransferState.REVERSED
    if answer.status is None or answer.status == _TOO_MANY or answer.status in _SERVER_ERRORS:
        return TransferState.PENDING
    if answer.status == _OK:
        try:
            document = json.loads(answer.text)
        except ValueError:
            document = None
        said_yes = isinstance(document, dict) and document.get("success") is True
        return TransferState.CONFIRMED if said_yes else TransferState.PENDING
    return TransferState.REFUSED


def _webhook_body(bill: sqlite3.Row, amount: Money, number: str, paid_at: datetime) -> bytes:
    # Members in the order of the specification's example ("2. Payment Confirmation").
    return _write_json(
        {
            "id": bill["id"],
            "policyNumber": bill["policy_number"],
            "amount": Decimal(str(amount)),
            "currency": amount.currency.name,
            "bankTransactionId": number,
            "payer": bill["payer"],
            "paidDate": paid_date(moment=paid_at),
        }
    )
