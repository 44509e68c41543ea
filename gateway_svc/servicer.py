"""GatewayService: proto <-> domain, one use case per RPC."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from google.type import date_pb2, decimal_pb2

from chassis.database import Database
from chassis.errors import BadRequest, ServiceError, Violation
from chassis.group_commit import GroupCommit
from chassis.money import Currency, Money, parse_money
from chassis.rate_limit import RateLimit
from chassis.rpc import Call, call_being_served
from gateway_svc.banks.port import Bank
from gateway_svc.code_store import Code
from gateway_svc.inquiry import inquire
from gateway_svc.khqr_codes import KhqrCodes
from gateway_svc.khqr_confirmation import KhqrConfirmation
from gateway_svc.law import is_final
from gateway_svc.payment import Bill, BillState, Confirmed, Decision, Lookup, Notice, Refusal
from gateway_svc.policies import Policies
from gateway_svc.store import find_standing
from gateway_svc.verification import KhqrNotice, Status
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
            amount=_decimal(due.bill.money),
            currency=due.bill.money.currency.value,
            due_date=_date(premium.due_on),
        )

    async def ConfirmPayment(
        self, request: pb.ConfirmPaymentRequest, context: Any
    ) -> pb.ConfirmPaymentResponse:
        """Record what the bank says was paid, and answer after the commit."""
        bank = self._bank_of_call(request.bank_code)
        call = self._bound_call()
        decision = await self._notices.submit(
            Notice(
                bank_code=bank.code,
                transaction_id=request.bank_transaction_id,
                bill_id=request.id,
                policy_number=request.policy_number,
                money=parse_money(text=request.amount.value, currency=Currency(request.currency)),
                payer=request.payer,
                paid_at=request.paid_date.ToDatetime(tzinfo=UTC),
                received_at=self._clock(),
                body_digest=_body_digest(request),
                subject=call.caller.subject,
                request_id=call.request_id,
            )
        )
        if decision.replayed and is_final(decision.answer):
            await context.send_initial_metadata(_REPLAYED)
        return _confirmation(decision.answer)

    async def ConfirmKhqrPayment(
        self, request: pb.ConfirmKhqrPaymentRequest, context: Any
    ) -> pb.ConfirmKhqrPaymentResponse:
        """Record what the bank vouches for, and answer after the commit."""
        bank = self._bank_of_call(request.bank_code)
        bank.merchant()  # nothing is booked where nobody can be asked
        call = self._bound_call()
        outcome = await self._khqr.confirm(
            notice=_khqr_notice(request, call=call, now=self._clock()), ends_at_s=call.ends_at_s
        )
        if outcome.replayed:
            await context.send_initial_metadata(_REPLAYED)
        if isinstance(outcome.answer, Refusal):
            raise _service_error(outcome.answer)
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
        return pb.GetLiveKhqrResponse(code=None if code is None else _code_message(code))

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
        return pb.RecordKhqrResponse(code=_code_message(code))

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
            amount=_decimal(bill.money),
            currency=bill.money.currency.value,
            due_date=_date(obligation.due_on),
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
        bound_to = call_being_served.get().caller.bank
        if bound_to not in (None, bank.code):
            raise ServiceError(
                reason="FORBIDDEN",
                message="The token does not allow this call",
                details="The token is bound to another bank",
            )
        return bank


def _confirmation(answer: Confirmed | Refusal) -> pb.ConfirmPaymentResponse:
    if isinstance(answer, Refusal):
        raise _service_error(answer)
    return pb.ConfirmPaymentResponse(
        transaction_id=answer.transaction_id,
        payment_reference_id=str(answer.bill_id),
        status=pb.CONFIRMATION_STATUS_CONFIRMED,
        message="Payment successfully processed",
    )


def _service_error(refusal: Refusal) -> ServiceError:
    if refusal.reason == "BAD_REQUEST":
        field, _, description = refusal.details.partition(": ")
        return BadRequest(violations=[Violation(field=field, description=description)])
    return ServiceError(
        reason=refusal.reason,
        message=refusal.message,
        details=refusal.details,
        retry_after_s=5 if refusal.reason == "SERVER_UNAVAILABLE" else None,
    )


def _khqr_notice(request: pb.ConfirmKhqrPaymentRequest, *, call: Call, now: datetime) -> KhqrNotice:
    """Return the notice that `request` is.

    :raises BadRequest: a SUCCESS lacks its amount, currency or time.
    """
    present = {
        "paid_amount": request.HasField("paid_amount"),
        "currency": bool(request.currency),
        "paid_datetime": request.HasField("paid_datetime"),
    }
    if request.status == Status.SUCCESS and not all(present.values()):
        raise BadRequest(
            violations=[
                Violation(field=name, description="is required of a SUCCESS")
                for name, is_there in present.items()
                if not is_there
            ]
        )
    return KhqrNotice(
        bank_code=request.bank_code,
        bill_id=int(request.invoice_number),
        merchant_number=request.merchant_number,
        status=request.status,
        money=(
            parse_money(text=request.paid_amount.value, currency=Currency(request.currency))
            if present["paid_amount"] and present["currency"]
            else None
        ),
        paid_at=(
            request.paid_datetime.ToDatetime(tzinfo=UTC) if present["paid_datetime"] else None
        ),
        received_at=now,
        body_digest=_body_digest(request),
        subject=call.caller.subject,
        request_id=call.request_id,
    )


def _body_digest(request: pb.ConfirmPaymentRequest | pb.ConfirmKhqrPaymentRequest) -> str:
    return hashlib.sha256(
        request.received_body or request.SerializeToString(deterministic=True)
    ).hexdigest()


def _code_message(code: Code) -> pb.KhqrCode:
    message = pb.KhqrCode(payload=code.payload, image=code.image)
    message.expires_at.FromDatetime(code.expires_at)
    return message


def _decimal(money: Money) -> decimal_pb2.Decimal:
    return decimal_pb2.Decimal(value=str(money))


def _date(day: Any) -> date_pb2.Date:
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)
