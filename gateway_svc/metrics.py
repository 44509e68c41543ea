"""Every series of the gateway, wired: the composition root hands the parts to be watched."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from importlib import metadata
from typing import Any

import structlog
from google.protobuf.descriptor import ServiceDescriptor

from chassis.admission import Admission
from chassis.admission_metrics import watch_admission
from chassis.call_metrics import CallMetrics
from chassis.database import Database
from chassis.errors import Reasons
from chassis.group_commit import GroupCommit
from chassis.http_client import Send
from chassis.leadership import Leadership
from chassis.metrics import MetricsServer, new_registry, ready_gauge, tell_build
from chassis.outbound_metrics import OutboundMetrics
from chassis.outbox_metrics import OutboxMetrics
from chassis.settings import Address
from chassis.storage_metrics import watch_pool, watch_writers
from gateway_svc.events import topics_of
from gateway_svc.payment_metrics import PaymentMetrics
from gateway_svc.tables import replays
from gateway_svc.work_metrics import WorkMetrics

_log = structlog.get_logger()


class GatewayMetrics:
    """The registry of one gateway, what fills it, and where it is served."""

    def __init__(
        self,
        *,
        listen: Address | None,
        database: Database,
        leadership: Leadership,
        clock: Callable[[], datetime],
        topic_prefix: str,
        banks: Mapping[str, object],
        services: Iterable[ServiceDescriptor],
        reasons: Reasons,
        trace: Callable[[str, str, Send], Send] | None = None,
    ) -> None:
        """Make every series; nothing is served before `start`."""
        self.registry = registry = new_registry()
        tell_build(
            registry=registry, service="gateway", version=metadata.version("payment-gateway")
        )
        self.ready = ready_gauge(registry=registry)
        self.calls = CallMetrics(registry=registry, services=services, reasons=reasons)
        self.outbound = OutboundMetrics(registry=registry, trace=trace)
        self.payments = PaymentMetrics(registry=registry, banks=banks)
        self.outbox = OutboxMetrics(
            registry=registry,
            database=database,
            tables=replays,
            topics=topics_of(prefix=topic_prefix),
            leadership=leadership,
            clock=clock,
        )
        self._work = WorkMetrics(registry=registry, database=database, clock=clock)
        watch_pool(registry=registry, database=database)
        self._server = None if listen is None else MetricsServer(listen=listen, registry=registry)

    def watch(self, *, admission: Admission, writers: Mapping[str, GroupCommit[Any, Any]]) -> None:
        """Tell how full these are, from now on."""
        watch_admission(registry=self.registry, admission=admission)
        watch_writers(registry=self.registry, writers=writers)

    @property
    def served(self) -> bool:
        """Whether anybody can ask for the numbers, so that measuring is worth its cost."""
        return self._server is not None

    async def start(self) -> None:
        """Serve the numbers where the settings say so.

        :raises OSError: the address is taken.
        """
        if self._server is not None:
            _log.info("metrics_listening", address=str(await self._server.start()))

    async def run_once(self) -> int:
        """Measure what the database knows; return how much waits there."""
        return await self.outbox.run_once() + await self._work.run_once()

    async def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            await self._server.close()
