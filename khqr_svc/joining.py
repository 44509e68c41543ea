"""Callers that ask the same at once share one answer, and none works for one that has gone."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TypeVar

from chassis.errors import ServiceError
from chassis.single_flight import SingleFlight
from khqr_svc.banks.port import BankUnavailable, OutOfTime

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

_LEAST_S = 0.05  # what failed with less left failed because of the deadline


async def joined(
    *,
    flights: SingleFlight[K, T],
    key: K,
    call_until: Callable[[float], Awaitable[T]],
    deadline: float,
    clock: Callable[[], float],
) -> T:
    """Return what `call_until` gives, or what the call under way for `key` gives.

    `call_until` gets the deadline of the caller that begins it and is stopped there, so that nobody
    works for a caller that has gone; whoever joined and has more time begins it anew.

    :raises OutOfTime: the deadline passed. Whatever else `call_until` raises is raised, too.
    """
    while True:
        try:
            return await flights.fly(key=key, call=lambda: _ended(call_until, deadline, clock))
        except OutOfTime as problem:
            if deadline <= problem.deadline:
                raise


async def _ended(
    call_until: Callable[[float], Awaitable[T]], deadline: float, clock: Callable[[], float]
) -> T:
    try:
        async with asyncio.timeout(deadline - clock()):
            return await call_until(deadline)
    except (TimeoutError, OutOfTime):
        raise OutOfTime(deadline=deadline) from None
    except (BankUnavailable, ServiceError):
        if clock() + _LEAST_S >= deadline:
            raise OutOfTime(deadline=deadline) from None
        raise
