"""Everything that the topics hold, read from their beginnings."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tests.drill.world import TOPICS

_READ_LIMIT_S = 120.0
_AGAIN_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """One record, as a consumer gets it."""

    topic: str
    key: str
    value: bytes
    appended_at: float  # by the broker's clock, whole milliseconds
    partition: int
    offset: int

    @property
    def said(self) -> dict[str, Any]:
        """What the event says."""
        read: dict[str, Any] = json.loads(self.value)
        return read

    @property
    def event_id(self) -> str:
        """Its id, the same on every delivery."""
        return str(self.said["eventId"])


async def read_all(*, bootstrap: str) -> list[Delivery]:
    """Return every record of the topics, in order per partition.

    :raises TimeoutError: the broker does not give them.
    """
    async with asyncio.timeout(_READ_LIMIT_S):
        while True:
            try:
                return await _read(bootstrap)
            except (KafkaError, OSError):
                await asyncio.sleep(_AGAIN_S)


async def _read(bootstrap: str) -> list[Delivery]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        # A client without a group knows the partitions only of topics that it has asked about.
        places: list[TopicPartition] = []
        for topic in TOPICS:
            await consumer._client.add_topic(topic)
            partitions = consumer.partitions_for_topic(topic) or ()
            places += [TopicPartition(topic, partition) for partition in partitions]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: list[Delivery] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            batches = await consumer.getmany(timeout_ms=1000, max_records=2000)
            found += [_delivery(record) for batch in batches.values() for record in batch]
        return found
    finally:
        await consumer.stop()


def _delivery(record: Any) -> Delivery:
    return Delivery(
        topic=record.topic,
        key=record.key.decode(),
        value=record.value,
        appended_at=record.timestamp / 1000,
        partition=record.partition,
        offset=record.offset,
    )
