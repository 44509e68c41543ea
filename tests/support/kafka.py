"""The Kafka of a test session: a real broker where one runs, else librdkafka's mock cluster.

The mock is no broker. It speaks enough of the protocol for idempotent producing, consuming
and order per key; it makes topics by itself and has no admin, no SASL and no transactions.
`KAFKA_TESTS=mock` asks for it.
"""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Producer

from chassis.kafka import KafkaOptions, TopicPlan, create_topics
from tests.support.kafka_broker import KafkaBroker
from tests.support.kafka_jars import KafkaNotRunnable, kafka_version

_PARTITIONS = 3


@dataclass(frozen=True, kw_only=True)
class KafkaOfSession:
    """Where the tests' Kafka is; if it is a mock, why."""

    bootstrap: str
    mock_because: str | None

    @property
    def called(self) -> str:
        """Return what the report calls it."""
        if self.mock_because is None:
            return f"{kafka_version()} (a broker)"
        return f"mock cluster of librdkafka, no broker ({self.mock_because})"

    async def fresh_topic(self, *, suffix: str = "") -> str:
        """Return the name of a topic of its own, empty, with several partitions.

        The topic itself has `suffix` behind that name.
        """
        name = f"dev.{uuid4().hex}"
        if self.mock_because is None:
            await make_topic(bootstrap=self.bootstrap, name=f"{name}{suffix}")
        return name


@contextmanager
def kafka_of_session(*, environ: Mapping[str, str]) -> Iterator[KafkaOfSession]:
    """Yield the session's Kafka; it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="kafka-"))
    broker = KafkaBroker(folder / "broker")
    try:
        mock_because = _why_not(broker, environ)
        if mock_because is None:
            yield KafkaOfSession(bootstrap=broker.bootstrap, mock_because=None)
        else:
            with mock_cluster() as bootstrap:
                yield KafkaOfSession(bootstrap=bootstrap, mock_because=mock_because)
    finally:
        broker.kill()
        shutil.rmtree(folder, ignore_errors=True)


async def make_topic(
    *, bootstrap: str, name: str, partitions: int = _PARTITIONS, **configs: str
) -> None:
    """Create one topic on a real broker; `configs` are written with `_` for `.`."""
    plan = TopicPlan(
        name=name,
        partitions=partitions,
        replication_factor=1,
        configs={key.replace("_", "."): value for key, value in configs.items()},
    )
    [outcome] = await create_topics(
        bootstrap_servers=[bootstrap], options=KafkaOptions(), plans=[plan]
    )
    assert not outcome.error, outcome.error


def _why_not(broker: KafkaBroker, environ: Mapping[str, str]) -> str | None:
    """Start the broker; return why it does not run, None where it does."""
    if environ.get("KAFKA_TESTS") == "mock":
        return "KAFKA_TESTS=mock"
    try:
        broker.start()
    except KafkaNotRunnable as reason:
        return str(reason)
    return None


@contextmanager
def mock_cluster() -> Iterator[str]:
    """Yield the `host:port` of a cluster of one broker; its topics make themselves."""
    # The cluster lives as long as this client does.
    client = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1})
    brokers = client.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    client.flush(5)
