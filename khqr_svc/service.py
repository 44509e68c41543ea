"""The composition root of the KHQR service: the one place that names concrete parts."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from importlib import metadata

import structlog
from google.protobuf import descriptor_pool

from chassis.admission_metrics import watch_admission
from chassis.auth import Authenticator, KeyFile
from chassis.call_log import CallLog
from chassis.call_metrics import CallMetrics
from chassis.errors import Reasons, ServiceError
from chassis.fingerprint import fingerprint
from chassis.http_client import HttpClient
from chassis.metrics import MetricsServer, new_registry, ready_gauge, tell_build
from chassis.open_channel import open_channel
from chassis.process import repeat
from chassis.process_report import Bounded, ProcessReport
from chassis.rate_limit import RateLimit
from chassis.rpc import CallInterceptor, utc_now
from chassis.rpc_server import Server
from chassis.settings import Address
from chassis.single_flight import FlightStopped
from chassis.tracing import both, no_headers, open_tracing
from khqr_svc.bank_metrics import BankMetrics
from khqr_svc.banks.endpoint import Surroundings
from khqr_svc.banks.factory import KhqrServiceFactory
from khqr_svc.gateway import Gateway, TokenFile
from khqr_svc.generation import Generation
from khqr_svc.operations.servicer import KhqrOperationsServicer
from khqr_svc.servicer import KhqrServicer
from khqr_svc.settings import KhqrSettings
from khqr_svc.standing import Standing
from payments.errors.v1 import errors_pb2
from payments.khqr.v1 import (
    khqr_service_pb2,
    khqr_service_pb2_grpc,
    operations_service_pb2,
    operations_service_pb2_grpc,
)

_DOMAIN = "payments"
_SERVICES = (
    khqr_service_pb2.DESCRIPTOR.services_by_name["KhqrService"],
    operations_service_pb2.DESCRIPTOR.services_by_name["KhqrOperationsService"],
)
# A secret, or what two replicas that are set alike differ in.
_NOT_TOLD = ("username", "password", "listen", "metrics_listen", "gateway_token_file")
_PROBE_INTERVAL_S = 2.0
_PROBE_TIMEOUT_S = 1.0

_log = structlog.get_logger()


class KhqrProcess:
    """The service's parts, wired; `start` runs them and `stop` drains them."""

    def __init__(
        self,
        *,
        settings: KhqrSettings,
        clock: Callable[[], datetime] = utc_now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wire the parts; nothing is opened yet.

        :raises KeysUnreadable: the key file cannot be used.
        :raises SettingError: the own token cannot be read, or a bank is not one of ours.
        """
        self._settings = settings
        self._http = HttpClient(connections=50)
        reasons = Reasons(
            pool=descriptor_pool.Default(),
            enum=errors_pb2.DESCRIPTOR.enum_types_by_name["ErrorReason"],
        )
        self.metrics = registry = new_registry()
        tell_build(registry=registry, service="khqr", version=metadata.version("payment-gateway"))
        self._tracing = open_tracing(
            endpoint=settings.otlp_endpoint,
            service="khqr",
            version=metadata.version("payment-gateway"),
        )
        watch = CallMetrics(registry=registry, services=_SERVICES, reasons=reasons).watch
        self._ready = ready_gauge(registry=registry)
        self._metrics_server = (
            MetricsServer(listen=settings.metrics_listen, registry=registry)
            if settings.metrics_listen
            else None
        )
        around = Surroundings(
            send=self._http.send,
            clock=timer,
            calls=CallLog(clock=clock, timer=timer),
            metrics=BankMetrics(
                registry=registry, trace=None if self._tracing is None else self._tracing.sent
            ),
        )
        self._banks = KhqrServiceFactory(settings=settings.banks, around=around)
        token = TokenFile(path=settings.gateway_token_file)
        authenticator = Authenticator(
            keys=KeyFile(path=settings.jwt_keys_file),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
        )
        self._channel = open_channel(
            target=settings.gateway_target,
            tls=settings.client_tls,
            server_name=settings.gateway_server_name,
            streams=settings.grpc_streams,
        )
        self._gateway = Gateway(
            channel=self._channel,
            token=token.read,
            reasons=reasons,
            clock=timer,
            headers=no_headers if self._tracing is None else self._tracing.headers,
        )
        self._generation = Generation(gateway=self._gateway, clock=clock, timer=timer)
        self._server = Server(
            listen=settings.listen,
            interceptor=CallInterceptor(
                pool=descriptor_pool.Default(),
                services=_SERVICES,
                reasons=reasons,
                domain=_DOMAIN,
                authenticator=authenticator,
                clock=clock,
                budget_s=settings.budget_s,
                translate=unavailable,
                watch=watch if self._tracing is None else both(self._tracing.watch, watch),
            ),
            services=_SERVICES,
            with_reflection=not settings.production,
            tls=settings.tls,
        )
        watch_admission(registry=registry, admission=self._server.interceptor.admission)
        khqr_service_pb2_grpc.add_KhqrServiceServicer_to_server(
            KhqrServicer(
                banks=self._banks,
                generation=self._generation,
                limit=RateLimit(per_minute=settings.inquiries_per_minute, clock=timer),
                budget_s=settings.budget_s,
                timer=timer,
            ),
            self._server.handlers,
        )
        operations_service_pb2_grpc.add_KhqrOperationsServiceServicer_to_server(
            KhqrOperationsServicer(
                report=self._report(around=around, started_at=clock()), clock=clock
            ),
            self._server.handlers,
        )
        self._standing = Standing()
        self._stopping = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    def _report(self, *, around: Surroundings, started_at: datetime) -> ProcessReport:
        admission = self._server.interceptor.admission
        return ProcessReport(
            service="khqr",
            production=self._settings.production,
            configuration_fingerprint=fingerprint(settings=self._settings, leaving_out=_NOT_TOLD),
            started_at=started_at,
            calls=around.calls,
            breakers=around.breakers,
            bounded=[
                Bounded(
                    name="calls under way",
                    used=lambda: admission.under_way,
                    most=admission.most,
                )
            ],
        )

    async def start(self) -> Address:
        """Listen and serve; return the real address.

        :raises OSError: the address is taken.
        """
        if self._metrics_server is not None:
            _log.info("metrics_listening", address=str(await self._metrics_server.start()))
        address = await self._server.start()
        self._loops = [
            asyncio.create_task(
                repeat(run_once=self.probe_once, pause_s=_PROBE_INTERVAL_S, stop=self._stopping),
                name="health",
            )
        ]
        return address

    async def probe_once(self) -> bool:
        """Tell health whether the gateway serves, and return it."""
        answer = await self._gateway.is_serving(timeout_s=_PROBE_TIMEOUT_S)
        serving = self._standing.heard(answer=answer)
        if not serving:
            _log.warning("gateway_unavailable", target=self._settings.gateway_target)
        self._ready.set(serving)
        await self._server.set_serving(serving=serving)
        return serving

    async def stop(self) -> None:
        """Say "not ready", stop listening, finish what was accepted, close."""
        self._stopping.set()
        await self._server.drain(grace_s=self._settings.drain_s)
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self._generation.close()
        await self._banks.close()
        await self._http.close()
        await self._channel.close()
        if self._metrics_server is not None:
            await self._metrics_server.close()
        if self._tracing is not None:
            await self._tracing.close()


def unavailable(problem: Exception) -> ServiceError | None:
    """Return "try again" for trouble of our own parts, None for anything else."""
    if isinstance(problem, FlightStopped):
        return ServiceError(
            reason="SERVER_UNAVAILABLE", message="The service is stopping", retry_after_s=2
        )
    return None
