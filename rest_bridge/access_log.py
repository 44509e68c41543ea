"""A line for one request in so many: what a person wants to see pass by, at no cost that counts.

Every request is counted (`docs/metrics.md`); a line for each would halve what the bridge can do.
"""

from collections.abc import Callable

import structlog

_log = structlog.get_logger()

Answered = Callable[..., None]


class AccessLog:
    """Hears of every request, and tells of every `every`th; 0: of none."""

    def __init__(self, *, every: int, then: Answered) -> None:
        """Hand what is heard on to `then`."""
        self._every = every
        self._then = then
        self._heard = 0

    def answered(
        self, *, method: str, route: str | None, status: int | None, elapsed_s: float
    ) -> None:
        """Hear of a request that was answered, or whose caller left (no status)."""
        self._then(method=method, route=route, status=status, elapsed_s=elapsed_s)
        self._heard += 1
        if self._every and self._heard % self._every == 0:
            _log.info(
                "request",
                method=method,
                route=route or "unmatched",
                status=status,
                took_s=f"{elapsed_s:.4f}",
                one_in=self._every,
            )
