"""Each alert, driven by what really happens: the sandbox in a mood, Kafka away, a clock ahead.

Between two scrapes of one running system something happens; promtool lets that go on for half
an hour and says which alerts fire: those of the table, and no other.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from chassis.delivery import PublishFailed
from tests.deploy.stage import Scrape, Stage, series_between, staged
from tests.support.metrics import ROOT
from tests.support.promtool import case, hold, needs_promtool

RULES = ROOT / "deploy/prometheus/alerts.yml"
GOOD_CODE = "P100000003"
MANY = 30  # good calls beside a bad one, where a bad one alone is another alert too


async def _calm(stage: Stage) -> None:
    assert await stage.pay_bill(await stage.due("P123456789")) == 200
    assert await stage.pay_code("P100000004") == 200
    assert (await stage.system.get("/AMK/payments?query=P000000000")).status == 404
    assert (await stage.system.get("/nothing/here")).status == 404
    await stage.all_published()


async def _sign_in_refused(stage: Stage) -> None:
    await stage.system.operate("/sandbox/faults/sign-in-401/on")
    assert await stage.show_code(GOOD_CODE) == 502
    await stage.system.operate("/sandbox/faults/sign-in-401/off")


async def _many_good_codes(stage: Stage) -> None:
    for _ in range(MANY):
        assert await stage.show_code(GOOD_CODE) == 200


async def _wrong_code(stage: Stage) -> None:
    await _many_good_codes(stage)
    assert await stage.show_code("P900000014") == 502


async def _slow_generator(stage: Stage) -> None:
    await _many_good_codes(stage)
    assert await stage.show_code("P900000013") == 503


async def _broken_generator(stage: Stage) -> None:
    assert await stage.show_code("P900000011") == 503


async def _many_good_payments(stage: Stage) -> None:
    bill = await stage.due("P100000002")
    assert await stage.pay_bill(bill) == 200
    await stage.repeat_bill(bill, times=MANY)


async def _verify_fails(stage: Stage) -> None:
    await _many_good_payments(stage)
    assert await stage.pay_code("P900000003") == 503


async def _verify_is_html(stage: Stage) -> None:
    assert await stage.pay_code("P900000004") == 502


async def _wrong_amount(stage: Stage) -> None:
    bill = await stage.due(GOOD_CODE)
    assert await stage.pay_bill(bill, amount="1.00") == 409


async def _nothing(stage: Stage) -> None:
    assert await stage.system.gateway.probe_once()
    async with asyncio.timeout(10):
        while not await stage.system.khqr.probe_once():  # noqa: ASYNC110 - health travels
            await asyncio.sleep(0.05)


def _later(**length: float) -> Callable[[Stage], Awaitable[None]]:
    async def move(stage: Stage) -> None:
        stage.clock.ahead = timedelta(**length)

    return move


async def _kafka_away(stage: Stage) -> None:
    stage.kafka.down = PublishFailed(error="away")
    assert await stage.show_code("P100000005") == 200
    assert await stage.settles(
        "SELECT count(*) FROM outbox WHERE published_at IS NULL AND attempts > 0", 1
    )
    stage.clock.ahead = timedelta(minutes=3)


async def _event_too_large(stage: Stage) -> None:
    stage.kafka.down = PublishFailed(error="too large", poison=True)
    assert await stage.show_code("P100000007") == 200
    await stage.all_published()


async def _taken_back(stage: Stage) -> None:
    bill = await stage.due(GOOD_CODE)
    assert await stage.tell(bill, status="REVERSED") == 200


async def _clock_a_day_behind(stage: Stage) -> None:
    bill = await stage.due("P100000008")
    assert await stage.show_code("P100000008") == 200
    stage.clock.ahead = timedelta(hours=-25)
    assert await stage.tell(bill) == 502  # the bank refuses a question of yesterday
    stage.clock.ahead = timedelta()


async def _asked_today(stage: Stage) -> None:
    assert await stage.system.gateway.completer.run_once()


async def _bank_falls_silent(stage: Stage) -> None:
    [(bill_id, cents)] = await stage.system.rows(
        "SELECT b.id, b.amount_hundredths FROM bills b JOIN bill_numbers n ON n.bill_id = b.id"
        " WHERE n.number = 'P900000003'"
    )
    bill = {"id": bill_id, "amount": f"{cents / 100:.2f}", "currency": "USD"}
    for _ in range(8):
        assert await stage.tell(bill) == 503


async def _full(stage: Stage) -> None:
    admission = stage.system.bridge.admission
    async with AsyncExitStack() as places:
        for number in range(256):
            kind = f"test.{number % 4}"
            turn = admission.turn(kind=kind, vital=True, ends_at_s=float("inf"))
            await places.enter_async_context(turn)
        assert await stage.pay_bill({"id": 1, "policyNumber": "P123456789", "amount": "1.00",
                                     "currency": "USD"}) == 503  # fmt: skip


async def _gateway_not_ready(stage: Stage) -> None:
    await stage.system.gateway._server.set_serving(serving=False)
    assert not await stage.system.khqr.probe_once()


async def _khqr_gone(stage: Stage) -> None:
    await stage.servers["khqr"][0].close()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens, and what fires."""

    happens: Callable[[Stage], Awaitable[None]]
    fires: frozenset[str] = frozenset()
    stays: bool = False  # it waits for a person: everything after it sees it too
    measured: bool = True


