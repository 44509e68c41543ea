"""A limit per caller: so many calls a minute, spread evenly, in bounded memory."""

from collections import OrderedDict
from collections.abc import Callable

_MINUTE_S = 60.0
_MOST_CALLERS = 10_000  # the one not seen for longest is forgotten: it has its full measure back


class RateLimit:
    """Allows each key `per_minute` calls a minute, as many at once if none were made before.

    `clock` gives monotonic seconds. A token bucket (one bucket per key, filled evenly).
    """

    def __init__(self, *, per_minute: int, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, *, key: str) -> float:
        """Return 0 and count the call, or the seconds until one more is allowed."""
        now = self._clock()
        left, filled_at = self._buckets.pop(key, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - filled_at) * self._per_minute / _MINUTE_S)
        allowed = left >= 1
        self._buckets[key] = (left - 1 if allowed else left, now)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - left) * _MINUTE_S / self._per_minute
