"""One address of a bank, asked with patience: breaker, retries, and two ways to fail."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field

import structlog

from chassis.breaker import Breaker, BreakerState
from chassis.call_log import CallLog
from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send
from chassis.resilience import (
    BreakerOpen,
    Outcome,
    Patience,
    RetryBudget,
    RetryingSend,
    guarded,
    server_failed,
)
from khqr_svc.bank_metrics import BankMetrics
from khqr_svc.banks.port import BankUnavailable, OutOfTime

ATTEMPT_S = 2.0  # of the 5 s that a whole call has (specification: "5 seconds max")
_PATIENCE = Patience(attempts=2, attempt_s=ATTEMPT_S)
_SERVER_ERROR = 500
_LATER = (408, 429)  # Request Timeout, Too Many Requests: the bank asks us to wait (RFC 9110)

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every bank needs of the process: the network, monotonic seconds, chance."""

    send: Send
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    calls: CallLog | None = None  # keeps how long they took
    breakers: MutableMapping[tuple[str, str], Breaker] = field(default_factory=dict)  # is filled
    metrics: BankMetrics | None = None


class Endpoint:
    """POSTs JSON to one address; `may_repeat` says which failures allow a second attempt.

    `name` is ours for it, as metrics have no URLs.
    """

    def __init__(
        self,
        *,
        bank_code: str,
        name: str,
        url: str,
        around: Surroundings,
        may_repeat: Callable[[Outcome], bool],
    ) -> None:
        self._bank_code = bank_code
        self._url = url
        self._clock = around.clock
        self._may_repeat = may_repeat
        self.breaker = Breaker(clock=around.clock, slow_s=ATTEMPT_S, on_change=self._changed)
        around.breakers[bank_code, name] = self.breaker
        send = around.send
        if around.calls is not None:
            send = around.calls.watched(owner=bank_code, endpoint=name, send=send)
        if around.metrics is not None:
            outbound = around.metrics.outbound
            send = outbound.measured(peer=bank_code, endpoint=name, send=send)
            outbound.watch_breaker(peer=bank_code, endpoint=name, breaker=self.breaker)
        self._retrying = RetryingSend(
            send=guarded(
                send=send,
                breaker=self.breaker,
                failed=server_failed,
                attempt_s=ATTEMPT_S,
                clock=around.clock,
            ),
            patience=_PATIENCE,
            budget=RetryBudget(clock=around.clock),
            clock=around.clock,
            sleep=around.sleep,
            random=around.random,
        )

    async def post(
        self, *, body: bytes, headers: Mapping[str, str], deadline: float
    ) -> HttpResponse:
        """Return the bank's answer to `body`, whatever it says, by `deadline`.

        :raises BankUnavailable: no answer, a 5xx, "later", or it failed too often lately.
        :raises OutOfTime: the deadline came first.
        """
        request = HttpRequest(
            method="POST",
            url=self._url,
            timeout_s=ATTEMPT_S,
            headers={"Content-Type": "application/json", **headers},
            body=body,
        )
        try:
            response = await self._retrying.exchange(
                make_request=lambda: request, may_repeat=self._may_repeat, deadline=deadline
            )
        except BreakerOpen as problem:
            raise BankUnavailable(why=str(problem), retry_after_s=problem.retry_after_s) from None
        except ExchangeFailed as problem:
            if self._clock() + _PATIENCE.least_s >= deadline:
                raise OutOfTime(deadline=deadline) from None
            raise BankUnavailable(why=str(problem)) from problem
        if response.status >= _SERVER_ERROR or response.status in _LATER:
            raise BankUnavailable(why=f"answered {response.status}")
        return response

    def _changed(self, state: BreakerState) -> None:
        _log.warning("breaker_changed", bank=self._bank_code, endpoint=self._url, state=state.value)
