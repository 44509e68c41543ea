"""What the sandbox answers over HTTP.

The insurer's Integration Service:

- `GET /policies/{number}/premium`: 200 `{policyNumber, payer, amount, currency, dueDate}`,
  the amount an exact JSON number; 204 nothing due any more; 404 unknown.

For operators (amounts as text; failures are `{"error": {"code", "message"}}`):

- `GET /sandbox/state`, `/sandbox/policies`, `/sandbox/transfers`
- `POST /sandbox/lookup?query=P123456789`: the bank's app asks what is due
- `POST /sandbox/bills/{id}/pay`: the customer pays that bill; `?again=true` a second time
- `POST /sandbox/pay?query=P123456789`: both in one
- `POST /sandbox/transfers/{number}/resend`: send the webhook once more, byte for byte
- `POST /sandbox/transfers/{number}/reverse`: give back a transfer that was refused
- `POST /sandbox/policies/{number}/premium`: `{"amount": "165.00"}`, or a tenth more without
- `POST /sandbox/policies/{number}/settle`: nothing due, by the operator's word
- `POST /sandbox/policies/{number}/due`: due again, `{"dueDate": "2027-11-15"}` if wanted
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from amk_sandbox.bank import Bank, Transfer
from amk_sandbox.books import Books
from amk_sandbox.policies import Policies
from amk_sandbox.refusal import Refusal
from amk_sandbox.store import Store
from amk_sandbox.views import bill_view, policy_view, state_view, transfer_view

_STATIC = Path(__file__).parent / "static"
_BODY_LIMIT_BYTES = 16 * 1024
_MOST_TRANSFERS = 100
_LONGEST_QUERY = 10  # the specification: "max 10 characters"
_HEADERS = {
    # Our own files alone: no inline script or style, no frame around the page.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_write_json = msgspec.json.Encoder(decimal_format="number").encode
_log = structlog.get_logger()
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The parts that the handlers work with."""

    store: Store
    policies: Policies
    books: Books
    bank: Bank


def make_app(*, sandbox: Sandbox) -> web.Application:
    """Return the application that serves the look-up, the operators and the page."""
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=[_answer_safely])
    operators = _Operators(sandbox)
    app.add_routes(
        [
            web.get("/livez", _live),
            web.get("/", _page),
            web.get("/policies/{number}/premium", operators.premium),
            web.get("/sandbox/state", operators.state),
            web.get("/sandbox/policies", operators.list_policies),
            web.get("/sandbox/transfers", operators.list_transfers),
            web.post("/sandbox/lookup", operators.look_up),
            web.post("/sandbox/pay", operators.look_up_and_pay),
            web.post("/sandbox/bills/{id:[0-9]{1,18}}/pay", operators.pay),
            web.post("/sandbox/transfers/{number}/resend", operators.resend),
            web.post("/sandbox/transfers/{number}/reverse", operators.reverse),
            web.post("/sandbox/policies/{number}/premium", operators.change_premium),
            web.post("/sandbox/policies/{number}/settle", operators.settle),
            web.post("/sandbox/policies/{number}/due", operators.make_due),
            web.static("/static", _STATIC),
        ]
    )
    return app


