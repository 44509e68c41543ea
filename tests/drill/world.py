"""The whole system as separate processes on PostgreSQL and Kafka, every link through a proxy."""

import asyncio
import os
import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp

from chassis.kafka import KafkaOptions, TopicPlan, create_topics
from gateway_svc.events import topics_of
from payctl.parts import grpc_probe, http_probe
from tests.drill.program import Program
from tests.drill.tcp_proxy import TcpProxy
from tests.support.kafka_broker import KafkaBroker
from tests.support.postgres_cluster import PostgresCluster, free_port
from tests.support.tokens import SigningKey, write_jwks

TOPIC_PREFIX = "drill"
TOPICS = topics_of(prefix=TOPIC_PREFIX)
GATEWAYS = ("gateway-a", "gateway-b")
_PARTITIONS = 3
_TOKEN_LIFETIME = timedelta(hours=12)
_SCOPES = ("payments:inquire", "payments:confirm", "khqr:generate")
_SERVER_SETTINGS = {
    "max_connections": "200",
    "track_commit_timestamp": "on",  # tells when a row was committed
    "shared_buffers": "128MB",
}


@dataclass(kw_only=True)
class World:
    """Everything that runs, and where the drill can take hold of it."""

    folder: Path
    postgres: PostgresCluster
    kafka: KafkaBroker
    programs: dict[str, Program] = field(default_factory=dict)
    links: dict[str, TcpProxy] = field(default_factory=dict)
    bridge_url: str = ""
    sandbox_url: str = ""
    token: str = ""

    @property
    def points(self) -> Path:
        """The folder in which a crash point is armed."""
        return self.folder / "points"

    @property
    def database_dsn(self) -> str:
        """The database, past the proxies."""
        url = self.postgres.base.set(drivername="postgresql", database="drill")
        return url.render_as_string(hide_password=False)

    async def stop(self) -> None:
        """Stop everything, the face first."""
        for name in ("bridge", "khqr", *GATEWAYS, "sandbox"):
            if name in self.programs:
                await self.programs[name].stop()
        for link in self.links.values():
            await link.stop()
        await asyncio.to_thread(self.kafka.stop)
        await asyncio.to_thread(self.postgres.stop)
        books = (self.folder / "sandbox.sqlite").resolve().parent
        if books != self.folder.resolve():
            await asyncio.to_thread(shutil.rmtree, books, ignore_errors=True)


async def start_world(*, folder: Path) -> World:
    """Start servers, proxies and programs, and return them once all are healthy.

    :raises PostgresNotRunnable: no PostgreSQL can be had here.
    :raises KafkaNotRunnable: no Kafka can be had here.
    """
    postgres_folder = folder / "postgres"
    for made in (postgres_folder, folder / "points", folder / "log", folder / "keys"):
        made.mkdir(parents=True)
    _put_sandbox_in_memory(folder)
    postgres = PostgresCluster(folder=postgres_folder, settings=_SERVER_SETTINGS)
    kafka_link = TcpProxy(name="kafka", target_port=0)
    await kafka_link.start()
    kafka = KafkaBroker(folder / "kafka", advertised=f"127.0.0.1:{kafka_link.port}")
    kafka_link.target_port = int(kafka.bootstrap.rpartition(":")[2])
    world = World(folder=folder, postgres=postgres, kafka=kafka, links={"kafka": kafka_link})
    try:
        await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(kafka.start))
        await asyncio.to_thread(postgres.run, "createdb", "drill")
        await _make_topics(kafka)
        await _start_programs(world)
    except BaseException:
        await world.stop()
        raise
    return world


