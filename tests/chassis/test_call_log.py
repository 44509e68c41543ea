"""What a process remembers of its calls.

| calls                          | remembered                                        |
|--------------------------------|---------------------------------------------------|
| none                           | a day of empty stretches, nobody knows            |
| answered                       | working; quantiles within ten per cent            |
| one or two not answered        | strained                                          |
| three in a row                 | down, since the third                             |
| more than a day ago            | forgotten                                         |
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from chassis.call_log import STRETCHES, Answers, CallLog, EndpointLog
from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse

NOON = datetime(2025, 10, 7, 12, 2, tzinfo=UTC)
REQUEST = HttpRequest(method="GET", url="http://bank.example", timeout_s=2)


def log() -> EndpointLog:
    return EndpointLog(owner="AMK", endpoint="verify", part="AMK verify")


def test_nobody_knows_of_an_endpoint_that_was_never_called() -> None:
    one = log()
    day = one.day(now=NOON)
    assert (one.answers, one.since, len(day)) == (Answers.UNKNOWN, None, STRETCHES)
    assert {stretch.calls for stretch in day} == {0}
    assert day[-1].at == datetime(2025, 10, 7, 12, 0, tzinfo=UTC)
    assert day[0].at == day[-1].at - timedelta(minutes=5) * (STRETCHES - 1)


def test_quantiles_are_right_within_ten_per_cent() -> None:
    one = log()
    for number in range(1, 101):
        one.ended(at=NOON, elapsed_s=number / 1000, failure="")
    last = one.day(now=NOON)[-1]
    assert last.calls == 100
    assert last.p50_ms == pytest.approx(50, rel=0.1, abs=1)
    assert last.p95_ms == pytest.approx(95, rel=0.1, abs=1)


@pytest.mark.parametrize("elapsed_s", [0.0, 0.0001, 60.0, 3600.0])
def test_any_length_has_a_place(elapsed_s: float) -> None:
    one = log()
    one.ended(at=NOON, elapsed_s=elapsed_s, failure="")
    assert one.day(now=NOON)[-1].p50_ms in range(1, 66_001)


def test_three_failures_in_a_row_are_down_and_an_answer_mends_it() -> None:
    one, seen = log(), []
    for second, failure in enumerate(("", "refused", "refused", "refused", "refused", "")):
        one.ended(at=NOON + timedelta(seconds=second), elapsed_s=0.1, failure=failure)
        seen.append((one.answers, one.since, one.why))
    assert [answers for answers, _, _ in seen] == [
        *(Answers.WORKING, Answers.STRAINED, Answers.STRAINED),
        *(Answers.DOWN, Answers.DOWN, Answers.WORKING),
    ]
    assert seen[4][1:] == (NOON + timedelta(seconds=3), "refused")
    assert seen[5][2] == ""


def test_a_day_is_kept_and_no_more() -> None:
    one = log()
    for number in range(STRETCHES + 10):
        one.ended(at=NOON + timedelta(minutes=5 * number), elapsed_s=0.1, failure="")
    end = NOON + timedelta(minutes=5 * (STRETCHES + 9))
    assert sum(stretch.calls for stretch in one.day(now=end)) == STRETCHES
    assert len(one._stretches) == STRETCHES


class Wire:
    def __init__(self, outcome: HttpResponse | BaseException) -> None:
        self.outcome = outcome
        self.seconds = 0.0

    async def send(self, _request: HttpRequest) -> HttpResponse:
        self.seconds += 0.25
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (HttpResponse(status=200, headers={}, body=b""), ""),
        (HttpResponse(status=404, headers={}, body=b""), ""),
        (HttpResponse(status=503, headers={}, body=b""), "answered 503"),
        (ExchangeFailed(why="connection refused", sent=False), "connection refused"),
        (asyncio.CancelledError(), "no answer came in time"),
    ],
)
async def test_a_watched_call_is_kept_whatever_becomes_of_it(
    outcome: HttpResponse | BaseException, why: str
) -> None:
    wire = Wire(outcome)
    calls = CallLog(clock=lambda: NOON, timer=lambda: wire.seconds)
    send = calls.watched(owner="AMK", endpoint="verify", send=wire.send)
    if isinstance(outcome, BaseException):
        with pytest.raises(type(outcome)):
            await send(REQUEST)
    else:
        assert await send(REQUEST) is outcome
    [one] = calls.endpoints
    last = one.day(now=NOON)[-1]
    assert (one.part, one.why, last.calls) == ("AMK verify", why, 1)
    assert last.p50_ms == pytest.approx(250, rel=0.1)
