"""What files hold, read again when one of them changes; a broken change keeps the last good one."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

_Signature = tuple[tuple[int, int, int] | None, ...]

_log = structlog.get_logger()


class WatchedFiles(Generic[T]):
    """One value made of `paths`; looks at them when it is asked, at most every `every_s`.

    Asking is for any thread; it costs a `stat` per file and look.
    """

    def __init__(
        self,
        *,
        name: str,
        paths: Sequence[Path],
        read: Callable[[], T],
        broken: type[Exception],
        clock: Callable[[], float],
        every_s: float,
    ) -> None:
        """Read for the first time; what `read` raises is raised.

        Later whatever it raises is logged, `broken` with its text, which must hold nothing
        secret. `clock` is monotonic.
        """
        self._name = name
        self._paths = paths
        self._read = read
        self._broken = broken
        self._clock = clock
        self._every_s = every_s
        self._lock = threading.Lock()
        self._signature = self._refused = self._look()
        self._value = read()
        self._looked_at_s = clock()

    def value(self, *, at_most_s_old: float | None = None) -> T:
        """Return what the files hold, as it was at most `every_s` ago, or less if so asked."""
        limit_s = self._every_s if at_most_s_old is None else at_most_s_old
        with self._lock:
            now_s = self._clock()
            if now_s - self._looked_at_s >= limit_s:
                self._looked_at_s = now_s
                self._refresh()
            return self._value

    def _refresh(self) -> None:
        # Before reading: what changes meanwhile looks different the next time.
        signature = self._look()
        if signature == self._signature:
            return
        try:
            self._value = self._read()
        except Exception as problem:  # noqa: BLE001 - whatever it is, the last good value stands
            if signature != self._refused:  # tried again at each look, told once per change
                why = str(problem) if isinstance(problem, self._broken) else type(problem).__name__
                _log.error("new_file_not_used", name=self._name, why=why)
            self._refused = signature
        else:
            _log.info("new_file_used", name=self._name)
            self._signature = signature

    def _look(self) -> _Signature:
        return tuple(map(_signature, self._paths))


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
