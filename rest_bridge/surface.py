"""What is particular to THIS public API: envelope, statuses, headers and limits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from json.encoder import encode_basestring
from math import ceil
from types import MappingProxyType

from chassis import telemetry
from chassis.auth import TokenRefused, bearer_token
from chassis.errors import Reasons, ServiceError
from rest_bridge.binding import BODY
from rest_bridge.upstream import REPLAYED

BODY_LIMIT_BYTES = 64 * 1024
JSON_TYPE = "application/json"
REQUEST_ID = "X-Request-ID"
OPERATIONS = ("/ops/", "/console")  # paths that only operators need
PARTNER = "bank_code"  # the part of a path that says whose call it is
_AUTHORIZATION_LIMIT = 4096  # with more, gRPC's limit on metadata (8 KiB) comes into sight
_ALWAYS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Server": "payment-gateway",  # aiohttp would tell its version
}
_RETRY_AFTER_S = {429: 1, 503: 5}  # where the service names no time of its own
_UNAUTHORIZED = 401
_NOTHING: Mapping[str, str] = MappingProxyType({})
_IDENTITY = ("", "identity")
HEAD_TOO_LONG = "The request line or a header is too long"
HEAD_MALFORMED = "The request line or a header is malformed"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP answer, before any server library."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = JSON_TYPE
    close: bool = False


@dataclass(kw_only=True)
class Refused(Exception):
    """A request that HTTP itself forbids: BAD_REQUEST with a status of its own."""

    status: int
    message: str
    details: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    close: bool = False


class Surface:
    """Spells answers and refusals the way this API promises."""

    def __init__(self, *, reasons: Reasons) -> None:
        self._reasons = reasons
        self._too_busy: dict[int, Reply] = {}  # by seconds; admission names at most five

    def success(self, *, data: str, metadata: Mapping[str, str]) -> Reply:
        """Return the answer that carries `data`, a JSON text."""
        body = f'{{"success":true,"data":{data}}}'.encode()
        return Reply(status=200, body=body, headers=_told_by(metadata))

    def failure(self, *, error: ServiceError, metadata: Mapping[str, str] = _NOTHING) -> Reply:
        """Return the answer that tells why a call failed."""
        rule = self._reasons[error.reason]
        headers = _told_by(metadata)
        if rule.http_status == _UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        if rule.http_status in _RETRY_AFTER_S:
            named_s = error.retry_after_s
            default_s = _RETRY_AFTER_S[rule.http_status]
            headers["Retry-After"] = str(default_s if named_s is None else max(1, ceil(named_s)))
        return Reply(
            status=rule.http_status,
            body=envelope(code=error.reason, message=error.message, details=error.details),
            headers=headers,
        )

    def refusal(self, *, refused: Refused) -> Reply:
        """Return the answer to what HTTP itself forbids."""
        return Reply(
            status=refused.status,
            body=envelope(code="BAD_REQUEST", message=refused.message, details=refused.details),
            headers=refused.headers,
            close=refused.close,
        )

    def overloaded(self, *, retry_after_s: float) -> Reply:
        """Return the answer to what there is no room for now, made once for each pause."""
        whole_s = ceil(retry_after_s)
        if whole_s not in self._too_busy:
            self._too_busy[whole_s] = self.failure(
                error=ServiceError(
                    reason="SERVER_UNAVAILABLE",
                    message="Too busy, try again later",
                    retry_after_s=whole_s,
                )
            )
        return self._too_busy[whole_s]

    def fixed(self, *, reason: str) -> Reply:
        """Return the answer with the contract's own text for `reason`."""
        return self.failure(
            error=ServiceError(reason=reason, message=self._reasons[reason].fixed_text)
        )


def _told_by(metadata: Mapping[str, str]) -> dict[str, str]:
    return {"Idempotent-Replayed": "true"} if metadata.get(REPLAYED) == "true" else {}


def envelope(*, code: str, message: str, details: str) -> bytes:
    """Return the body of a failure; what no UTF-8 can say is replaced."""
    members = (("code", code), ("message", message), ("details", details))
    inner = ",".join(f'"{name}":{encode_basestring(value)}' for name, value in members)
    return f'{{"success":false,"error":{{{inner}}}}}'.encode(errors="replace")


def all_headers(*, reply: Reply, request_id: str) -> dict[str, str]:
    """Return every header of an answer but those that frame it."""
    return {
        **lasting_headers(content_type=reply.content_type),
        REQUEST_ID: request_id,
        **reply.headers,
    }


def lasting_headers(*, content_type: str) -> dict[str, str]:
    """Return the headers that are the same for all answers of a type."""
    return {**_ALWAYS, "Content-Type": f"{content_type}; charset=utf-8"}


