"""A receiver of OTLP over HTTP, as far as spans go."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, kw_only=True)
class Span:
    """A span that came."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]


@dataclass(kw_only=True)
class Receiver:
    """Every span that came."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    def of_trace(self, trace_id: str) -> list[Span]:
        """Return the spans of one trace."""
        return [one for one in self.spans if one.trace_id == trace_id]

    async def take(self, request: web.Request) -> web.Response:
        """Take one list of spans."""
        body = await request.read()
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            facts = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        service=facts["service.name"],
                        name=one.name,
                        trace_id=one.trace_id.hex(),
                        span_id=one.span_id.hex(),
                        parent_id=one.parent_span_id.hex(),
                        attributes={
                            fact.key: fact.value.string_value or fact.value.int_value
                            for fact in one.attributes
                        },
                    )
                    for one in scope.spans
                ]
        return web.Response(content_type="application/x-protobuf")


@asynccontextmanager
async def otlp_receiver() -> AsyncIterator[Receiver]:
    """Serve a receiver on a free port."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/v1/traces", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
