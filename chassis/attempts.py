"""Work on the database that may be done again, because it finds by key what it did before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from chassis.database import CommitUnknown, TransactionConflict

T = TypeVar("T")

# Short: others queue behind, and a database that is away is the caller's 503, not ours to wait for.
_PAUSES_S = (0.02, 0.1)

_log = structlog.get_logger()


async def repeated(
    *,
    work: Callable[[], Awaitable[T]],
    also_after: tuple[type[Exception], ...] = (),
    pauses_s: Sequence[float] = _PAUSES_S,
) -> T:
    """Return what `work` gives, done again where the last attempt was undone or may have been.

    Undone: a deadlock, a serialization failure, or one of `also_after`. Unknown: the connection
    broke during the commit; `work` must find by its keys what it recorded, and record it only if
    it did not. Attempts are one more than `pauses_s`; what the last one raises is raised.
    """
    again: tuple[type[Exception], ...] = (TransactionConflict, CommitUnknown, *also_after)
    for attempt, pause_s in enumerate(pauses_s, start=1):
        try:
            return await work()
        except again as problem:
            _log.info("work_repeated", attempt=attempt, cause=type(problem).__name__)
        await asyncio.sleep(pause_s)
    return await work()
