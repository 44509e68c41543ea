"""A stand-in for Kafka: the mock cluster inside librdkafka. It is no broker.

It speaks enough of the protocol for idempotent producing, consuming and order per key;
it has no access lists, no SASL and no transactions.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Producer


@contextmanager
def mock_cluster() -> Iterator[str]:
    """Yield the `host:port` of a cluster of one broker; its topics make themselves."""
    # The cluster lives as long as this client does.
    client = Producer({"bootstrap.servers": "127.0.0.1:1", "test.mock.num.brokers": 1})
    brokers = client.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    client.flush(5)
