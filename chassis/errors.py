"""A failure as a value, and its one translation to and from a gRPC status.

Which reasons exist is told by the contract (an enum whose values carry a `ReasonRule`);
this file only knows how a reason travels: `ErrorInfo.reason`, `BadRequest`, `RetryInfo`
(google/rpc/error_details.proto).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from chassis.descriptors import extension_of

_REASON_OPTION = "payments.errors.v1.reason_rule"
_PREFIX = "ERROR_REASON_"
_DETAILS_KEY = "details"
_OVERLOADED_KEY = "overloaded"
_STATUS_METADATA = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, kw_only=True)
class Violation:
    """One field that breaks a rule: its name as the caller wrote it, and what is wrong."""

    field: str
    description: str

    def __str__(self) -> str:
        """Return `field: description`."""
        return f"{self.field}: {self.description}"


@dataclass(kw_only=True)
class ServiceError(Exception):
    """A call that failed for a reason the contract names.

    `message` and `details` are written for the caller and leave the house;
    `retry_after_s` is a length in seconds. `overloaded`: nothing is broken, there is only no
    room for as many calls; a caller of the inside sends fewer.
    """

    reason: str
    message: str
    details: str = ""
    violations: Sequence[Violation] = ()
    retry_after_s: float | None = None
    overloaded: bool = False

    def __post_init__(self) -> None:
        """Give `Exception` its text."""
        super().__init__(f"{self.reason}: {self.message}")


class BadRequest(ServiceError):
    """The request breaks rules of the contract; every one of them is named."""

    def __init__(self, *, violations: Sequence[Violation]) -> None:
        super().__init__(
            reason="BAD_REQUEST",
            message="Invalid request parameters",
            details="; ".join(str(violation) for violation in violations),
            violations=tuple(violations),
        )


@dataclass(frozen=True, kw_only=True)
class ReasonRule:
    """How one reason is spelled in gRPC and in HTTP."""

    reason: str
    description: str
    grpc_code: grpc.StatusCode
    http_status: int
    everywhere: bool
    fixed_text: str


class Reasons:
    """The reasons a contract knows, by name, by number and by bare gRPC code."""

    def __init__(self, *, pool: DescriptorPool, enum: EnumDescriptor) -> None:
        self._by_name: dict[str, ReasonRule] = {}
        self._by_number: dict[int, ReasonRule] = {}
        self._by_code: dict[grpc.StatusCode, ReasonRule] = {}
        for value in enum.values:
            option = extension_of(pool=pool, descriptor=value, name=_REASON_OPTION)
            if option is not None:
                self._add(value.name.removeprefix(_PREFIX), value.number, option)

    def _add(self, reason: str, number: int, option: Any) -> None:
        rule = ReasonRule(
            reason=reason,
            description=option.fixed_text,
            grpc_code=_CODES[option.grpc_code],
            http_status=option.http_status,
            everywhere=option.everywhere,
            fixed_text=option.fixed_text,
        )
        self._by_name[reason] = rule
        self._by_number[number] = rule
        for code in option.without_reason:
            self._by_code[_CODES[code]] = rule

    def __getitem__(self, reason: str) -> ReasonRule:
        """Return the rule of `reason`; KeyError if the contract does not know it."""
        return self._by_name[reason]

    def __contains__(self, reason: str) -> bool:
        """Tell whether the contract knows `reason`."""
        return reason in self._by_name

    def __iter__(self) -> Iterator[ReasonRule]:
        """Walk the rules in the order of the contract."""
        return iter(self._by_name.values())

    def numbered(self, number: int) -> ReasonRule:
        """Return the rule of the enum value `number`."""
        return self._by_number[number]

    def for_code(self, code: grpc.StatusCode) -> ReasonRule:
        """Return the rule that a status without a reason stands for."""
        return self._by_code.get(code, self._by_code[grpc.StatusCode.UNKNOWN])


def to_status(*, error: ServiceError, reasons: Reasons, domain: str) -> status_pb2.Status:
    """Return the google.rpc.Status that carries `error` over gRPC."""
    rule = reasons[error.reason]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=domain)
    if error.details:
        info.metadata[_DETAILS_KEY] = error.details
    if error.overloaded:
        info.metadata[_OVERLOADED_KEY] = "true"
    status = status_pb2.Status(code=rule.grpc_code.value[0], message=error.message)
    status.details.append(_packed(info))
    if error.violations:
        status.details.append(
            _packed(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field=violation.field, description=violation.description
                        )
                        for violation in error.violations
                    ]
                )
            )
        )
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(ceil(error.retry_after_s * 1000))
        status.details.append(_packed(retry))
    return status


def to_abort(
    *, error: ServiceError, reasons: Reasons, domain: str
) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Return code, text and trailing metadata for `ServicerContext.abort`."""
    answer = rpc_status.to_status(to_status(error=error, reasons=reasons, domain=domain))
    return answer.code, answer.details, tuple(answer.trailing_metadata)


def from_rpc_error(*, error: grpc.aio.AioRpcError, reasons: Reasons) -> ServiceError:
    """Return what a failed call says: its reason, or else what its bare code stands for.

    Without a reason the peer's text is internal and is replaced by the contract's own.
    """
    carried = _carried_status(error)
    found = None if carried is None else _unpacked(carried, error_details_pb2.ErrorInfo)
    if carried is None or found is None or found.reason not in reasons:
        rule = reasons.for_code(error.code())
        return ServiceError(reason=rule.reason, message=rule.fixed_text)
    bad = _unpacked(carried, error_details_pb2.BadRequest)
    retry = _unpacked(carried, error_details_pb2.RetryInfo)
    return ServiceError(
        reason=found.reason,
        message=carried.message,
        details=found.metadata.get(_DETAILS_KEY, ""),
        violations=tuple(
            Violation(field=one.field, description=one.description)
            for one in (bad.field_violations if bad is not None else ())
        ),
        retry_after_s=None if retry is None else retry.retry_delay.ToMilliseconds() / 1000,
        overloaded=found.metadata.get(_OVERLOADED_KEY) == "true",
    )


def _packed(message: Any) -> any_pb2.Any:
    box = any_pb2.Any()
    box.Pack(message)
    return box


def _unpacked(status: status_pb2.Status, kind: type[Any]) -> Any | None:
    for box in status.details:
        if box.Is(kind.DESCRIPTOR):
            message = kind()
            box.Unpack(message)
            return message
    return None


def _carried_status(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_METADATA and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return None
