"""Numbers for Prometheus, over HTTP, from a registry of one's own.

Nothing is counted in the library's global registry: what a process exports is what its
composition root made. A scrape reads numbers that are there; it asks no database.
"""

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from chassis.settings import Address, SettingError, Variables

_LOOPBACK = "127.0.0.1"
# Of everything that takes part of the five seconds that a call may have.
DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)


def new_registry() -> CollectorRegistry:
    """Return a registry that tells of the process itself: memory, descriptors, CPU, collector."""
    # When a series began doubles what is scraped, and nobody asks.
    disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def tell_build(*, registry: CollectorRegistry, service: str, version: str) -> None:
    """Say which program this is: a series that is always 1, to be joined with others."""
    Gauge(
        "build_info",
        "1; which service this is, and its version.",
        ("service", "version"),
        registry=registry,
    ).labels(service, version).set(1)


def ready_gauge(*, registry: CollectorRegistry) -> Gauge:
    """Return the gauge of whether this process says that calls are welcome."""
    return Gauge(
        "service_ready",
        "1 while the process says that calls are welcome, 0 while what it needs is away.",
        registry=registry,
    )


def metrics_listen(variables: Variables, *, service: str) -> Address | None:
    """Return where `service`, a name in capitals, serves its metrics, None if nowhere.

    `<SERVICE>_METRICS_LISTEN` goes before `METRICS_LISTEN`, which serves where each service has
    a machine of its own. A port alone (`:9100`) is the loopback's: metrics are public only if
    somebody says so.

    :raises SettingError: it is no address.
    """
    name = f"{service}_METRICS_LISTEN"
    text = variables.text(name, default="")
    if not text:
        name = "METRICS_LISTEN"
        text = variables.text(name, default="")
    if not text:
        return None
    if text.startswith(":"):
        text = f"{_LOOPBACK}{text}"
    try:
        return Variables(environ={}).address(name, default=text)
    except SettingError:
        raise SettingError(
            f"{name}: must be host:port, or :port for {_LOOPBACK}, is {text!r}"
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
