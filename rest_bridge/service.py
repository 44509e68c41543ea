"""The composition root: the one place where the bridge's parts are put together."""

import asyncio
import random
import resource
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

import grpc
import structlog
from aiohttp import web

from chassis.admission import Admission, Bounds
from chassis.metrics import MetricsServer
from chassis.open_channel import open_channel
from chassis.process import gather_wakeups, repeat, spare_the_collector
from chassis.settings import Address, SettingError
from chassis.tls import TlsFiles, https_context
from chassis.tracing import Tracing, open_tracing
from rest_bridge.access_log import AccessLog
from rest_bridge.app import Bridge
from rest_bridge.connections import SPARE_DESCRIPTORS, Connections
from rest_bridge.contract import Contract
from rest_bridge.counts import Counts
from rest_bridge.house import House
from rest_bridge.metrics import BridgeMetrics
from rest_bridge.pages import PAGE_NAMES
from rest_bridge.peers import Peers
from rest_bridge.quiet_log import QuietLog
from rest_bridge.server import SWEEP_S, BridgeServer, Site
from rest_bridge.settings import ClientTls, Limits, Settings
from rest_bridge.shedding import sheds_nothing
from rest_bridge.surface import Surface
from rest_bridge.upstream import OpenChannel, Upstream

BUDGET_S = 5.0  # the specification's "Timeout handling (5 seconds max)"
_GRACE_S = BUDGET_S + 1.0  # a call may run for its whole budget after the signal

_log = structlog.get_logger()


def new_request_id() -> str:
    """Return an id that no other request has: random, but no secret, so no system call each."""
    return f"{random.getrandbits(128):032x}"


@dataclass(frozen=True, kw_only=True)
class Running:
    """A bridge that listens."""

    addresses: Sequence[Address]
    bridge: Bridge
    upstream: Upstream
    runner: web.ServerRunner
    counts: Counts
    admission: Admission
    server: BridgeServer
    sweeping: asyncio.Task[None]
    metrics: BridgeMetrics
    tracing: Tracing | None

    async def drain(self) -> None:
        """Say "not ready", stop listening, let calls finish, close the channels."""
        self.bridge.pages.draining = True
        await self.runner.cleanup()
        self.sweeping.cancel()
        await asyncio.wait((self.sweeping,))
        await self.upstream.close()
        if self.tracing is not None:
            await self.tracing.close()


