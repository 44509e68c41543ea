"""What the bridge turned away, and why: plain integers that an exporter may read."""

from collections.abc import Mapping

# Every label there is, from the start: a series that appears only with its first attack is one
# that no alarm can be set on, and a stranger cannot make new ones.
KINDS: Mapping[str, tuple[str, ...]] = {
    "connections_refused": ("total", "per_address"),
    "connections_closed": (
        "silent",
        "slow_head",
        "idle",
        "made_room",
        "answer_not_read",
        "turned_away",
    ),
    "malformed": ("parser", "head", "head_too_large", "body"),
    "refused": ("address", "slow_body", "too_large", "expectation"),
    "shed": ("webhook", "other"),
}


class Counts:
    """Counts by kind and reason."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], int] = {
            (kind, reason): 0 for kind, reasons in KINDS.items() for reason in reasons
        }

    def add(self, *, kind: str, reason: str) -> None:
        """Count one more; KeyError for a label that is not in `KINDS`."""
        self.values[kind, reason] += 1
