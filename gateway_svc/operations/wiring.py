"""The parts of operations, wired for the composition root."""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from chassis.admission import Admission
from chassis.breaker import Breaker
from chassis.call_log import CallLog
from chassis.database import Database
from chassis.fingerprint import fingerprint
from chassis.group_commit import GroupCommit
from chassis.http_client import Send
from chassis.process_report import Bounded, ProcessReport
from gateway_svc.banks.opening import VERIFY
from gateway_svc.events import EventWriter
from gateway_svc.operations.outbox_orders import OutboxOrders
from gateway_svc.operations.parts import PartsWatch
from gateway_svc.operations.resolving import Resolving
from gateway_svc.operations.servicer import OperationsServicer
from gateway_svc.operations.today import TodayReader
from gateway_svc.settings import GatewaySettings

_INSURER, _INTEGRATION = "INSURER", "integration-service"
# Its own, few and impatient: what operators read takes no connection from a payment.
_READING_CONNECTIONS = 4
_READING_LIMIT_S = 3.0
# A secret, or what two replicas that are set alike differ in.
_NOT_TOLD = ("key", "sasl_password", "sasl_username", "listen", "metrics_listen", "var_dir")


class Operations:
    """What operators see and do, beside the gateway's own work."""

    def __init__(self, *, settings: GatewaySettings, clock: Callable[[], datetime]) -> None:
        """Wire what the gateway's parts are watched with; nothing is opened."""
        self._settings = settings
        self._clock = clock
        self._started_at = clock()
        self._kind = "kafka" if settings.events_url.startswith("kafka") else "log"
        self.breakers: dict[tuple[str, str], Breaker] = {}
        self.parts = PartsWatch(
            clock=clock, events_name="kafka" if self._kind == "kafka" else "events"
        )
        self._calls = CallLog(clock=clock, timer=time.monotonic)
        self._reading = Database(
            url=settings.database_url,
            pool_size=_READING_CONNECTIONS,
            statement_timeout_s=_READING_LIMIT_S,
        )
        self._today = TodayReader(database=self._reading, clock=clock, timer=time.monotonic)

    def watched(self, *, bank: str | None, send: Send) -> Send:
        """Return `send`, its calls kept as those to a bank, or to the insurer for None."""
        if bank is None:
            return self._calls.watched(
                owner=_INSURER, endpoint=_INTEGRATION, send=send, part=_INTEGRATION
            )
        return self._calls.watched(owner=bank, endpoint=VERIFY, send=send)

    def servicer(
        self,
        *,
        database: Database,
        events: EventWriter,
        writers: Mapping[str, GroupCommit[Any, Any]],
        admission: Admission,
        leads: Callable[[], bool],
        nudge: Callable[[], None],
    ) -> OperationsServicer:
        """Return the servicer; `nudge` tells the relay that there is something to do."""
        settings, clock = self._settings, self._clock
        return OperationsServicer(
            reading=self._reading,
            today=self._today,
            resolving=Resolving(database=database, events=events, clock=clock, committed=nudge),
            orders=OutboxOrders(
                database=database, reading=self._reading, clock=clock, committed=nudge
            ),
            parts=self.parts,
            report=ProcessReport(
                service="gateway",
                production=settings.production,
                configuration_fingerprint=fingerprint(settings=settings, leaving_out=_NOT_TOLD),
                started_at=self._started_at,
                calls=self._calls,
                breakers=self.breakers,
                bounded=(
                    Bounded(
                        name="database connections",
                        used=lambda: database.connections_in_use,
                        most=database.connections_limit,
                    ),
                    Bounded(
                        name="database connections of operators",
                        used=lambda: self._reading.connections_in_use,
                        most=self._reading.connections_limit,
                    ),
                    Bounded(
                        name="calls under way",
                        used=lambda: admission.under_way,
                        most=admission.most,
                    ),
                ),
                writers=writers,
            ),
            bank_codes=sorted(settings.banks),
            leads=leads,
            events_kind=self._kind,
            clock=clock,
        )

    async def close(self) -> None:
        """Stop reading."""
        await self._today.close()
        await self._reading.close()