def request_id_or(*, given: str, make: Callable[[], str]) -> str:
    """Return the caller's request id if it is 1 to 128 of `[A-Za-z0-9._-]`, else make one."""
    return telemetry.request_id_or(given=given, make=make)


def traceparent_of(headers: Mapping[str, str]) -> str:
    """Return what the caller says of its trace, unchecked; empty if nothing."""
    return headers.get("traceparent", "")


def checked_authorization(*, given: list[str], reasons: Reasons) -> str:
    """Return the one `Authorization` header, which holds a bearer token of some kind.

    :raises ServiceError: UNAUTHORIZED: it is missing, given twice, another scheme, longer
        than 4096 characters or not ASCII. What the token is worth, the services say.
    """
    try:
        value = given[0] if len(given) == 1 else ""
        bearer_token(value)
    except TokenRefused:
        value = ""
    if len(value) > _AUTHORIZATION_LIMIT or not _is_words(value):
        rule = reasons["UNAUTHORIZED"]
        raise ServiceError(reason=rule.reason, message=rule.fixed_text)
    return value


def _is_words(value: str) -> bool:
    """Tell whether `value` is words of visible ASCII, a blank between two of them."""
    return (
        value.isascii()
        and value.isprintable()
        and bool(value)
        and value.strip(" ") == value
        and "  " not in value
    )


def refuse_unreadable_body(*, content_type: str, charset: str | None, encoding: str) -> None:
    """Let only plain JSON in UTF-8 pass.

    :raises Refused: 415.
    """
    if content_type != JSON_TYPE and not (
        content_type.startswith("application/") and content_type.endswith("+json")
    ):
        raise Refused(
            status=415,
            message="The body must be JSON",
            details=f"Content-Type: must be {JSON_TYPE}",
            close=True,
        )
    if charset is not None and charset.lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Refused(
            status=415,
            message="The body must be JSON",
            details="Content-Type: the charset must be utf-8",
            close=True,
        )
    if encoding.strip().lower() not in _IDENTITY:
        raise Refused(
            status=415,
            message="The body must not be compressed",
            details="Content-Encoding: must be absent or identity",
            close=True,
        )


def too_large() -> Refused:
    """Return the refusal of a body above the limit."""
    return Refused(
        status=413,
        message="The body is too large",
        details=f"{BODY}: must have at most {BODY_LIMIT_BYTES} bytes",
        close=True,
    )


def unreadable_body() -> Refused:
    """Return the refusal of a body whose framing is broken: where it ends nobody knows."""
    return Refused(
        status=400,
        message="Invalid request parameters",
        details=f"{BODY}: cannot be read",
        close=True,
    )


def too_slow() -> Refused:
    """Return the refusal of a body that does not arrive."""
    return Refused(
        status=408,
        message="The body did not arrive in time",
        details=f"{BODY}: must arrive within the budget of the call",
        close=True,
    )


def no_such_route() -> Refused:
    """Return the refusal of a path that leads nowhere."""
    return Refused(status=404, message="No such route", details="The path is not one of this API")


def method_not_allowed(*, allowed: str) -> Refused:
    """Return the refusal of a method that a path does not have."""
    return Refused(
        status=405,
        message="Method not allowed",
        details=f"Allowed: {allowed}",
        headers={"Allow": allowed},
    )


def malformed(*, why: str) -> Refused:
    """Return the refusal of what is no HTTP request, or could be understood as two."""
    return Refused(status=400, message="Malformed HTTP request", details=why, close=True)


def slow_head() -> Refused:
    """Return the refusal of a request line and headers that do not arrive."""
    return Refused(
        status=408,
        message="The request did not arrive in time",
        details="The request line and headers must arrive within 5 seconds",
        close=True,
    )


def unexpected() -> Refused:
    """Return the refusal of an `Expect` that nobody knows."""
    return Refused(
        status=417,
        message="The expectation cannot be met",
        details="Expect: must be 100-continue",
        close=True,
    )


def address_refused(*, address: object) -> ServiceError:
    """Return the refusal of a caller whose address is not on the list."""
    return ServiceError(
        reason="FORBIDDEN",
        message="This call is not taken from this address",
        details=f"Address: {'unknown' if address is None else address}",
    )


def raw_answer(*, reply: Reply, request_id: str) -> bytes:
    """Return `reply` as the bytes of an answer that ends its connection."""
    headers = all_headers(reply=reply, request_id=request_id) | {
        "Content-Length": str(len(reply.body)),
        "Connection": "close",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    phrase = HTTPStatus(reply.status).phrase
    return f"HTTP/1.1 {reply.status} {phrase}\r\n{lines}\r\n".encode() + reply.body
