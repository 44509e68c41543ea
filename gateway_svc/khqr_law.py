"""The law of a KHQR payment: a claim is believed only if the bank itself vouches for it. Pure."""

from datetime import datetime, timedelta

from gateway_svc.khqr_booking import mismatched
from gateway_svc.payment import Bill, BillState, NoticeState, PaymentState, Refusal
from gateway_svc.verification import (
    Acknowledged,
    Case,
    CaseDecision,
    Finding,
    KhqrHold,
    KnownPayment,
    NewPayment,
    NoticeChange,
    OpenNotice,
    Unanswered,
    Verification,
    khqr_transaction_id,
)

# An answer is recorded or lost within seconds: no notice comes hours after the question.
_LONGEST_QUESTION = timedelta(hours=2)
_GIVE_UP_AFTER = timedelta(hours=24)  # a bank that has not said "paid" by then never will


def decide_case(*, case: Case, finding: Finding, now: datetime) -> CaseDecision:
    """Return what the bank's word, or its silence, comes to for a bill and its notices."""
    if isinstance(finding, Unanswered):
        refusal = Refusal(reason=finding.reason, message=finding.message, details="")
        return _waiting(case, finding, refusal, now, gives_up=False)
    if finding.foreign:
        return _contradicted(case, finding, finding.foreign)
    if not finding.paid:
        refusal = Refusal(
            reason="TRANSACTION_VERIFY_FAILED",
            message="The bank does not confirm this transaction",
            details=f"invoice_number: {case.bill.bill_id}",
        )
        return _waiting(case, finding, refusal, now, gives_up=True)
    return _vouched_for(case, finding, now)


def _vouched_for(case: Case, finding: Verification, now: datetime) -> CaseDecision:
    known, conflict = _spoken_of(case, finding)
    if conflict:
        return _contradicted(case, finding, conflict)
    payment = None if known else _new_payment(case, finding, now)
    if finding.money != case.bill.money:
        difference = f"verified: {finding.money}, billed: {case.bill.money}"
        changes = tuple(_differing(one, difference) for one in case.notices)
    else:
        changes = _told_changes(case, finding, payment, known)
    return CaseDecision(case=case, finding=finding, payment=payment, known=known, changes=changes)


def _spoken_of(case: Case, finding: Verification) -> tuple[KnownPayment | None, str]:
    """Return the payment on disk that the bank speaks of, or what cannot be reconciled.

    A payment is known by the number the bank names. Where it names none, or did not before,
    the bill's payment of the same amount is meant. One number never stands for two amounts or
    two bills: what looks so is for a person, neither a new payment nor a confirmation.
    """
    own_number = khqr_transaction_id(bank_code=case.bill.bank_code, bill_id=case.bill.bill_id)
    number = finding.transaction_id or own_number
    exact = next((one for one in case.payments if one.transaction_id == number), None)
    if exact is not None:
        if not exact.of_this_bill:
            return None, "verified: a transaction that paid another bill"
        if exact.money != finding.money:
            return None, f"verified: {finding.money}, before: {exact.money}"
        return exact, ""
    alike = [one for one in case.payments if one.vouched_for and one.money == finding.money]
    if finding.transaction_id is None:
        return next(iter(alike), None), ""
    unnamed = next((one for one in alike if one.transaction_id == own_number), None)
    if unnamed is not None and _may_be_same(unnamed.paid_at, finding.paid_at):
        return unnamed, ""
    return None, ""


def _may_be_same(one: datetime, other: datetime | None) -> bool:
    return other is None or _same_second(one, other)


def _contradicted(case: Case, finding: Verification, difference: str) -> CaseDecision:
    return CaseDecision(
        case=case,
        finding=finding,
        payment=None,
        known=None,
        changes=tuple(_differing(one, difference) for one in case.notices),
    )


def _new_payment(case: Case, finding: Verification, now: datetime) -> NewPayment:
    if finding.money is None:
        raise ValueError("a verification that says paid names an amount")
    bill, late = case.bill, False
    pays: Bill | None = None
    closes: tuple[Bill, ...] = ()
    # What people send back must not pay as well: a person finds out whether this is that money.
    if finding.money == bill.money and not case.obligation.paid and not case.sent_back:
        if bill.state is BillState.OPEN:
            pays, closes = bill, case.other_open_bills
        elif case.open_bill is not None and case.open_bill.money == finding.money:
            # Today's amount on yesterday's bill: paid by its own bill, the open one closes.
            pays, late = bill, True
            closes = (*case.other_open_bills, case.open_bill)
    return NewPayment(
        transaction_id=finding.transaction_id
        or khqr_transaction_id(bank_code=bill.bank_code, bill_id=bill.bill_id),
        money=finding.money,
        paid_at=finding.paid_at or now,
        applied_to=pays,
        noted_bill=bill if pays is None and finding.money == bill.money else None,
        closes=closes,
        late=late,
    )


