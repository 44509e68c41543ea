"""Checks of what keeps and carries: database, schema, topics, services."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import text

from chassis.database import Database, DatabaseUnavailable
from chassis.kafka import KafkaUnavailable, servers_of_url, topic_names
from chassis.kafka_rights import Right, rights_on
from gateway_svc.events import topics_of
from gateway_svc.migrations import SchemaBehind, require_newest
from gateway_svc.settings import GatewaySettings
from payctl.checks import Check, Finding, green, not_asked, red
from payctl.network_checks import skew_finding
from payctl.parts import grpc_probe, http_probe

_LEAST_POSTGRESQL = 14
_NEEDED = frozenset({Right.WRITE, Right.DESCRIBE})
_MIGRATE = "Run python -m gateway_svc.migrations."


def database_checks(*, settings: GatewaySettings, clock: Callable[[], datetime]) -> Iterator[Check]:
    """Yield checks of the one database."""
    yield Check(name="database", ask=lambda: _with(settings, _answers))
    yield Check(name="database schema", ask=lambda: _with(settings, _schema))
    yield Check(
        name="clock of the database",
        ask=lambda: _with(settings, lambda database: _clock(database, clock)),
    )


def topic_checks(*, settings: GatewaySettings) -> Iterator[Check]:
    """Yield checks that every topic is there, and that we may write to it."""
    yield Check(name="topics", ask=lambda: _topics(settings))
    yield Check(name="rights on topics", ask=lambda: _rights(settings))


def service_checks(
    *, gateway: str, khqr: str, bridge: str | None, plaintext: bool
) -> Iterator[Check]:
    """Yield checks that each service says it is well; gRPC over TLS is not asked."""
    for name, target in (("gateway", gateway), ("khqr", khqr)):
        yield Check(
            name=f"{name} is well",
            ask=partial(_serves, target, plaintext=plaintext),
        )
    yield Check(name="bridge is well", ask=lambda: _ready(bridge))


async def _with(
    settings: GatewaySettings, ask: Callable[[Database], Awaitable[Finding]]
) -> Finding:
    database = Database(url=settings.database_url)
    try:
        return await ask(database)
    except DatabaseUnavailable as problem:
        return red(str(problem), remedy="Check DATABASE_URL, the network, and pg_hba.conf.")
    finally:
        await database.close()


async def _answers(database: Database) -> Finding:
    async with database.reading() as connection:
        if database.dialect == "sqlite":
            return green("SQLite, for a laptop")
        version = str(await connection.scalar(text("SHOW server_version")))
    if int(version.partition(".")[0]) < _LEAST_POSTGRESQL:
        return red(f"PostgreSQL {version}", remedy=f"Use {_LEAST_POSTGRESQL} or later.")
    return green(f"PostgreSQL {version}")


async def _schema(database: Database) -> Finding:
    try:
        await require_newest(database=database)
    except SchemaBehind as problem:
        return red(str(problem), remedy=_MIGRATE)
    return green("the newest")


async def _clock(database: Database, clock: Callable[[], datetime]) -> Finding:
    if database.dialect == "sqlite":
        return green("ours: it is a file")
    async with database.reading() as connection:
        theirs = await connection.scalar(text("SELECT clock_timestamp()"))
    return skew_finding(theirs=theirs.astimezone(UTC), ours=clock())


async def _topics(settings: GatewaySettings) -> Finding:
    if settings.events_url.startswith("log"):
        return not_asked("events go to a file", remedy="EVENTS_URL=kafka://... for a cluster.")
    try:
        there = await topic_names(
            bootstrap_servers=servers_of_url(settings.events_url), options=settings.kafka
        )
    except KafkaUnavailable as problem:
        return red(str(problem), remedy="Check EVENTS_URL and KAFKA_*.")
    # A topic that we may not describe is not told to us: one missing here may be an ACL.
    missing = [name for name in topics_of(prefix=settings.topic_prefix) if name not in there]
    if missing:
        return red(
            f"not there, or not ours to see: {', '.join(missing)}",
            remedy="Run payctl topics; grant Describe and Write on them.",
        )
    return green(f"{len(topics_of(prefix=settings.topic_prefix))} topics are there")


async def _rights(settings: GatewaySettings) -> Finding:
    if settings.events_url.startswith("log"):
        return not_asked("events go to a file", remedy="EVENTS_URL=kafka://... for a cluster.")
    try:
        found = await rights_on(
            bootstrap_servers=servers_of_url(settings.events_url),
            options=settings.kafka,
            topics=topics_of(prefix=settings.topic_prefix),
        )
    except KafkaUnavailable as problem:
        return red(str(problem), remedy="Check EVENTS_URL and KAFKA_*.")
    lacking = {
        name: may for name, may in found.items() if isinstance(may, str) or not may >= _NEEDED
    }
    if lacking:
        told = ", ".join(
            f"{name} ({may if isinstance(may, str) else 'no Write'})"
            for name, may in sorted(lacking.items())
        )
        return red(told, remedy="Grant Describe and Write on them to our principal.")
    return green("we may write to all of them")


async def _serves(target: str, *, plaintext: bool) -> Finding:
    if not plaintext:
        return not_asked("it speaks TLS", remedy="Ask its health with grpc_health_probe.")
    if await grpc_probe(target.removeprefix("dns:///")):
        return green(f"{target} says SERVING")
    return red(f"{target} does not say SERVING", remedy="Read its log.")


async def _ready(bridge: str | None) -> Finding:
    if bridge is None:
        return not_asked("nobody says where it is", remedy="--url, or BRIDGE_URL.")
    if not bridge.startswith("http://"):
        return not_asked("it speaks TLS", remedy="Ask /readyz with curl.")
    if await http_probe(path="/readyz")(bridge.removeprefix("http://")):
        return green(f"{bridge}/readyz says 200")
    return red(f"{bridge}/readyz does not say 200", remedy="Read its log.")
