"""Messages of the contract <-> the words of a payment."""

import hashlib
from datetime import UTC, date, datetime

from google.type import date_pb2, decimal_pb2

from chassis.errors import BadRequest, ServiceError, Violation
from chassis.money import Currency, Money, parse_money
from chassis.rpc import Call
from gateway_svc.code_store import Code
from gateway_svc.payment import Answer, Notice, Refusal
from gateway_svc.verification import KhqrNotice, Status
from payments.gateway.v1 import gateway_service_pb2 as pb


def bill_notice(*, request: pb.ConfirmPaymentRequest, call: Call, now: datetime) -> Notice:
    """Return the notice that `request` is."""
    return Notice(
        bank_code=request.bank_code,
        transaction_id=request.bank_transaction_id,
        bill_id=request.id,
        policy_number=request.policy_number,
        money=parse_money(text=request.amount.value, currency=Currency(request.currency)),
        payer=request.payer,
        paid_at=request.paid_date.ToDatetime(tzinfo=UTC),
        received_at=now,
        body_digest=_body_digest(request),
        subject=call.caller.subject,
        request_id=call.request_id,
    )


def confirmation_message(*, answer: Answer) -> pb.ConfirmPaymentResponse:
    """Return the message that `answer` is.

    :raises ServiceError: it is a refusal.
    """
    if isinstance(answer, Refusal):
        raise service_error(refusal=answer)
    return pb.ConfirmPaymentResponse(
        transaction_id=answer.transaction_id,
        payment_reference_id=str(answer.bill_id),
        status=pb.CONFIRMATION_STATUS_CONFIRMED,
        message="Payment successfully processed",
    )


def service_error(*, refusal: Refusal) -> ServiceError:
    """Return the error that carries `refusal` to the caller."""
    if refusal.reason == "BAD_REQUEST":
        field, _, description = refusal.details.partition(": ")
        return BadRequest(violations=[Violation(field=field, description=description)])
    return ServiceError(
        reason=refusal.reason,
        message=refusal.message,
        details=refusal.details,
        retry_after_s=5 if refusal.reason == "SERVER_UNAVAILABLE" else None,
    )


def khqr_notice(*, request: pb.ConfirmKhqrPaymentRequest, call: Call, now: datetime) -> KhqrNotice:
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


def code_message(*, code: Code) -> pb.KhqrCode:
    """Return `code` as it travels."""
    message = pb.KhqrCode(payload=code.payload, image=code.image)
    message.expires_at.FromDatetime(code.expires_at)
    return message


def decimal_message(*, money: Money) -> decimal_pb2.Decimal:
    """Return the amount, written with its currency's own decimals."""
    return decimal_pb2.Decimal(value=str(money))


def date_message(*, day: date) -> date_pb2.Date:
    """Return the day as it travels."""
    return date_pb2.Date(year=day.year, month=day.month, day=day.day)
