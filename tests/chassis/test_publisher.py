import asyncio
import gc
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OutOfOrderSequenceNumber

from chassis.kafka import KafkaOptions
from chassis.outbox import Event
from chassis.publisher import (
    Delivery,
    KafkaPublisher,
    LogPublisher,
    Publisher,
    PublishFailed,
    publisher_from_url,
)
from tests.support.kafka import KafkaOfSession

_POISON = {
    "topic with a blank": {"topic": "not a topic"},
    "topic too long": {"topic": "t" * 250},
    "topic of dots": {"topic": ".."},
    "no topic": {"topic": ""},
    "value too large": {"value": b'"' + b"x" * 1_000_000 + b'"'},
}
_POISON_OF_THE_LOG = {
    "not JSON": b"paid",
    "two lines": b'{"a":\n1}',
    "not UTF-8": b'"\xff"',
    "nothing": b"",
}
_GOOD_URLS = {
    "log://": LogPublisher,
    "kafka://one:9092": KafkaPublisher,
    "kafka://one:9092,two:9093,[::1]:9094": KafkaPublisher,
}
_BAD_URLS = [
    "log",
    "log://elsewhere",
    "kafka://",
    "kafka://one",
    "kafka://one:9092,",
    "kafka://one:port",
    "kafka://app:hush@one:9092",
    "http://one:9092",
]

Read = Callable[[str, int], Awaitable[list[tuple[str, bytes]]]]


class _World:
    """A publisher, a topic, and a way to read what it holds: key and value of each event."""

    def __init__(self, *, publisher: Publisher, read: Read, topic: str) -> None:
        self.publisher = publisher
        self.read = read
        self.topic = topic


def _event(
    number: int, *, key: str = "P1", topic: str = "paid", value: bytes | None = None
) -> Event:
    return Event(
        event_id=f"event-{number}",
        topic=topic,
        key=key,
        value=b'{"number":%d,"amount":"150.00","name":"\xe1\x9e\x97"}' % number
        if value is None
        else value,
        request_id=f"request-{number}",
    )


def _log_world(path: Path) -> _World:
    async def read(topic: str, most: int) -> list[tuple[str, bytes]]:
        written = await asyncio.to_thread(path.read_bytes)
        found = [(json.loads(line), line) for line in written.splitlines()]
        return [
            (decoded["key"], line[line.index(b'"value":') + 8 : -1])
            for decoded, line in found
            if decoded["topic"] == topic
        ][:most]

    return _World(publisher=LogPublisher(path=path), read=read, topic="dev.paid")


async def _consumed(bootstrap: str, topic: str, most: int) -> list[tuple[str, bytes]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic, number)
            for number in await consumer._client._wait_on_metadata(topic)
        ]
        consumer.assign(partitions)
        await consumer.seek_to_beginning()
        found: list[tuple[str, bytes]] = []
        until = time.monotonic() + 10
        while len(found) < most and time.monotonic() < until:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    assert dict(record.headers)["event-id"].startswith(b"event-")
                    found.append((record.key.decode(), record.value))
        return found
    finally:
        await consumer.stop()


def _kafka_world(bootstrap: str, topic: str) -> _World:
    async def read(topic: str, most: int) -> list[tuple[str, bytes]]:
        return await _consumed(bootstrap, topic, most)

    publisher = KafkaPublisher(
        bootstrap_servers=bootstrap.split(","), options=KafkaOptions(send_timeout_s=10)
    )
    return _World(publisher=publisher, read=read, topic=topic)


