"""docs/examples/consumer.py against a broker, while events come again and it is stopped.

| what happens                                       | what is booked               |
|----------------------------------------------------|------------------------------|
| a bill and a code are paid                         | both, once                   |
| the consumer is stopped, its place is forgotten    |                              |
| all events so far are replayed, two more are paid  |                              |
| the consumer is started again on its books         | four premiums, each once     |
| an event of a schema that is not known             | nothing; the consumer stops  |
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from gateway_svc.events import topics_of
from tests.support.kafka import KafkaOfSession, make_topic
from tests.support.khqr_system import KhqrSystem, running_khqr_system
from tests.support.system import KEY

_CONSUMER = Path(__file__).parents[2] / "docs" / "examples" / "consumer.py"
_WITHIN_S = 30
_FIRST = [("P100000003", "89.50", "USD"), ("P123456789", "150.00", "USD")]
_THEN = [("P100000002", "615000", "KHR"), ("P100000005", "1230000", "KHR")]


async def test_each_premium_is_booked_once_whatever_comes_again(
    kafka: KafkaOfSession, tmp_path: Path, sqlite_url: str
) -> None:
    prefix = await fresh_prefix(kafka)
    topic, books = f"{prefix}.gateway.payment.success", tmp_path / "books.sqlite"
    around = {"EVENTS_URL": f"kafka://{kafka.bootstrap}", "TOPIC_PREFIX": prefix}
    async with (
        running_khqr_system(tmp_path=tmp_path, database_url=sqlite_url, environ=around) as system,
    ):
        await system.operate("/sandbox/pay?query=P123456789")
        await system.operate("/sandbox/khqr/pay?query=P100000003")
        async with consuming(kafka.bootstrap, topic, books, group=topic) as place:
            await until(lambda: all_handled(place, topic, 2))
        assert booked(books) == _FIRST

        await replay(system, topic)
        await system.operate("/sandbox/pay?query=P100000002")
        await system.operate("/sandbox/khqr/pay?query=P100000005")
        # A group of another name has no place yet: it begins at the beginning.
        async with consuming(kafka.bootstrap, topic, books, group=f"{topic}.again") as place:
            await until(lambda: all_handled(place, topic, 6))
        assert booked(books) == sorted(_FIRST + _THEN)


async def test_what_is_of_another_schema_is_neither_booked_nor_passed_over(
    kafka: KafkaOfSession, topic: str, tmp_path: Path
) -> None:
    books = tmp_path / "books.sqlite"
    async with (
        AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer,
        place_of(kafka.bootstrap, topic) as place,
    ):
        event = {"eventId": "1", "schemaVersion": 2, "policyNumber": "P123456789"}
        await producer.send_and_wait(topic, json.dumps(event).encode())
        process = await started(kafka.bootstrap, topic, books, topic)
        said = (await process.communicate())[1].decode()
        assert process.returncode == 1
        assert "schema version 2" in said
        assert booked(books) == []
        assert not await all_handled(place, topic, 1), "it comes again after an update"


async def fresh_prefix(kafka: KafkaOfSession) -> str:
    """Return a prefix whose topics are there."""
    prefix = await kafka.fresh_topic()
    for name in topics_of(prefix=prefix) if kafka.mock_because is None else ():
        await make_topic(bootstrap=kafka.bootstrap, name=name)
    return prefix


async def started(
    bootstrap: str, topic: str, books: Path, group: str
) -> asyncio.subprocess.Process:
    told = {"KAFKA": bootstrap, "TOPIC": topic, "GROUP": group, "BOOKS": str(books)}
    with heeding_ctrl_c():
        return await asyncio.create_subprocess_exec(
            sys.executable,
            str(_CONSUMER),
            env={"PATH": os.environ["PATH"], **told},
            stderr=asyncio.subprocess.PIPE,
        )


@contextmanager
def heeding_ctrl_c() -> Iterator[None]:
    """Have what is started heed SIGINT, also where we ignore it.

    A script's shell has its background jobs ignore it, and a program inherits that.
    """
    ours = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, ours)


@asynccontextmanager
async def consuming(
    bootstrap: str, topic: str, books: Path, *, group: str
) -> AsyncIterator[AIOKafkaConsumer]:
    """Run the consumer of the document as a program of its own; Ctrl-C ends it well."""
    process = await started(bootstrap, topic, books, group)
    try:
        async with place_of(bootstrap, group) as place:
            yield place
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_WITHIN_S):
            said = (await process.communicate())[1].decode()
        assert process.returncode == 0, said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def place_of(bootstrap: str, group: str) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield one who sees how far a group has come."""
    async with AIOKafkaConsumer(
        bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
    ) as watcher:
        yield watcher


async def all_handled(place: AIOKafkaConsumer, topic: str, deliveries: int) -> bool:
    """Tell whether so many events came, and all of them are committed."""
    await place._client.add_topic(topic)
    parts = [TopicPartition(topic, one) for one in place.partitions_for_topic(topic) or ()]
    place.assign(parts)
    ends = await place.end_offsets(parts)
    committed = [await place.committed(part) or 0 for part in parts]
    return sum(ends.values()) == deliveries and committed == [ends[part] for part in parts]


async def replay(system: KhqrSystem, topic: str) -> None:
    """Have every event of the topic delivered once more."""
    operator = KEY.token(sub="dara", scopes=["operations:act"], bank=None)
    answer = await system.call(
        "POST",
        "/ops/replays",
        json.dumps({"selection": {"topic": topic}, "reason": "a test of consumers"}).encode(),
        Authorization=f"Bearer {operator}",
    )
    assert answer.json["data"]["events"] == len(_FIRST), answer.body


def booked(books: Path) -> list[Any]:
    with sqlite3.connect(books) as ledger:
        return sorted(ledger.execute("SELECT policy, amount, currency FROM receipts"))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_WITHIN_S):
        while not await condition():  # noqa: ASYNC110 - a broker knows no event of ours
            await asyncio.sleep(0.05)
