"""The composition root: the one place where the bridge's parts are put together."""

import asyncio
import signal
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

import grpc
import structlog
from aiohttp import web

from chassis.rpc import open_channel
from chassis.settings import Address
from chassis.tls import TlsFiles, https_context
from rest_bridge.app import Bridge, BridgeServer
from rest_bridge.contract import Contract
from rest_bridge.settings import ClientTls
from rest_bridge.site import Site
from rest_bridge.upstream import OpenChannel, Upstream

BUDGET_S = 5.0  # the specification's "Timeout handling (5 seconds max)"
_GRACE_S = BUDGET_S + 1.0  # a call may run for its whole budget after the signal

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Running:
    """A bridge that listens."""

    addresses: Sequence[Address]
    bridge: Bridge
    upstream: Upstream
    runner: web.ServerRunner

    async def drain(self) -> None:
        """Say "not ready", stop listening, let calls finish, close the channels."""
        self.bridge.pages.draining = True
        await self.runner.cleanup()
        await self.upstream.close()


async def start(
    *,
    contract: Contract,
    targets: Mapping[str, str],
    listen: Sequence[Address],
    tls: TlsFiles | None = None,
    client_tls: ClientTls | None = None,
    budget_s: float = BUDGET_S,
    make_id: Callable[[], str] = lambda: str(uuid.uuid4()),
) -> Running:
    """Listen on every address of `listen` and return what runs.

    :raises ContractFault: a route of the contracts cannot be served.
    :raises OSError: an address cannot be bound.
    :raises SettingError: the files of a certificate cannot be used.
    """
    context = None if tls is None else https_context(files=tls)
    upstream = Upstream(
        targets=targets,
        open_channel=_opener(client_tls),
        reasons=contract.reasons,
    )
    bridge = Bridge(
        contract=contract,
        upstream=upstream,
        budget_s=budget_s,
        make_id=make_id,
        version=metadata.version("payment-gateway"),
    )
    runner = web.ServerRunner(BridgeServer(bridge=bridge), shutdown_timeout=_GRACE_S)
    await runner.setup()
    try:
        for one in listen:
            await Site(runner, one.host, one.port, ssl_context=context).start()
    except OSError:
        await runner.cleanup()
        raise
    addresses = tuple(Address(host=name[0], port=name[1]) for name in runner.addresses)
    return Running(addresses=addresses, bridge=bridge, upstream=upstream, runner=runner)


def _opener(tls: ClientTls | None) -> OpenChannel:
    def opened(name: str, target: str) -> grpc.aio.Channel:
        if tls is None:
            return open_channel(target=target)
        return open_channel(target=target, tls=tls.files, server_name=tls.server_names[name])

    return opened


async def serve(
    *,
    contract: Contract,
    targets: Mapping[str, str],
    listen: Sequence[Address],
    tls: TlsFiles | None = None,
    client_tls: ClientTls | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = await start(
        contract=contract, targets=targets, listen=listen, tls=tls, client_tls=client_tls
    )
    _log.info("listening", addresses=[str(one) for one in running.addresses])
    await stop.wait()
    _log.info("draining")
    await running.drain()
    _log.info("stopped")
