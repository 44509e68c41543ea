"""A gateway's operations from memory, behind a real bridge: the console sees what it would see.

Every answer is a message of the contract and is spelled by the bridge, so that this fake cannot
say what the real service could not.
"""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.protobuf.message import Message

from chassis.errors import ServiceError, to_abort
from payments.gateway.v1 import operations_service_pb2 as ops
from payments.khqr.v1 import operations_service_pb2 as khqr
from rest_bridge.contract import default_contracts_image, load_contract
from tests.pages import fake_day as day
from tests.pages import fake_records as records
from tests.pages.fake_records import made_of
from tests.rest_bridge.fakes import served

_UNKNOWN_TOKEN = "nobody"


def token(*, subject: str, scopes: str = "operations:read operations:act") -> str:
    """Return a token that the fake believes and no real service would."""
    claims = json.dumps({"sub": subject, "scope": scopes}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"


@dataclass
class FakeOperations:
    """What the fake holds, and what it was asked."""

    now: datetime
    empty: bool = False
    requests: list[Message] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)  # methods that answer "unavailable"
    exceptions: list[ops.ExceptionRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the records that a test starts with."""
        self.exceptions = [] if self.empty else day.exceptions(self.now)

    def answer(self, name: str, request: Message, metadata: dict[str, str]) -> Message:
        """Return the answer of the method `name`.

        :raises ServiceError: it refuses.
        """
        subject = _subject(metadata)
        if subject == _UNKNOWN_TOKEN:
            raise ServiceError(reason="UNAUTHORIZED", message="Bad or missing token")
        if name in self.broken:
            raise ServiceError(reason="SERVER_UNAVAILABLE", message="Try again later")
        made: Message = getattr(self, name)(request, subject)
        return made

    def get_today(self, _: Message, __: str) -> Message:
        if self.empty:
            return made_of(ops.GetTodayResponse, environment="development", at=self.now)
        return day.today(
            self.now, sum(one.state != ops.EXCEPTION_STATE_RESOLVED for one in self.exceptions)
        )

    def find_cases(self, request: ops.FindCasesRequest, _: str) -> Message:
        return records.found(self.now, request.text)

    def get_case(self, request: ops.GetCaseRequest, _: str) -> Message:
        found = records.case(self.now, request.bill_id)
        if found is None:
            raise ServiceError(reason="RESOURCE_NOT_FOUND", message="No such bill")
        about = [one for one in self.exceptions if one.bill_id == request.bill_id]
        found.exceptions.extend(about)
        return found

    def list_payments(self, request: ops.ListPaymentsRequest, _: str) -> Message:
        rows = [] if self.empty else records.payments(self.now)
        wanted = request.filter
        rows = [
            one
            for one in rows
            if wanted.state in {"", one.state}
            and wanted.channel in {"", one.channel}
            and wanted.currency in {"", one.currency}
            and (
                not wanted.HasField("since") or wanted.since.ToDatetime(UTC) <= _at(one.recorded_at)
            )
        ]
        start, size = int(request.page_token or 0), request.page_size or 50
        more = str(start + size) if start + size < len(rows) else ""
        return made_of(
            ops.ListPaymentsResponse, payments=rows[start : start + size], next_page_token=more
        )

    def list_bills(self, _: Message, __: str) -> Message:
        return made_of(ops.ListBillsResponse, bills=[] if self.empty else records.bills(self.now))

    def list_codes(self, _: Message, __: str) -> Message:
        return made_of(ops.ListCodesResponse, codes=[] if self.empty else records.codes(self.now))

    def list_notices(self, _: Message, __: str) -> Message:
        return made_of(
            ops.ListNoticesResponse, notices=[] if self.empty else records.notices(self.now)
        )

    def list_events(self, _: Message, __: str) -> Message:
        return made_of(
            ops.ListEventsResponse, events=[] if self.empty else records.events(self.now)
        )

    def list_exceptions(self, request: ops.ListExceptionsRequest, _: str) -> Message:
        wanted = request.filter.state
        return made_of(
            ops.ListExceptionsResponse,
            exceptions=[
                one
                for one in self.exceptions
                if ops.ExceptionState.Name(one.state).endswith(f"_{wanted}")
                or (not wanted and one.state != ops.EXCEPTION_STATE_RESOLVED)
            ],
        )

    def propose_resolution(self, request: ops.ProposeResolutionRequest, subject: str) -> Message:
        one = next(e for e in self.exceptions if e.exception_id == request.exception_id)
        proposal = made_of(
            ops.Proposal,
            proposal_id=90 + len(one.proposals),
            exception_id=one.exception_id,
            action=request.action,
            bill_id=request.bill_id,
            bank_reference=request.bank_reference,
            reason=request.reason,
            proposed_by=subject,
            proposed_at=self.now,
            state=ops.PROPOSAL_STATE_PROPOSED,
        )
        one.proposals.insert(0, proposal)
        one.state = ops.EXCEPTION_STATE_PROPOSED
        del one.actions[:]
        return made_of(ops.ProposeResolutionResponse, proposal=proposal)

    def decide_proposal(self, request: ops.DecideProposalRequest, subject: str) -> Message:
        one, proposal = next(
            (e, p)
            for e in self.exceptions
            for p in e.proposals
            if p.proposal_id == request.proposal_id
        )
        approved = request.verdict == ops.VERDICT_APPROVE
        if approved and proposal.proposed_by == subject:
            raise ServiceError(
                reason="RESOLUTION_REFUSED",
                message="Whoever proposed it may not approve it",
            )
        proposal.state = ops.PROPOSAL_STATE_APPROVED if approved else ops.PROPOSAL_STATE_REJECTED
        proposal.decided_by, proposal.decision_reason = subject, request.reason
        proposal.decided_at.FromDatetime(self.now)
        one.state = ops.EXCEPTION_STATE_RESOLVED if approved else ops.EXCEPTION_STATE_OPEN
        return made_of(ops.DecideProposalResponse, exception=one)

    def get_outbox(self, _: Message, __: str) -> Message:
        if self.empty:
            return made_of(ops.GetOutboxResponse, leads=True)
        return day.outbox(self.now)

    def replay_events(self, _: Message, __: str) -> Message:
        sample = records.events(self.now)[:3]
        topics = [made_of(ops.TopicCount, topic=one.topic, events=1) for one in sample]
        return made_of(ops.ReplayEventsResponse, events=len(sample), topics=topics, sample=sample)

    def release_events(self, _: Message, __: str) -> Message:
        parked = day.outbox(self.now).parked[0].first
        return made_of(
            ops.ReleaseEventsResponse,
            events=3,
            topics=[made_of(ops.TopicCount, topic=parked.topic, events=3)],
            sample=[parked],
        )

    def get_system(self, _: Message, __: str) -> Message:
        return day.system(self.now)

    def get_khqr_system(self, _: Message, __: str) -> Message:
        if self.empty:
            return khqr.GetKhqrSystemResponse()
        return made_of(khqr.GetKhqrSystemResponse, process=day.process(self.now, "khqr"))


def _at(stamp: Any) -> datetime:
    moment: datetime = stamp.ToDatetime(UTC)
    return moment


@dataclass(frozen=True, kw_only=True)
class Console:
    """A console that is served, and what stands behind it."""

    url: str
    fake: FakeOperations


@asynccontextmanager
async def served_console(*, empty: bool = False) -> AsyncIterator[Console]:
    """Run a bridge with the console before the fake."""
    fake = FakeOperations(now=datetime.now(tz=UTC) - timedelta(seconds=2), empty=empty)
    contract = load_contract(image=default_contracts_image())

    def answering(name: str) -> Any:
        async def serve(request: Message, context: Any) -> Message:
            fake.requests.append(request)
            try:
                made = fake.answer(name, request, dict(context.invocation_metadata()))
            except ServiceError as error:
                await context.abort(*to_abort(error=error, reasons=contract.reasons, domain="test"))
                raise
            return made

        return serve

    def handlers(service: Any) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            service.full_name,
            {
                method.name: grpc.unary_unary_rpc_method_handler(
                    answering(_snake(method.name)),
                    method.input_type._concrete_class.FromString,
                    lambda made: made.SerializeToString(),
                )
                for method in service.methods
            },
        )

    services = [
        ops.DESCRIPTOR.services_by_name["OperationsService"],
        khqr.DESCRIPTOR.services_by_name["KhqrOperationsService"],
    ]
    async with served(extra=_Both([handlers(one) for one in services])) as stage:
        yield Console(url=stage.url("/console"), fake=fake)


class _Both(grpc.GenericRpcHandler):
    def __init__(self, handlers: list[grpc.GenericRpcHandler]) -> None:
        self._handlers = handlers

    def service(self, details: Any) -> Any:
        return next((found for one in self._handlers if (found := one.service(details))), None)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


def _subject(metadata: dict[str, str]) -> str:
    part = metadata["authorization"].split(" ")[1].split(".")
    if len(part) != 3:
        return _UNKNOWN_TOKEN
    return str(json.loads(base64.urlsafe_b64decode(part[1] + "=="))["sub"])