def _told_changes(
    case: Case, finding: Verification, payment: NewPayment | None, known: KnownPayment | None
) -> tuple[NoticeChange, ...]:
    """Return what each notice comes to when the bank vouches for the billed amount."""
    applied = (
        payment.applied_to is not None
        if payment is not None
        else known is not None and known.state is PaymentState.APPLIED
    )
    first_told = known.told_paid_at if known else None
    changes = []
    for notice in sorted(case.notices, key=lambda one: one.notice_id):
        if notice.state is NoticeState.HELD:
            changes.append(_held_before(notice, applied=applied))
        elif first_told is None or _same_second(notice.paid_at, first_told):
            first_told = first_told or notice.paid_at
            changes.append(_first_told(case, notice, applied=applied, is_new=payment is not None))
        elif _was_told_before(notice, finding):
            changes.append(_told_again(case, notice, applied=applied))
        # Told after the bank was asked: it is asked again, it may know another transfer by then.
    return tuple(changes)


def _was_told_before(notice: OpenNotice, finding: Verification) -> bool:
    """Tell whether the notice came before the bank was asked, or by a clock that ran ahead."""
    return not finding.asked_at < notice.received_at <= finding.asked_at + _LONGEST_QUESTION


def _first_told(case: Case, notice: OpenNotice, *, applied: bool, is_new: bool) -> NoticeChange:
    """Settle the notice that told of the payment first.

    Money that is settled at the bank is taken; what it pays, if not this bill, a person finds.
    """
    hold = None
    if is_new and not applied:
        hold = KhqrHold.ALREADY_PAID if case.obligation.paid else KhqrHold.BILL_CLOSED
    return NoticeChange(
        notice=notice,
        state=NoticeState.HELD if hold else NoticeState.DONE,
        hold=hold,
        answer=_taken(case, applied=applied),
        ask_again=False,
        settled_by_payment=True,
    )


def _told_again(case: Case, notice: OpenNotice, *, applied: bool) -> NoticeChange:
    """Hold a notice of another second where the bank names no other transfer."""
    return NoticeChange(
        notice=notice,
        state=NoticeState.HELD,
        hold=KhqrHold.POSSIBLE_SECOND_TRANSFER,
        answer=_taken(case, applied=applied),
        ask_again=False,
        settled_by_payment=False,
    )


def _held_before(notice: OpenNotice, *, applied: bool) -> NoticeChange:
    """Settle a mismatched notice whose bill the bank vouches for after all; its 409 stays."""
    return NoticeChange(
        notice=notice,
        state=NoticeState.DONE if applied else NoticeState.HELD,
        hold=None if applied else KhqrHold(notice.hold or KhqrHold.MISMATCHED),
        answer=None,
        ask_again=False,
        settled_by_payment=applied,
    )


def _differing(notice: OpenNotice, difference: str) -> NoticeChange:
    held = notice.state is NoticeState.HELD
    return NoticeChange(
        notice=notice,
        state=NoticeState.HELD,
        hold=KhqrHold(notice.hold) if held and notice.hold else KhqrHold.VERIFICATION_DIFFERS,
        answer=None if held else mismatched(details=difference),
        ask_again=False,
        settled_by_payment=False,
    )


def _waiting(
    case: Case, finding: Finding, refusal: Refusal, now: datetime, *, gives_up: bool
) -> CaseDecision:
    changes = []
    for notice in case.notices:
        over = gives_up and now - notice.received_at >= _GIVE_UP_AFTER
        held = notice.state is NoticeState.HELD
        hold = KhqrHold(notice.hold) if held and notice.hold else None
        if over and not held:
            hold = KhqrHold.NEVER_VERIFIED
        changes.append(
            NoticeChange(
                notice=notice,
                state=NoticeState.HELD if hold else NoticeState.VERIFYING,
                hold=hold,
                answer=None if held else refusal,
                ask_again=not over,
                settled_by_payment=False,
            )
        )
    return CaseDecision(
        case=case, finding=finding, payment=None, known=None, changes=tuple(changes)
    )


def _same_second(one: datetime | None, other: datetime) -> bool:
    return one is not None and one.replace(microsecond=0) == other.replace(microsecond=0)


def _taken(case: Case, *, applied: bool) -> Acknowledged:
    """Return CONFIRMED only where the premium is paid, else RECEIVED."""
    return Acknowledged(
        status="CONFIRMED" if applied or case.obligation.paid else "RECEIVED",
        transaction_id=khqr_transaction_id(
            bank_code=case.bill.bank_code, bill_id=case.bill.bill_id
        ),
    )
