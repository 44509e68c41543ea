"""The client of GatewayService: what is due, which code is live, keep this code.

Calls carry this service's own token, never the caller's, and the caller's request id.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis.errors import Reasons, ServiceError, from_rpc_error
from chassis.money import Currency, parse_money
from chassis.redaction import known_secrets
from chassis.settings import SettingError
from chassis.telemetry import request_id_of_call
from chassis.tracing import no_headers
from khqr_svc.code import Bill, Code
from payments.gateway.v1 import gateway_service_pb2 as pb
from payments.gateway.v1 import gateway_service_pb2_grpc as rpc

_LEAST_S = 0.001  # grpc refuses a timeout of nothing
_RETRY_AFTER_S = 2.0
# The caller's own request and token were good: these are about ours.
_OUR_FAULT = frozenset({"UNAUTHORIZED", "FORBIDDEN", "BAD_REQUEST"})

_log = structlog.get_logger()


class TokenFile:
    """The token in a file, read again when the file changes."""

    def __init__(self, *, path: Path) -> None:
        """Read the token.

        :raises SettingError: the file cannot be read, or holds none.
        """
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""
        self._refresh()

    def read(self) -> str:
        """Return the token; while a new file cannot be read, the one before it."""
        try:
            self._refresh()
        except SettingError as problem:
            _log.error("own_token_unreadable", why=str(problem))
        return self._token

    def _refresh(self) -> None:
        try:
            found = self._path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self._seen:
                return
            token = self._path.read_text(encoding="ascii").strip()
        except OSError as problem:
            raise SettingError(f"GATEWAY_TOKEN_FILE: {self._path}: {problem.strerror}") from None
        except UnicodeDecodeError:
            raise SettingError(f"GATEWAY_TOKEN_FILE: {self._path}: is no token") from None
        if not token or any(character.isspace() for character in token):
            raise SettingError(f"GATEWAY_TOKEN_FILE: {self._path}: holds no single token")
        known_secrets.remember(value=token, renewed=True)
        self._token, self._seen = token, seen


class Gateway:
    """GatewayService, as far as this service needs it; deadlines are in monotonic seconds."""

    def __init__(
        self,
        *,
        channel: grpc.aio.Channel,
        token: Callable[[], str],
        reasons: Reasons,
        clock: Callable[[], float],
        headers: Callable[[], tuple[tuple[str, str], ...]] = no_headers,
    ) -> None:
        """Call over `channel`; `headers` carry the trace on, where there is one."""
        self._headers = headers
        self._stub = rpc.GatewayServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)
        self._token = token
        self._reasons = reasons
        self._clock = clock

    async def inquire(self, *, bank_code: str, number: str, deadline: float) -> Bill:
        """Return the bill that a customer of the bank can pay now on `number`.

        :raises ServiceError: the gateway's reason, such as RESOURCE_NOT_FOUND.
        """
        answer = await self._call(
            self._stub.InquirePayment,
            pb.InquirePaymentRequest(bank_code=bank_code, query=number),
            deadline,
        )
        return Bill(
            bill_id=answer.id,
            policy_number=answer.policy_number,
            payer=answer.payer,
            money=parse_money(text=answer.amount.value, currency=Currency.parse(answer.currency)),
        )

    async def live_code(self, *, bank_code: str, bill_id: int, deadline: float) -> Code | None:
        """Return the code of a bill that can be scanned now, None where there is none.

        :raises ServiceError: the gateway's reason.
        """
        answer = await self._call(
            self._stub.GetLiveKhqr,
            pb.GetLiveKhqrRequest(bank_code=bank_code, bill_id=bill_id),
            deadline,
        )
        return _code(answer.code) if answer.HasField("code") else None

    async def record(self, *, bank_code: str, bill_id: int, code: Code, deadline: float) -> Code:
        """Keep `code`, and return the one to hand out: it, or the one that was there first.

        :raises ServiceError: the gateway's reason.
        """
        kept = pb.KhqrCode(payload=code.payload, image=code.image)
        kept.expires_at.FromDatetime(code.expires_at)
        answer = await self._call(
            self._stub.RecordKhqr,
            pb.RecordKhqrRequest(bank_code=bank_code, bill_id=bill_id, code=kept),
            deadline,
        )
        return _code(answer.code)

    async def is_serving(self, *, timeout_s: float) -> bool | None:
        """Tell whether the gateway's health says that calls are welcome; None: it said nothing."""
        try:
            answer = await self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            # Why a handshake fails is said nowhere else: gRPC's core is silent.
            _log.warning("gateway_not_reached", why=error.details())
            return None if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED else False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    async def _call(
        self, method: Callable[..., Awaitable[Any]], request: Message, deadline: float
    ) -> Any:
        try:
            return await method(
                request,
                timeout=max(deadline - self._clock(), _LEAST_S),
                metadata=(
                    ("authorization", f"Bearer {self._token()}"),
                    ("x-request-id", request_id_of_call.get()),
                    *self._headers(),
                ),
            )
        except grpc.aio.AioRpcError as error:
            raise self._explained(from_rpc_error(error=error, reasons=self._reasons)) from None

    def _explained(self, error: ServiceError) -> ServiceError:
        if error.reason in _OUR_FAULT:
            _log.error("gateway_refused_us", reason=error.reason, details=error.details)
            rule = self._reasons["INTERNAL_ERROR"]
            return ServiceError(reason=rule.reason, message=rule.fixed_text)
        if error.reason == "SERVER_UNAVAILABLE" and error.retry_after_s is None:
            error.retry_after_s = _RETRY_AFTER_S
        return error


def _code(message: pb.KhqrCode) -> Code:
    return Code(
        payload=message.payload,
        image=message.image,
        expires_at=message.expires_at.ToDatetime(tzinfo=UTC),
    )
