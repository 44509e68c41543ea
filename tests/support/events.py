"""A clock that is moved by hand, and a publisher that keeps what it got."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from chassis.outbox import Event
from chassis.publisher import HELD_BACK, Delivery, Outcome, PublishFailed


class Clock:
    """Stands still until it is told to move."""

    def __init__(self, *, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, *, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Listener:
    """A publisher that keeps what it got, and fails the events it is told to."""

    def __init__(self) -> None:
        self.got: list[Event] = []
        self.fails: dict[str, PublishFailed] = {}  # by event id
        self.down: PublishFailed | Exception | None = None
        self.while_publishing: Callable[[], None] = lambda: None

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        self.while_publishing()
        if isinstance(self.down, Exception):
            raise self.down
        broken: set[str] = set()
        outcomes: list[Outcome] = []
        for event in events:
            failure = self.down or self.fails.get(event.event_id)
            if event.key in broken:
                failure = HELD_BACK
            if failure is not None:
                broken.add(event.key)
                outcomes.append(failure)
            else:
                self.got.append(event)
                outcomes.append(Delivery(partition=0, offset=len(self.got)))
        return outcomes

    async def close(self) -> None: ...

    @property
    def ids(self) -> list[str]:
        return [event.event_id for event in self.got]
