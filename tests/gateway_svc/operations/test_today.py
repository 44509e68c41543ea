"""Today, from midnight in Phnom Penh: what was collected, what waits, what came when."""

from datetime import UTC, datetime, timedelta

from chassis.http_client import HttpRequest, HttpResponse
from chassis.money import Currency
from gateway_svc.operations.today import midnight
from payments.gateway.v1 import operations_service_pb2 as pb
from payments.operations.v1 import operations_pb2
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import DOWN, told, usd
from tests.support.ledger import notice_for


async def _today(stage: Stage) -> pb.GetTodayResponse:
    stage.seconds += 60
    answer: pb.GetTodayResponse = await stage.ask("GetToday", pb.GetTodayRequest())
    return answer


async def _pays(stage: Stage, number: int, **changes: object) -> None:
    policy = f"P{number:09d}"
    bill = await stage.bill(policy=policy, **changes)
    await stage.confirmed(
        notice_for(bill, transaction_id=f"T{number}", policy_number=policy, received_at=stage.now)
    )


def test_a_day_begins_at_midnight_in_phnom_penh() -> None:
    assert midnight(datetime(2025, 10, 7, 17, 0, tzinfo=UTC)) == datetime(
        2025, 10, 7, 17, 0, tzinfo=UTC
    )
    assert midnight(datetime(2025, 10, 7, 16, 59, 59, tzinfo=UTC)) == datetime(
        2025, 10, 6, 17, 0, tzinfo=UTC
    )


async def test_an_empty_day_is_told_in_full(stage: Stage) -> None:
    today = await _today(stage)
    assert [(one.currency, one.amount.value, one.payments) for one in today.collected] == [
        ("USD", "0.00", 0),
        ("KHR", "0", 0),
    ]
    assert (today.payments, today.waiting, today.open_exceptions) == (0, 0, 0)
    assert not today.HasField("waiting_since")
    assert len(today.arrivals) == 288


async def test_collected_counts_this_day_and_each_currency_alone(stage: Stage) -> None:
    stage.now = datetime(2025, 10, 6, 16, 59, 59, tzinfo=UTC)  # a second before midnight there
    await _pays(stage, 1)
    stage.now += timedelta(seconds=1)
    await _pays(stage, 2)
    await _pays(stage, 3, amount="400000.00", currency=Currency.KHR)
    await _pays(stage, 4, amount="0.05")
    today = await _today(stage)
    assert [(one.currency, one.amount.value, one.payments) for one in today.collected] == [
        ("USD", "150.05", 2),
        ("KHR", "400000", 1),
    ]
    assert today.payments == 3
    assert (today.notices_confirmed, today.notices_ended) == (3, 3)


async def test_money_that_pays_nothing_is_a_payment_and_not_collected(stage: Stage) -> None:
    await _pays(stage, 1)
    await stage.tell(told(150001, received_at=stage.now))
    today = await _today(stage)
    assert (today.payments, today.collected[0].payments, today.open_exceptions) == (2, 1, 1)


async def test_what_ended_without_a_payment_is_no_success(stage: Stage) -> None:
    bill = await stage.bill()
    await stage.confirmed(notice_for(bill, money=usd(1), received_at=stage.now))
    await stage.tell(told(bill.bill_id, status="FAILED", received_at=stage.now))
    await stage.tell(told(bill.bill_id, status="PENDING", received_at=stage.now))
    today = await _today(stage)
    assert (today.notices_confirmed, today.notices_ended) == (0, 2)
    await stage.ended("notice-1", "VOID")
    today = await _today(stage)
    assert (today.notices_confirmed, today.notices_ended, today.open_exceptions) == (0, 2, 0)


async def test_what_waits_for_the_bank_is_told_with_the_oldest(stage: Stage) -> None:
    stage.bank.answers = [DOWN]
    for number in (1, 2):
        bill = await stage.bill(policy=f"P{number:09d}")
        await stage.tell(told(bill.bill_id, received_at=stage.now))
        stage.now += timedelta(minutes=1)
    today = await _today(stage)
    assert today.waiting == 2
    assert today.waiting_since.ToDatetime(tzinfo=UTC) == stage.now - timedelta(minutes=2)


async def test_arrivals_lie_in_their_five_minutes(stage: Stage) -> None:
    stage.now = datetime(2025, 10, 7, 5, 4, 59, 999999, tzinfo=UTC)
    await _pays(stage, 1)
    stage.now += timedelta(microseconds=1)
    await _pays(stage, 2)
    bill = await stage.bill(policy="P000000003")
    await stage.tell(told(bill.bill_id))
    stage.now += timedelta(hours=1)
    today = await _today(stage)
    arrived = {
        one.at.ToDatetime(tzinfo=UTC): (one.bill, one.khqr)
        for one in today.arrivals
        if one.bill or one.khqr
    }
    assert arrived == {
        datetime(2025, 10, 7, 5, 0, tzinfo=UTC): (1, 0),
        datetime(2025, 10, 7, 5, 5, tzinfo=UTC): (1, 1),
    }


async def test_latencies_are_those_of_what_was_called(stage: Stage) -> None:
    async def send(_request: HttpRequest) -> HttpResponse:
        stage.seconds += 0.2
        return HttpResponse(status=200, headers={}, body=b"")

    watched = stage.calls.watched(owner="AMK", endpoint="payment-verify", send=send)
    await watched(HttpRequest(method="GET", url="http://bank.example", timeout_s=1))
    today = await _today(stage)
    [latency] = today.latencies
    assert (latency.owner, latency.endpoint, latency.points[-1].calls) == (
        *("AMK", "payment-verify"),
        1,
    )
    assert [part.name for part in today.parts if part.health == operations_pb2.HEALTH_WORKING] == [
        *("relay", "AMK payment-verify")
    ]
