"""A real broker that misbehaves; nothing is lost, and the first deliveries of a key stay in order.

| what happens                                   | what becomes of events                        |
|------------------------------------------------|-----------------------------------------------|
| the broker is stopped and started              | trouble, then published by a new producer     |
| it is frozen: takes TCP and says nothing       | trouble within the time-out, then published   |
| it answers OutOfOrderSequence                  | trouble, then published by a new producer     |
| it is killed in the middle of lists, started   | all of them are there, in order               |
| a topic was never made                         | its events wait and alert; others are not late |
| a topic takes small batches only               | the one too large is poison, no neighbour is  |
| an event is too large for its topic            | its key is parked on all topics, with an alert |
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import MetaData, func, select
from structlog.testing import capture_logs

from chassis import outbox
from chassis.database import Database
from chassis.delivery import HELD_BACK, Delivery, PublishFailed
from chassis.kafka import KafkaOptions
from chassis.kafka_publisher import KafkaPublisher
from chassis.outbox import Event, outbox_table
from chassis.relay import Relay
from tests.support.events import Clock
from tests.support.kafka import KafkaOfSession, make_topic
from tests.support.kafka_broker import KafkaBroker

_TABLE = outbox_table(MetaData())
_START = datetime(2025, 11, 15, 8, 30, tzinfo=UTC)
_TIMEOUT_S = 2.0


def _event(name: str, *, topic: str, value: bytes = b"1") -> Event:
    """Return an event whose key is the letter of its name."""
    return Event(event_id=name, topic=topic, key=name[0], value=value)


def _publisher(bootstrap: str, *, timeout_s: float = _TIMEOUT_S) -> KafkaPublisher:
    return KafkaPublisher(
        bootstrap_servers=[bootstrap], options=KafkaOptions(send_timeout_s=timeout_s)
    )


async def _delivered(bootstrap: str, topic: str, *, partitions: int = 3) -> list[tuple[str, str]]:
    """Return key and event id of all that `topic` holds, in the order of each partition."""
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found = []
        async with asyncio.timeout(30):
            for place in places:
                while await consumer.position(place) < ends[place]:
                    records = await consumer.getmany(place, timeout_ms=200)
                    found += [
                        (record.key.decode(), dict(record.headers)["event-id"].decode())
                        for record in records.get(place, [])
                    ]
        return found


async def _until_delivered(publisher: KafkaPublisher, event: Event) -> Delivery:
    """Try again and again, as the relay does."""
    async with asyncio.timeout(40):
        while True:
            [outcome] = await publisher.publish([event])
            if isinstance(outcome, Delivery):
                return outcome
            assert not outcome.poison
            await asyncio.sleep(0.1)


@pytest.fixture
def broker(make_broker: Callable[[], KafkaBroker]) -> KafkaBroker:
    broker = make_broker()
    broker.start()
    return broker


@pytest.fixture
async def database(empty_postgres_url: str) -> AsyncIterator[Database]:
    database = Database(url=empty_postgres_url)
    async with database.transaction() as connection:
        await connection.run_sync(_TABLE.metadata.create_all)
    yield database
    await database.close()


async def _append(database: Database, *events: Event) -> None:
    async with database.transaction() as connection:
        await outbox.append(connection=connection, table=_TABLE, events=events, at=_START)


async def test_a_broker_that_restarts_is_met_again_by_a_new_producer(broker: KafkaBroker) -> None:
    await make_topic(bootstrap=broker.bootstrap, name="paid")
    publisher = _publisher(broker.bootstrap)
    await _until_delivered(publisher, _event("A1", topic="paid"))
    first = publisher._producer
    broker.stop()
    [outcome] = await publisher.publish([_event("A2", topic="paid")])
    assert isinstance(outcome, PublishFailed)
    assert not outcome.poison
    assert publisher._producer is None
    broker.start()
    await _until_delivered(publisher, _event("A2", topic="paid"))
    assert publisher._producer is not first
    ids = [name for _key, name in await _delivered(broker.bootstrap, "paid")]
    assert list(dict.fromkeys(ids)) == ["A1", "A2"]
    await publisher.close()


async def test_a_frozen_broker_costs_no_more_than_the_time_out(broker: KafkaBroker) -> None:
    await make_topic(bootstrap=broker.bootstrap, name="paid")
    publisher = _publisher(broker.bootstrap)
    events = [_event(f"{key}1", topic="paid") for key in "ABCDEFGH"]
    await _until_delivered(publisher, _event("Z1", topic="paid"))
    broker.freeze()
    for _attempt in range(3):  # by the old producer, then by ones that cannot even connect
        began = time.monotonic()
        outcomes = await publisher.publish(events)
        # The send's time-out, and what ending the producer may take.
        assert time.monotonic() - began < _TIMEOUT_S + 5
        assert all(isinstance(one, PublishFailed) and not one.poison for one in outcomes)
    broker.thaw()
    for event in events:
        await _until_delivered(publisher, event)
    ids = {name for _key, name in await _delivered(broker.bootstrap, "paid")}
    assert ids == {"Z1", *(event.event_id for event in events)}
    await publisher.close()


async def test_a_sequence_that_the_broker_refuses_ends_the_producer_alone(
    real_kafka: KafkaOfSession, topic: str
) -> None:
    publisher = _publisher(real_kafka.bootstrap)
    await _until_delivered(publisher, _event("A1", topic=topic))
    producer = publisher._producer
    assert producer is not None
    sequences = producer._txn_manager._sequence_numbers
    for place in list(sequences):
        sequences[place] += 7  # as after a batch that was given up
    [outcome] = await publisher.publish([_event("A2", topic=topic)])
    assert isinstance(outcome, PublishFailed)
    assert "OutOfOrderSequence" in outcome.error
    assert (outcome.poison, publisher._producer) == (False, None)
    outcomes = await publisher.publish([_event("A2", topic=topic), _event("A3", topic=topic)])
    assert [type(one) for one in outcomes] == [Delivery, Delivery]
    ids = [name for _key, name in await _delivered(real_kafka.bootstrap, topic)]
    assert ids == ["A1", "A2", "A3"]
    await publisher.close()


@pytest.mark.timeout(180)
async def test_a_broker_killed_in_the_middle_loses_nothing_and_keeps_the_order(
    broker: KafkaBroker, database: Database
) -> None:
    await make_topic(bootstrap=broker.bootstrap, name="paid")
    names = [f"{key}{number:03}" for number in range(60) for key in "ABCDEFGHIJ"]
    await _append(database, *(_event(name, topic="paid") for name in names))
    publisher = _publisher(broker.bootstrap)
    relay = Relay(
        database=database, table=_TABLE, publisher=publisher, clock=lambda: datetime.now(UTC),
        random=lambda: 0.0, most=100, first_pause_s=0.2, longest_pause_s=0.5, idle_s=0.1,
    )  # fmt: skip

    async def unpublished() -> int:
        async with database.reading() as connection:
            count = select(func.count()).where(_TABLE.c.published_at.is_(None))
            return int(await connection.scalar(count) or 0)

    stop = asyncio.Event()
    running = asyncio.create_task(relay.run(stop))
    for left in (500, 250):
        async with asyncio.timeout(60):
            while await unpublished() > left:  # noqa: ASYNC110 - the database has no event
                await asyncio.sleep(0.005)
        broker.kill()
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.start)
    async with asyncio.timeout(90):
        while await unpublished():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
    stop.set()
    await running
    await publisher.close()
    delivered = await _delivered(broker.bootstrap, "paid")
    firsts = list(dict.fromkeys(name for _key, name in delivered))
    assert set(firsts) == set(names)
    for key in "ABCDEFGHIJ":
        mine = [name for name in firsts if name.startswith(key)]
        assert mine == sorted(mine)


async def test_a_topic_that_nobody_made_waits_with_an_alert_and_delays_nobody(
    real_kafka: KafkaOfSession, topic: str, database: Database
) -> None:
    missing, clock = f"dev.{uuid4().hex}", Clock(now=_START)
    publisher = _publisher(real_kafka.bootstrap, timeout_s=10)
    relay = Relay(
        database=database, table=_TABLE, publisher=publisher, clock=clock, random=lambda: 0.0
    )
    await _append(
        database,
        _event("A1", topic=missing),
        _event("A2", topic=topic),
        _event("B1", topic=topic),
    )
    began = time.monotonic()
    with capture_logs() as logs:
        for _round in range(3):
            await relay.run_once()
            clock.forward(seconds=60)
    assert time.monotonic() - began < 5  # aiokafka would look for it for 8 s each time
    alerts = [one for one in logs if one["log_level"] == "error"]
    assert [(one["event"], one["topic"], one["error"]) for one in alerts] == [
        ("outbox_row_waits", missing, f"there is no topic {missing}")
    ] * 3
    assert [name for _key, name in await _delivered(real_kafka.bootstrap, topic)] == ["B1"]
    await make_topic(bootstrap=real_kafka.bootstrap, name=missing)
    assert await relay.run_once() == 2
    assert [name for _key, name in await _delivered(real_kafka.bootstrap, missing)] == ["A1"]
    await publisher.close()


async def test_small_events_are_not_taken_for_the_size_of_their_batch(
    real_kafka: KafkaOfSession,
) -> None:
    topic = f"dev.{uuid4().hex}"
    await make_topic(
        bootstrap=real_kafka.bootstrap, name=topic, partitions=1, max_message_bytes="2000"
    )
    publisher = _publisher(real_kafka.bootstrap)
    events = [_event(f"{key}1", topic=topic, value=b"x" * 600) for key in "ABCDEFGH"]
    large = _event("L1", topic=topic, value=b"x" * 3000)
    behind = _event("L2", topic=topic)
    outcomes = await publisher.publish([*events[:4], large, behind, *events[4:]])
    assert [one for one in outcomes if isinstance(one, PublishFailed) and one.poison] == [
        outcomes[4]
    ]
    assert outcomes[5] == HELD_BACK
    for event in events:  # who was sent in the wake of the refused batch is trouble, no more
        await _until_delivered(publisher, event)
    ids = {name for _key, name in await _delivered(real_kafka.bootstrap, topic, partitions=1)}
    assert ids == {event.event_id for event in events}
    await publisher.close()


async def test_an_event_too_large_for_its_topic_parks_its_key_on_all_topics(
    real_kafka: KafkaOfSession, topic: str, database: Database
) -> None:
    small = f"dev.{uuid4().hex}"
    await make_topic(
        bootstrap=real_kafka.bootstrap, name=small, partitions=1, max_message_bytes="1000"
    )
    publisher, clock = _publisher(real_kafka.bootstrap), Clock(now=_START)
    relay = Relay(
        database=database, table=_TABLE, publisher=publisher, clock=clock, random=lambda: 0.0
    )
    await _append(
        database,
        _event("A1", topic=small, value=b"x" * 2000),
        _event("A2", topic=topic),
        _event("B1", topic=small),
    )
    with capture_logs() as logs:
        while await relay.run_once():
            clock.forward(seconds=3600)
    [alert] = [one for one in logs if one["log_level"] == "error"]
    assert (alert["event"], alert["event_id"]) == ("outbox_parked", "A1")
    assert "MessageSizeTooLarge" in alert["error"]
    assert await _delivered(real_kafka.bootstrap, topic) == []
    assert await _delivered(real_kafka.bootstrap, small, partitions=1) == [("B", "B1")]
    await publisher.close()
