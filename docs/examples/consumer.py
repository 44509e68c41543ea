"""Books each settled premium once: a consumer to copy, explained in docs/events.md."""  # noqa: INP001

import asyncio
import contextlib
import json
import os
import sqlite3
from typing import Any

from aiokafka import AIOKafkaConsumer


def handle(*, books: sqlite3.Connection, event: dict[str, Any]) -> None:
    """Book one event; what was seen before changes nothing."""
    if event["schemaVersion"] != 1:
        raise ValueError(f"schema version {event['schemaVersion']}: read what it means first")
    with books:  # what is done and that it was done: one transaction, or nothing
        seen = (event["eventId"],)
        if books.execute("INSERT OR IGNORE INTO seen VALUES (?)", seen).rowcount:
            receipt = [event[name] for name in ("policyNumber", "dueOn", "amount", "currency")]
            books.execute("INSERT INTO receipts VALUES (?, ?, ?, ?)", receipt)


async def consume(*, books: sqlite3.Connection, topic: str, **broker: str) -> None:
    """Handle events in their order until cancelled; commit each when it is handled."""
    start: dict[str, Any] = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
    async with AIOKafkaConsumer(topic, **start, **broker) as consumer:
        async for record in consumer:
            handle(books=books, event=json.loads(record.value))
            await consumer.commit()


if __name__ == "__main__":
    ledger = sqlite3.connect(os.environ["BOOKS"])
    ledger.execute("CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY)")
    ledger.execute("CREATE TABLE IF NOT EXISTS receipts (policy, due_on, amount, currency)")
    kafka = {"bootstrap_servers": os.environ["KAFKA"], "group_id": os.environ["GROUP"]}
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(consume(books=ledger, topic=os.environ["TOPIC"], **kafka))
