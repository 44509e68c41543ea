"""How many items at once a writer wrote."""

from dataclasses import dataclass


@dataclass(kw_only=True)
class Written:
    """The batches of one writer since the process started."""

    batches: int = 0
    members: int = 0
    largest: int = 0

    def add(self, size: int) -> None:
        """Count a batch of `size` members."""
        self.batches += 1
        self.members += size
        self.largest = max(self.largest, size)
