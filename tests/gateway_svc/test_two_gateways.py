"""Two gateways over one PostgreSQL, and a real Kafka where one runs.

| what happens                        | what holds                                          |
|-------------------------------------|-----------------------------------------------------|
| both run                            | one relays, the other serves calls all the same     |
| the one that relays stops           | its last events are out; the other relays at once   |
| a table grows                       | it is analysed, whoever leads                       |
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from sqlalchemy import text

from chassis import outbox
from chassis.kafka import KafkaOptions, TopicPlan, create_topics
from chassis.outbox import Event
from gateway_svc.events import topics_of
from gateway_svc.service import GatewayProcess
from gateway_svc.tables import outbox as table
from tests.support.gateway import gateway_settings, running_gateway
from tests.support.kafka import KafkaOfSession
from tests.support.tokens import SigningKey


async def _append(process: GatewayProcess, topic: str, *names: str) -> None:
    events = [Event(event_id=name, topic=topic, key="P1", value=b"{}") for name in names]
    async with process.database.transaction() as connection:
        await outbox.append(
            connection=connection, table=table, events=events, at=datetime.now(tz=UTC)
        )
    process.relay.nudge()


async def _eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)


async def _delivered(bootstrap: str, topic: str, *, count: int) -> list[str]:
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        numbers = await consumer._client._wait_on_metadata(topic)  # a mock makes several
        consumer.assign([TopicPartition(topic, number) for number in numbers])
        async with asyncio.timeout(15):
            records = [await consumer.getone() for _number in range(count)]
    return [dict(record.headers)["event-id"].decode() for record in records]


async def test_one_of_two_gateways_relays_and_the_other_takes_over(
    postgres_url: str, tmp_path: Path, kafka: KafkaOfSession
) -> None:
    prefix = tmp_path.name
    topic = topics_of(prefix=prefix)[2]
    if kafka.mock_because is None:
        await create_topics(
            bootstrap_servers=[kafka.bootstrap],
            options=KafkaOptions(),
            plans=[TopicPlan(name=topic, partitions=1, replication_factor=1)],
        )
    settings = gateway_settings(
        tmp_path=tmp_path,
        key=SigningKey(key_id="test"),
        environ={
            "DATABASE_URL": postgres_url,
            "EVENTS_URL": f"kafka://{kafka.bootstrap}",
            "TOPIC_PREFIX": prefix,
        },
    )
    async with AsyncExitStack() as stack:
        first, _address = await stack.enter_async_context(running_gateway(settings=settings))
        async with running_gateway(settings=settings) as (second, _other):
            assert first.leadership.tenure is not None
            assert second.leadership.tenure is None
            assert await second.probe_once()
            await _append(second, topic, "one", "two")
            await _append(first, topic, "three")
            await stack.aclose()  # as by SIGTERM
            assert first.leadership.tenure is None
            await _append(second, topic, "four")
            await _eventually(lambda: second.leadership.tenure is not None)
            found = await _delivered(kafka.bootstrap, topic, count=4)
    assert found == ["one", "two", "three", "four"]


async def test_a_table_that_grows_is_analysed_by_a_running_gateway(
    postgres_url: str, tmp_path: Path
) -> None:
    settings = gateway_settings(
        tmp_path=tmp_path, key=SigningKey(key_id="test"), environ={"DATABASE_URL": postgres_url}
    )
    async with running_gateway(settings=settings) as (gateway, _address):

        async def ran(*statements: str) -> Any:
            async with gateway.database.transaction() as connection:
                for statement in statements:
                    found = await connection.execute(text(statement))
                return found.scalar() if found.returns_rows else None

        await ran(
            "CREATE TABLE grown (id bigint) WITH (autovacuum_enabled = off)",
            "INSERT INTO grown SELECT * FROM generate_series(1, 500)",
            "SELECT pg_stat_force_next_flush()",
        )
        async with asyncio.timeout(30):
            while await ran("SELECT reltuples FROM pg_class WHERE relname = 'grown'") != 500:  # noqa: ASYNC110 - the database has no event
                await asyncio.sleep(0.1)
