"""The HTTP edge: refuses other sites' pages, reads what operators send, writes JSON."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from aiohttp import web

from amk_sandbox.refusal import Refusal
from chassis.pages.folder import POLICY

_LONGEST_QUERY = 10  # the specification: "max 10 characters"
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_write_json = msgspec.json.Encoder(decimal_format="number").encode
_log = structlog.get_logger()
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def answer_safely(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse other sites' pages; say failures in JSON; add the headers of every answer."""
    try:
        _refuse_other_sites(request)
        response = await handler(request)
    except Refusal as refusal:
        response = _error(refusal.status, refusal.code, refusal.message)
    except web.HTTPException as problem:
        if problem.status < web.HTTPBadRequest.status_code:
            raise  # a redirect, or a file not changed
        response = _error(problem.status, "BAD_REQUEST", problem.reason)
        response.headers.extend({k: v for k, v in problem.headers.items() if k == "Allow"})
    except Exception:  # noqa: BLE001 # the edge: whatever failed is logged, not shown
        _log.exception("request_failed", path=request.path)
        response = _error(500, "INTERNAL_ERROR", "The sandbox failed; its log says why")
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)  # a file of the page may be kept by browsers
    return response


def _refuse_other_sites(request: web.Request) -> None:
    # Any page open in the same browser can post to this machine; browsers name its origin.
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Refusal(status=403, code="OTHER_SITE", message="Only the sandbox's own page may ask")


def query_of(request: web.Request, /) -> str:
    """Return the policy or application number that is asked for.

    :raises Refusal: it is none.
    """
    text = request.query.get("query", "")
    if not (text.isascii() and text.isalnum() and len(text) <= _LONGEST_QUERY):
        raise Refusal(
            status=400, code="BAD_QUERY", message="query must be 1 to 10 letters or digits"
        )
    return text


def flag_of(request: web.Request, name: str, /) -> bool:
    """Return whether the parameter `name` is `true`."""
    return request.query.get(name, "") == "true"


async def optional_text(request: web.Request, name: str, /) -> str | None:
    """Return the text member `name` of a JSON body; a body is not required.

    :raises Refusal: the body is no object, or the member no text.
    """
    value = await _member(request, name)
    if value is not None and not isinstance(value, str):
        raise Refusal(status=400, code="BAD_BODY", message=f"{name} must be text in quotes")
    return value


async def optional_count(request: web.Request, name: str, /, *, most: int) -> int | None:
    """Return the whole number `name` of a JSON body, from 1 to `most`; none is required.

    :raises Refusal: the body is no object, or the member no such number.
    """
    value = await _member(request, name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise Refusal(
            status=400, code="BAD_BODY", message=f"{name} must be a number from 1 to {most}"
        )
    return value


async def _member(request: web.Request, name: str) -> Any:
    content = await request.text()
    if not content.strip():
        return None
    try:
        document: Any = json.loads(content)
        return document.get(name)
    except (ValueError, AttributeError):
        raise Refusal(
            status=400, code="BAD_BODY", message="The body must be a JSON object"
        ) from None


def json_answer(document: Any, /) -> web.Response:
    """Return `document` as an answer."""
    return web.Response(body=_write_json(document), content_type="application/json")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.Response(
        status=status,
        body=_write_json({"error": {"code": code, "message": message}}),
        content_type="application/json",
    )
