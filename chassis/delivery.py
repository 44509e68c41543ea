"""What becomes of events that are handed to whoever listens; the words of every publisher.

A publisher takes a list and answers row by row. Within a list the events of one key go in
order: after one that failed the later ones are not tried. A repeat is allowed (at least once);
consumers drop it by `event_id`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chassis.outbox import Event

_TOPIC = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9._-]{1,249}\Z")  # the names that Kafka takes
_MOST_BYTES = 1_000_000  # a broker's message.max.bytes is 1,048,588 with the frame around it


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The event is durable, at this place of its topic if the publisher knows it."""

    partition: int | None
    offset: int | None


@dataclass(frozen=True, kw_only=True)
class PublishFailed:
    """The event was not taken, or nobody knows.

    `poison` if it never will be as it is; `alert` if it waits for a person to change the
    cluster; not `tried` if an earlier one of its key was in the way.
    """

    error: str
    poison: bool = False
    alert: bool = False
    tried: bool = True


Outcome = Delivery | PublishFailed

HELD_BACK = PublishFailed(error="waits for an earlier event of its key", tried=False)


class Publisher(Protocol):
    """Hands events to whoever listens."""

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Return one outcome per event, in order; trouble is an outcome, not an exception."""

    async def close(self) -> None:
        """Let go of connections."""


def poison_of(*, event: Event) -> PublishFailed | None:
    """Return why no publisher will ever take this event."""
    if not _TOPIC.match(event.topic):
        return PublishFailed(error="not a topic name", poison=True)
    if len(event.value) > _MOST_BYTES:
        return PublishFailed(error=f"value has more than {_MOST_BYTES} bytes", poison=True)
    return None


def shown(*, problem: Exception) -> str:
    """Return a short line that says what went wrong."""
    return f"{type(problem).__name__}: {problem}"[:200]