async def start(
    *,
    contract: Contract,
    targets: Mapping[str, str],
    listen: Sequence[Address],
    tls: TlsFiles | None = None,
    client_tls: ClientTls | None = None,
    budget_s: float = BUDGET_S,
    make_id: Callable[[], str] = new_request_id,
    limits: Limits = Limits(),  # noqa: B008 # frozen
    peers: Peers = Peers(),  # noqa: B008 # frozen
    timer: Callable[[], float] = time.monotonic,
    bounds: Bounds | None = None,
    tracing: Tracing | None = None,
    shares_ports: bool = False,
) -> Running:
    """Listen on every address of `listen` and return what runs.

    `bounds` replace those that follow from the limits. `shares_ports`: the kernel shares out
    connections among all bridges that listen there with it (SO_REUSEPORT).

    :raises ContractFault: a route of the contracts cannot be served.
    :raises OSError: an address cannot be bound.
    :raises SettingError: the files of a certificate cannot be used.
    """
    context = None if tls is None else https_context(files=tls)
    upstream = Upstream(
        targets=targets,
        open_channel=_opener(client_tls, limits.streams),
        reasons=contract.reasons,
    )
    counts = Counts()
    house = House(
        surface=Surface(reasons=contract.reasons),
        connections=Connections(
            limit=limits.connections, per_address=limits.per_address, peers=peers, counts=counts
        ),
        counts=counts,
        log=QuietLog(timer=timer),
        make_id=make_id,
        timer=timer,
    )
    admission = Admission(bounds=bounds or bounds_of(calls=limits.calls), clock=timer)
    bridge = Bridge(
        contract=contract,
        upstream=upstream,
        admission=admission,
        peers=peers,
        house=house,
        budget_s=budget_s,
        version=metadata.version("payment-gateway"),
        tracing=tracing,
    )
    metrics = BridgeMetrics(
        routes=bridge.routes,
        pages=PAGE_NAMES,
        counts=counts,
        connections=house.connections,
        admission=admission,
    )
    bridge.watch(AccessLog(every=limits.access_log_every, then=metrics.answered).answered)
    server = BridgeServer(
        handle=bridge.handle,
        house=house,
        sheds=sheds_nothing if tracing is not None else bridge.shed,
    )
    runner = web.ServerRunner(server, shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        for one in listen:
            # As many may knock at once as may be in: a knock that the kernel drops is repeated
            # after 1, 3 and 7 seconds only.
            await Site(
                runner,
                one.host,
                one.port,
                ssl_context=context,
                backlog=limits.connections,
                reuse_port=shares_ports or None,
            ).start()
    except OSError:
        await runner.cleanup()
        raise
    addresses = tuple(Address(host=name[0], port=name[1]) for name in runner.addresses)
    return Running(
        addresses=addresses,
        bridge=bridge,
        upstream=upstream,
        runner=runner,
        counts=counts,
        admission=admission,
        server=server,
        sweeping=asyncio.create_task(
            repeat(run_once=server.sweep_once, pause_s=SWEEP_S, stop=asyncio.Event()),
            name="deadlines",
        ),
        metrics=metrics,
        tracing=tracing,
    )


def _opener(tls: ClientTls | None, streams: int) -> OpenChannel:
    def opened(name: str, target: str) -> grpc.aio.Channel:
        if tls is None:
            return open_channel(target=target, streams=streams)
        return open_channel(
            target=target, tls=tls.files, server_name=tls.server_names[name], streams=streams
        )

    return opened


def bounds_of(*, calls: int) -> Bounds:
    """Return how `calls` under way are shared out: a quarter is kept for webhooks."""
    return Bounds(
        most=calls,
        kept_for_vital=calls // 4,
        most_of_one_kind=calls - calls // 4,
        waiting=calls // 2,
        waiting_vital=calls,
    )


def allow_descriptors(*, connections: int) -> None:
    """Raise this process's limit of open files to what `connections` need.

    :raises SettingError: the system does not allow so many.
    """
    needed = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise SettingError(
            f"BRIDGE_CONNECTIONS: {connections} need {needed} open files, the system allows {hard}"
        )
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


async def serve(
    *,
    contract: Contract,
    targets: Mapping[str, str],
    settings: Settings,
    client_tls: ClientTls | None = None,
    plain: Sequence[str] = (),
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `plain` tells where production has no TLS."""
    gather_wakeups()
    allow_descriptors(connections=settings.limits.connections)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = await start(
        contract=contract,
        targets=targets,
        listen=settings.listen,
        tls=settings.tls,
        client_tls=client_tls,
        limits=settings.limits,
        peers=settings.peers,
        shares_ports=settings.shares_ports,
        tracing=open_tracing(
            endpoint=settings.otlp_endpoint,
            service="bridge",
            version=metadata.version("payment-gateway"),
        ),
    )
    numbers = (
        MetricsServer(listen=settings.metrics_listen, registry=running.metrics.registry)
        if settings.metrics_listen
        else None
    )
    if numbers is not None:
        _log.info("metrics_listening", address=str(await numbers.start()))
    spare_the_collector()
    _log.info("listening", addresses=[str(one) for one in running.addresses])
    if plain:
        _log.warning("plain_http", listen=plain, unless="something in front ends TLS")
    await stop.wait()
    _log.info("draining")
    await running.drain()
    if numbers is not None:
        await numbers.close()
    _log.info("stopped")
