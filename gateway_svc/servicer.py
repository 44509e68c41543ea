"""GatewayService: proto <-> domain, one use case per RPC."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from chassis.database import Database
from chassis.errors import ServiceError
from chassis.group_commit import GroupCommit
from chassis.rate_limit import RateLimit
from chassis.rpc import Call, call_being_served, refuse_other_bank
from gateway_svc.banks.port import Bank
from gateway_svc.bill_store import find_standing
from gateway_svc.code_store import Code
from gateway_svc.inquiry import inquire
from gateway_svc.khqr_codes import KhqrCodes
from gateway_svc.khqr_confirmation import KhqrConfirmation
from gateway_svc.law import is_final
from gateway_svc.messages import (
    bill_notice,
    code_message,
    confirmation_message,
    date_message,
    decimal_message,
    khqr_notice,
    service_error,
)
from gateway_svc.payment import Bill, BillState, Decision, Lookup, Notice, Refusal
from gateway_svc.policies import Policies
from payments.gateway.v1 import gateway_service_pb2 as pb
from payments.gateway.v1 import gateway_service_pb2_grpc as rpc

_STATUSES = {
    BillState.OPEN: pb.PAYMENT_STATUS_PENDING,
    BillState.PAID: pb.PAYMENT_STATUS_PAID,
    BillState.CLOSED: pb.PAYMENT_STATUS_CLOSED,
}
_KHQR_MESSAGES = {
    "CONFIRMED": "KHQR payment successfully processed",
    "RECEIVED": "KHQR payment received",
    "PENDING": "KHQR payment pending",
}
_KHQR_SERVICE_SCOPE = "khqr:record"
_REPLAYED = (("idempotent-replayed", "true"),)


class GatewayServicer(rpc.GatewayServiceServicer):
    """Serves the contract; rules of fields and the token were checked before it is reached."""

    def __init__(
        self,
        *,
        banks: dict[str, Bank],
        policies: Policies,
        database: Database,
        lookups: GroupCommit[Lookup, Bill | None],
        notices: GroupCommit[Notice, Decision],
        khqr: KhqrConfirmation,
        codes: KhqrCodes,
        inquiry_limit: RateLimit,
        clock: Callable[[], datetime],
    ) -> None:
        self._banks = banks
        self._policies = policies
        self._database = database
        self._lookups = lookups
        self._notices = notices
        self._khqr = khqr
        self._codes = codes
        self._inquiry_limit = inquiry_limit
        self._clock = clock

    async def InquirePayment(
        self, request: pb.InquirePaymentRequest, context: Any
    ) -> pb.InquirePaymentResponse:
        """Answer with the bill that can be paid now."""
        bank = self._bank_of_call(request.bank_code)
        self._refuse_haste()
        due = await inquire(
            bank=bank,
            number=request.query,
            policies=self._policies,
            recorder=self._lookups,
            clock=self._clock,
        )
        premium = due.lookup.premium
        return pb.InquirePaymentResponse(
            id=due.bill.bill_id,
            policy_number=premium.policy_number,
            payer=premium.payer,
            amount=decimal_message(money=due.bill.money),
            currency=due.bill.money.currency.value,
            due_date=date_message(day=premium.due_on),
        )

    async def ConfirmPayment(
        self, request: pb.ConfirmPaymentRequest, context: Any
    ) -> pb.ConfirmPaymentResponse:
        """Record what the bank says was paid, and answer after the commit."""
        self._bank_of_call(request.bank_code)
        call = self._bound_call()
        decision = await self._notices.submit(
            bill_notice(request=request, call=call, now=self._clock())
        )
        if decision.replayed and is_final(decision.answer):
            await context.send_initial_metadata(_REPLAYED)
        return confirmation_message(answer=decision.answer)

    async def ConfirmKhqrPayment(
        self, request: pb.ConfirmKhqrPaymentRequest, context: Any
    ) -> pb.ConfirmKhqrPaymentResponse:
        """Record what the bank vouches for, and answer after the commit."""
        bank = self._bank_of_call(request.bank_code)
        bank.merchant()  # nothing is booked where nobody can be asked
        call = self._bound_call()
        outcome = await self._khqr.confirm(
            notice=khqr_notice(request=request, call=call, now=self._clock()),
            ends_at_s=call.ends_at_s,
        )
        if outcome.replayed:
            await context.send_initial_metadata(_REPLAYED)
        if isinstance(outcome.answer, Refusal):
            raise service_error(refusal=outcome.answer)
        return pb.ConfirmKhqrPaymentResponse(
            transaction_id=outcome.answer.transaction_id,
            status=pb.ConfirmationStatus.Value(f"CONFIRMATION_STATUS_{outcome.answer.status}"),
            message=_KHQR_MESSAGES.get(outcome.answer.status, "KHQR notice recorded"),
        )

    async def GetLiveKhqr(
        self, request: pb.GetLiveKhqrRequest, context: Any
    ) -> pb.GetLiveKhqrResponse:
        """Answer with the code that can be scanned now, if there is one."""
        bank = self._bank_of_call(request.bank_code)
        code = await self._codes.live(bank_code=bank.code, bill_id=request.bill_id)
        return pb.GetLiveKhqrResponse(code=None if code is None else code_message(code=code))

    async def RecordKhqr(
        self, request: pb.RecordKhqrRequest, context: Any
    ) -> pb.RecordKhqrResponse:
        """Keep a checked code unless one is live, and answer with the live one."""
        bank = self._bank_of_call(request.bank_code)
        code = await self._codes.record(
            bank_code=bank.code,
            bill_id=request.bill_id,
            offered=Code(
                payload=request.code.payload,
                image=request.code.image,
                expires_at=request.code.expires_at.ToDatetime(tzinfo=UTC),
            ),
            request_id=call_being_served.get().request_id,
        )
        return pb.RecordKhqrResponse(code=code_message(code=code))

    async def GetPayment(
        self, request: pb.GetPaymentRequest, context: Any
    ) -> pb.GetPaymentResponse:
        """Answer how a bill stands."""
        bank = self._bank_of_call(request.bank_code)
        async with self._database.reading() as connection:
            standing = await find_standing(
                connection=connection, bank_code=bank.code, bill_id=request.id
            )
        if standing is None:
            raise ServiceError(
                reason="RESOURCE_NOT_FOUND",
                message="Bill not found",
                details=f"Id: {request.id}",
            )
        bill, obligation = standing.bill, standing.obligation
        return pb.GetPaymentResponse(
            id=bill.bill_id,
            policy_number=obligation.policy_number,
            amount=decimal_message(money=bill.money),
            currency=bill.money.currency.value,
            due_date=date_message(day=obligation.due_on),
            # A late payment pays a bill that stays closed: to the one who asks it is paid.
            status=pb.PAYMENT_STATUS_PAID if standing.transaction_id else _STATUSES[bill.state],
            transaction_id=standing.transaction_id or "",
        )

    def _refuse_haste(self) -> None:
        """Bound how fast one caller may ask: policy numbers can be enumerated.

        KhqrService asks for many callers and bounds each of them itself.
        """
        caller = call_being_served.get().caller
        if _KHQR_SERVICE_SCOPE in caller.scopes:
            return
        wait_s = self._inquiry_limit.wait_s(key=caller.subject)
        if wait_s:
            raise ServiceError(
                reason="RATE_LIMITED", message="Too many inquiries", retry_after_s=wait_s
            )

    def _bound_call(self) -> Call:
        """Return the call of a token that says which bank speaks; others may not confirm."""
        call = call_being_served.get()
        if call.caller.bank is None:
            raise ServiceError(
                reason="FORBIDDEN",
                message="The token does not allow this call",
                details="A token bound to the bank is needed",
            )
        return call

    def _bank_of_call(self, bank_code: str) -> Bank:
        bank = self._banks.get(bank_code)
        if bank is None:
            raise ServiceError(
                reason="BANK_NOT_FOUND",
                message="Bank configuration not found",
                details=f"Bank: {bank_code}",
            )
        refuse_other_bank(bank_code=bank.code)
        return bank
