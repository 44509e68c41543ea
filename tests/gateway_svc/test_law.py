"""The law of the bill channel, decided on values alone.

| the notice                                        | answer | kept                     |
|---------------------------------------------------|--------|--------------------------|
| fits an open bill                                 | 200    | applied, others close    |
| is a repeat                                       | first answer | nothing            |
| same bank transaction id, other content           | 409    | HELD                     |
| differs from the bill                             | 409    | HELD                     |
| for an unknown bill, or another bank's            | 404    | HELD                     |
| for an obligation that is paid                    | 409    | HELD, no payment         |
| late, equal to the open bill                      | 200    | applied, late            |
| late, and nothing fits                            | 409    | HELD                     |
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from chassis.money import Currency, Money
from gateway_svc.law import Book, decide_billing, is_final
from gateway_svc.payment import (
    Bill,
    BillState,
    Confirmed,
    Decision,
    Hold,
    Notice,
    NoticeState,
    Obligation,
    Refusal,
)

NOW = datetime(2025, 10, 7, 5, 0, tzinfo=UTC)


def usd(hundredths: int) -> Money:
    return Money(hundredths=hundredths, currency=Currency.USD)


def bill(bill_id: int = 150001, **changes: object) -> Bill:
    base = Bill(
        bill_id=bill_id,
        bank_code="AMK",
        obligation_id=1,
        money=usd(15000),
        payer="John Doe",
        state=BillState.OPEN,
        looked_up_at=NOW,
        created_at=NOW,
        numbers=frozenset({"P123456789", "APP1234567"}),
    )
    return replace(base, **changes)  # type: ignore[arg-type] # a test's shorthand


def notice(**changes: object) -> Notice:
    base = Notice(
        bank_code="AMK",
        transaction_id="T1",
        bill_id=150001,
        policy_number="P123456789",
        money=usd(15000),
        payer="John Doe",
        paid_at=NOW,
        received_at=NOW,
        body_digest="d",
        subject="amk",
        request_id="r",
    )
    return replace(base, **changes)  # type: ignore[arg-type] # a test's shorthand


def book(*bills: Bill, paid: bool = False) -> Book:
    return Book(
        obligations={
            1: Obligation(
                obligation_id=1,
                policy_number="P123456789",
                due_on=date(2025, 11, 15),
                currency=Currency.USD,
                event_sequence=0,
                paid=paid,
            )
        },
        bills={one.bill_id: one for one in bills},
    )


def held_for(decision: Decision) -> tuple[Hold | None, str]:
    assert decision.state is NoticeState.HELD
    assert decision.settlement is None
    assert isinstance(decision.answer, Refusal)
    return decision.hold, decision.answer.reason


@pytest.mark.parametrize("number", ["P123456789", "APP1234567"])
def test_a_notice_that_fits_is_applied_by_policy_or_asked_number(number: str) -> None:
    decision = book(bill()).decide(notice(policy_number=number))
    assert decision.answer == Confirmed(transaction_id="T1", bill_id=150001)
    assert decision.state is NoticeState.DONE
    assert decision.settlement is not None
    assert decision.settlement.bill.bill_id == 150001
    assert not decision.flags


def test_a_payment_closes_the_obligations_other_open_bills() -> None:
    other = bill(150002, bank_code="XYZ")
    decision = book(bill(), other).decide(notice())
    assert decision.settlement is not None
    assert decision.settlement.closed == (other,)


def test_a_repeat_is_answered_as_the_first_whoever_paid_and_whenever() -> None:
    ledger = book(bill())
    first = ledger.decide(notice())
    again = ledger.decide(notice(payer="Someone Else", paid_at=NOW + timedelta(hours=1)))
    assert again.replayed
    assert again.answer == first.answer
    assert again.settlement is None


@pytest.mark.parametrize(
    "change",
    [
        {"bill_id": 150002},
        {"policy_number": "APP1234567"},
        {"money": usd(15001)},
        {"money": Money(hundredths=15000, currency=Currency.KHR)},
    ],
)
def test_the_same_transaction_with_other_content_is_held(change: dict[str, object]) -> None:
    ledger = book(bill())
    ledger.decide(notice())
    decision = ledger.decide(notice(**change))
    assert held_for(decision) == (Hold.CONTRADICTS, "PAYMENT_VERIFICATION_DATA_MISMATCHED")
    assert decision.contradicts
    assert ledger.decide(notice(**change)).replayed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"money": usd(14999)}, "amount"),
        ({"money": Money(hundredths=15000, currency=Currency.KHR)}, "currency"),
        ({"policy_number": "P999999999"}, "policyNumber"),
    ],
)
def test_a_notice_that_differs_from_its_bill_is_held(change: dict[str, object], named: str) -> None:
    decision = book(bill()).decide(notice(**change))
    assert held_for(decision) == (Hold.MISMATCHED, "PAYMENT_VERIFICATION_DATA_MISMATCHED")
    assert isinstance(decision.answer, Refusal)
    assert decision.answer.details.startswith(named)


@pytest.mark.parametrize("change", [{"bill_id": 999}, {"bank_code": "XYZ"}])
def test_an_unknown_bill_or_another_banks_is_not_found(change: dict[str, object]) -> None:
    decision = book(bill()).decide(notice(**change))
    assert held_for(decision) == (Hold.UNKNOWN_BILL, "RESOURCE_NOT_FOUND")
    assert not is_final(decision.answer)


def test_a_second_transfer_for_a_paid_obligation_is_held_without_a_payment() -> None:
    ledger = book(bill())
    ledger.decide(notice())
    decision = ledger.decide(notice(transaction_id="T2"))
    assert held_for(decision) == (Hold.ALREADY_PAID, "PAYMENT_VERIFICATION_DATA_MISMATCHED")


def test_a_late_payment_equal_to_the_open_bill_is_applied_to_the_bill_it_equals() -> None:
    closed, today = bill(state=BillState.CLOSED), bill(150003)
    decision = book(closed, today).decide(notice())
    assert decision.settlement is not None
    assert decision.settlement.late
    assert decision.settlement.bill is closed
    assert decision.settlement.closed == (today,)
    assert decision.flags == ("late",)


def test_a_late_payment_of_todays_amount_pays_todays_bill() -> None:
    closed, today = bill(state=BillState.CLOSED), bill(150002, money=usd(18000))
    decision = book(closed, today).decide(notice(money=usd(18000)))
    assert decision.settlement is not None
    assert decision.settlement.bill is today
    assert decision.settlement.closed == ()
    assert decision.answer == Confirmed(transaction_id="T1", bill_id=150001)


def test_a_late_payment_of_yesterdays_amount_is_held() -> None:
    decision = book(bill(state=BillState.CLOSED), bill(150002, money=usd(18000))).decide(notice())
    assert held_for(decision) == (Hold.BILL_CLOSED, "PAYMENT_VERIFICATION_DATA_MISMATCHED")


@pytest.mark.parametrize(
    ("paid_at", "flag"),
    [
        (NOW + timedelta(seconds=1), "paid_in_future"),
        (NOW - timedelta(seconds=1), "paid_before_bill"),
    ],
)
def test_an_odd_time_is_accepted_and_flagged(paid_at: datetime, flag: str) -> None:
    decision = book(bill()).decide(notice(paid_at=paid_at))
    assert isinstance(decision.answer, Confirmed)
    assert decision.flags == (flag,)


LATER, EARLIER = NOW + timedelta(seconds=1), NOW - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("open_bill", "money", "looked_up_at", "shown", "closes", "affirms"),
    [
        (None, 15000, NOW, None, None, False),  # the first bill
        (bill(), 15000, LATER, 150001, None, True),  # the same amount keeps its bill
        (bill(), 15000, EARLIER, 150001, None, False),
        (bill(), 18000, LATER, None, 150001, False),  # a newer amount replaces it
        (bill(), 18000, EARLIER, 150001, None, False),  # an older look-up does not
        (bill(), 18000, NOW, 150001, None, False),
    ],
)
def test_an_inquiry_shows_the_bill_of_the_latest_look_up(
    open_bill: Bill | None,
    money: int,
    looked_up_at: datetime,
    shown: int | None,
    closes: int | None,
    affirms: bool,
) -> None:
    billing = decide_billing(open_bill=open_bill, money=usd(money), looked_up_at=looked_up_at)
    assert (billing.bill.bill_id if billing.bill else None) == shown
    assert (billing.closes.bill_id if billing.closes else None) == closes
    assert billing.affirms is affirms
