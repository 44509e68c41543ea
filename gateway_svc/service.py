"""The composition root of the gateway: the one place that names concrete parts."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import structlog
from google.protobuf import descriptor_pool

from chassis import ids
from chassis.auth import Authenticator, KeyFile
from chassis.backoff import growing_pause
from chassis.crash_points import CrashPoints, no_crash
from chassis.database import DatabaseUnavailable
from chassis.errors import Reasons, ServiceError
from chassis.group_commit import GroupCommit, QueueFull, WriterFailed
from chassis.http_client import HttpClient
from chassis.leadership import PROOF_INTERVAL_S, leadership_of
from chassis.planner_statistics import LOOK_INTERVAL_S, PlannerStatistics
from chassis.process import repeat
from chassis.publisher import Publisher, publisher_from_url
from chassis.rate_limit import RateLimit
from chassis.relay import Relay
from chassis.rpc import CallInterceptor, utc_now
from chassis.rpc_server import Server
from chassis.settings import Address
from chassis.single_flight import FlightStopped
from gateway_svc.banks.opening import open_bank
from gateway_svc.completer import Completer
from gateway_svc.confirmation import Confirmation
from gateway_svc.events import EventWriter
from gateway_svc.inquiry import LookupRecorder
from gateway_svc.khqr_codes import KhqrCodes
from gateway_svc.khqr_confirmation import KhqrConfirmation
from gateway_svc.metrics import GatewayMetrics
from gateway_svc.migrations import require_newest, upgrade
from gateway_svc.operations.wiring import Operations
from gateway_svc.policies import IntegrationService
from gateway_svc.rows import Overtaken
from gateway_svc.servicer import GatewayServicer
from gateway_svc.settings import GatewaySettings
from gateway_svc.tables import outbox, replays
from gateway_svc.tracing import GatewayTracing
from payments.errors.v1 import errors_pb2
from payments.gateway.v1 import (
    gateway_service_pb2,
    gateway_service_pb2_grpc,
    operations_service_pb2,
    operations_service_pb2_grpc,
)

_DOMAIN = "payments"
_SERVICES = (
    gateway_service_pb2.DESCRIPTOR.services_by_name["GatewayService"],
    operations_service_pb2.DESCRIPTOR.services_by_name["OperationsService"],
)
_PROBE_INTERVAL_S = 2.0
_MEASURE_INTERVAL_S = 5.0
_RELAY_LOCK = 7_150_002  # any number of ours; migrations have the one before
_LONGEST_PAUSE = timedelta(minutes=15)

_log = structlog.get_logger()


class GatewayProcess:
    """The gateway's parts, wired; `start` runs them and `stop` drains them."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        clock: Callable[[], datetime] = utc_now,
        new_id: Callable[[], str] = ids.new_id,
        publisher: Publisher | None = None,
    ) -> None:
        """Wire the parts; nothing is opened yet. `publisher` replaces that of the settings.

        :raises KeysUnreadable: the key file cannot be used.
        """
        self._settings = settings
        reached = (
            CrashPoints(folder=settings.crash_points_dir) if settings.crash_points_dir else no_crash
        )
        self.tracing = GatewayTracing(endpoint=settings.otlp_endpoint)
        self.database = self.tracing.database(url=settings.database_url, reached=reached)
        self._http = HttpClient(connections=50)
        self._publisher = self.tracing.publisher(
            publisher
            or publisher_from_url(
                url=settings.events_url, var_dir=settings.var_dir, options=settings.kafka
            )
        )
        self.leadership = leadership_of(database=self.database, key=_RELAY_LOCK)
        self.operations = Operations(settings=settings, clock=clock)
        reasons = Reasons(
            pool=descriptor_pool.Default(),
            enum=errors_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"],
        )
        self.metrics = GatewayMetrics(
            listen=settings.metrics_listen,
            database=self.database,
            leadership=self.leadership,
            clock=clock,
            topic_prefix=settings.topic_prefix,
            banks=settings.banks,
            services=_SERVICES,
            reasons=reasons,
            trace=self.tracing.sent,
        )
        self.relay = Relay(
            database=self.database,
            table=outbox,
            publisher=self._publisher,
            clock=clock,
            random=random.random,
            reached=reached,
            leadership=self.leadership,
            heard=self._heard,
            replays=replays,
        )
        events = EventWriter(prefix=settings.topic_prefix, new_id=new_id)
        confirmation = Confirmation(
            database=self.database, events=events, clock=clock, committed=self.relay.nudge
        )
        banks = {
            config.code: self.metrics.payments.watched(
                open_bank(
                    config=config,
                    send=self.operations.watched(bank=config.code, send=self._http.send),
                    clock=clock,
                    breakers=self.operations.breakers,
                    outbound=self.metrics.outbound,
                )
            )
            for config in settings.banks.values()
        }
        self.khqr = KhqrConfirmation(
            database=self.database,
            banks=banks,
            events=events,
            clock=clock,
            new_id=new_id,
            pause_after=growing_pause(
                first=settings.first_pause, longest=_LONGEST_PAUSE, random=random.random
            ),
            committed=self.relay.nudge,
            recorded=self.metrics.payments.case_recorded,
            commit=self.tracing.group_commit,
        )
        self.completer = Completer(
            database=self.database, questions=self.khqr.questions, clock=clock, plan=settings.polls
        )
        self._statistics = PlannerStatistics(database=self.database)
        self._notices = self.tracing.group_commit(
            record=self.metrics.payments.counted(confirmation.record),
            # PostgreSQL writes for two at once; SQLite has one write lock.
            writers=2 if self.database.dialect == "postgresql" else 1,
        )
        self._lookups = self.tracing.group_commit(
            record=LookupRecorder(database=self.database, clock=clock).record
        )
        self._server = Server(
            listen=settings.listen,
            interceptor=CallInterceptor(
                pool=descriptor_pool.Default(),
                services=_SERVICES,
                reasons=reasons,
                domain=_DOMAIN,
                authenticator=Authenticator(
                    keys=KeyFile(path=settings.jwt_keys_file),
                    issuer=settings.jwt_issuer,
                    audience=settings.jwt_audience,
                ),
                clock=clock,
                budget_s=settings.budget_s,
                translate=unavailable,
                watch=self.tracing.watch(self.metrics.calls.watch),
            ),
            services=_SERVICES,
            with_reflection=not settings.production,
            tls=settings.tls,
        )
        gateway_service_pb2_grpc.add_GatewayServiceServicer_to_server(
            GatewayServicer(
                banks=banks,
                policies=IntegrationService(
                    base_url=settings.integration_url,
                    send=self.metrics.outbound.measured(
                        peer="integration",
                        endpoint="premium",
                        send=self.operations.watched(bank=None, send=self._http.send),
                    ),
                    timeout_s=settings.integration_timeout_s,
                ),
                database=self.database,
                lookups=self._lookups,
                notices=self._notices,
                khqr=self.khqr,
                codes=KhqrCodes(
                    database=self.database,
                    events=events,
                    clock=clock,
                    plan=settings.polls,
                    committed=self.relay.nudge,
                ),
                inquiry_limit=RateLimit(
                    per_minute=settings.inquiries_per_minute, clock=time.monotonic
                ),
                clock=clock,
            ),
            self._server.handlers,
        )
        self._writers: dict[str, GroupCommit[Any, Any]] = {
            "notices": self._notices,
            "lookups": self._lookups,
            "khqr_bookings": self.khqr.bookings,
        }
        self.metrics.watch(
            admission=self._server.interceptor.admission,
            writers={**self._writers, **self.khqr.questions.writers},
        )
        operations_service_pb2_grpc.add_OperationsServiceServicer_to_server(
            self.operations.servicer(
                database=self.database,
                events=events,
                writers={
                    "bill notices": self._notices,
                    "look-ups": self._lookups,
                    "KHQR notices": self.khqr.bookings,
                    "KHQR questions": self.khqr.questions.writers["khqr_questions"],
                    "KHQR answers": self.khqr.questions.writers["khqr_answers"],
                },
                admission=self._server.interceptor.admission,
                leads=lambda: self.leadership.tenure is not None,
                nudge=self.relay.nudge,
            ),
            self._server.handlers,
        )
        self._stopping = asyncio.Event()
        self._relayed = asyncio.Event()  # the last events are out: another may lead
        self._leading: asyncio.Task[None] | None = None
        self._loops: list[asyncio.Task[None]] = []

    async def start(self) -> Address:
        """Make the schema ready, listen and serve; return the real address.

        :raises DatabaseUnavailable: the database cannot be reached.
        :raises SchemaBehind: in production, where migrating is a step of its own.
        :raises OSError: the address is taken.
        """
        if self._settings.production:
            await require_newest(database=self.database)
        else:
            await upgrade(database=self.database)
        for writer in self._writers.values():
            writer.start()
        self.khqr.questions.start()
        await self.metrics.start()
        address = await self._server.start()
        await self.leadership.run_once()  # the first one leads from its first event on
        self._leading = asyncio.create_task(
            repeat(run_once=self.leadership.run_once, pause_s=PROOF_INTERVAL_S, stop=self._relayed),
            name="leadership",
        )
        self._loops = [
            asyncio.create_task(self.relay.run(self._stopping), name="relay"),
            asyncio.create_task(self.completer.run(self._stopping), name="completer"),
            self._loop("health", self.probe_once, _PROBE_INTERVAL_S),
            self._loop("statistics", self._statistics.run_once, LOOK_INTERVAL_S),
        ]
        if self.metrics.served:
            self._loops.append(self._loop("metrics", self.metrics.run_once, _MEASURE_INTERVAL_S))
        return address

    def _loop(
        self, name: str, run_once: Callable[[], Awaitable[object]], pause_s: float
    ) -> asyncio.Task[None]:
        again = repeat(run_once=run_once, pause_s=pause_s, stop=self._stopping)
        return asyncio.create_task(again, name=name)

    @property
    def address(self) -> Address:
        """The real address, once it listens."""
        return self._server.address

    async def probe_once(self) -> bool:
        """Tell health whether the database answers, and return it."""
        try:
            await self.database.ping()
        except DatabaseUnavailable as problem:
            _log.warning("database_unavailable", why=str(problem))
            self.operations.parts.probed(why="it does not answer")
            self.metrics.ready.set(0)
            await self._server.set_serving(serving=False)
            return False
        self.operations.parts.probed(why="")
        self.metrics.ready.set(1)
        await self._server.set_serving(serving=True)
        return True

    def _heard(self, topic: str, outcome: str) -> None:
        self.metrics.outbox.heard(topic, outcome)
        self.operations.parts.published(topic, outcome)

    async def stop(self) -> None:
        """Say "not ready", finish what was accepted, publish what is committed, close."""
        await self._server.drain(grace_s=self._settings.drain_s)
        for writer in self._writers.values():
            await writer.stop()
        self._stopping.set()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.khqr.questions.close()
        try:
            await self.relay.run_once()
        except DatabaseUnavailable as problem:
            _log.warning("events_left_for_later", why=str(problem))
        self._relayed.set()
        if self._leading is not None:
            await asyncio.gather(self._leading, return_exceptions=True)
        await self.leadership.close()
        await self._publisher.close()
        await self._http.close()
        await self.operations.close()
        await self.metrics.close()
        await self.tracing.close()
        await self.database.close()


def unavailable(problem: Exception) -> ServiceError | None:
    """Return "try again" for trouble of our own ports, None for anything else."""
    if isinstance(
        problem, DatabaseUnavailable | QueueFull | WriterFailed | Overtaken | FlightStopped
    ):
        return ServiceError(
            reason="SERVER_UNAVAILABLE",
            message="The service cannot record anything now",
            retry_after_s=2,
            overloaded=isinstance(problem, QueueFull),
        )
    return None