def _put_sandbox_in_memory(folder: Path) -> None:
    """Keep the bank's books in memory where there is a file system for it.

    They outlive a killed process all the same, and a bank that writes to our disk for each
    question would be measured instead of us.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own name in it
    if memory.is_dir():
        there = memory / folder.parent.name
        there.mkdir(exist_ok=True)
        (folder / "sandbox.sqlite").symlink_to(there / "sandbox.sqlite")


async def _start_programs(world: World) -> None:
    key = SigningKey(key_id="drill")
    exp = int((datetime.now(tz=UTC) + _TOKEN_LIFETIME).timestamp())
    world.token = key.token(scopes=_SCOPES, sub="amk", exp=exp)
    khqr_token = key.token(
        scopes=("payments:inquire", "khqr:record"), sub="khqr", bank=None, exp=exp
    )
    token_file = world.folder / "keys" / "khqr.token"
    token_file.write_text(khqr_token)
    (world.folder / "keys" / "sandbox.token").write_text(world.token)
    common = {
        **os.environ,
        "ENVIRONMENT": "development",
        "VAR_DIR": str(world.folder),
        "JWT_KEYS_FILE": str(write_jwks(world.folder / "keys" / "jwks.json", key)),
        "TOPIC_PREFIX": TOPIC_PREFIX,
        "EVENTS_URL": f"kafka://127.0.0.1:{world.links['kafka'].port}",
        "GATEWAY_TOKEN_FILE": str(token_file),
        "INQUIRIES_PER_MINUTE": "1000000",
        "BRIDGE_CONNECTIONS_PER_ADDRESS": "1000",  # one machine plays everybody
        "LOG_LEVEL": "INFO",
        "POLL_FIRST_S": "2",
        "POLL_LONGEST_S": "5",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }
    sandbox_port, bridge_port, khqr_port = free_port(), free_port(), free_port()
    world.sandbox_url = f"http://127.0.0.1:{sandbox_port}"
    world.bridge_url = f"http://127.0.0.1:{bridge_port}"
    await _run(
        world,
        "sandbox",
        "amk_sandbox",
        common | {"SANDBOX_LISTEN": f"127.0.0.1:{sandbox_port}", "BRIDGE_URL": world.bridge_url},
        f"127.0.0.1:{sandbox_port}",
    )
    await _switch_webhooks_off(world)
    bank_port = await _link(world, "bank", sandbox_port)
    common |= {
        "AMK_BASE_URL": f"http://127.0.0.1:{bank_port}",
        "INTEGRATION_URL": f"http://127.0.0.1:{bank_port}",
    }
    targets = []
    for name in GATEWAYS:
        port = free_port()
        database_port = await _link(world, f"{name}-postgres", world.postgres.port)
        targets.append(f"127.0.0.1:{await _link(world, name, port)}")
        await _run(
            world,
            name,
            "gateway_svc",
            common
            | {
                "GATEWAY_LISTEN": f"127.0.0.1:{port}",
                "DATABASE_URL": f"postgresql+asyncpg://postgres@127.0.0.1:{database_port}/drill",
                "CRASH_POINTS_DIR": str(world.points),
            },
            f"127.0.0.1:{port}",
        )
    common["GATEWAY_TARGET"] = f"ipv4:{','.join(targets)}"
    common["KHQR_TARGET"] = f"127.0.0.1:{await _link(world, 'khqr', khqr_port)}"
    khqr = common | {"KHQR_LISTEN": f"127.0.0.1:{khqr_port}"}
    await _run(world, "khqr", "khqr_svc", khqr, f"127.0.0.1:{khqr_port}")
    bridge = common | {"BRIDGE_LISTEN": f"127.0.0.1:{bridge_port}"}
    await _run(world, "bridge", "rest_bridge", bridge, f"127.0.0.1:{bridge_port}")


async def _run(world: World, name: str, module: str, environ: dict[str, str], address: str) -> None:
    grpc_services = {"gateway_svc", "khqr_svc"}
    http = http_probe(path="/readyz" if module == "rest_bridge" else "/livez")
    probe = grpc_probe if module in grpc_services else http
    program = Program(
        name=name,
        arguments=("-m", module),
        environ=environ,
        log=world.folder / "log" / f"{name}.log",
        probe=lambda: probe(address),
    )
    world.programs[name] = program
    await program.start()


async def _link(world: World, name: str, target_port: int) -> int:
    link = TcpProxy(name=name, target_port=target_port)
    world.links[name] = link
    return await link.start()


async def _switch_webhooks_off(world: World) -> None:
    """Let the bank only move the money: the webhooks of codes are the drill's to send."""
    async with (
        aiohttp.ClientSession(raise_for_status=True) as http,
        http.post(f"{world.sandbox_url}/sandbox/faults/webhook-never/on"),
    ):
        return


async def _make_topics(kafka: KafkaBroker) -> None:
    outcomes = await create_topics(
        bootstrap_servers=[kafka.direct],
        options=KafkaOptions(),
        plans=[
            TopicPlan(
                name=name,
                partitions=_PARTITIONS,
                replication_factor=1,
                # The broker's own clock says when it took an event.
                configs={"message.timestamp.type": "LogAppendTime"},
            )
            for name in TOPICS
        ],
    )
    for one in outcomes:
        if one.error:
            raise RuntimeError(f"{one.plan.name}: {one.error}")
