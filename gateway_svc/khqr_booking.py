"""How a KHQR notice is booked before anybody is asked: what it and its bill alone tell. Pure."""

from dataclasses import dataclass

from gateway_svc.payment import Bill, NoticeState, Refusal
from gateway_svc.verification import (
    NOTHING_PAID,
    TAKEN_BACK,
    Acknowledged,
    KhqrAnswer,
    KhqrHold,
    KhqrNotice,
    MerchantAccount,
    Status,
    khqr_transaction_id,
)

_MISMATCHED = "PAYMENT_VERIFICATION_DATA_MISMATCHED"

_UNKNOWN_STATUS = Refusal(
    reason="BAD_REQUEST",
    message="Invalid request parameters",
    details=f"status: must be one of {', '.join(Status.__members__)}",
)


@dataclass(frozen=True, kw_only=True)
class Booking:
    """How a new notice is booked, before anybody is asked."""

    state: NoticeState
    hold: KhqrHold | None
    answer: KhqrAnswer | None
    ask: bool  # the bank is asked: now if there is no answer yet, else in the background


def is_final(answer: KhqrAnswer | None) -> bool:
    """Tell whether `answer` is replayed as it was: 200 except PENDING, and 409."""
    if isinstance(answer, Acknowledged):
        return answer.status != Status.PENDING
    return answer is not None and answer.reason == _MISMATCHED


def book(*, notice: KhqrNotice, bill: Bill | None, account: MerchantAccount) -> Booking:
    """Return how `notice` is booked: what can be told from it and the bill alone."""
    if notice.status not in Status.__members__:
        return _held(KhqrHold.UNKNOWN_STATUS, _UNKNOWN_STATUS)
    if bill is None or bill.bank_code != notice.bank_code:
        refusal = Refusal(
            reason="RESOURCE_NOT_FOUND",
            message="Bill not found",
            details=f"invoice_number: {notice.bill_id}",
        )
        return _held(KhqrHold.UNKNOWN_BILL, refusal)
    return _book_known(notice, bill, account)


def _book_known(notice: KhqrNotice, bill: Bill, account: MerchantAccount) -> Booking:
    status = Status(notice.status)
    told = Acknowledged(
        status=status.value,
        transaction_id=khqr_transaction_id(bank_code=notice.bank_code, bill_id=bill.bill_id),
    )
    asks = status is Status.SUCCESS
    if notice.merchant_number != account.merchant_id:
        return _held(KhqrHold.MISMATCHED, mismatched(details="merchant_number: not ours"), ask=asks)
    if status in NOTHING_PAID:
        return Booking(state=NoticeState.DONE, hold=None, answer=told, ask=False)
    if status in TAKEN_BACK:
        return _held(KhqrHold.TAKEN_BACK, told)
    if status is Status.PENDING:
        return Booking(state=NoticeState.RECEIVED, hold=None, answer=told, ask=False)
    difference = _difference(notice, bill)
    if difference:
        return _held(KhqrHold.MISMATCHED, mismatched(details=difference), ask=True)
    return Booking(state=NoticeState.RECEIVED, hold=None, answer=None, ask=True)


def mismatched(*, details: str) -> Refusal:
    """Return the refusal of what contradicts the bill."""
    return Refusal(
        reason=_MISMATCHED, message="The payment does not match the bill", details=details
    )


def _difference(notice: KhqrNotice, bill: Bill) -> str:
    if notice.money is None:
        return "paid_amount: missing"
    if notice.money.currency is not bill.money.currency:
        return f"currency: billed {bill.money.currency.value}"
    if notice.money != bill.money:
        return f"paid_amount: billed {bill.money}, paid {notice.money}"
    return ""


def _held(hold: KhqrHold, answer: KhqrAnswer, *, ask: bool = False) -> Booking:
    return Booking(state=NoticeState.HELD, hold=hold, answer=answer, ask=ask)
