"""What Prometheus is told.

| promise                                                                        |
|--------------------------------------------------------------------------------|
| depth, age, parked, replays are as the outbox is, measured by the loop         |
| a scrape asks no database, and answers while the database is away              |
| a topic that is none of ours is counted under `other`: labels stay bounded     |
| the leader says 1, a follower 0                                                |
| METRICS_LISTEN: empty is off, a port alone is the loopback's, nonsense is named |
| nothing is in the library's global registry                                    |
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from sqlalchemy import MetaData
from structlog.testing import capture_logs

from chassis import outbox, outbox_requests
from chassis.database import Database
from chassis.delivery import PublishFailed
from chassis.leadership import AdvisoryLeadership, Alone
from chassis.metrics import MetricsServer, metrics_listen, new_registry
from chassis.outbox import Event, outbox_table
from chassis.outbox_metrics import OutboxMetrics
from chassis.outbox_requests import Asked, Selection
from chassis.relay import Relay
from chassis.replays import replay_tables
from chassis.settings import Address, SettingError, Variables
from tests.support.events import Clock, Listener
from tests.support.gateway import gateway_settings, running_gateway
from tests.support.tokens import SigningKey

_METADATA = MetaData()
_OUTBOX = outbox_table(_METADATA)
_TABLES = replay_tables(_METADATA, outbox=_OUTBOX)
_START = datetime(2025, 11, 15, 8, 30, tzinfo=UTC)


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(url=empty_database_url)
    async with database.transaction() as connection:
        await connection.run_sync(_METADATA.create_all)
    yield database
    await database.close()


async def _append(database: Database, *names: str, topic: str = "paid") -> None:
    events = [Event(event_id=name, topic=topic, key=name[0], value=b"1") for name in names]
    async with database.transaction() as connection:
        await outbox.append(connection=connection, table=_OUTBOX, events=events, at=_START)


async def _scraped(address: Address) -> dict[str, float]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/metrics") as response,
    ):
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        text = await response.text()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def test_the_outbox_is_told_as_it_is(database: Database) -> None:
    clock, listener, registry = Clock(now=_START), Listener(), new_registry()
    metrics = OutboxMetrics(
        registry=registry, database=database, tables=_TABLES, topics=["paid"],
        leadership=Alone(database=database), clock=clock,
    )  # fmt: skip
    relay = Relay(
        database=database, table=_OUTBOX, publisher=listener, clock=clock, random=lambda: 0.0,
        heard=metrics.heard, replays=_TABLES,
    )  # fmt: skip
    server = MetricsServer(listen=Address(host="127.0.0.1", port=0), registry=registry)
    address = await server.start()

    await _append(database, "A1", "B1", "B2", "C1", "C2")
    await _append(database, "X1", topic="else")
    listener.fails = {"B1": PublishFailed(error="no", poison=True), "C1": PublishFailed(error="?")}
    assert await relay.run_once() == 2
    async with database.transaction() as connection:
        await outbox_requests.request_replay(
            connection=connection, tables=_TABLES, selection=Selection(event_id="A1"),
            asked=Asked(by="t", reason="t", at=_START),
        )  # fmt: skip
    clock.forward(seconds=90)
    assert await metrics.run_once() == 4
    told = await _scraped(address)
    assert {name: told[name] for name in told if name.startswith(("outbox_", "relay_"))} == {
        "outbox_unpublished_events": 4,
        "outbox_oldest_unpublished_age_seconds": 90,
        "outbox_parked_events": 1,
        "outbox_replays_pending": 1,
        "outbox_measured_timestamp_seconds": clock().timestamp(),
        "relay_is_leader": 1,
        'relay_events_total{outcome="published",topic="paid"}': 1,
        'relay_events_total{outcome="failed",topic="paid"}': 1,
        'relay_events_total{outcome="parked",topic="paid"}': 1,
        'relay_events_total{outcome="replayed",topic="paid"}': 0,
        'relay_events_total{outcome="published",topic="other"}': 1,
        **{name: told[name] for name in told if name.startswith("relay_events_created")},
    }
    listener.fails = {}
    assert await relay.run_once() == 2  # C1, C2
    assert await relay.run_once() == 1  # A1 once more
    assert await metrics.run_once() == 2
    told = await _scraped(address)
    assert told["outbox_oldest_unpublished_age_seconds"] == 0  # B2 waits for a person too
    assert told["outbox_replays_pending"] == 0
    assert told['relay_events_total{outcome="replayed",topic="paid"}'] == 1
    await server.close()


async def test_a_scrape_needs_no_database() -> None:
    away = Database(url="postgresql+asyncpg://nobody@127.0.0.1:1/none", connect_timeout_s=0.2)
    registry = new_registry()
    metrics = OutboxMetrics(
        registry=registry, database=away, tables=_TABLES, topics=[],
        leadership=AdvisoryLeadership(database=away, key=1), clock=Clock(now=_START),
    )  # fmt: skip
    server = MetricsServer(listen=Address(host="127.0.0.1", port=0), registry=registry)
    address = await server.start()
    assert await metrics.run_once() == 0
    told = await _scraped(address)
    assert told["outbox_measured_timestamp_seconds"] == 0
    assert told["relay_is_leader"] == 0
    assert told["process_resident_memory_bytes"] > 0
    await server.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        (":9100", Address(host="127.0.0.1", port=9100)),
        ("0.0.0.0:9100", Address(host="0.0.0.0", port=9100)),  # noqa: S104 - somebody said so
    ],
)
def test_metrics_are_off_or_of_the_loopback_unless_somebody_says_so(
    text: str, expected: Address | None
) -> None:
    assert (
        metrics_listen(Variables(environ={"METRICS_LISTEN": text}), service="GATEWAY") == expected
    )


@pytest.mark.parametrize("text", ["9100", "host", "host:port", ":"])
def test_another_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingError, match=r"METRICS_LISTEN: must be host:port"):
        metrics_listen(Variables(environ={"METRICS_LISTEN": text}), service="GATEWAY")


async def test_a_gateway_tells_its_numbers_where_it_is_told_to(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = gateway_settings(
        tmp_path=tmp_path,
        key=SigningKey(key_id="test"),
        environ={"DATABASE_URL": empty_database_url, "METRICS_LISTEN": ":0"},
    )
    with capture_logs() as logs:
        async with running_gateway(settings=settings):
            [line] = [one for one in logs if one["event"] == "metrics_listening"]
            host, port = line["address"].rsplit(":", 1)
            told = await _scraped(Address(host=host, port=int(port)))
            assert host == "127.0.0.1"
            assert told["relay_is_leader"] == 1
            topics = {name for name in told if name.startswith("relay_events_total")}
            assert len(topics) == 4 * 4
    assert isinstance(REGISTRY, CollectorRegistry)
    assert not [name for name in REGISTRY._names_to_collectors if name.startswith("relay_")]
