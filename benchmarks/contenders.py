"""The programs that are compared, each started as it would be run, on a database of its own.

| name | what stands between the caller and PostgreSQL |
|------|-----------------------------------------------|
| ours | our bridge, calls in frames, our gateway |
| ours again | the same once more: what differs is noise |
| two gateways | our bridge, calls in frames over two streams, two gateways |
| ours unary | our bridge, one gRPC call a request, our gateway |
| envoy | Envoy's gRPC-JSON transcoder, our gateway |
| fastapi bridge | FastAPI and a grpc.aio stub, our gateway |
| fastapi + orm | FastAPI and SQLAlchemy's ORM in one process |
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.analysed import analysed
from benchmarks.load import Connections
from benchmarks.peers.envoy import envoy_config
from benchmarks.stock import StockedBill, bill_requests, envoy_requests, stock_bills
from chassis.database import Database
from gateway_svc.migrations import upgrade
from payctl.parts import grpc_probe, http_probe
from tests.drill.program import Program
from tests.support.gateway import write_bank_key
from tests.support.postgres_cluster import PostgresCluster, free_port
from tests.support.tokens import SigningKey, write_jwks

NAMES = (
    "ours",
    "two gateways",
    "ours unary",
    "envoy",
    "fastapi bridge",
    "fastapi + orm",
    "ours again",
)
_ALONE = "fastapi + orm"
_TWO = "two gateways"
_CONTRACTS = Path(__file__).parents[1] / "generated" / "payments" / "contracts.binpb"

Prepare = Callable[[str], Awaitable[None]]  # by the address of a database


@dataclass(kw_only=True)
class Contender:
    """One way to confirm a bill, running."""

    name: str
    port: int
    dsn: str
    token: str
    programs: list[Program] = field(default_factory=list)
    _made: int = 0

    def connections(self, *, most: int) -> Connections:
        """Return connections to its face."""
        return Connections(port=self.port, most=most)

    async def requests(self, *, count: int) -> Iterator[bytes]:
        """Make so many open bills, and return their confirmations."""
        bills: list[StockedBill] = await stock_bills(
            dsn=self.dsn, first=self._made + 1, count=count
        )
        self._made += count
        make = envoy_requests if self.name == "envoy" else bill_requests
        return make(bills=bills, token=self.token, port=self.port)

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU seconds that each of its programs has used."""
        return {one.name: _cpu_s(one.pid) for one in self.programs}

    def memory_mb(self) -> dict[str, int]:
        """Return the resident memory of each of its programs."""
        return {one.name: _resident_mb(one.pid) for one in self.programs}


@asynccontextmanager
async def running(
    *,
    name: str,
    folder: Path,
    postgres: PostgresCluster,
    database: str = "",
    prepare: Prepare | None = None,
) -> AsyncIterator[Contender]:
    """Run one contender on a fresh database, its files in `folder`, which is there.

    `prepare` fills the database before anything is started on it.
    """
    database = database or f"bench_{NAMES.index(name)}"
    await asyncio.to_thread(postgres.run, "createdb", database)
    url = postgres.base.set(drivername="postgresql+asyncpg", database=database)
    opened = Database(url=url.render_as_string(hide_password=False))
    await upgrade(database=opened)
    await opened.close()
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    if prepare is not None:
        await prepare(dsn)
    key = SigningKey(key_id="bench")
    write_bank_key(folder)
    environ = {
        **os.environ,
        "DATABASE_URL": url.render_as_string(hide_password=False),
        "JWT_KEYS_FILE": str(write_jwks(folder / "jwks.json", key)),
        "VAR_DIR": str(folder),
        "LOG_LEVEL": "ERROR",
        "INTEGRATION_URL": "http://127.0.0.1:1",
        "AMK_BASE_URL": "http://127.0.0.1:1",
        "BRIDGE_CONNECTIONS_PER_ADDRESS": "1000",
        "GRPC_ENABLE_FORK_SUPPORT": "0",
    }
    contender = Contender(
        name=name,
        port=free_port(),
        dsn=dsn,
        token=key.token(),
    )
    async with AsyncExitStack() as stack:
        for program in _programs(contender, folder, environ):
            await program.start()
            stack.push_async_callback(program.stop)
            contender.programs.append(program)
        if name == _ALONE:  # our gateway does it for the others
            await stack.enter_async_context(analysed(url=url.render_as_string(hide_password=False)))
        yield contender


def _programs(contender: Contender, folder: Path, environ: Mapping[str, str]) -> Iterator[Program]:
    port = str(contender.port)
    if contender.name == _ALONE:
        yield _python(
            "fastapi", ("-m", "benchmarks.peers.fastapi_orm", port), port, environ, folder
        )
        return
    gateways = [free_port() for _ in range(2 if contender.name == _TWO else 1)]
    gateway, addresses = gateways[0], [f"127.0.0.1:{one}" for one in gateways]
    environ = {**environ, "GATEWAY_TARGET": f"ipv4:{','.join(addresses)}"}
    environ |= {"KHQR_TARGET": addresses[0]}  # nobody asks for a code
    for number, address in enumerate(addresses, start=1):
        yield _gateway(
            f"gateway {number}" if len(addresses) > 1 else "gateway", address, environ, folder
        )
    match contender.name:
        case "envoy":
            config = folder / "envoy.json"
            config.write_text(
                envoy_config(port=contender.port, gateway_port=gateway, contracts=_CONTRACTS)
            )
            yield Program(
                name="envoy",
                arguments=(str(config),),
                environ=environ,
                log=folder / "envoy.log",
                probe=lambda: _answers(contender.port),
                command=(_envoy(), "--log-level", "error", "--concurrency", "1", "-c"),
            )
        case "fastapi bridge":
            module = ("-m", "benchmarks.peers.fastapi_bridge", port)
            yield _python("fastapi", module, port, environ, folder)
        case _:
            streams = "0" if contender.name.endswith("unary") else str(len(gateways))
            environ |= {"BRIDGE_LISTEN": f"127.0.0.1:{port}", "GRPC_STREAMS": streams}
            yield _python("bridge", ("-m", "rest_bridge"), port, environ, folder)


def _gateway(name: str, address: str, environ: Mapping[str, str], folder: Path) -> Program:
    return Program(
        name=name,
        arguments=("-m", "gateway_svc"),
        environ={**environ, "GATEWAY_LISTEN": address},
        log=folder / f"{name}.log",
        probe=lambda: grpc_probe(address),
    )


def _python(
    name: str, arguments: tuple[str, ...], port: str, environ: Mapping[str, str], folder: Path
) -> Program:
    return Program(
        name=name,
        arguments=arguments,
        environ=environ,
        log=folder / f"{name}.log",
        probe=lambda: _answers(int(port)),
    )


def _envoy() -> str:
    return str(Path(sys.executable).with_name("envoy"))


async def _answers(port: int) -> bool:
    """Return whether anything answers HTTP there: peers have no health page of ours."""
    if await http_probe(path="/livez")(f"127.0.0.1:{port}"):
        return True
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    try:
        async with asyncio.timeout(2):
            found = await reader.read(4)
    except (OSError, TimeoutError):
        found = b""
    writer.transport.abort()
    return found == b"HTTP"


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024
