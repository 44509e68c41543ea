"""What of the gateway is traced; where nobody listens each part is what it always was."""

from collections.abc import Awaitable, Callable, Sequence
from importlib import metadata
from typing import Any, TypeVar

from chassis.database import Database
from chassis.group_commit import GroupCommit
from chassis.http_client import Send
from chassis.publisher import Publisher
from chassis.rpc import Watch
from chassis.tracing import both, open_tracing

T = TypeVar("T")
R = TypeVar("R")


class GatewayTracing:
    """Gives out parts that are traced, or plain ones."""

    def __init__(self, *, endpoint: str | None) -> None:
        self._tracing: Any = open_tracing(
            endpoint=endpoint, service="gateway", version=metadata.version("payment-gateway")
        )

    def database(self, **arguments: Any) -> Database:
        """Return a database; `arguments` are its own."""
        if self._tracing is None:
            return Database(**arguments)
        from chassis.otel_storage import TracedDatabase  # noqa: PLC0415 - only where wanted

        return TracedDatabase(tracing=self._tracing, **arguments)

    def publisher(self, publisher: Publisher) -> Publisher:
        """Return `publisher`, each event with a span."""
        if self._tracing is None:
            return publisher
        from chassis.otel_storage import TracedPublisher  # noqa: PLC0415 - as above

        return TracedPublisher(tracing=self._tracing, publisher=publisher)

    def group_commit(
        self,
        *,
        record: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        writers: int = 1,
    ) -> GroupCommit[T, R]:
        """Return a queue whose batches are `record`'s; `writers` write side by side."""
        if self._tracing is None:
            return GroupCommit(record=record, writers=writers)
        from chassis.otel_storage import TracedGroupCommit  # noqa: PLC0415 - as above

        return TracedGroupCommit(tracing=self._tracing, record=record, writers=writers)

    def watch(self, other: Watch) -> Watch:
        """Return `other`, and a span for each call."""
        return other if self._tracing is None else both(self._tracing.watch, other)

    @property
    def sent(self) -> Callable[[str, str, Send], Send] | None:
        """What gives each exchange with a bank or the insurer a span."""
        return None if self._tracing is None else self._tracing.sent

    async def close(self) -> None:
        """Send what is left."""
        if self._tracing is not None:
            await self._tracing.close()
