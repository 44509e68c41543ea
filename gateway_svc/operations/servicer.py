"""OperationsService: proto <-> domain, one use case per RPC.

Reading has connections of its own, so that no list takes one from a payment.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text

from chassis.database import Database
from chassis.errors import ServiceError
from chassis.process_report import ProcessReport
from chassis.rpc import Call, call_being_served
from gateway_svc.operations import records
from gateway_svc.operations.case_reader import load_case_record
from gateway_svc.operations.case_summary import summaries
from gateway_svc.operations.exception import Action
from gateway_svc.operations.exception_list import list_exceptions
from gateway_svc.operations.finder import MOST, find_bills
from gateway_svc.operations.lists import Lists
from gateway_svc.operations.messages import (
    case_message,
    order_message,
    ordered_members,
    today_message,
)
from gateway_svc.operations.outbox_orders import OutboxOrders
from gateway_svc.operations.outbox_reader import read_depth, read_outbox
from gateway_svc.operations.parts import PartsWatch
from gateway_svc.operations.records import moment
from gateway_svc.operations.resolving import Resolving, Wish, Word
from gateway_svc.operations.today import TodayReader
from payments.gateway.v1 import operations_service_pb2 as pb
from payments.gateway.v1 import operations_service_pb2_grpc as rpc


class OperationsServicer(rpc.OperationsServiceServicer):
    """Serves the contract; rules of fields and the token were checked before it is reached."""

    def __init__(
        self,
        *,
        reading: Database,
        today: TodayReader,
        resolving: Resolving,
        orders: OutboxOrders,
        parts: PartsWatch,
        report: ProcessReport,
        bank_codes: Sequence[str],
        leads: Callable[[], bool],
        events_kind: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._reading = reading
        self._today = today
        self._resolving = resolving
        self._orders = orders
        self._parts = parts
        self._report = report
        self._bank_codes = bank_codes
        self._lists = Lists(bank_codes=bank_codes)
        self._leads = leads
        self._events_kind = events_kind
        self._clock = clock

    async def GetToday(self, request: pb.GetTodayRequest, context: Any) -> pb.GetTodayResponse:
        """Answer with today's numbers."""
        _operator()
        today = await self._today.today()
        now = self._clock()
        answer = today_message(today=today)
        answer.environment = self._report.environment
        answer.parts.extend(await self._all_parts(now))
        answer.latencies.extend(self._report.latencies(now=now))
        return answer

    async def FindCases(self, request: pb.FindCasesRequest, context: Any) -> pb.FindCasesResponse:
        """Answer with the bills that a text leads to."""
        _operator()
        async with self._reading.reading() as connection:
            found = await find_bills(
                connection=connection, text=request.text, bank_codes=self._bank_codes
            )
            shown = dict(list(found.items())[:MOST])
            cases = await summaries(connection=connection, found=shown) if shown else []
        return pb.FindCasesResponse(cases=cases, more=len(found) > MOST)

    async def GetCase(self, request: pb.GetCaseRequest, context: Any) -> pb.GetCaseResponse:
        """Answer with everything on record about a bill."""
        _operator()
        async with self._reading.reading() as connection:
            case = await load_case_record(connection=connection, bill_id=request.bill_id)
        if case is None:
            raise ServiceError(
                reason="RESOURCE_NOT_FOUND",
                message="Bill not found",
                details=f"Id: {request.bill_id}",
            )
        return case_message(case=case, bill_id=request.bill_id)

    async def ListPayments(
        self, request: pb.ListPaymentsRequest, context: Any
    ) -> pb.ListPaymentsResponse:
        """Answer with a page of payments."""
        _operator()
        async with self._reading.reading() as connection:
            page = await self._lists.payments(connection=connection, request=request)
        return pb.ListPaymentsResponse(payments=page.rows, next_page_token=page.next_token)

    async def ListBills(self, request: pb.ListBillsRequest, context: Any) -> pb.ListBillsResponse:
        """Answer with a page of bills."""
        _operator()
        async with self._reading.reading() as connection:
            page = await self._lists.bills(connection=connection, request=request)
        return pb.ListBillsResponse(bills=page.rows, next_page_token=page.next_token)

    async def ListCodes(self, request: pb.ListCodesRequest, context: Any) -> pb.ListCodesResponse:
        """Answer with a page of codes."""
        _operator()
        async with self._reading.reading() as connection:
            page = await self._lists.codes(connection=connection, request=request)
        return pb.ListCodesResponse(codes=page.rows, next_page_token=page.next_token)

    async def ListNotices(
        self, request: pb.ListNoticesRequest, context: Any
    ) -> pb.ListNoticesResponse:
        """Answer with a page of notices."""
        _operator()
        async with self._reading.reading() as connection:
            page = await self._lists.notices(connection=connection, request=request)
        return pb.ListNoticesResponse(notices=page.rows, next_page_token=page.next_token)

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Any
    ) -> pb.ListEventsResponse:
        """Answer with a page of events."""
        _operator()
        async with self._reading.reading() as connection:
            page = await self._lists.events(connection=connection, request=request)
        return pb.ListEventsResponse(events=page.rows, next_page_token=page.next_token)

    async def ListExceptions(
        self, request: pb.ListExceptionsRequest, context: Any
    ) -> pb.ListExceptionsResponse:
        """Answer with a page of exceptions."""
        _operator()
        async with self._reading.reading() as connection:
            page = await list_exceptions(
                connection=connection, request=request, bank_codes=self._bank_codes
            )
        return pb.ListExceptionsResponse(
            exceptions=[records.exception_record(one) for one in page.rows],
            next_page_token=page.next_token,
        )

    async def ProposeResolution(
        self, request: pb.ProposeResolutionRequest, context: Any
    ) -> pb.ProposeResolutionResponse:
        """Keep how somebody would end an exception."""
        call = _operator()
        wish = Wish(
            exception_id=request.exception_id,
            action=_action(request.action),
            bill_id=request.bill_id or None,
            bank_reference=request.bank_reference or None,
            reason=request.reason.strip(),
            by=call.caller.subject,
            request_id=call.request_id,
        )
        proposal = await self._resolving.propose(wish=wish)
        return pb.ProposeResolutionResponse(proposal=records.proposal_record(proposal))

    async def DecideProposal(
        self, request: pb.DecideProposalRequest, context: Any
    ) -> pb.DecideProposalResponse:
        """Approve or reject a proposal, and carry out what is approved."""
        call = _operator()
        word = Word(
            proposal_id=request.proposal_id,
            approves=request.verdict == pb.VERDICT_APPROVE,
            reason=request.reason.strip(),
            by=call.caller.subject,
            request_id=call.request_id,
        )
        exceptional = await self._resolving.decide(word=word)
        return pb.DecideProposalResponse(exception=records.exception_record(exceptional))

    async def GetOutbox(self, request: pb.GetOutboxRequest, context: Any) -> pb.GetOutboxResponse:
        """Answer how the outbox stands."""
        _operator()
        async with self._reading.reading() as connection:
            standing = await read_outbox(connection=connection)
        return pb.GetOutboxResponse(
            depth=standing.depth.unpublished,
            oldest_at=moment(standing.depth.oldest_at),
            leads=self._leads(),
            last_published_at=moment(standing.last_published_at),
            parked=[
                pb.ParkedKey(
                    key=row.event_key,
                    first=records.event_record(row),
                    waiting=standing.waiting.get(row.event_key, 0),
                )
                for row in standing.parked
            ],
            orders=[order_message(row=row) for row in standing.orders],
        )

    async def ReplayEvents(
        self, request: pb.ReplayEventsRequest, context: Any
    ) -> pb.ReplayEventsResponse:
        """Have published events delivered once more."""
        ordered = await self._orders.replay(request=request, by=_operator().caller.subject)
        return pb.ReplayEventsResponse(**ordered_members(ordered=ordered))

    async def ReleaseEvents(
        self, request: pb.ReleaseEventsRequest, context: Any
    ) -> pb.ReleaseEventsResponse:
        """Let parked events be tried again."""
        ordered = await self._orders.release(request=request, by=_operator().caller.subject)
        return pb.ReleaseEventsResponse(**ordered_members(ordered=ordered))

    async def GetSystem(self, request: pb.GetSystemRequest, context: Any) -> pb.GetSystemResponse:
        """Answer how this process stands."""
        _operator()
        now = self._clock()
        async with self._reading.reading() as connection:
            revision = await connection.scalar(text("SELECT version_num FROM alembic_version"))
        return pb.GetSystemResponse(
            process=self._report.told(now=now),
            schema_revision=revision or "",
            database=self._reading.dialect,
            events=self._events_kind,
            parts=await self._all_parts(now),
            bank_codes=sorted(self._bank_codes),
        )

    async def _all_parts(self, now: datetime) -> list[Any]:
        async with self._reading.reading() as connection:
            depth = await read_depth(connection=connection)
        own = self._parts.told(depth=depth, leads=self._leads(), now=now)
        return [*own, *self._report.parts(now=now)]


def _operator() -> Call:
    """Return the call, which is of no bank's token: operators see what all banks told.

    :raises ServiceError: FORBIDDEN.
    """
    call = call_being_served.get()
    if call.caller.bank is not None:
        raise ServiceError(
            reason="FORBIDDEN",
            message="The token does not allow this call",
            details="A token bound to a bank is none of an operator",
        )
    return call


def _action(number: "pb.ResolutionAction.ValueType") -> Action:
    return Action(pb.ResolutionAction.Name(number).removeprefix("RESOLUTION_ACTION_"))
