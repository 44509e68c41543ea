"""A circuit breaker as a pure state machine: it stops asking one that does not answer.

CLOSED lets every call pass and counts the last ones; OPEN refuses for a while; HALF_OPEN lets a
few probes pass, whose outcome closes or opens it again. What a failure is, the caller decides.
"""

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import NewType

Permit = NewType("Permit", int)
"""The right to make one call; to be recorded or given back, once."""


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"  # all of them
    OPEN = "open"  # none
    HALF_OPEN = "half_open"  # a few probes


def _nobody(_state: BreakerState) -> None:
    """Listen to no change."""


class Breaker:
    """Says which calls may be made to one endpoint.

    `clock` gives monotonic seconds. A call that took `slow_s` or longer counts as failed. Among
    the last `window` calls, and not before there were `least`, `failed_percent` failures open
    it for `open_s`; then `probes` successes in a row close it. `on_change` is told each new state.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        slow_s: float,
        window: int = 20,
        least: int = 10,
        failed_percent: int = 50,
        open_s: float = 15.0,
        probes: int = 3,
        on_change: Callable[[BreakerState], None] = _nobody,
    ) -> None:
        self.slow_s = slow_s
        self._clock = clock
        self._least = least
        self._failed_percent = failed_percent
        self._open_s = open_s
        self._probes = probes
        self._on_change = on_change
        self._state = BreakerState.CLOSED
        self._failures: deque[bool] = deque(maxlen=window)  # of the last calls, while CLOSED
        self._opened_at = 0.0
        self._changed_at: float | None = None
        self._succeeded = 0  # probes, while HALF_OPEN
        self._permits: set[Permit] = set()  # calls under way that this state let pass
        self._last_permit = 0

    @property
    def state(self) -> BreakerState:
        """The state after the last call; OPEN becomes HALF_OPEN when somebody asks to pass."""
        return self._state

    @property
    def counts(self) -> tuple[int, int]:
        """The last calls that count, and how many of them failed or were slow."""
        return len(self._failures), sum(self._failures)

    @property
    def window(self) -> int:
        """How many calls it looks back on."""
        return self._failures.maxlen or 0

    @property
    def unchanged_for_s(self) -> float | None:
        """The seconds since the state last changed, None where it never did."""
        return None if self._changed_at is None else self._clock() - self._changed_at

    @property
    def retry_after_s(self) -> float:
        """The seconds until a refused caller may find it HALF_OPEN; 0 if not OPEN."""
        if self._state is not BreakerState.OPEN:
            return 0.0
        return max(0.0, self._opened_at + self._open_s - self._clock())

    def allow(self) -> Permit | None:
        """Return the permit of one call, or None: the call must not be made."""
        if self._state is BreakerState.OPEN:
            if self._clock() - self._opened_at < self._open_s:
                return None
            self._become(BreakerState.HALF_OPEN)
        if (
            self._state is BreakerState.HALF_OPEN
            and self._succeeded + len(self._permits) >= self._probes
        ):
            return None
        self._last_permit += 1
        permit = Permit(self._last_permit)
        self._permits.add(permit)
        return permit

    def record(self, permit: Permit, *, ok: bool, elapsed_s: float) -> None:
        """Count the outcome of a call; one that an earlier state let pass says nothing new."""
        if permit not in self._permits:
            return
        self._permits.remove(permit)
        failed = not ok or elapsed_s >= self.slow_s
        if self._state is BreakerState.HALF_OPEN:
            self._record_probe(failed=failed)
        else:
            self._record_call(failed=failed)

    def give_back(self, permit: Permit) -> None:
        """Take back a permit whose call says nothing about the other side: it was cancelled."""
        self._permits.discard(permit)

    def _record_call(self, *, failed: bool) -> None:
        self._failures.append(failed)
        calls = len(self._failures)
        if calls >= self._least and sum(self._failures) * 100 >= calls * self._failed_percent:
            self._become(BreakerState.OPEN)

    def _record_probe(self, *, failed: bool) -> None:
        if failed:
            self._become(BreakerState.OPEN)
            return
        self._succeeded += 1
        if self._succeeded >= self._probes:
            self._become(BreakerState.CLOSED)

    def _become(self, state: BreakerState) -> None:
        self._state = state
        self._changed_at = self._clock()
        self._failures.clear()
        self._permits.clear()
        self._succeeded = 0
        if state is BreakerState.OPEN:
            self._opened_at = self._clock()
        self._on_change(state)
