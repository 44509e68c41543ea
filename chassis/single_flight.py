"""One call under way per key, however many wait for its answer."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class FlightStopped(Exception):
    """The call was stopped before it had an answer."""


class SingleFlight(Generic[K, T]):
    """Joins callers that ask the same thing at once.

    The call runs in a task of its own: a caller that leaves, even the first, does not cancel it.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[T]] = {}

    async def fly(self, *, key: K, call: Callable[[], Awaitable[T]]) -> T:
        """Return what `call` gives, or what the call under way for `key` gives.

        Nothing is kept: who asks after the answer came makes a new call. What `call` raises,
        everyone who waits gets. `call` must end by itself.

        :raises FlightStopped: `close` stopped it.
        """
        flight = self._flights.get(key)
        if flight is None or flight.done():
            flight = asyncio.get_running_loop().create_task(_awaited(call))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        await asyncio.wait({flight})  # unlike awaiting it, does not hand on our cancellation
        if flight.cancelled():
            raise FlightStopped
        return flight.result()

    async def close(self) -> None:
        """Stop every call under way."""
        flights = set(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    def _landed(self, key: K, flight: asyncio.Task[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen, though everybody who waited for it may have left


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()
