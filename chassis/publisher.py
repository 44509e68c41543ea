"""Where events go: Kafka, or a log of JSON lines on a laptop."""

import asyncio
import os
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from chassis.delivery import (
    HELD_BACK,
    Delivery,
    Outcome,
    Publisher,
    PublishFailed,
    poison_of,
    shown,
)
from chassis.kafka import KafkaOptions, servers_of_url
from chassis.kafka_publisher import KafkaPublisher
from chassis.outbox import Event

__all__ = [
    "HELD_BACK",
    "Delivery",
    "KafkaOptions",
    "KafkaPublisher",
    "LogPublisher",
    "Outcome",
    "PublishFailed",
    "Publisher",
    "publisher_from_url",
]

_OWNER_ONLY = 0o600  # events name policies


class LogPublisher:
    """Appends one JSON line per event to a file, durable before it is called delivered."""

    def __init__(self, *, path: Path) -> None:
        self._path = path

    async def publish(self, events: Sequence[Event]) -> Sequence[Outcome]:
        """Return one outcome per event, in order."""
        poisons = [poison_of(event=event) or _unreadable(event) for event in events]
        broken: set[str] = set()
        lines: list[bytes] = []
        for event, poison in zip(events, poisons, strict=True):
            if poison is not None:
                broken.add(event.key)
            lines.append(b"" if event.key in broken else _line(event))
        try:
            offsets = await asyncio.to_thread(self._append, lines)
        except OSError as problem:
            return [PublishFailed(error=shown(problem=problem))] * len(events)
        return [
            poison or (Delivery(partition=0, offset=offset) if line else HELD_BACK)
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
