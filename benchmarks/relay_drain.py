"""How fast the relay empties an outbox into a real Kafka: `python -m benchmarks.relay_drain`.

A PostgreSQL and a broker of its own; rows of a few hundred bytes over some keys and four topics.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text

from chassis.database import Database
from chassis.kafka import KafkaOptions
from chassis.kafka_publisher import KafkaPublisher
from chassis.leadership import leadership_of
from chassis.relay import Relay
from gateway_svc.migrations import upgrade
from gateway_svc.tables import outbox, replays
from tests.support.kafka import make_topic
from tests.support.kafka_broker import KafkaBroker
from tests.support.postgres import PostgresServer, start_postgres

_TOPICS = 4
_FILL = """
INSERT INTO outbox (event_id, topic, event_key, value, request_id, created_at)
SELECT 'e' || i, 't' || i % :topics, 'P' || i % :keys,
       convert_to(repeat('x', 400), 'UTF8'), 'r', now()
FROM generate_series(1, :rows) i
"""


async def _drain(server: PostgresServer, broker: KafkaBroker, *, rows: int, keys: int) -> None:
    database = Database(url=server.url(database=server.fresh_database()), statement_timeout_s=60)
    await upgrade(database=database)
    for number in range(_TOPICS):
        await make_topic(bootstrap=broker.bootstrap, name=f"t{number}", partitions=6)
    async with database.transaction() as connection:
        await connection.execute(text(_FILL), {"topics": _TOPICS, "keys": keys, "rows": rows})
    leadership = leadership_of(database=database, key=1)
    publisher = KafkaPublisher(bootstrap_servers=[broker.bootstrap], options=KafkaOptions())
    relay = Relay(
        database=database, table=outbox, publisher=publisher, clock=lambda: datetime.now(tz=UTC),
        random=lambda: 0.0, leadership=leadership, replays=replays,
    )  # fmt: skip
    await leadership.run_once()
    began, done, lists = time.monotonic(), 0, 0
    while went := await relay.run_once():
        done, lists = done + went, lists + 1
    took_s = time.monotonic() - began
    sys.stdout.write(
        f"{done} rows of {keys} keys in {lists} lists: {took_s:.1f} s, {done / took_s:.0f} rows/s\n"
    )
    await leadership.close()
    await publisher.close()
    await database.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--keys", type=int, default=20_000)
    arguments = parser.parse_args()
    server = start_postgres()
    with tempfile.TemporaryDirectory() as folder:
        broker = KafkaBroker(Path(folder) / "broker")
        try:
            broker.start()
            asyncio.run(_drain(server, broker, rows=arguments.rows, keys=arguments.keys))
        finally:
            broker.kill()
            server.stop()


if __name__ == "__main__":
    main()
