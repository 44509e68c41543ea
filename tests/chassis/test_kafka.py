"""The real broker that tests run, and the topics made on it.

| what is done to it            | what holds                                            |
|-------------------------------|-------------------------------------------------------|
| killed (SIGKILL), started     | what it acknowledged is there, at the same address    |
| stopped (SIGTERM), started    | the same                                              |
| frozen, thawed                | silent, then as before                                |
| a topic planned twice         | made once, untouched the second time                  |
| a plan that cannot be         | told by name, the others are made                     |
| dry run                       | nothing is made                                       |
| a topic that nobody made      | does not make itself                                  |
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from chassis.kafka import (
    KafkaOptions,
    KafkaUnavailable,
    TopicPlan,
    create_topics,
    servers_of_url,
    topic_names,
)
from tests.support.kafka import KafkaOfSession, make_topic
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_jars import KafkaNotRunnable, kafka_jars, kafka_version

_HASTY = KafkaOptions(send_timeout_s=1)


async def _put(bootstrap: str, topic: str, value: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, value)


async def _got(bootstrap: str, topic: str, most: int) -> list[bytes]:
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([TopicPartition(topic, 0)])
        async with asyncio.timeout(20):
            return [(await consumer.getone()).value for _number in range(most)]


async def test_what_was_acknowledged_outlives_a_kill_and_a_stop(
    make_broker: Callable[[], KafkaBroker],
) -> None:
    broker = make_broker()
    broker.start()
    first = broker.bootstrap
    await make_topic(bootstrap=first, name="paid", partitions=1)
    await _put(first, "paid", b"one")
    broker.kill()
    assert not broker.running
    broker.start()
    assert broker.bootstrap == first
    await _put(first, "paid", b"two")
    broker.stop()
    broker.start()
    assert await _got(first, "paid", 2) == [b"one", b"two"]


async def test_a_frozen_broker_is_silent_until_it_is_thawed(
    make_broker: Callable[[], KafkaBroker],
) -> None:
    broker = make_broker()
    broker.start()
    broker.freeze()
    with pytest.raises(KafkaUnavailable):
        await topic_names(bootstrap_servers=[broker.bootstrap], options=_HASTY)
    broker.thaw()
    async with asyncio.timeout(20):
        while True:
            try:
                assert not await topic_names(bootstrap_servers=[broker.bootstrap], options=_HASTY)
            except KafkaUnavailable:
                continue
            break


async def test_topics_are_made_once_and_the_impossible_is_told(
    real_kafka: KafkaOfSession,
) -> None:
    good = TopicPlan(
        name=uuid4().hex, partitions=2, replication_factor=1, configs={"retention.ms": "1000"}
    )
    bad = TopicPlan(name=uuid4().hex, partitions=1, replication_factor=2)  # there is one broker

    async def make(*, dry_run: bool) -> list[tuple[bool, int, str]]:
        outcomes = await create_topics(
            bootstrap_servers=[real_kafka.bootstrap],
            options=KafkaOptions(),
            plans=[good, bad],
            dry_run=dry_run,
        )
        return [(one.created, one.partitions, one.error.partition(":")[0]) for one in outcomes]

    refused = (False, 0, "InvalidReplicationFactorError")
    assert await make(dry_run=True) == [(False, 0, ""), refused]
    assert await make(dry_run=False) == [(True, 2, ""), refused]
    assert await make(dry_run=False) == [(False, 2, ""), refused]
    there = await topic_names(bootstrap_servers=[real_kafka.bootstrap], options=KafkaOptions())
    assert there[good.name] == 2
    assert bad.name not in there


@pytest.mark.parametrize("url", ["kafka://", "kafka://one", "log://", "kafka://a:hush@one:9092"])
def test_a_url_without_brokers_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="brokers are named by") as refused:
        servers_of_url(url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("missing", ["java", "mvn"])
def test_a_machine_without_a_program_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for program in {"java", "mvn"} - {missing}:
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KafkaNotRunnable, match=f"there is no {missing}"):
        kafka_jars(environ={"XDG_CACHE_HOME": str(tmp_path)})


def test_a_fetch_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("java", "mvn"):
        (tmp_path / program).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(KafkaNotRunnable, match="could not fetch"):
        kafka_jars(environ={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    assert not list((tmp_path / "cache" / "payment-gateway").iterdir())


def test_two_who_fetch_at_once_end_with_the_same_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "mvn").write_text(
        "#!/bin/sh\n"
        'for argument in "$@"; do folder="${argument#-DoutputDirectory=}"; done\n'
        'sleep 0.3; echo jar > "$folder/kafka_1.jar"; sleep 0.3; echo jar > "$folder/last.jar"\n'
    )
    for program in ("java", "mvn"):
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    cache = tmp_path / "cache"

    def fetch() -> tuple[Path, list[str]]:
        folder = kafka_jars(environ={"XDG_CACHE_HOME": str(cache)})
        return folder, sorted(path.name for path in folder.iterdir())

    with ThreadPoolExecutor(max_workers=2) as threads:
        first, second = threads.map(lambda _number: fetch(), range(2))
    assert first == second
    assert first[1] == ["kafka_1.jar", "last.jar"]
    assert [path.name for path in first[0].parent.iterdir()] == [f"kafka-{kafka_version()}"]
