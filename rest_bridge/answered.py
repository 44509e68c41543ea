"""Who hears of every request that was answered."""

from typing import Protocol


class Answered(Protocol):
    """Hears of a request that was answered, or whose caller left (no status)."""

    def __call__(
        self, *, method: str, route: str | None, status: int | None, elapsed_s: float
    ) -> None:
        """Hear of one; `route` is a template of the contracts, or None."""


def unanswered(*, method: str, route: str | None, status: int | None, elapsed_s: float) -> None:
    """Hear nothing."""
