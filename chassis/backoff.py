"""Growing pauses between tries that have no end."""

from collections.abc import Callable
from datetime import timedelta

_MOST_DOUBLINGS = 30  # 2^30 first pauses are longer than any longest one


def growing_pause(
    *, first: timedelta, longest: timedelta, random: Callable[[], float]
) -> Callable[[int], timedelta]:
    """Return the pause after a number of tries: `first`, doubled each time up to `longest`.

    Each is spread over half to whole by `random` (0 to 1), so that what failed together does
    not come back together.
    """

    def pause_after(tries: int) -> timedelta:
        doublings: int = 2 ** min(tries, _MOST_DOUBLINGS)
        whole = min(longest, first * doublings)
        return whole * (0.5 + 0.5 * random())

    return pause_after
