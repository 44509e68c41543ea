"""What every call passes: who calls, is it valid, how long may it take, what went wrong.

Every call of a contract's service passes one interceptor, in this order: request id,
room for it (503), token (401), scope (403), rules of the contract (400), the servicer within
the deadline.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
import structlog
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from chassis.admission import Admission, Bounds, Overloaded
from chassis.auth import Authenticator, Caller, TokenRefused, bearer_token
from chassis.descriptors import extension_of
from chassis.errors import BadRequest, Reasons, ServiceError, to_abort
from chassis.ids import new_id
from chassis.rules import Rules
from chassis.telemetry import request_id_of_call, request_id_or

_METHOD_OPTION = "payments.rest.v1.method_rule"
_ANSWER_MARGIN_S = 0.05  # what is left of a deadline for the answer to travel
# Twice what one bridge sends on at once (256): callers of the inside do not pass a bridge.
_BOUNDS = Bounds(most=512, kept_for_vital=128, most_of_one_kind=384, waiting=128, waiting_vital=256)

_log = structlog.get_logger()

Ended = Callable[[str], None]  # of a call's outcome: OK, CANCELLED, or the reason of its refusal
Watch = Callable[[str, Mapping[str, Any]], Ended]  # of a call's path and metadata, as it begins
OK, CANCELLED = "OK", "CANCELLED"


def unwatched(_method: str, _metadata: Mapping[str, Any]) -> Ended:
    """Watch nothing."""
    return _unheard


def _unheard(_outcome: str) -> None:
    """Hear nothing."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a servicer may know of the call it answers."""

    caller: Caller
    request_id: str
    ends_at_s: float  # the deadline, a moment of the monotonic clock


call_being_served: ContextVar[Call] = ContextVar("call_being_served")


def refuse_other_bank(*, bank_code: str) -> None:
    """Return if the caller being served may act for the bank `bank_code`.

    :raises ServiceError: FORBIDDEN; its token is bound to another bank.
    """
    if call_being_served.get().caller.bank not in (None, bank_code):
        raise ServiceError(
            reason="FORBIDDEN",
            message="The token does not allow this call",
            details="The token is bound to another bank",
        )


