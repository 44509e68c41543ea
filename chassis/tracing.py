"""Traces, off unless somebody says where they go: nothing is imported, nothing costs, till then.

What is traced is named by contracts and configuration: routes, RPCs, endpoints, transactions,
topics. Of a call only its request id is told; no token, no body, no person.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chassis.http_client import Send
from chassis.rpc import Ended, Watch
from chassis.settings import Variables

Answered = Callable[[str, int | None], None]  # of a route's template and a status

_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"


class Tracing(Protocol):
    """Makes spans, and carries the trace from process to process."""

    def watch(self, method: str, metadata: Mapping[str, Any]) -> Ended:
        """Begin the span of a call that is served; return what ends it."""

    def request(self, *, method: str, traceparent: str) -> Answered:
        """Begin the span of an HTTP request; return what ends it."""

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata that carries the present trace on."""

    def sent(self, peer: str, endpoint: str, send: Send) -> Send:
        """Return `send`, each exchange with a span of its own; the trace is told to nobody."""

    async def close(self) -> None:
        """Send what is left."""


def otlp_endpoint(*, variables: Variables) -> str | None:
    """Return where traces go, without the `/v1/traces`; None: nowhere.

    :raises SettingError: it is no URL.
    """
    if not variables.text(_VARIABLE, default=""):
        return None
    return variables.url(_VARIABLE, schemes=("http", "https")).rstrip("/")


def open_tracing(*, endpoint: str | None, service: str, version: str) -> Tracing | None:
    """Return what traces, None where nobody listens."""
    if endpoint is None:
        return None
    from chassis.otel import OtelTracing  # noqa: PLC0415 - 60 modules that nobody may want

    return OtelTracing(endpoint=endpoint, service=service, version=version)


def both(one: Watch, other: Watch) -> Watch:
    """Return what tells two watchers of a call."""

    def watch(method: str, metadata: Mapping[str, Any]) -> Ended:
        first, second = one(method, metadata), other(method, metadata)

        def ended(outcome: str) -> None:
            second(outcome)
            first(outcome)

        return ended

    return watch


def no_headers() -> tuple[tuple[str, str], ...]:
    """Carry no trace on."""
    return ()
