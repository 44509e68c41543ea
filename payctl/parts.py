"""The parts that `payctl up` starts, in the order in which they need one another.

A further service is one more row of the table.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.metrics import metrics_listen
from chassis.settings import Address, Variables

_PROBE_TIMEOUT_S = 2.0
_OK = 200

Probe = Callable[[str], Awaitable[bool]]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A program of the system: how it starts, where it listens, how it says it is well."""

    name: str
    arguments: tuple[str, ...]  # of the Python interpreter
    listen: str  # the variable that moves it
    default_listen: str
    probe: Probe  # asked with one `host:port` of the part
    gives: dict[str, str] = field(default_factory=dict)  # variable of later parts -> its value
    tells: str | None = None  # the file under VAR_DIR that gets the part's URL


def http_probe(*, path: str) -> Probe:
    """Return a probe that wants 200 from `path`."""

    async def is_well(address: str) -> bool:
        limit = aiohttp.ClientTimeout(total=_PROBE_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.get(f"http://{address}{path}") as response,
            ):
                return response.status == _OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    return is_well


async def grpc_probe(address: str) -> bool:
    """Return whether the gRPC health service at `address` says SERVING."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=_PROBE_TIMEOUT_S
            )
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def metrics_listens(*, variables: Variables) -> dict[str, str]:
    """Return what keeps services apart that share this machine and one `METRICS_LISTEN`.

    It is the gateway's; the KHQR service and the bridge take the next two ports. Whatever has a
    variable of its own is left alone.

    :raises SettingError: it is no address.
    """
    found = {}
    for after, service in enumerate(("GATEWAY", "KHQR", "BRIDGE")):
        listen = metrics_listen(variables, service=service)
        name = f"{service}_METRICS_LISTEN"
        if listen is not None and not variables.text(name, default=""):
            port = listen.port + after if listen.port else 0
            found[name] = str(Address(host=listen.host, port=port))
    return found


SANDBOX, GATEWAY, KHQR, BRIDGE = "sandbox", "gateway", "khqr", "bridge"

PARTS = (
    Part(
        name=SANDBOX,
        arguments=("-m", "amk_sandbox"),
        listen="SANDBOX_LISTEN",
        default_listen="127.0.0.1:8687",
        probe=http_probe(path="/livez"),
        gives={"INTEGRATION_URL": "http://{address}", "AMK_BASE_URL": "http://{address}"},
    ),
    Part(
        name=GATEWAY,
        arguments=("-m", "gateway_svc"),
        listen="GATEWAY_LISTEN",
        default_listen="127.0.0.1:50051",
        probe=grpc_probe,
        gives={"GATEWAY_TARGET": "{address}"},
    ),
    Part(
        name=KHQR,
        arguments=("-m", "khqr_svc"),
        listen="KHQR_LISTEN",
        default_listen="127.0.0.1:50052",
        probe=grpc_probe,
        gives={"KHQR_TARGET": "{address}"},
    ),
    Part(
        name=BRIDGE,
        arguments=("-m", "rest_bridge"),
        listen="BRIDGE_LISTEN",
        # The specification's two ports; both serve everything.
        default_listen="127.0.0.1:8080,127.0.0.1:8081",
        probe=http_probe(path="/readyz"),
        # The sandbox started before the bridge: it reads this when it calls it.
        tells="bridge.url",
    ),
)
