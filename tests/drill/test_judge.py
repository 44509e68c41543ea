"""The judge of a drill sees what it must: one planted fault of each kind, and no other word.

| planted | promise |
|---------|---------|
| an acknowledged payment that is not in the database, or otherwise | 1 |
| two applications of an obligation, two payments of a transfer | 2 |
| KHQR money that the bank never moved, or moved otherwise | 3 |
| a success event missing, twice, with other bytes, out of order, parked, undelivered | 4 |
| an event that was never committed, or otherwise; success without an application | 5 |
| a final state that was left; sums that differ | 6 |
| a claim without an answer; a transfer that nobody found | 7 |
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

from tests.drill.books import Books, Move, OutboxRow, PaymentRow
from tests.drill.judge import judged
from tests.drill.kafka_log import Delivery
from tests.drill.ledger import Claim
from tests.drill.sandbox_desk import Transfer

_TOPICS = [f"drill.gateway.payment.{name}" for name in ("confirmed", "success")]
_CONFIRMED = b'{"success":true,"data":{"status":"CONFIRMED"}}'


@dataclass
class _Drill:
    """What a drill leaves: one bill payment and one KHQR payment, both settled."""

    claims: list[Claim] = field(default_factory=list)
    transfers: list[Transfer] = field(default_factory=list)
    payments: list[PaymentRow] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    journal: list[Move] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    def verdict(self) -> list[str]:
        return judged(
            claims=self.claims,
            transfers=self.transfers,
            books=Books(payments=self.payments, outbox=self.outbox, journal=self.journal),
            deliveries=self.deliveries,
        )


def _payment(drill: _Drill, *, number: str, channel: str, obligation: int) -> None:
    bill, amount = 150_000 + obligation, Decimal("1.50")
    drill.payments.append(
        PaymentRow(
            transaction_id=number,
            channel=channel,
            bill_id=bill,
            amount=amount,
            currency="USD",
            state="APPLIED",
            billed=(amount, "USD"),
            policy=f"D{obligation}",
            obligation_id=obligation,
            applied_to=obligation,
        )
    )
    drill.claims.append(
        Claim(
            channel=channel,
            policy=f"D{obligation}",
            bill_id=bill,
            amount=amount,
            currency="USD",
            transaction_id=number if channel == "BILL" else "",
            body=b"",
            final_status=200,
            final_body=_CONFIRMED,
            finished=True,
        )
    )
    if channel == "KHQR":
        drill.transfers.append(Transfer(number=number, bill_id=bill, amount=amount, currency="USD"))
    for place, topic in enumerate(_TOPICS):
        value = json.dumps(
            {
                "eventId": f"{number}-{place}",
                "transactionId": number,
                "sequence": place + 1,
                "dueOn": "2027-06-30",
                "amount": "1.50",
                "currency": "USD",
            }
        ).encode()
        drill.outbox.append(
            OutboxRow(
                event_id=f"{number}-{place}",
                topic=topic,
                key=f"D{obligation}",
                value=value,
                published=True,
                parked=False,
            )
        )
        drill.deliveries.append(
            Delivery(
                topic=topic,
                key=f"D{obligation}",
                value=value,
                appended_at=0.0,
                partition=0,
                offset=len(drill.deliveries),
            )
        )


def _good() -> _Drill:
    drill = _Drill()
    _payment(drill, number="T1", channel="BILL", obligation=1)
    _payment(drill, number="AMK1", channel="KHQR", obligation=2)
    drill.journal.append(
        Move(entity="bills", entity_id=150_001, from_state="OPEN", to_state="PAID")
    )
    return drill


def _lose(drill: _Drill) -> None:
    del drill.payments[0]


def _record_another_amount(drill: _Drill) -> None:
    drill.payments[0] = replace(drill.payments[0], amount=Decimal("2.50"))


def _lose_khqr(drill: _Drill) -> None:
    del drill.payments[1]


def _apply_twice(drill: _Drill) -> None:
    drill.payments[1] = replace(drill.payments[1], applied_to=1)


def _pay_twice(drill: _Drill) -> None:
    drill.payments.append(drill.payments[0])


def _apply_without_application(drill: _Drill) -> None:
    drill.payments[0] = replace(drill.payments[0], applied_to=None)


def _no_transfer(drill: _Drill) -> None:
    drill.transfers.clear()


def _other_transfer(drill: _Drill) -> None:
    drill.transfers[0] = replace(drill.transfers[0], bill_id=1)


def _differs_from_bill(drill: _Drill) -> None:
    drill.payments[0] = replace(drill.payments[0], billed=(Decimal(9), "USD"))


def _success_missing(drill: _Drill) -> None:
    del drill.deliveries[1]


def _success_twice(drill: _Drill) -> None:
    other = drill.deliveries[1].value.replace(b"T1-1", b"T1-9")
    drill.outbox.append(replace(drill.outbox[1], event_id="T1-9", value=other))
    drill.deliveries.append(replace(drill.deliveries[1], value=other))


def _other_bytes(drill: _Drill) -> None:
    one = drill.deliveries[0]
    drill.deliveries.append(replace(one, value=one.value.replace(b"1.50", b"1.51")))


def _out_of_order(drill: _Drill) -> None:
    later = drill.deliveries[0].value.replace(b'"sequence": 1', b'"sequence": 3')
    later = later.replace(b"T1-0", b"T1-8")
    drill.outbox.append(replace(drill.outbox[0], event_id="T1-8", value=later))
    drill.deliveries.insert(0, replace(drill.deliveries[0], value=later))


def _parked(drill: _Drill) -> None:
    drill.outbox[0] = replace(drill.outbox[0], parked=True)


def _undelivered(drill: _Drill) -> None:
    del drill.deliveries[0]


def _never_committed(drill: _Drill) -> None:
    del drill.outbox[0]


def _committed_otherwise(drill: _Drill) -> None:
    drill.outbox[0] = replace(drill.outbox[0], key="D9")


def _success_without_application(drill: _Drill) -> None:
    drill.payments[1] = replace(drill.payments[1], state="UNAPPLIED", applied_to=None)


def _left_a_final_state(drill: _Drill) -> None:
    drill.journal.append(
        Move(entity="bills", entity_id=150_001, from_state="PAID", to_state="OPEN")
    )


def _bank_moved_more(drill: _Drill) -> None:
    drill.transfers.append(replace(drill.transfers[0], number="AMK2"))


def _unanswered(drill: _Drill) -> None:
    drill.claims[0].finished = False


_PLANTED: list[tuple[Callable[[_Drill], None], str]] = [
    (_lose, "1: BILL T1: acknowledged, no payment"),
    (_record_another_amount, "1: BILL T1: acknowledged, recorded as"),
    (_lose_khqr, "1: KHQR 150002: acknowledged, no payment"),
    (_apply_twice, "2: obligation 1 has 2 applications"),
    (_pay_twice, "2: transfer T1 has 2 payments"),
    (_apply_without_application, "2: payment T1 is APPLIED, applied to None"),
    (_no_transfer, "3: payment AMK1: the bank says None"),
    (_other_transfer, "3: payment AMK1: the bank says (1,"),
    (_differs_from_bill, "3: payment T1 differs from its bill"),
    (_success_missing, "4: application of T1: no success event was delivered"),
    (_success_twice, "4: application of T1: 2 success events"),
    (_other_bytes, "4: event T1-0 was delivered with 2 different values"),
    (_out_of_order, "4: drill.gateway.payment.confirmed D1: sequence [3, 1]"),
    (_parked, "4: event T1-0 is parked"),
    (_undelivered, "4: event T1-0 (drill.gateway.payment.confirmed) was never delivered"),
    (_never_committed, "5: event T1-0 was delivered and never committed"),
    (_committed_otherwise, "5: event T1-0 was delivered otherwise than committed"),
    (_success_without_application, "5: success event of AMK1: there is no application"),
    (_left_a_final_state, "6: bills 150001 left PAID for OPEN"),
    (_bank_moved_more, "6: the bank moved"),
    (_bank_moved_more, "7: transfer AMK2 of bill 150002 was never found"),
    (_unanswered, "7: BILL T1: no final answer"),
]


def test_a_good_drill_breaks_no_promise() -> None:
    assert _good().verdict() == []


@pytest.mark.parametrize(
    ("plant", "expected"), _PLANTED, ids=[f"{plant.__name__} {text[0]}" for plant, text in _PLANTED]
)
def test_a_planted_fault_is_seen(plant: Callable[[_Drill], None], expected: str) -> None:
    drill = _good()
    plant(drill)
    assert [one for one in drill.verdict() if one.startswith(expected)]
