"""How many items at once a writer wrote: counted around its recording function."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


class BatchCounts:
    """The batches of one writer since the process started."""

    def __init__(self, *, name: str) -> None:
        self.name = name
        self.batches = 0
        self.members = 0
        self.largest = 0

    def counting(
        self, record: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
    ) -> Callable[[Sequence[T]], Awaitable[Sequence[R]]]:
        """Return `record`, each call of which is counted as a batch."""

        async def counted(items: Sequence[T]) -> Sequence[R]:
            self.batches += 1
            self.members += len(items)
            self.largest = max(self.largest, len(items))
            return await record(items)

        return counted
