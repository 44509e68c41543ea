"""KHQR confirmations over a database, the bank a script: answers in turn, the last one stays."""

import asyncio
import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chassis.admission import Bounds
from chassis.database import Database
from chassis.money import Currency, Money
from gateway_svc.banks.port import Bank
from gateway_svc.completer import Completer, PollPlan
from gateway_svc.events import EventWriter
from gateway_svc.khqr_codes import KhqrCodes
from gateway_svc.khqr_confirmation import KhqrConfirmation, KhqrOutcome
from gateway_svc.khqr_questions import QUESTIONS_AT_ONCE
from gateway_svc.verification import (
    Finding,
    KhqrNotice,
    MerchantAccount,
    Unanswered,
    Verification,
)
from tests.support.ledger import Ledger

PAID_AT = datetime(2025, 10, 7, 5, 0, 0, 123456, tzinfo=UTC)
ACCOUNT = MerchantAccount(
    merchant_id="900000000290002", store_id="800000000270001", terminal_id="70000002"
)
DOWN = Unanswered(reason="SERVER_UNAVAILABLE", message="later")
UNREADABLE = Unanswered(reason="AMK_UNKNOWN_ERROR", message="what?")


def usd(hundredths: int) -> Money:
    """Return dollars by their cents."""
    return Money(hundredths=hundredths, currency=Currency.USD)


def paid(
    *,
    money: Money | None = None,
    transaction_id: str | None = "BANK1",
    foreign: str = "",
    paid_at: datetime | None = PAID_AT,
) -> Verification:
    """Return the answer that says paid."""
    content = f"{money}{transaction_id}{foreign}{paid_at}"
    return Verification(
        paid=True,
        money=money or usd(15000),
        transaction_id=transaction_id,
        paid_at=paid_at,
        foreign=foreign,
        asked_at=PAID_AT,
        answer_digest=hashlib.sha256(content.encode()).hexdigest(),
    )


NOT_PAID = replace(paid(), paid=False, money=None, transaction_id=None, answer_digest="unpaid")


class ScriptedBank:
    """A verifier that answers as told and counts how often, and how many at once, it is asked."""

    def __init__(self, *answers: Finding) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0
        self.gate: asyncio.Event | None = None
        self.was_asked = asyncio.Event()

    async def verify(self, *, bill_id: int, ends_at_s: float) -> Finding:
        """Return the next answer."""
        assert bill_id
        self.asked += 1
        self.was_asked.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.gate is not None:
                async with asyncio.timeout(max(0.0, ends_at_s - time.monotonic())):
                    await self.gate.wait()
            await asyncio.sleep(0)
        except TimeoutError:
            return DOWN
        finally:
            self.at_once -= 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class KhqrLedger(Ledger):
    """The bill ledger, and KHQR beside it."""

    def __init__(
        self, *, database: Database, bank: ScriptedBank, bounds: Bounds | None = None
    ) -> None:
        self.now = datetime(2025, 10, 7, 5, 0, tzinfo=UTC)
        super().__init__(database=database, clock=lambda: self.now)
        ids = itertools.count(1)
        self.bank = bank
        events = EventWriter(prefix="test", new_id=lambda: f"khqr-{id(self)}-{next(ids)}")
        self.khqr = KhqrConfirmation(
            database=database,
            banks={
                "AMK": Bank(
                    code="AMK",
                    currencies=frozenset(Currency),
                    account=ACCOUNT,
                    verifier=bank,
                )
            },
            events=events,
            clock=self.clock,
            new_id=lambda: f"owner-{id(self)}",
            pause_after=lambda asked: timedelta(seconds=5 * 2**asked),
            committed=self._nudge,
            bounds=bounds or QUESTIONS_AT_ONCE,
        )
        self.plan = PollPlan()
        self.codes = KhqrCodes(
            database=database,
            events=events,
            clock=self.clock,
            plan=self.plan,
            committed=self._nudge,
        )
        self.completer = Completer(
            database=database, questions=self.khqr.questions, clock=self.clock, plan=self.plan
        )

    def start(self) -> None:
        """Start the writers."""
        super().start()
        self.khqr.bookings.start()
        self.khqr.questions.start()

    async def stop(self) -> None:
        """Stop the writers."""
        await super().stop()
        await self.khqr.bookings.stop()
        await self.khqr.questions.close()

    async def tell(self, notice: KhqrNotice, *, within_s: float = 5) -> KhqrOutcome:
        """Return the answer to a webhook."""
        return await self.khqr.confirm(notice=notice, ends_at_s=time.monotonic() + within_s)

    async def topics(self) -> Sequence[str]:
        """Return the short names of the events written, in their order."""
        rows = await self.rows("SELECT topic FROM outbox ORDER BY id")
        return [topic.rpartition(".")[2] for (topic,) in rows]


def told(bill_id: int = 150001, **changes: Any) -> KhqrNotice:
    """Return the notice that fits the bill of 150.00, but for `changes`."""
    return replace(
        KhqrNotice(
            bank_code="AMK",
            bill_id=bill_id,
            merchant_number=ACCOUNT.merchant_id,
            status="SUCCESS",
            money=usd(15000),
            paid_at=PAID_AT,
            received_at=PAID_AT,
            body_digest="0" * 64,
            subject="amk",
            request_id="request-1",
        ),
        **changes,
    )
