"""Numbers for Prometheus, over HTTP, from a registry of one's own.

Nothing is counted in the library's global registry: what a process exports is what its
composition root made. A scrape reads numbers that are there; it asks no database.
"""

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from chassis.settings import Address, SettingError, Variables

_LOOPBACK = "127.0.0.1"


def new_registry() -> CollectorRegistry:
    """Return a registry that tells of the process itself: memory, descriptors, CPU, collector."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def metrics_listen(variables: Variables) -> Address | None:
    """Return where `METRICS_LISTEN` wants metrics, None where it is empty.

    A port alone (`:9100`) is the loopback's: metrics are public only if somebody says so.

    :raises SettingError: it is no address.
    """
    text = variables.text("METRICS_LISTEN", default="")
    if not text:
        return None
    if text.startswith(":"):
        text = f"{_LOOPBACK}{text}"
    try:
        return Variables(environ={}).address("METRICS_LISTEN", default=text)
    except SettingError:
        raise SettingError(
            f"METRICS_LISTEN: must be host:port, or :port for {_LOOPBACK}, is {text!r}"
        ) from None


class MetricsServer:
    """Serves `GET /metrics` while it runs."""

    def __init__(self, *, listen: Address, registry: CollectorRegistry) -> None:
        self._listen = listen
        self._registry = registry
        self._runner: web.AppRunner | None = None

    async def start(self) -> Address:
        """Listen; return the real address.

        :raises OSError: the address is taken.
        """
        application = web.Application()
        application.router.add_get("/metrics", self._answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._listen.host, self._listen.port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = runner.addresses[0][:2]
        return Address(host=host, port=port)

    async def close(self) -> None:
        """Stop listening."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )
