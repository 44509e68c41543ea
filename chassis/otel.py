"""Spans by OpenTelemetry, sent as OTLP over HTTP. Import it only where traces are wanted.

A trace comes in and goes on between our own processes as W3C `traceparent`. What is recorded for
several calls at once belongs to the trace of the first and is linked to the others.
"""

import asyncio
import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send
from chassis.rpc import OK, Ended
from chassis.telemetry import request_id_of_call

_W3C = TraceContextTextMapPropagator()
_SERVER_ERROR = 500
_EXPORT_S = 2  # for one list of spans, with its retries
_CLOSE_S = 3.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REMEMBERED = 4096  # calls whose events may still be on their way: some seconds of the peak


class OtelTracing:
    """The spans of one process; see `chassis.tracing.Tracing`."""

    def __init__(self, *, endpoint: str, service: str, version: str) -> None:
        """Send spans to `endpoint`; sampling is what `OTEL_TRACES_SAMPLER` says, by default all."""
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": service, "service.version": version}),
            shutdown_on_exit=False,  # which waits as long as it likes; `close` does not
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=_EXPORT_S)
        # Its queue is bounded: where nobody takes spans they are dropped, not kept.
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self._provider.get_tracer("chassis", version)
        self._calls: OrderedDict[str, SpanContext] = OrderedDict()

    def watch(self, method: str, metadata: Mapping[str, Any]) -> Ended:
        """Begin the span of a call that is served."""
        service, _, name = method.rpartition("/")
        span = self.tracer.start_span(
            f"{service.rpartition('.')[2]}/{name}",
            context=_told(str(metadata.get("traceparent", ""))),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": service[1:], "rpc.method": name},
        )
        self._remember(str(metadata.get("x-request-id", "")), span)
        # A call has a task of its own, whose context ends with it: nothing is to be detached.
        context.attach(trace.set_span_in_context(span))

        def ended(outcome: str) -> None:
            request_id = request_id_of_call.get()
            self._remember(request_id, span)
            span.set_attributes({"outcome": outcome, "request_id": request_id})
            if outcome != OK:
                span.set_status(Status(StatusCode.ERROR, outcome))
            span.end()

        return ended

    def request(self, *, method: str, traceparent: str) -> Callable[[str, int | None], None]:
        """Begin the span of an HTTP request, named once its route is known."""
        method = method if method in _METHODS else "_OTHER"  # a stranger's word names no span
        span = self.tracer.start_span("HTTP", context=_told(traceparent), kind=SpanKind.SERVER)
        token = context.attach(trace.set_span_in_context(span))

        def answered(route: str, status: int | None) -> None:
            span.update_name(f"{method} {route}")
            span.set_attributes(
                {
                    "http.request.method": method,
                    "http.route": route,
                    "http.response.status_code": status or 0,
                    "request_id": request_id_of_call.get(),
                }
            )
            if status is None or status >= _SERVER_ERROR:
                span.set_status(Status(StatusCode.ERROR))
            span.end()
            context.detach(token)  # the connection's task has more requests to come

        return answered

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the present trace as W3C spells it."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return tuple(carrier.items())

    def sent(self, peer: str, endpoint: str, send: Send) -> Send:
        """Return `send`, each exchange with a span."""

        async def traced_send(request: HttpRequest) -> HttpResponse:
            with self.tracer.start_as_current_span(
                f"{peer} {endpoint}",
                kind=SpanKind.CLIENT,
                attributes={
                    "peer": peer,
                    "endpoint": endpoint,
                    "http.request.method": request.method,
                },
                record_exception=False,  # its text may be somebody else's
                set_status_on_exception=False,
            ) as span:
                try:
                    response = await send(request)
                except ExchangeFailed as problem:
                    span.set_attributes({"sent": problem.sent})
                    span.set_status(Status(StatusCode.ERROR))
                    raise
                span.set_attributes({"http.response.status_code": response.status})
                if response.status >= _SERVER_ERROR:
                    span.set_status(Status(StatusCode.ERROR))
                return response

        return traced_send

    def call_of(self, request_id: str) -> SpanContext | None:
        """Return the span of a call that was served lately by this process."""
        return self._calls.get(request_id)

    async def close(self) -> None:
        """Send what is left, or give up: no orchestrator waits for a collector that is away."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has not waited
                loop.call_soon_threadsafe(done.set)

        # A daemon: a thread of the loop's pool would be waited for when the loop ends.
        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _CLOSE_S)

    def _remember(self, request_id: str, span: Span) -> None:
        if not request_id:
            return
        self._calls[request_id] = span.get_span_context()
        while len(self._calls) > _REMEMBERED:
            self._calls.popitem(last=False)


def _told(traceparent: str) -> context.Context:
    return _W3C.extract({"traceparent": traceparent}, context=context.Context())