@pytest.fixture(params=["log", "kafka"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[_World]:
    if request.param == "log":
        world = _log_world(tmp_path / "var" / "events.jsonl")
    else:
        kafka: KafkaOfSession = request.getfixturevalue("kafka")
        world = _kafka_world(kafka.bootstrap, await kafka.fresh_topic())
    yield world
    await world.publisher.close()


def _of_key(found: Sequence[tuple[str, bytes]], key: str) -> list[bytes]:
    return [value for its_key, value in found if its_key == key]


async def test_events_arrive_byte_for_byte_and_in_order_per_key(world: _World) -> None:
    topic = world.topic
    first = [_event(number, key=f"P{number % 3}", topic=topic) for number in range(12)]
    second = [_event(number, key=f"P{number % 3}", topic=topic) for number in range(12, 18)]
    outcomes = [*await world.publisher.publish(first), *await world.publisher.publish(second)]
    assert all(isinstance(outcome, Delivery) for outcome in outcomes)
    assert len(set(map(repr, outcomes))) == 18  # each has a place of its own
    found = await world.read(topic, 18)
    for key in ("P0", "P1", "P2"):
        assert _of_key(found, key) == [one.value for one in first + second if one.key == key]


async def test_nothing_to_publish_is_no_trouble(world: _World) -> None:
    assert list(await world.publisher.publish([])) == []


@pytest.mark.parametrize("change", _POISON.values(), ids=_POISON.keys())
async def test_poison_is_told_from_trouble_and_holds_back_its_key_alone(
    world: _World, change: dict[str, object]
) -> None:
    topic = world.topic
    poison = Event(**{**_event(1, topic=topic).__dict__, **change})
    before, after = _event(0, topic=topic), _event(2, topic=topic)
    other = _event(3, key="P2", topic=topic)
    outcomes = await world.publisher.publish([before, poison, after, other])
    assert isinstance(outcomes[0], Delivery)
    assert isinstance(outcomes[1], PublishFailed)
    assert outcomes[1].poison
    assert isinstance(outcomes[2], PublishFailed)
    assert not outcomes[2].poison
    assert isinstance(outcomes[3], Delivery)
    found = await world.read(topic, 2)
    assert sorted(found) == sorted([("P1", before.value), ("P2", other.value)])


@pytest.mark.parametrize("value", _POISON_OF_THE_LOG.values(), ids=_POISON_OF_THE_LOG.keys())
async def test_the_log_takes_one_line_of_json_only(tmp_path: Path, value: bytes) -> None:
    path = tmp_path / "events.jsonl"
    [outcome] = await LogPublisher(path=path).publish([_event(1, value=value)])
    assert isinstance(outcome, PublishFailed)
    assert outcome.poison
    assert not path.exists()


async def test_a_line_of_the_log_is_as_written_here(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await LogPublisher(path=path).publish([_event(7, key='a"b', value=b'{"amount":"150.00"}')])
    assert path.read_bytes() == b'{"topic":"paid","key":"a\\"b","value":{"amount":"150.00"}}\n'
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kept", [b"", b'{"topic":"t","key":"k","value":1}\n'])
async def test_a_line_that_a_crash_cut_is_dropped(tmp_path: Path, kept: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(kept + b'{"topic":"t","key":"k","val')
    [outcome] = await LogPublisher(path=path).publish([_event(1, value=b"2")])
    assert outcome == Delivery(partition=0, offset=len(kept))
    assert path.read_bytes() == kept + b'{"topic":"paid","key":"P1","value":2}\n'


async def test_a_log_that_cannot_be_written_is_trouble(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where a folder should be")
    publisher = LogPublisher(path=tmp_path / "var" / "events.jsonl")
    [outcome] = await publisher.publish([_event(1)])
    assert isinstance(outcome, PublishFailed)
    assert not outcome.poison


async def test_a_broker_that_is_away_is_trouble_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    await _expect_trouble(port)


async def test_a_broker_that_never_answers_is_trouble_within_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, says nothing
        await _expect_trouble(listener.getsockname()[1])


async def _expect_trouble(port: int) -> None:
    publisher = KafkaPublisher(
        bootstrap_servers=[f"127.0.0.1:{port}"] * 20,  # one time-out for them all
        options=KafkaOptions(send_timeout_s=0.5),
    )
    began = time.monotonic()
    outcomes = await publisher.publish([_event(1), _event(2, key="P2")])
    assert time.monotonic() - began < 5
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert isinstance(outcome, PublishFailed)
        assert not outcome.poison
    await publisher.close()


@pytest.mark.parametrize("wedged", ["raises", "hangs"])
async def test_a_wedged_producer_is_replaced(
    kafka_bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch, wedged: str
) -> None:
    publisher = KafkaPublisher(
        bootstrap_servers=kafka_bootstrap.split(","), options=KafkaOptions(send_timeout_s=2)
    )
    [outcome] = await publisher.publish([_event(1, topic=topic)])
    assert isinstance(outcome, Delivery)
    producer = publisher._producer
    assert producer is not None

    async def broken(*_args: object, **_named: object) -> None:
        if wedged == "raises":
            raise OutOfOrderSequenceNumber
        await asyncio.Event().wait()

    monkeypatch.setattr(producer, "send_and_wait", broken)
    outcomes = await publisher.publish([_event(2, topic=topic), _event(3, topic=topic)])
    assert [type(one) for one in outcomes] == [PublishFailed, PublishFailed]
    outcomes = await publisher.publish([_event(2, topic=topic), _event(3, topic=topic)])
    assert [type(one) for one in outcomes] == [Delivery, Delivery]
    assert publisher._producer is not producer
    found = await _consumed(kafka_bootstrap, topic, 3)
    assert [value for _key, value in found] == [_event(number).value for number in (1, 2, 3)]
    await publisher.close()


async def test_a_cancelled_publish_leaves_a_publisher_that_works(
    kafka_bootstrap: str, topic: str
) -> None:
    publisher = KafkaPublisher(bootstrap_servers=kafka_bootstrap.split(","), options=KafkaOptions())
    for pause_s in (0, 0.001, 0.005, 0.02):
        task = asyncio.create_task(publisher.publish([_event(1, topic=topic)]))
        await asyncio.sleep(pause_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    [outcome] = await publisher.publish([_event(2, topic=topic)])
    assert isinstance(outcome, Delivery)
    await publisher.close()
    gc.collect()  # a socket that was left behind is told of


async def test_a_producer_that_never_ran_is_closed_whole(kafka_bootstrap: str) -> None:
    publisher = KafkaPublisher(bootstrap_servers=kafka_bootstrap.split(","), options=KafkaOptions())
    await publisher._start()  # here the producer stands, and its sender has not had a turn
    producer = publisher._producer
    assert producer is not None
    connections = list(producer.client._conns.values())
    assert any(one.connected() for one in connections)
    await publisher.close()
    assert not any(one.connected() for one in connections)


@pytest.mark.parametrize(("url", "kind"), _GOOD_URLS.items())
def test_a_url_names_a_publisher(url: str, kind: type, tmp_path: Path) -> None:
    assert type(publisher_from_url(url=url, var_dir=tmp_path, options=KafkaOptions())) is kind


@pytest.mark.parametrize("url", _BAD_URLS)
def test_another_url_is_refused_without_repeating_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="events go to") as refused:
        publisher_from_url(url=url, var_dir=tmp_path, options=KafkaOptions())
    assert "hush" not in str(refused.value)


def test_the_password_is_not_shown() -> None:
    assert "hush" not in repr(KafkaOptions(sasl_password="hush"))
