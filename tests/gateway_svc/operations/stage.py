"""OperationsService over a database, without wire: what payments leave, and what operators do."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import event

from chassis.auth import Caller
from chassis.call_log import CallLog
from chassis.database import Database
from chassis.money import Currency
from chassis.process_report import ProcessReport
from chassis.rpc import Call, call_being_served
from gateway_svc.code_store import Code
from gateway_svc.events import EventWriter
from gateway_svc.operations.outbox_orders import OutboxOrders
from gateway_svc.operations.parts import PartsWatch
from gateway_svc.operations.resolving import Resolving
from gateway_svc.operations.servicer import OperationsServicer
from gateway_svc.operations.today import TodayReader
from gateway_svc.payment import Answer, Notice
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.support.khqr_ledger import KhqrLedger, ScriptedBank, told, usd
from tests.support.ledger import notice_for

FIRST, SECOND, THIRD = "P111111111", "P222222222", "P333333333"
READ_AND_ACT = frozenset({"operations:read", "operations:act"})


class Stage(KhqrLedger):
    """The ledgers, and the operators' service beside them."""

    def __init__(self, *, database: Database, bank: ScriptedBank) -> None:
        super().__init__(database=database, bank=bank)
        ids = itertools.count(1)
        self.seconds = 0.0  # of the monotonic clock
        self._requests = itertools.count(1)
        self.calls = CallLog(clock=self.clock, timer=lambda: self.seconds)
        self.parts = PartsWatch(clock=self.clock, events_name="events")
        self.servicer = OperationsServicer(
            reading=database,
            today=TodayReader(database=database, clock=self.clock, timer=lambda: self.seconds),
            resolving=Resolving(
                database=database,
                events=EventWriter(prefix="test", new_id=lambda: f"ops-{id(self)}-{next(ids)}"),
                clock=self.clock,
                committed=self._nudge,
            ),
            orders=OutboxOrders(
                database=database, reading=database, clock=self.clock, committed=self._nudge
            ),
            parts=self.parts,
            report=ProcessReport(
                service="gateway",
                production=False,
                configuration_fingerprint="f" * 16,
                started_at=self.now,
                calls=self.calls,
                breakers={},
            ),
            bank_codes=["AMK"],
            leads=lambda: True,
            events_kind="log",
            clock=self.clock,
        )

    async def ask(
        self,
        method: str,
        request: Any,
        *,
        by: str = "dara",
        bank: str | None = None,
        name: str = "",
    ) -> Any:
        """Return the answer to a call of `by`; `name` is the request's id, else a new one."""
        call_being_served.set(
            Call(
                caller=Caller(subject=by, scopes=READ_AND_ACT, bank=bank, expires_at_s=0),
                request_id=name or f"ops-request-{next(self._requests)}",
                ends_at_s=time.monotonic() + 5,
            )
        )
        return await getattr(self.servicer, method)(request, None)

    async def confirmed(self, notice: Notice) -> Answer:
        """Return the answer to a bill notice."""
        [decision] = await self.confirmation.record([notice])
        return decision.answer

    async def case(self, bill_id: int) -> Any:
        """Return all on record about a bill."""
        return await self.ask("GetCase", pb.GetCaseRequest(bill_id=bill_id))

    async def exceptions(self, **filters: Any) -> list[Any]:
        """Return the first page of exceptions."""
        answer = await self.ask(
            "ListExceptions", pb.ListExceptionsRequest(filter=pb.Filter(**filters))
        )
        return list(answer.exceptions)

    async def propose(
        self, exception_id: str, action: str, *, by: str = "dara", name: str = "", **members: Any
    ) -> Any:
        """Return the proposal of `by`."""
        request = pb.ProposeResolutionRequest(
            exception_id=exception_id,
            action=pb.ResolutionAction.Value(f"RESOLUTION_ACTION_{action}"),
            reason="seen with the bank",
            **members,
        )
        return (await self.ask("ProposeResolution", request, by=by, name=name)).proposal

    async def decide(
        self, proposal_id: int, verdict: str = "APPROVE", *, by: str = "sophea", name: str = ""
    ) -> Any:
        """Return the exception after the word of `by`."""
        request = pb.DecideProposalRequest(
            proposal_id=proposal_id,
            verdict=pb.Verdict.Value(f"VERDICT_{verdict}"),
            reason="right so",
        )
        return (await self.ask("DecideProposal", request, by=by, name=name)).exception

    async def ended(self, exception_id: str, action: str, **members: Any) -> Any:
        """Return the exception after two people ended it."""
        proposal = await self.propose(exception_id, action, **members)
        return await self.decide(proposal.proposal_id)


async def fill(stage: Stage) -> None:
    """Leave three policies.

    Of the first: a bill paid by bill payment, with KHQR money on top that pays nothing. Of the
    second: a bill with a code, paid by KHQR. Of the third: an open bill, and a refused notice.
    """
    first = await stage.bill(policy=FIRST, number="A1")
    await stage.confirmed(
        notice_for(first, transaction_id="T1", policy_number=FIRST, request_id="bill-request")
    )
    stage.now += timedelta(minutes=1)
    await stage.tell(told(first.bill_id, received_at=stage.now, request_id="khqr-request-1"))
    stage.now += timedelta(minutes=1)
    second = await stage.bill(policy=SECOND)
    await stage.codes.record(
        bank_code="AMK",
        bill_id=second.bill_id,
        offered=Code(payload="0002", image=b"", expires_at=stage.now + timedelta(minutes=30)),
        request_id="code-request",
    )
    await stage.tell(told(second.bill_id, received_at=stage.now, request_id="khqr-request-2"))
    stage.now += timedelta(minutes=1)
    third = await stage.bill(policy=THIRD, amount="400000.00", currency=Currency.KHR)
    await stage.confirmed(
        notice_for(
            third,
            transaction_id="T3",
            policy_number=THIRD,
            money=usd(1),
            received_at=stage.now,
            request_id="held-request",
        )
    )


@contextmanager
def statements_of(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements that are executed on `database`, with their parameters."""
    seen: list[tuple[str, Any]] = []

    def heard(*arguments: Any) -> None:
        seen.append((arguments[2], arguments[3]))

    engines = [engine.sync_engine for engine in database._engines]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", heard)
    try:
        yield seen
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", heard)


def at(moment: datetime) -> Timestamp:
    """Return `moment` as it travels."""
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message
