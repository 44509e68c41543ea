"""The bank's own API, as its partner calls it (specification, "API Endpoints Summary").

- `POST /auth/sign-in` `{username, password}`: an opaque token, good for an hour
- `POST /qr/generator` with that token, `{merchantId, currency, amount, billNumber, payer}`
- `POST /amkpayway/v1/api/payment/payment-verify`, a signed form

Every call is kept with its answer; faults strike here.
"""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from amk_sandbox.calls import Calls
from amk_sandbox.codes import Codes
from amk_sandbox.faults import Effect, Fault, Faults, Point, policy_of_payer
from amk_sandbox.generation import Generation, read_question
from amk_sandbox.replies import Reply, coded_reply, error_reply, json_reply, page_reply
from amk_sandbox.tokens import Tokens
from amk_sandbox.verification import Verification, bill_of

_POLL_S = 0.05
_HASH_SHOWN = 8
_INSTEAD = {Effect.ERROR: error_reply, Effect.HTML: page_reply}
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How slow the slow faults are."""

    slow_s: float = 3.0  # longer than a partner should wait for one attempt
    byte_s: float = 0.5
    silence_s: float = 60.0  # then even a patient caller is hung up on


class _Credentials(msgspec.Struct):
    username: str
    password: str


@dataclass(frozen=True)
class _Met:
    """A call as it came, and the fault that it met."""

    point: Point
    began_s: float
    asked: Mapping[str, Any]  # as it may be shown
    fault: Fault | None


@dataclass(frozen=True, kw_only=True)
class BankParts:
    """What the bank's API works with."""

    tokens: Tokens
    codes: Codes
    generation: Generation
    verification: Verification
    faults: Faults
    calls: Calls


class BankApi:
    """The three endpoints; `closing` is set when the sandbox stops."""

    def __init__(self, *, parts: BankParts, pace: Pace, closing: asyncio.Event) -> None:
        self._parts = parts
        self._pace = pace
        self._closing = closing

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Answer with a token for the partner's credentials."""
        began_s = time.monotonic()
        fault = self._parts.faults.take(point=Point.SIGN_IN)
        reply = self._signed_in(await request.read(), denied=_effect(fault) is Effect.DENIED)
        return await self._deliver(request, _Met(Point.SIGN_IN, began_s, {}, fault), reply)

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Answer with a code."""
        began_s = time.monotonic()
        parts, question = self._parts, read_question(content=await request.read())
        asked = {} if question is None else question.shown()
        fault = None
        if not parts.tokens.holds(token=_bearer(request)):
            reply = coded_reply(status=401, code="05", message="token unknown or expired")
        elif question is None:
            reply = coded_reply(status=400, code="04", message="the question is not complete")
        else:
            bill_id = bill_of(tx_id=question.bill_number)
            policy = parts.codes.policy_of(bill_id=bill_id)
            fault = parts.faults.take(
                point=Point.GENERATOR,
                policy=policy or policy_of_payer(payer=question.payer),
                bill_id=bill_id,
            )
            if _effect(fault) is Effect.DENIED:
                parts.tokens.revoke_all()
                reply = coded_reply(status=401, code="05", message="token revoked")
            elif _effect(fault) in (Effect.REFUSED, Effect.ERROR, Effect.HTML):
                reply = error_reply()  # no code is issued
            else:
                reply = parts.generation.answer(question=question, effect=_effect(fault))
        return await self._deliver(request, _Met(Point.GENERATOR, began_s, asked, fault), reply)

    async def verify(self, request: web.Request) -> web.StreamResponse:
        """Answer what became of a bill."""
        began_s = time.monotonic()
        verification = self._parts.verification
        form = await _form(request)
        asked = {name: _shortened(name, value) for name, value in form.items()}
        bill_id = bill_of(tx_id=form.get("txId", ""))
        refusal = verification.refusal(form=form)
        fault = self._parts.faults.take(
            point=Point.VERIFY,
            policy=self._parts.codes.policy_of(bill_id=bill_id),
            bill_id=bill_id,
            is_paid=refusal is None and verification.transfer(bill_id=bill_id) is not None,
        )
        reply = refusal or verification.answer(
            tx_id=form["txId"], bill_id=bill_id, effect=_effect(fault)
        )
        return await self._deliver(request, _Met(Point.VERIFY, began_s, asked, fault), reply)

    def _signed_in(self, content: bytes, *, denied: bool) -> Reply:
        tokens = self._parts.tokens
        try:
            given = msgspec.json.decode(content, type=_Credentials)
        except msgspec.DecodeError:
            return coded_reply(status=400, code="04", message="username and password are required")
        token = None if denied else tokens.sign_in(username=given.username, password=given.password)
        if token is None:
            return coded_reply(status=401, code="05", message="wrong username or password")
        document = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": tokens.lifetime_s,
        }
        return json_reply(document=document, shown={**document, "access_token": "(not shown)"})

    async def _deliver(self, request: web.Request, met: _Met, reply: Reply) -> web.StreamResponse:
        """Send `reply` as the fault lets it through, and keep the call."""
        effect = _effect(met.fault)
        status, shown = None, "(no answer)"
        response: web.StreamResponse = web.Response()
        try:
            if effect is Effect.SILENT:
                await self._wait(request, self._pace.silence_s)
                _cut(request)
            elif effect is Effect.REFUSED:
                _cut(request)
            elif effect is Effect.TRICKLE:
                shown = "(byte by byte)"
                response = await self._trickle(request, reply)
            else:
                if effect is Effect.SLOW:
                    await self._wait(request, self._pace.slow_s)
                if effect in _INSTEAD:
                    reply = _INSTEAD[effect]()
                status, shown = reply.status, reply.shown
                response = web.Response(
                    status=reply.status, body=reply.body, content_type=reply.content_type
                )
        finally:
            self._parts.calls.record(
                endpoint=met.point.value,
                asked=json.dumps(met.asked, ensure_ascii=False),
                fault=met.fault.code if met.fault else None,
                status=status,
                answer=shown,
                elapsed_ms=int((time.monotonic() - met.began_s) * 1000),
            )
        return response

    async def _trickle(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(status=reply.status)
        response.content_type = reply.content_type
        response.content_length = len(reply.body)
        try:
            await response.prepare(request)
            for at in range(len(reply.body)):
                await response.write(reply.body[at : at + 1])
                if await self._wait(request, self._pace.byte_s):
                    break
        except ConnectionError:
            pass  # the caller left
        else:
            if at + 1 < len(reply.body):
                _cut(request)
        return response

    async def _wait(self, request: web.Request, seconds_s: float) -> bool:
        """Wait, and return whether it was cut short: the caller left or the sandbox stops."""
        deadline_s = time.monotonic() + seconds_s
        while not self._closing.is_set():
            if request.transport is None or request.transport.is_closing():
                return True
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            await asyncio.sleep(min(left_s, _POLL_S))
        return True


def _cut(request: web.Request) -> None:
    """Hang up without a word."""
    if request.transport is not None:
        request.transport.abort()


def _effect(fault: Fault | None) -> Effect | None:
    return fault.effect if fault else None


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


async def _form(request: web.Request) -> dict[str, str]:
    """Return the form's fields; empty where it is no form or a field comes twice."""
    if request.content_type != _FORM:
        return {}
    fields = await request.post()
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    return texts if len(texts) == len(fields) else {}


def _shortened(name: str, value: str) -> str:
    is_whole = name != "hash" or len(value) <= _HASH_SHOWN
    return value if is_whole else f"{value[:_HASH_SHOWN]}… ({len(value)} characters)"
