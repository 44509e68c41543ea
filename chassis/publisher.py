"""Where events go: Kafka, or a log of JSON lines on a laptop.

A publisher takes a list and answers row by row. Within a list the events of one key go in
order: after one that failed the later ones are not tried. A repeat is allowed (at least once);
consumers drop it by `event_id`.
"""

import asyncio
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidTopicError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from chassis.kafka import KafkaOptions, connection_arguments, servers_of_url
from chassis.outbox import Event

_TOPIC = re.compile(r"(?!\.{1,2}\Z)[a-zA-Z0-9._-]{1,249}\Z")  # the names that Kafka takes
_MOST_BYTES = 1_000_000  # a broker's message.max.bytes is 1,048,588 with the frame around it
_POISON = (InvalidTopicError, MessageSizeTooLargeError, RecordListTooLargeError)
_LINGER_MS = 5
_CLOSE_TIMEOUT_S = 2.0
_OWNER_ONLY = 0o600  # events name policies


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The event is durable, at this place of its topic if the publisher knows it."""

    partition: int | None
    offset: int | None


@dataclass(frozen=True, kw_only=True)
class PublishFailed:
    """The event was not taken, or nobody knows; `poison` if it never will be as it is."""

    error: str
    poison: bool = False


Outcome = Delivery | PublishFailed

_HELD_BACK = PublishFailed(error="waits for an earlier event of its key")


class Publisher(Protocol):
    """Hands events to whoever listens."""

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Return one outcome per event, in order; trouble is an outcome, not an exception."""

    async def close(self) -> None:
        """Let go of connections."""


class LogPublisher:
    """Appends one JSON line per event to a file, durable before it is called delivered."""

    def __init__(self, *, path: Path) -> None:
        self._path = path

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Return one outcome per event, in order."""
        poisons = [_poison(event) or _unreadable(event) for event in events]
        broken: set[str] = set()
        lines: list[bytes] = []
        for event, poison in zip(events, poisons, strict=True):
            if poison is not None:
                broken.add(event.key)
            lines.append(b"" if event.key in broken else _line(event))
        try:
            offsets = await asyncio.to_thread(self._append, lines)
        except OSError as problem:
            return [PublishFailed(error=_shown(problem))] * len(events)
        return [
            poison or (Delivery(partition=0, offset=offset) if line else _HELD_BACK)
            for poison, line, offset in zip(poisons, lines, offsets, strict=True)
        ]

    async def close(self) -> None:
        """Do nothing: the file is open only while it is written."""

    def _append(self, lines: Sequence[bytes]) -> Sequence[int]:
        """Return the byte at which each line starts."""
        if not any(lines):
            return [0] * len(lines)  # nobody reads these
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        with os.fdopen(os.open(self._path, flags, _OWNER_ONLY), "r+b") as file:
            end = _cut_partial_line(file)
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
        return [end + before for before in accumulate(map(len, lines[:-1]), initial=0)]


class KafkaPublisher:
    """Publishes with acks=all and idempotence; connects at the first event.

    aiokafka then never expires a batch and can wedge for good after OutOfOrderSequence, so
    every send has a time-out of ours and trouble ends the producer; the next list gets a new one.
    """

    def __init__(self, *, bootstrap_servers: Sequence[str], options: KafkaOptions) -> None:
        self._bootstrap_servers = list(bootstrap_servers)
        self._options = options
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Return one outcome per event, in order."""
        try:
            producer = await self._started()
        except (KafkaError, OSError, ValueError) as problem:
            await self._drop()
            return [PublishFailed(error=_shown(problem))] * len(events)
        outcomes: list[Outcome] = [_HELD_BACK] * len(events)
        by_key: dict[str, list[int]] = {}
        for place, event in enumerate(events):
            by_key.setdefault(event.key, []).append(place)

        async def publish_key(places: Sequence[int]) -> None:
            # One at a time; other keys go side by side and share its requests.
            for place in places:
                outcomes[place] = outcome = await self._sent(producer, events[place])
                if isinstance(outcome, PublishFailed):
                    return

        try:
            async with asyncio.TaskGroup() as group:
                for places in by_key.values():
                    group.create_task(publish_key(places))
        except BaseException:  # cancelled: what is under way must not linger in this producer
            await self._drop()
            raise
        if any(isinstance(one, PublishFailed) and not one.poison for one in outcomes):
            await self._drop()  # cheap: what failed waits for a second or more
        return outcomes

    async def close(self) -> None:
        """Close the connections."""
        await self._drop()

    async def _sent(self, producer: AIOKafkaProducer, event: Event) -> Outcome:
        if poison := _poison(event):
            return poison
        try:
            async with asyncio.timeout(self._options.send_timeout_s):
                sent = await producer.send_and_wait(
                    event.topic,
                    value=event.value,
                    key=event.key.encode(),
                    headers=[
                        ("event-id", event.event_id.encode()),
                        ("request-id", event.request_id.encode()),
                    ],
                )
        except _POISON as problem:
            return PublishFailed(error=_shown(problem), poison=True)
        except (KafkaError, OSError) as problem:  # TimeoutError is an OSError
            return PublishFailed(error=_shown(problem))
        return Delivery(partition=sent.partition, offset=sent.offset)

    async def _started(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                acks="all",
                enable_idempotence=True,
                linger_ms=_LINGER_MS,
                **connection_arguments(self._options),
            )
            async with asyncio.timeout(self._options.send_timeout_s):
                await self._producer.start()
        return self._producer

    async def _drop(self) -> None:
        """End the producer without the flush of its `stop()`, which may never end."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        producer._closed = True  # noqa: SLF001 - stop() would set it, and flush
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                if producer._sender.sender_task is not None:  # noqa: SLF001 - as above
                    await producer._sender.close()  # noqa: SLF001 - as above
                await producer.client.close()
        except (KafkaError, OSError):
            return  # it is gone either way


def publisher_from_url(*, url: str, var_dir: Path, options: KafkaOptions) -> Publisher:
    """Return the publisher that `log://` or `kafka://host:9092,host2:9092` names.

    :raises ValueError: the URL names none.
    """
    if url == "log://":
        return LogPublisher(path=var_dir / "events.jsonl")
    try:
        servers = servers_of_url(url)
    except ValueError:
        raise ValueError("events go to log:// or to kafka://host:port,host:port") from None
    return KafkaPublisher(bootstrap_servers=servers, options=options)


def _poison(event: Event) -> PublishFailed | None:
    """Return why no publisher will ever take this event."""
    if not _TOPIC.match(event.topic):
        return PublishFailed(error="not a topic name", poison=True)
    if len(event.value) > _MOST_BYTES:
        return PublishFailed(error=f"value has more than {_MOST_BYTES} bytes", poison=True)
    return None


def _unreadable(event: Event) -> PublishFailed | None:
    try:
        msgspec.json.decode(event.value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return PublishFailed(error="value is not JSON", poison=True)
    if b"\n" in event.value or b"\r" in event.value:
        return PublishFailed(error="value is not one line", poison=True)
    return None


def _line(event: Event) -> bytes:
    topic, key = msgspec.json.encode(event.topic), msgspec.json.encode(event.key)
    return b'{"topic":%b,"key":%b,"value":%b}\n' % (topic, key, event.value)


def _cut_partial_line(file: Any) -> int:
    """Drop what a crash left of a line, which was never called delivered; return the end."""
    end: int = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    if file.read(1) in (b"", b"\n"):
        return end
    file.seek(0)
    end = file.read().rfind(b"\n") + 1
    file.truncate(end)
    file.seek(end)
    return end


def _shown(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:200]
