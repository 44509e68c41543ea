"""The services behind: channels opened at need, one call within what is left of its budget."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2

from chassis.errors import Reasons, ServiceError, from_rpc_error
from rest_bridge.contract import Method

REPLAYED = "idempotent-replayed"
_FORWARDED_BACK = (REPLAYED,)
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
)
_HEALTH_PATH = "/grpc.health.v1.Health/Check"
_LEAST_S = 0.001
_SERVING = "SERVING"

_log = structlog.get_logger()

OpenChannel = Callable[[str, str], grpc.aio.Channel]  # of a service's name and target


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a service answered: the message, and the metadata that may leave the house."""

    message: Message
    metadata: Mapping[str, str]


@dataclass(kw_only=True)
class CallFailed(Exception):
    """A service refused, or could not be reached in time."""

    error: ServiceError
    metadata: Mapping[str, str]


def forwarded_metadata(
    *, authorization: str, request_id: str, traceparent: str
) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call; a malformed `traceparent` is dropped (W3C Trace Context)."""
    found = [("authorization", authorization), ("x-request-id", request_id)]
    if _TRACEPARENT.fullmatch(traceparent):
        found.append(("traceparent", traceparent))
    return tuple(found)


class Upstream:
    """Calls the service that a method's package names."""

    def __init__(
        self, *, targets: Mapping[str, str], open_channel: OpenChannel, reasons: Reasons
    ) -> None:
        self._targets = targets
        self._open_channel = open_channel
        self._reasons = reasons
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._calls: dict[str, Any] = {}

    async def call(
        self,
        *,
        method: Method,
        request: Message,
        metadata: tuple[tuple[str, str], ...],
        timeout_s: float,
    ) -> Answer:
        """Return the service's answer, waited for at most `timeout_s`.

        :raises CallFailed: with the service's reason, or with what its bare code stands for.
        """
        call = self._call(method)(request, timeout=max(timeout_s, _LEAST_S), metadata=metadata)
        try:
            message = await call
            initial = await call.initial_metadata()
        except grpc.aio.AioRpcError as error:
            raise CallFailed(
                error=from_rpc_error(error=error, reasons=self._reasons),
                metadata=_kept(error.initial_metadata()),
            ) from None
        return Answer(message=message, metadata=_kept(initial))

    async def readiness(self, *, timeout_s: float) -> Mapping[str, str]:
        """Return what each service's own health check says, by its name in small letters."""
        names = sorted(self._targets)
        found = await asyncio.gather(*(self._health(name, timeout_s) for name in names))
        return dict(zip((name.lower() for name in names), found, strict=True))

    async def close(self) -> None:
        """Close every channel."""
        channels, self._channels = self._channels, {}
        self._calls.clear()
        for channel in channels.values():
            await channel.close()

    def _call(self, method: Method) -> Any:
        call = self._calls.get(method.grpc_path)
        if call is None:
            call = self._channel(method.target).unary_unary(
                method.grpc_path,
                request_serializer=_serialized,
                response_deserializer=method.response.FromString,
            )
            self._calls[method.grpc_path] = call
        return call

    def _channel(self, name: str) -> grpc.aio.Channel:
        if name not in self._channels:
            self._channels[name] = self._open_channel(name, self._targets[name])
        return self._channels[name]

    async def _health(self, name: str, timeout_s: float) -> str:
        check = self._channel(name).unary_unary(
            _HEALTH_PATH,
            request_serializer=_serialized,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            # Why a handshake fails is said nowhere else: gRPC's core is silent.
            _log.warning("upstream_unavailable", upstream=name.lower(), why=error.details())
            return str(error.code().name)
        statuses = health_pb2.HealthCheckResponse.ServingStatus
        return str(statuses.Name(answer.status))


def is_serving(status: str) -> bool:
    """Tell whether a health status welcomes calls."""
    return status == _SERVING


def _kept(metadata: Any) -> Mapping[str, str]:
    return {key: value for key, value in metadata or () if key in _FORWARDED_BACK}


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()
