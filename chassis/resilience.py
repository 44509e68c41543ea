"""Patience around a `Send`: a breaker, and retries within a budget of time and of numbers.

The breaker goes inside, around each attempt: `RetryingSend(send=guarded(send=..., ...), ...)`.
Clocks give monotonic seconds; clock, sleep and randomness are passed in.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from chassis.breaker import Breaker
from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send

Outcome = HttpResponse | ExchangeFailed
Clock = Callable[[], float]

_SERVER_ERROR = 500
_RETRY = 100  # hundredths
_WHOLE = 0.95  # an attempt that failed after this part of its time ran out of it


class BreakerOpen(ExchangeFailed):
    """Not sent: the other side lately did not answer; ask again after `retry_after_s` seconds."""

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(why="the breaker is open", sent=False)
        self.retry_after_s = retry_after_s


def server_failed(outcome: Outcome) -> bool:
    """Tell whether no answer came, or a 5xx: a failure to count, or to repeat if harmless."""
    return isinstance(outcome, ExchangeFailed) or outcome.status >= _SERVER_ERROR


def never_sent(outcome: Outcome) -> bool:
    """Tell whether the other side cannot have seen the request, so that any may be repeated."""
    return isinstance(outcome, ExchangeFailed) and not outcome.sent


def guarded(
    *,
    send: Send,
    breaker: Breaker,
    failed: Callable[[Outcome], bool],
    attempt_s: float,
    clock: Clock,
) -> Send:
    """Return `send` behind `breaker`; `failed` decides which outcomes count as failures.

    `attempt_s` is the time that a full attempt gets. A caller with less who runs out of it, or
    is cancelled, says nothing about the other side and gives its permit back: hurried callers
    must not open the breaker for everybody. The result raises `BreakerOpen`.
    """
    fair_s = min(breaker.slow_s, attempt_s)

    async def guarded_send(request: HttpRequest) -> HttpResponse:
        permit = breaker.allow()
        if permit is None:
            raise BreakerOpen(retry_after_s=breaker.retry_after_s)
        started = clock()
        ok: bool | None = None  # None: nothing to record
        try:
            response = await send(request)
            ok = not failed(response)
        except ExchangeFailed as problem:
            elapsed_s = clock() - started
            if elapsed_s >= fair_s or elapsed_s < request.timeout_s * _WHOLE:
                ok = not failed(problem)
            raise
        except asyncio.CancelledError:
            if clock() - started >= fair_s:
                ok = False
            raise
        else:
            return response
        finally:
            if ok is None:
                breaker.give_back(permit)
            else:
                breaker.record(permit, ok=ok, elapsed_s=clock() - started)

    return guarded_send


class RetryBudget:
    """Allows retries for `percent` of calls, so that an outage is not met with a storm.

    So that low traffic may retry, too, `least_per_s` retries a second come on top; what is not
    used is kept up to `most`, which is there at the start.
    """

    def __init__(
        self, *, clock: Clock, percent: int = 10, least_per_s: float = 0.5, most: int = 10
    ) -> None:
        self._clock = clock
        self._percent = percent
        self._least_per_s = least_per_s
        self._most = most * _RETRY
        self._saved = float(self._most)  # in hundredths of a retry, so that ten tenths are one
        self._refilled_at = clock()

    def called(self) -> None:
        """Count one call, whose retries are paid from here."""
        self._save(self._percent)

    def take(self) -> bool:
        """Tell whether one retry may be made, and count it."""
        now = self._clock()
        self._save((now - self._refilled_at) * self._least_per_s * _RETRY)
        self._refilled_at = now
        if self._saved < _RETRY:
            return False
        self._saved -= _RETRY
        return True

    def _save(self, hundredths: float) -> None:
        self._saved = min(self._saved + hundredths, self._most)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often one call is tried."""

    attempts: int  # all together, the first included
    attempt_s: float = 2.0  # the most time one attempt gets
    least_s: float = 0.05  # with less time left an attempt is not worth making
    first_pause_s: float = 0.1  # pauses are random between 0 and this, doubled each time
    longest_pause_s: float = 1.0

    def pause_s(self, *, retry: int, random: Callable[[], float]) -> float:
        """Return the seconds to wait before the retry numbered `retry` (from 1): full jitter."""
        doubled_s = self.first_pause_s * 2.0 ** min(retry - 1, 30)  # 2^30 pauses are for ever
        return random() * min(self.longest_pause_s, doubled_s)


class RetryingSend:
    """Tries a call again where the caller says that it may be repeated."""

    def __init__(
        self,
        *,
        send: Send,
        patience: Patience,
        budget: RetryBudget,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        random: Callable[[], float],
    ) -> None:
        self._send = send
        self._patience = patience
        self._budget = budget
        self._clock = clock
        self._sleep = sleep
        self._random = random

    async def exchange(
        self,
        *,
        make_request: Callable[[], HttpRequest],
        may_repeat: Callable[[Outcome], bool],
        deadline: float,
    ) -> HttpResponse:
        """Return the last answer, whatever its status; every attempt is cut at `deadline`.

        An attempt that was never sent does not hide an earlier one that may have been seen.

        `make_request` is called for each attempt, as a signed request needs a new time and hash
        each time; the time-out it names is cut to what an attempt gets and to what is left.
        `deadline` is a moment of the clock. A `BreakerOpen` is never repeated.

        :raises ExchangeFailed: the last attempt failed, or no time was left for the first.
        """
        self._budget.called()
        seen: Outcome | None = None
        attempt = 1
        while True:
            outcome = await self._attempt(make_request, deadline)
            if not never_sent(outcome):
                seen = outcome
            pause_s = self._patience.pause_s(retry=attempt, random=self._random)
            if (
                attempt >= self._patience.attempts
                or isinstance(outcome, BreakerOpen)
                or not may_repeat(outcome)
                or self._clock() + pause_s + self._patience.least_s > deadline
                or not self._budget.take()
            ):
                return _given(outcome if seen is None else seen)
            await self._sleep(pause_s)
            attempt += 1

    async def _attempt(self, make_request: Callable[[], HttpRequest], deadline: float) -> Outcome:
        request = make_request()
        left_s = deadline - self._clock()
        if left_s < self._patience.least_s:
            return ExchangeFailed(why="no time was left", sent=False)
        timeout_s = min(request.timeout_s, self._patience.attempt_s, left_s)
        try:
            return await self._send(replace(request, timeout_s=timeout_s))
        except ExchangeFailed as problem:
            return problem


def _given(outcome: Outcome) -> HttpResponse:
    if isinstance(outcome, ExchangeFailed):
        raise outcome
    return outcome
