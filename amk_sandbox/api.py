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
- `POST /sandbox/policies`: a new policy, `{"number", "payer", "amount", "currency", "dueDate"}`
- `POST /sandbox/policies/{number}/premium`: `{"amount": "165.00"}`, or a tenth more without
- `POST /sandbox/policies/{number}/settle`: nothing due, by the operator's word
- `POST /sandbox/policies/{number}/due`: due again, `{"dueDate": "2027-11-15"}` if wanted

The bank's own API is in `bank_api.py`; codes, webhooks of codes and faults in `desk.py`.
"""

import asyncio
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from aiohttp import web

from amk_sandbox.bank import Bank
from amk_sandbox.bank_api import BankApi, BankParts, Pace
from amk_sandbox.books import Books
from amk_sandbox.desk import Desk
from amk_sandbox.edge import answer_safely, flag_of, json_answer, optional_text, query_of
from amk_sandbox.insurer import Insurer
from amk_sandbox.notices import Notices
from amk_sandbox.pages import page_routes
from amk_sandbox.policies import Policies
from amk_sandbox.refusal import Refusal
from amk_sandbox.scanning import Scanning
from amk_sandbox.store import Store
from amk_sandbox.transfers import Channel, SentBy, Transfer, Transfers
from amk_sandbox.views import StateParts, bill_view, policy_view, state_view, transfer_view

_BODY_LIMIT_BYTES = 16 * 1024
_MOST_TRANSFERS = 100


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """The parts that the handlers work with."""

    store: Store
    policies: Policies
    books: Books
    transfers: Transfers
    bank: Bank
    bank_parts: BankParts
    notices: Notices
    scanning: Scanning
    insurer: Insurer
    pace: Pace


def make_app(*, sandbox: Sandbox) -> web.Application:
    """Return the application that serves the look-up, the operators and the page."""
    app = web.Application(client_max_size=_BODY_LIMIT_BYTES, middlewares=[answer_safely])
    operators, closing = _Operators(sandbox), asyncio.Event()
    desk = Desk(
        parts=sandbox.bank_parts,
        scanning=sandbox.scanning,
        notices=sandbox.notices,
        store=sandbox.store,
    )
    bank_api = BankApi(parts=sandbox.bank_parts, pace=sandbox.pace, closing=closing)

    async def close(_: web.Application) -> None:
        closing.set()

    app.on_shutdown.append(close)
    app.add_routes(
        [
            web.get("/livez", _live),
            web.get("/policies/{number}/premium", operators.premium),
            web.get("/sandbox/state", operators.state),
            web.get("/sandbox/policies", operators.list_policies),
            web.post("/sandbox/policies", operators.open_policy),
            web.get("/sandbox/transfers", operators.list_transfers),
            web.post("/sandbox/lookup", operators.look_up),
            web.post("/sandbox/pay", operators.look_up_and_pay),
            web.post("/sandbox/bills/{id:[0-9]{1,18}}/pay", operators.pay),
            web.post("/sandbox/transfers/{number}/resend", operators.resend),
            web.post("/sandbox/transfers/{number}/reverse", operators.reverse),
            web.post("/sandbox/policies/{number}/premium", operators.change_premium),
            web.post("/sandbox/policies/{number}/settle", operators.settle),
            web.post("/sandbox/policies/{number}/due", operators.make_due),
            *page_routes(),
            web.post("/auth/sign-in", bank_api.sign_in),
            web.post("/qr/generator", bank_api.generate),
            web.post("/amkpayway/v1/api/payment/payment-verify", bank_api.verify),
            *desk.routes(),
        ]
    )
    return app


class _Operators:
    def __init__(self, sandbox: Sandbox) -> None:
        self._store = sandbox.store
        self._policies = sandbox.policies
        self._books = sandbox.books
        self._bank = sandbox.bank
        self._transfers = sandbox.transfers
        self._notices = sandbox.notices
        self._state_parts = StateParts(
            policies=sandbox.policies,
            books=sandbox.books,
            transfers=sandbox.transfers,
            notices=sandbox.notices,
            bank=sandbox.bank_parts,
            store=sandbox.store,
            insurer=sandbox.insurer,
        )

    async def premium(self, request: web.Request) -> web.Response:
        policy = self._policies.find(number=request.match_info["number"])
        if policy.settled_by is not None:
            return web.Response(status=204)
        return json_answer(
            {
                "policyNumber": policy.number,
                "payer": policy.payer,
                "amount": Decimal(str(policy.premium)),
                "currency": policy.premium.currency.name,
                "dueDate": policy.due_on.isoformat(),
            }
        )

    async def state(self, _: web.Request) -> web.Response:
        return json_answer(state_view(parts=self._state_parts))

    async def list_policies(self, _: web.Request) -> web.Response:
        return json_answer({"policies": [policy_view(policy) for policy in self._policies.every()]})

    async def list_transfers(self, _: web.Request) -> web.Response:
        latest = self._transfers.latest(most=_MOST_TRANSFERS)
        return json_answer(
            {"transfers": [transfer_view(transfer=t, store=self._store) for t in latest]}
        )

    async def look_up(self, request: web.Request) -> web.Response:
        bill = await self._bank.look_up(query=query_of(request))
        return json_answer({"bill": bill_view(bill)})

    async def look_up_and_pay(self, request: web.Request) -> web.Response:
        bill = await self._bank.look_up(query=query_of(request))
        transfer = await self._bank.pay(bill_id=bill.id, again=flag_of(request, "again"))
        return self._transfer_answer(transfer)

    async def pay(self, request: web.Request) -> web.Response:
        bill_id = int(request.match_info["id"])
        transfer = await self._bank.pay(bill_id=bill_id, again=flag_of(request, "again"))
        return self._transfer_answer(transfer)

    async def resend(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        transfer = self._transfers.find(bank_transaction_id=number)
        if transfer.channel is Channel.BILL:
            return self._transfer_answer(await self._bank.resend(bank_transaction_id=number))
        notice = self._notices.latest_of(bank_transaction_id=number)
        await self._notices.send(number=notice.id, by=SentBy.OPERATOR)
        return self._transfer_answer(self._transfers.find(bank_transaction_id=number))

    async def reverse(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        return self._transfer_answer(self._bank.reverse(bank_transaction_id=number))

    async def open_policy(self, request: web.Request) -> web.Response:
        said = {
            name: await optional_text(request, name) or ""
            for name in ("number", "payer", "amount", "currency", "dueDate")
        }
        policy = self._policies.open(
            number=said["number"],
            payer=said["payer"],
            amount=said["amount"],
            currency=said["currency"],
            due_on=_date_of(said["dueDate"]),
        )
        return json_answer({"policy": policy_view(policy)})

    async def change_premium(self, request: web.Request) -> web.Response:
        amount = await optional_text(request, "amount")
        policy = self._policies.change_premium(number=request.match_info["number"], amount=amount)
        return json_answer({"policy": policy_view(policy)})

    async def settle(self, request: web.Request) -> web.Response:
        policy = self._policies.settle(number=request.match_info["number"])
        return json_answer({"policy": policy_view(policy)})

    async def make_due(self, request: web.Request) -> web.Response:
        text = await optional_text(request, "dueDate")
        due_on = _date_of(text) if text else None
        policy = self._policies.make_due(number=request.match_info["number"], due_on=due_on)
        return json_answer({"policy": policy_view(policy)})

    def _transfer_answer(self, transfer: Transfer) -> web.Response:
        return json_answer({"transfer": transfer_view(transfer=transfer, store=self._store)})


def _date_of(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(status=400, code="BAD_DATE", message="dueDate must be YYYY-MM-DD") from None


async def _live(_: web.Request) -> web.Response:
    return json_answer({"status": "live"})
