"""Spans of what is stored and published. Import it only where traces are wanted."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from opentelemetry import context, trace
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database
from chassis.delivery import Delivery, Outcome, Publisher
from chassis.direct import Direct
from chassis.group_commit import GroupCommit
from chassis.otel import OtelTracing
from chassis.outbox import Event

T = TypeVar("T")
R = TypeVar("R")


class TracedDatabase(Database):
    """A database whose transactions are spans, where they belong to a trace.

    What loops do for nobody in particular is not traced.
    """

    def __init__(self, *, tracing: OtelTracing, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._tracing = tracing

    @asynccontextmanager
    async def transaction(
        self, *, name: str = "work", on: AsyncConnection | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """Yield a connection; see `Database`."""
        with self._span(name):
            async with super().transaction(name=name, on=on) as connection:
                yield connection

    @asynccontextmanager
    async def direct(self, *, name: str) -> AsyncIterator[Direct]:
        """Yield the driver's connection; see `Database`."""
        with self._span(name):
            async with super().direct(name=name) as direct:
                yield direct

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        if not trace.get_current_span().get_span_context().is_valid:
            yield
            return
        with self._tracing.tracer.start_as_current_span(
            f"transaction {name}",
            kind=SpanKind.CLIENT,
            attributes={"db.system": self.dialect},
            record_exception=False,  # errors of drivers quote rows
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as problem:
                span.set_status(Status(StatusCode.ERROR, type(problem).__name__))
                raise


class TracedGroupCommit(GroupCommit[T, R]):
    """A writer whose batches belong to the trace of their first item, and are linked to all."""

    def __init__(
        self,
        *,
        tracing: OtelTracing,
        record: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        writers: int = 1,
    ) -> None:
        super().__init__(record=self._traced, writers=writers)
        self._tracing = tracing
        self._untraced = record
        self._origins: dict[int, SpanContext] = {}

    async def submit(self, item: T) -> R:
        """Return what recording `item` gave; see `GroupCommit`."""
        self._origins[id(item)] = trace.get_current_span().get_span_context()
        try:
            return await super().submit(item)
        finally:
            self._origins.pop(id(item), None)

    async def _traced(self, items: Sequence[T]) -> Sequence[R | Exception]:
        origins = [self._origins[id(one)] for one in items if id(one) in self._origins]
        origins = [one for one in origins if one.is_valid]
        if not origins:
            return await self._untraced(items)
        first, *others = origins
        with self._tracing.tracer.start_as_current_span(
            "group commit",
            context=trace.set_span_in_context(NonRecordingSpan(first), context.Context()),
            links=[Link(one) for one in others],
            attributes={"items": len(items)},
            record_exception=False,
        ):
            return await self._untraced(items)


class TracedPublisher:
    """A publisher whose events have a span each.

    The outbox keeps a call's request id, not its trace. Where this process served the call a
    moment ago the span is in its trace; else the attribute `request_id` leads there.
    """

    def __init__(self, *, tracing: OtelTracing, publisher: Publisher) -> None:
        self._tracing = tracing
        self._publisher = publisher

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Return one outcome per event; see `Publisher`."""
        spans = [self._begun(event) for event in events]
        outcomes: Sequence[Outcome] = ()
        try:
            outcomes = await self._publisher.publish(events)
        finally:
            for place, span in enumerate(spans):
                if place >= len(outcomes) or not isinstance(outcomes[place], Delivery):
                    span.set_status(Status(StatusCode.ERROR))
                span.end()
        return outcomes

    async def close(self) -> None:
        """Close the publisher."""
        await self._publisher.close()

    def _begun(self, event: Event) -> trace.Span:
        origin = self._tracing.call_of(event.request_id)
        parent = context.Context()
        if origin is not None:
            parent = trace.set_span_in_context(NonRecordingSpan(origin), parent)
        return self._tracing.tracer.start_span(
            f"publish {event.topic}",
            context=parent,
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.destination.name": event.topic,
                "messaging.message.id": event.event_id,
                "request_id": event.request_id,
            },
        )
