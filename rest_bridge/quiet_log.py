"""Log lines that strangers cause: written at a bounded pace, counted beyond it."""

from collections.abc import Callable
from typing import Any

import structlog

from chassis.rate_limit import RateLimit

_LINES_PER_MINUTE = 60  # of each event: enough to see an attack, too few to fill a disk

_log = structlog.get_logger()


class QuietLog:
    """Writes at most 60 lines a minute of one event; the next line tells how many were not."""

    def __init__(self, *, timer: Callable[[], float]) -> None:
        self._limit = RateLimit(per_minute=_LINES_PER_MINUTE, clock=timer)
        self._kept_back: dict[str, int] = {}

    def info(self, *, event: str, **values: Any) -> None:
        """Write one line, or count that it was not written."""
        if self._limit.wait_s(key=event):
            self._kept_back[event] = self._kept_back.get(event, 0) + 1
            return
        kept_back = self._kept_back.pop(event, 0)
        if kept_back:
            values["kept_back"] = kept_back
        _log.info(event, **values)
