"""GatewayService: proto <-> domain, one use case per RPC."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.type import date_pb2, decimal_pb2
from payments.gateway.v1 import gateway_service_pb2 as pb
from payments.gateway.v1 import gateway_service_pb2_grpc as rpc

from chassis.database import Database
from chassis.errors import ServiceError
from chassis.group_commit import GroupCommit
from chassis.money import Currency, Money, parse_money
from chassis.rpc import call_being_served
from gateway_svc.banks.port import Bank
from gateway_svc.inquiry import inquire
from gateway_svc.law import is_final
from gateway_svc.payment import Bill, BillState, Confirmed, Decision, Lookup, Notice, Refusal
from gateway_svc.policies import Policies
from gateway_svc.store import find_standing

_STATUSES = {
    BillState.OPEN: pb.PAYMENT_STATUS_PENDING,
    BillState.PAID: pb.PAYMENT_STATUS_PAID,
    BillState.CLOSED: pb.PAYMENT_STATUS_CLOSED,
}
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
        clock: Callable[[], datetime],
    ) -> None:
        self._banks = banks
        self._policies = policies
        self._database = database
        self._lookups = lookups
        self._notices = notices
        self._clock = clock

    async def InquirePayment(
        self, request: pb.InquirePaymentRequest, context: Any
    ) -> pb.InquirePaymentResponse:
        """Answer with the bill that can be paid now."""
        due = await inquire(
            bank=self._bank_of_call(request.bank_code),
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
        call = call_being_served.get()
        if call.caller.bank is None:
            # Nobody is asked on this channel: the token must say which bank speaks.
            raise ServiceError(
                reason="FORBIDDEN",
                message="The token does not allow this call",
                details="A token bound to the bank is needed",
            )
        decision = await self._notices.submit(
            Notice(
                bank_code=bank.code,
                transaction_id=request.bank_transaction_id,
                bill_id=request.id,
                policy_number=request.policy_number,
                money=parse_money(text=request.amount.value, currency=Currency(request.currency)),
                payer=request.payer,
                paid_at=request.paid_date.ToDatetime(tzinfo=self._clock().tzinfo),
                received_at=self._clock(),
                body_digest=hashlib.sha256(
                    request.received_body or request.SerializeToString(deterministic=True)
                ).hexdigest(),
                subject=call.caller.subject,
                request_id=call.request_id,
            )
        )
        if decision.replayed and is_final(decision.answer):
            await context.send_initial_metadata(_REPLAYED)
        return _confirmation(decision.answer)

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
        raise ServiceError(reason=answer.reason, message=answer.message, details=answer.details)
    return pb.ConfirmPaymentResponse(
        transaction_id=answer.transaction_id,
        payment_reference_id=str(answer.bill_id),
        status=pb.CONFIRMATION_STATUS_CONFIRMED,
        message="Payment successfully processed",
    )


def _decimal(money: Money) -> decimal_pb2.Decimal:
    return decimal_pb2.Decimal(value=str(money))


def _date(day: Any) -> date_pb2.Date:
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)