@dataclass(frozen=True, kw_only=True)
class _Policy:
    scope: str
    webhook: bool


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call through to its servicer, or answers with the reason why not."""

    def __init__(
        self,
        *,
        pool: DescriptorPool,
        services: Iterable[ServiceDescriptor],
        reasons: Reasons,
        domain: str,
        authenticator: Authenticator,
        clock: Callable[[], datetime],
        budget_s: float,
        translate: Callable[[Exception], ServiceError | None],
        bounds: Bounds = _BOUNDS,
        timer: Callable[[], float] = time.monotonic,
        watch: Watch = unwatched,
    ) -> None:
        """Prepare the checks of every method of `services`.

        `translate` gives the reason for an exception of the service's own ports, or None.
        `bounds` say how many calls may be under way; webhooks are refused last. `watch` hears
        of each call, and once of its end.

        :raises ValueError: a method has no scope in its contract.
        """
        self._policies = _policies(pool=pool, services=services)
        self._rules = Rules(pool=pool)
        self._reasons = reasons
        self._domain = domain
        self._authenticator = authenticator
        self._clock = clock
        self._budget_s = budget_s
        self._translate = translate
        self._timer = timer
        self._watch = watch
        self.admission = Admission(bounds=bounds, clock=timer)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Return the method's handler, wrapped; health and reflection stay as they are.

        What is wrapped depends on the method alone, so that frames ask once for each.
        """
        handler = await continuation(handler_call_details)
        policy = self._policies.get(handler_call_details.method)
        if handler is None or policy is None:
            return handler
        serve, kind = handler.unary_unary, handler_call_details.method

        async def guarded(request: Message, context: Any) -> Message:
            metadata = dict(context.invocation_metadata() or ())
            ended = self._watch(kind, metadata)
            ends_at_s = self._timer() + self._time_left_s(context)
            try:
                # Before the token: checking a signature costs more than all else of a refusal.
                async with self.admission.turn(
                    kind=kind, vital=policy.webhook, ends_at_s=ends_at_s
                ):
                    answer = await self._served(
                        serve, request, context, metadata, policy, ends_at_s=ends_at_s
                    )
            except ServiceError as error:
                refusal = error
            except Overloaded as problem:
                refusal = _too_busy(problem)
            except (grpc.aio.AbortError, asyncio.CancelledError):
                ended(CANCELLED)
                raise
            except Exception as problem:  # noqa: BLE001 - gRPC would send its text to the caller
                refusal = self._explained(problem, serve.__name__)
            else:
                ended(OK)
                return answer
            ended(refusal.reason)
            await context.abort(
                *to_abort(error=refusal, reasons=self._reasons, domain=self._domain)
            )
            raise AssertionError("abort() has raised")  # this tells the type checker so

        return grpc.unary_unary_rpc_method_handler(
            guarded, handler.request_deserializer, handler.response_serializer
        )

    async def _served(
        self,
        serve: Callable[[Message, Any], Awaitable[Message]],
        request: Message,
        context: Any,
        metadata: Mapping[str, Any],
        policy: _Policy,
        *,
        ends_at_s: float,
    ) -> Message:
        request_id = request_id_or(given=str(metadata.get("x-request-id", "")), make=new_id)
        request_id_of_call.set(request_id)
        caller = self._allowed_caller(metadata, policy)
        violations = self._rules.check(message=request)
        if violations:
            raise BadRequest(violations=violations)
        call_being_served.set(Call(caller=caller, request_id=request_id, ends_at_s=ends_at_s))
        try:
            async with asyncio.timeout(ends_at_s - self._timer()):
                return await serve(request, context)
        except TimeoutError:
            raise ServiceError(
                reason="SERVER_UNAVAILABLE",
                message="The deadline passed before the answer was ready",
                retry_after_s=1,
            ) from None

    def _explained(self, problem: Exception, method: str) -> ServiceError:
        known = self._translate(problem)
        if known is not None:
            _log.warning("call_unavailable", method=method, why=str(problem))
            return known
        _log.error("call_failed", method=method, exc_info=problem)
        rule = self._reasons["INTERNAL_ERROR"]
        return ServiceError(reason=rule.reason, message=rule.fixed_text)

    def _allowed_caller(self, metadata: Mapping[str, Any], policy: _Policy) -> Caller:
        try:
            caller = self._authenticator.authenticate(
                token=bearer_token(str(metadata.get("authorization", ""))), now=self._clock()
            )
        except TokenRefused as refusal:
            _log.info("token_refused", why=str(refusal))
            rule = self._reasons["UNAUTHORIZED"]
            raise ServiceError(reason=rule.reason, message=rule.fixed_text) from None
        if policy.scope not in caller.scopes:
            raise ServiceError(
                reason="FORBIDDEN",
                message="The token does not allow this call",
                details=f"Scope needed: {policy.scope}",
            )
        return caller

    def _time_left_s(self, context: Any) -> float:
        remaining: float | None = context.time_remaining()
        budget_s = self._budget_s if remaining is None else min(remaining, self._budget_s)
        return max(0.0, budget_s - _ANSWER_MARGIN_S)


def _too_busy(overload: Overloaded) -> ServiceError:
    return ServiceError(
        reason="SERVER_UNAVAILABLE",
        message="Too busy, try again later",
        retry_after_s=overload.retry_after_s,
        overloaded=True,
    )


def utc_now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.now(tz=UTC)


def _policies(*, pool: DescriptorPool, services: Iterable[ServiceDescriptor]) -> dict[str, _Policy]:
    found = {}
    for service in services:
        for method in service.methods:
            rule = extension_of(pool=pool, descriptor=method, name=_METHOD_OPTION)
            if rule is None or not rule.scope:
                raise ValueError(f"{method.full_name}: has no scope in its contract")
            found[f"/{service.full_name}/{method.name}"] = _Policy(
                scope=rule.scope, webhook=rule.webhook
            )
    return found