def _fires(happens: Callable[[Stage], Awaitable[None]], *alerts: str) -> Scenario:
    return Scenario(happens=happens, fires=frozenset(alerts))


SCENARIOS = {
    "our login is refused": _fires(
        _sign_in_refused, "BankSignInRefused", "CodesRefused", "InquiriesFail"
    ),
    "payments and questions as every day": _fires(_calm),
    "a code asks for another amount": _fires(_wrong_code, "CodesRefused"),
    "the generator takes three seconds": _fires(_slow_generator, "BankSlow"),
    "the generator answers 500": _fires(_broken_generator, "InquiriesFail"),
    "payment-verify answers 500": _fires(_verify_fails, "PaymentsFail"),
    "payment-verify answers with a page": _fires(
        _verify_is_html, "BankAnswersUnreadable", "PaymentsFail", "PaymentSuccessRateLow"
    ),
    "a notice names another amount": _fires(_wrong_amount, "PaymentSuccessRateLow"),
    "an hour later": _fires(_later(hours=1), "VerificationWaits"),
    "nine hours later": _fires(_later(hours=9), "VerificationWaits", "ExceptionsWait"),
    "back in the present": _fires(_later(hours=0)),
    "Kafka is away": _fires(_kafka_away, "EventsLag", "EventsFail"),
    "Kafka will never take an event": replace(_fires(_event_too_large, "EventParked"), stays=True),
    "a payment is reversed": replace(_fires(_taken_back, "MoneyTakenBack"), stays=True),
    "a payment is told of by a clock that is a day behind": _fires(
        _clock_a_day_behind,
        "BankAnswersUnreadable",
        "PaymentsFail",
        "PaymentSuccessRateLow",
        "VerificationWaits",
    ),
    "and a day later the bank says that it was not paid": replace(
        _fires(_asked_today, "PaymentNeverVerified", "ExceptionsWait", "BankAnswersUnreadable"),
        stays=True,
    ),
    "the bank fails whoever asks": _fires(
        _bank_falls_silent, "BankBreakerOpen", "PaymentsFail", "PaymentSuccessRateLow"
    ),
    "the bridge is full": _fires(_full, "WebhooksShed"),
    "the gateway says that it is not ready": _fires(_gateway_not_ready, "ServiceNotReady"),
    "nobody measures": replace(_fires(_nothing, "MeasurementsStale"), measured=False),
    "a service is gone": _fires(_khqr_gone, "ServiceDown"),
}
_STANDING = {"BankAnswersUnreadable"}  # a counter of that one scenario, not a thing that waits


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The scrapes around a scenario, and all that must fire by then."""

    before: Scrape
    after: Scrape
    fires: frozenset[str]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Play every scenario, one after the other, on one system."""
    return asyncio.run(_played(tmp_path_factory))


async def _played(folders: pytest.TempPathFactory) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    standing: set[str] = set()
    async with staged(folder=folders.mktemp("stage")) as stage:
        for name, scenario in SCENARIOS.items():
            before = await stage.scrape(measured=scenario.measured)
            await scenario.happens(stage)
            after = await stage.scrape(measured=scenario.measured)
            fires = scenario.fires | standing | _of_the_breaker(after)
            found[name] = Seen(before=before, after=after, fires=frozenset(fires))
            if scenario.stays:
                standing |= scenario.fires - _STANDING
            stage.kafka.down = None
            if name == "Kafka is away":
                stage.clock.ahead = timedelta()
                await stage.all_published()
    return found


def _of_the_breaker(after: Scrape) -> set[str]:
    """Return its alert while it is open: it stays so for fifteen seconds."""
    is_open = 'outbound_breaker_state{endpoint="payment-verify",peer="AMK",state="open"} 1.0'
    return {"BankBreakerOpen"} if is_open in (after["gateway"] or "") else set()


@needs_promtool
@pytest.mark.parametrize("name", SCENARIOS)
def test_it_fires_what_the_table_says(
    name: str, seen: dict[str, Seen], tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = seen[name]
    hold(
        rules=RULES,
        case=case(
            name=name, series=series_between(one.before, one.after), at="29m", firing=one.fires
        ),
        folder=tmp_path_factory.mktemp("case"),
    )


def test_every_alert_has_a_scenario() -> None:
    alerts = {
        line.split(":")[1].strip()
        for line in RULES.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith("- alert:")
    }
    driven = frozenset[str]().union(*(one.fires for one in SCENARIOS.values()))
    assert driven == alerts
