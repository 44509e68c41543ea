"""How calls to others went lately, kept in memory: a day of latencies, and whether they answer.

A stretch of five minutes keeps how many calls took how long in steps of ten per cent, so its
size does not grow with the calls: at most 120 counters for anything from a millisecond to a
minute. A day is 288 stretches for each endpoint.
"""

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send

STRETCH = timedelta(minutes=5)
STRETCHES = 288  # a day
_STEP = 1.1
_LONGEST_MS = 60_000
_LAST_STEP = math.ceil(math.log(_LONGEST_MS, _STEP))
_SERVER_ERROR = 500
_DOWN_AFTER = 3  # failures in a row


class Answers(StrEnum):
    """Whether an endpoint answers."""

    UNKNOWN = "unknown"  # nobody asked it yet
    WORKING = "working"  # it answered the last call
    STRAINED = "strained"  # it did not answer the last one or two
    DOWN = "down"  # it did not answer three in a row


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Five minutes of calls; with none the quantiles are 0 and say nothing."""

    at: datetime
    calls: int
    p50_ms: int
    p95_ms: int


@dataclass(kw_only=True)
class EndpointLog:
    """The calls to one endpoint, as this process saw them."""

    owner: str
    endpoint: str
    part: str  # what people call it
    since: datetime | None = None  # when `answers` last changed
    answers: Answers = Answers.UNKNOWN
    why: str = ""  # of the last failure
    _failed_in_a_row: int = 0
    _stretches: "OrderedDict[int, Counter[int]]" = field(default_factory=OrderedDict)

    def ended(self, *, at: datetime, elapsed_s: float, failure: str) -> None:
        """Keep a call that ended at `at`; `failure` is empty where it was answered."""
        number = _number(at)
        if number not in self._stretches:
            self._stretches[number] = Counter()
            while len(self._stretches) > STRETCHES:
                self._stretches.popitem(last=False)
        self._stretches[number][_step(elapsed_s * 1000)] += 1
        self._failed_in_a_row = self._failed_in_a_row + 1 if failure else 0
        self.why = failure
        answers = Answers.WORKING
        if failure:
            is_down = self._failed_in_a_row >= _DOWN_AFTER
            answers = Answers.DOWN if is_down else Answers.STRAINED
        if answers is not self.answers:
            self.answers, self.since = answers, at

    def day(self, *, now: datetime) -> list[Stretch]:
        """Return the last 24 hours, oldest first, stretches without calls too."""
        last = _number(now)
        return [
            _told(number, self._stretches.get(number, Counter()))
            for number in range(last - STRETCHES + 1, last + 1)
        ]


class CallLog:
    """The endpoints that this process calls."""

    def __init__(self, *, clock: Callable[[], datetime], timer: Callable[[], float]) -> None:
        """`clock` gives moments, `timer` monotonic seconds."""
        self._clock = clock
        self._timer = timer
        self._endpoints: dict[tuple[str, str], EndpointLog] = {}

    @property
    def endpoints(self) -> Iterable[EndpointLog]:
        """Every endpoint there is, called or not, in the order of their naming."""
        return self._endpoints.values()

    def watched(self, *, owner: str, endpoint: str, send: Send, part: str = "") -> Send:
        """Return `send`, each call of which is kept as one to `endpoint` of `owner`.

        People call the two `part`, or by their names.
        """
        log = self._endpoints.setdefault(
            (owner, endpoint),
            EndpointLog(owner=owner, endpoint=endpoint, part=part or f"{owner} {endpoint}"),
        )

        async def watched_send(request: HttpRequest) -> HttpResponse:
            started_s = self._timer()
            failure = "the call broke"
            try:
                response = await send(request)
                failure = f"answered {response.status}" if response.status >= _SERVER_ERROR else ""
            except ExchangeFailed as problem:
                failure = str(problem)
                raise
            except asyncio.CancelledError:
                failure = "no answer came in time"
                raise
            else:
                return response
            finally:
                log.ended(at=self._clock(), elapsed_s=self._timer() - started_s, failure=failure)

        return watched_send


def _number(at: datetime) -> int:
    return int(at.timestamp() // STRETCH.total_seconds())


def _step(elapsed_ms: float) -> int:
    """Return the step of a length: the lengths of one step differ by at most ten per cent."""
    if elapsed_ms <= 1:
        return 0
    return min(_LAST_STEP, math.ceil(math.log(elapsed_ms, _STEP)))


def _told(number: int, counts: Mapping[int, int]) -> Stretch:
    return Stretch(
        at=datetime.fromtimestamp(number * STRETCH.total_seconds(), tz=UTC),
        calls=sum(counts.values()),
        p50_ms=_quantile_ms(counts, percent=50),
        p95_ms=_quantile_ms(counts, percent=95),
    )


def _quantile_ms(counts: Mapping[int, int], *, percent: int) -> int:
    """Return what `percent` of the calls took no longer than, 0 where there were none."""
    wanted = -(-sum(counts.values()) * percent // 100)
    for step, count in sorted(counts.items()):
        wanted -= count
        if wanted <= 0:
            return round(_STEP**step)
    return 0