class _Operators:
    def __init__(self, sandbox: Sandbox) -> None:
        self._store = sandbox.store
        self._policies = sandbox.policies
        self._books = sandbox.books
        self._bank = sandbox.bank

    async def premium(self, request: web.Request) -> web.Response:
        policy = self._policies.find(number=request.match_info["number"])
        if policy.settled_by is not None:
            return web.Response(status=204)
        return _json(
            {
                "policyNumber": policy.number,
                "payer": policy.payer,
                "amount": Decimal(str(policy.premium)),
                "currency": policy.premium.currency.name,
                "dueDate": policy.due_on.isoformat(),
            }
        )

    async def state(self, _: web.Request) -> web.Response:
        return _json(
            state_view(
                policies=self._policies,
                books=self._books,
                transfers=self._bank.latest(most=_MOST_TRANSFERS),
                store=self._store,
            )
        )

    async def list_policies(self, _: web.Request) -> web.Response:
        return _json({"policies": [policy_view(policy) for policy in self._policies.every()]})

    async def list_transfers(self, _: web.Request) -> web.Response:
        latest = self._bank.latest(most=_MOST_TRANSFERS)
        return _json({"transfers": [transfer_view(transfer=t, store=self._store) for t in latest]})

    async def look_up(self, request: web.Request) -> web.Response:
        bill = await self._bank.look_up(query=_query(request))
        return _json({"bill": bill_view(bill)})

    async def look_up_and_pay(self, request: web.Request) -> web.Response:
        bill = await self._bank.look_up(query=_query(request))
        transfer = await self._bank.pay(bill_id=bill.id, again=_flag(request, "again"))
        return self._transfer_answer(transfer)

    async def pay(self, request: web.Request) -> web.Response:
        bill_id = int(request.match_info["id"])
        transfer = await self._bank.pay(bill_id=bill_id, again=_flag(request, "again"))
        return self._transfer_answer(transfer)

    async def resend(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        return self._transfer_answer(await self._bank.resend(bank_transaction_id=number))

    async def reverse(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        return self._transfer_answer(self._bank.reverse(bank_transaction_id=number))

    async def change_premium(self, request: web.Request) -> web.Response:
        amount = await _optional_text(request, "amount")
        policy = self._policies.change_premium(number=request.match_info["number"], amount=amount)
        return _json({"policy": policy_view(policy)})

    async def settle(self, request: web.Request) -> web.Response:
        policy = self._policies.settle(number=request.match_info["number"])
        return _json({"policy": policy_view(policy)})

    async def make_due(self, request: web.Request) -> web.Response:
        text = await _optional_text(request, "dueDate")
        try:
            due_on = date.fromisoformat(text) if text else None
        except ValueError:
            raise Refusal(
                status=400, code="BAD_DATE", message="dueDate must be YYYY-MM-DD"
            ) from None
        policy = self._policies.make_due(number=request.match_info["number"], due_on=due_on)
        return _json({"policy": policy_view(policy)})

    def _transfer_answer(self, transfer: Transfer) -> web.Response:
        return _json({"transfer": transfer_view(transfer=transfer, store=self._store)})


async def _live(_: web.Request) -> web.Response:
    return _json({"status": "live"})


async def _page(_: web.Request) -> web.StreamResponse:
    return web.FileResponse(_STATIC / "index.html")


@web.middleware
async def _answer_safely(request: web.Request, handler: _Handler) -> web.StreamResponse:
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
    response.headers.update(_HEADERS)
    return response


def _refuse_other_sites(request: web.Request) -> None:
    # Any page open in the same browser can post to this machine; browsers name its origin.
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != request.host:
        raise Refusal(status=403, code="OTHER_SITE", message="Only the sandbox's own page may ask")


def _query(request: web.Request) -> str:
    text = request.query.get("query", "")
    if not (text.isascii() and text.isalnum() and len(text) <= _LONGEST_QUERY):
        raise Refusal(
            status=400, code="BAD_QUERY", message="query must be 1 to 10 letters or digits"
        )
    return text


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "") == "true"


async def _optional_text(request: web.Request, name: str) -> str | None:
    """Return the text member `name` of a JSON body; a body is not required."""
    content = await request.text()
    if not content.strip():
        return None
    try:
        document: Any = json.loads(content)
        value = document.get(name)
    except (ValueError, AttributeError):
        raise Refusal(
            status=400, code="BAD_BODY", message="The body must be a JSON object"
        ) from None
    if value is not None and not isinstance(value, str):
        raise Refusal(status=400, code="BAD_BODY", message=f"{name} must be text in quotes")
    return value


def _json(document: Any) -> web.Response:
    return web.Response(body=_write_json(document), content_type="application/json")


def _error(status: int, code: str, message: str) -> web.Response:
    return web.Response(
        status=status,
        body=_write_json({"error": {"code": code, "message": message}}),
        content_type="application/json",
    )
