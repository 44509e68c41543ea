"""The insurer's calls to the bank, with the bank's answers: what a page may show of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from amk_sandbox.moments import stored
from amk_sandbox.store import Store

_KEPT = 500
_LONGEST_SHOWN = 2000


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call: no password, token or whole signature is in it."""

    id: int
    endpoint: str
    received_at: str
    asked: str
    fault: str | None
    status: int | None  # None: no answer was given
    answer: str
    elapsed_ms: int


class Calls:
    """The calls that the bank received, the latest of them in full."""

    def __init__(self, *, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def record(
        self,
        *,
        endpoint: str,
        asked: str,
        fault: str | None,
        status: int | None,
        answer: str,
        elapsed_ms: int,
    ) -> None:
        """Keep a call that was answered, or that was not."""
        with self._store.transaction():
            self._store.run(
                "INSERT INTO calls (endpoint, received_at, asked, fault, status, answer,"
                " elapsed_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
                *(endpoint, stored(moment=self._clock()), asked[:_LONGEST_SHOWN], fault),
                *(status, answer[:_LONGEST_SHOWN], elapsed_ms),
            )
            self._store.run("DELETE FROM calls WHERE id <= (SELECT MAX(id) FROM calls) - ?", _KEPT)
            self._store.run(
                "INSERT INTO call_counts VALUES (?, 1) ON CONFLICT DO UPDATE SET calls = calls + 1",
                endpoint,
            )

    def latest(self, *, most: int) -> list[Call]:
        """Return the latest calls, newest first, `most` of them at most."""
        return [
            Call(**dict(row))
            for row in self._store.rows("SELECT * FROM calls ORDER BY id DESC LIMIT ?", most)
        ]

    def counts(self) -> dict[str, int]:
        """Return how many calls there ever were, by endpoint."""
        rows = self._store.rows("SELECT * FROM call_counts ORDER BY endpoint")
        return {row["endpoint"]: row["calls"] for row in rows}
