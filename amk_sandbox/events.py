"""The insurer's `.success` events, from the laptop's event log or from Kafka.

An event is applied and remembered by its id; one that cannot be read is logged and
passed over, so that it holds up no other.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer

from amk_sandbox.policies import Policies
from amk_sandbox.store import Store

_SUCCESS = "PAYMENT_EVENT_TYPE_SUCCESS"
_LINES_AT_ONCE = 1000
_WAIT_MS = 500
_GROUP = "amk-sandbox"

_log = structlog.get_logger()


class _Success(msgspec.Struct, rename="camel"):
    event_id: str
    type: str
    policy_number: str
    due_on: str
    currency: str


class _Line(msgspec.Struct):
    topic: str
    value: msgspec.Raw


def success_topic(*, prefix: str) -> str:
    """Return the topic of settled obligations (specification, "Kafka Topics")."""
    return f"{prefix}.gateway.payment.success"


def apply(*, policies: Policies, value: bytes | msgspec.Raw) -> bool:
    """Return whether the event in `value` is a success that was not seen before."""
    try:
        event = msgspec.json.decode(value, type=_Success)
    except msgspec.DecodeError as problem:
        _log.warning("event_unreadable", why=str(problem))
        return False
    return event.type == _SUCCESS and policies.apply_success(
        event_id=event.event_id,
        policy_number=event.policy_number,
        due_on=event.due_on,
        currency=event.currency,
    )


class LogFollower:
    """Follows the event log, a file of JSON lines, from where it stopped last time."""

    def __init__(self, *, path: Path, topic: str, policies: Policies, store: Store) -> None:
        self._path = path
        self._topic = topic
        self._policies = policies
        self._store = store

    async def run_once(self) -> int:
        """Return how many new events were applied; a line still being written waits."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return 0
        with file, self._store.transaction():
            # A file is known by its first line, which holds an id: an inode is used again.
            mark = hashlib.sha256(file.readline()).hexdigest()
            offset = self._offset(mark=mark, size=os.fstat(file.fileno()).st_size)
            file.seek(offset)
            applied = 0
            for _ in range(_LINES_AT_ONCE):
                line = file.readline()
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
                applied += self._apply_line(line)
            self._store.run(
                "INSERT OR REPLACE INTO positions VALUES (?, ?)",
                *(str(self._path), f"{mark}:{offset}"),
            )
        return applied

    async def close(self) -> None:
        """Do nothing: no file is open between two runs."""

    def _offset(self, *, mark: str, size: int) -> int:
        row = self._store.row("SELECT position FROM positions WHERE source = ?", str(self._path))
        known, _, offset = (row["position"] if row else ":0").partition(":")
        # Another file, or one cut short: from its beginning; ids tell what was seen.
        return int(offset) if known == mark and int(offset) <= size else 0

    def _apply_line(self, line: bytes) -> bool:
        try:
            read = msgspec.json.decode(line, type=_Line)
        except msgspec.DecodeError as problem:
            _log.warning("event_line_unreadable", why=str(problem))
            return False
        return read.topic == self._topic and apply(policies=self._policies, value=read.value)


class KafkaFollower:
    """Follows the topic as a consumer group; a broker that is away is asked again."""

    def __init__(self, *, servers: str, topic: str, policies: Policies) -> None:
        self._servers = servers
        self._topic = topic
        self._policies = policies
        self._consumer: Any = None

    async def run_once(self) -> int:
        """Return how many new events were applied; what was applied is committed.

        :raises aiokafka.errors.KafkaError: the broker cannot be reached.
        """
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                self._topic,
                bootstrap_servers=self._servers,
                group_id=_GROUP,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
            )
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        batches = await self._consumer.getmany(timeout_ms=_WAIT_MS)
        applied = 0
        for records in batches.values():
            for record in records:
                applied += apply(policies=self._policies, value=record.value or b"")
        if batches:
            await self._consumer.commit()
        return applied

    async def close(self) -> None:
        """Leave the group."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None
