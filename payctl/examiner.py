"""What a case of the certification works with: calls of the system, and of the sandbox beside it.

Every call is kept as evidence. The case plays the bank: it asks, notifies, repeats, hangs up.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

_LONGEST_TEXT = 2000  # of a body in the report
_OK = 200
_encoder = msgspec.json.Encoder(decimal_format="number")  # 150.00 stays 150.00


class Unlike(Exception):
    """The system did something else than the case expects."""

    def __init__(self, *, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}, saw {seen}")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One call as it is sent; `token` is a role's name, empty for none."""

    method: str
    path: str
    token: str
    body: str = ""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What came back; status 0 where the caller hung up before."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> Any:
        """The body as JSON, amounts as they are written; None where it is none."""
        try:
            return json.loads(self.body, parse_float=str)
        except ValueError:
            return None

    @property
    def data(self) -> Any:
        """The data of a success, empty where it is none."""
        document = self.document
        return (document.get("data") if isinstance(document, dict) else None) or {}

    @property
    def code(self) -> str:
        """The error's code, empty where it is a success."""
        document = self.document
        error = document.get("error") if isinstance(document, dict) else None
        return str((error or {}).get("code", ""))


Exchange = Callable[[Request], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A call of a case, and its answer, cut to what a report shows."""

    request: str
    body: str
    status: int
    answer: str


@dataclass(frozen=True, kw_only=True)
class Bill:
    """A bill of a policy made for one case."""

    bill_id: int
    policy: str
    amount: str
    currency: str


class Examiner:
    """Calls the system by `exchange` and the sandbox by `sandbox`; keeps what it did."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        sandbox: Exchange,
        bank: str,
        merchant: str,
        new_number: Callable[[], str],
    ) -> None:
        """`new_number` gives nine digits that were not given before."""
        self._exchange = exchange
        self._sandbox = sandbox
        self.bank = bank
        self.merchant = merchant
        self.new_number = new_number
        self.evidence: list[Evidence] = []

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "bank",  # noqa: S107
    ) -> Reply:
        """Return the system's answer to one call of the role `token`."""
        request = Request(method=method, path=path, token=token, body=_text(body))
        reply = await self._exchange(request)
        self._keep(request, reply)
        return reply

    async def hang_up(self, path: str, body: Any) -> None:
        """Send a notice and leave before its answer, as a bank whose patience ends."""
        request = Request(method="POST", path=path, token="bank", body=_text(body))  # noqa: S106
        sending = asyncio.ensure_future(self._exchange(request))
        await asyncio.sleep(0)
        await asyncio.wait({sending}, timeout=0.002)
        sending.cancel()
        await asyncio.wait({sending})
        self._keep(request, Reply(status=0, body="(the caller hung up)"))

    async def operate(self, path: str, body: Any = None) -> Any:
        """Do what an operator of the sandbox does; return its answer.

        :raises Unlike: the sandbox refuses.
        """
        request = Request(method="POST", path=path, token="", body=_text(body))
        reply = await self._sandbox(request)
        self._keep(request, reply)
        if reply.status != _OK:
            raise Unlike(expected="the sandbox to do it", seen=f"{reply.status} {reply.body[:200]}")
        return reply.document

    async def policy(
        self, *, amount: str = "150.00", currency: str = "USD", payer: str = "Case"
    ) -> str:
        """Return a new policy with a premium due."""
        number = f"C{self.new_number()}"
        await self.operate(
            "/sandbox/policies",
            {
                "number": number,
                "payer": payer,
                "amount": amount,
                "currency": currency,
                "dueDate": "2026-12-31",
            },
        )
        return number

    async def bill(self, *, policy: str = "", payer: str = "Case") -> Bill:
        """Return the bill of a policy, a new one unless it is named."""
        number = policy or await self.policy(payer=payer)
        reply = await self.call("GET", f"/{self.bank}/payments?query={number}")
        self.expect_status(reply, _OK)
        data = reply.data
        return Bill(
            bill_id=int(data["id"]),
            policy=number,
            amount=str(data["amount"]),
            currency=data["currency"],
        )

    async def standing(self, bill_id: int) -> str:
        """Return how a bill stands: PENDING, PAID or CLOSED."""
        reply = await self.call("GET", f"/{self.bank}/payments/{bill_id}")
        return str(reply.data.get("status", ""))

    async def until_paid(self, bill_id: int, *, looks: int = 50, pause_s: float = 0.2) -> None:
        """Return once a bill is paid.

        :raises Unlike: it is not after so many looks.
        """
        for _ in range(looks):
            if await self.standing(bill_id) == "PAID":
                return
            await asyncio.sleep(pause_s)
        raise Unlike(expected="the bill to be PAID in time", seen=await self.standing(bill_id))

    def expect(self, *, that: bool, expected: str, seen: str) -> None:
        """Return if `that` holds.

        :raises Unlike: it does not.
        """
        if not that:
            raise Unlike(expected=expected, seen=seen)

    def expect_status(self, reply: Reply, status: int, code: str = "") -> None:
        """Return if the answer is `status`, and the error `code` where one is named.

        :raises Unlike: it is something else.
        """
        right = reply.status == status and reply.code == code
        self.expect(
            that=right,
            expected=f"{status} {code}".strip(),
            seen=f"{reply.status} {reply.code}".strip(),
        )

    def _keep(self, request: Request, reply: Reply) -> None:
        self.evidence.append(
            Evidence(
                request=f"{request.method} {request.path}",
                body=request.body[:_LONGEST_TEXT],
                status=reply.status,
                answer=reply.body[:_LONGEST_TEXT],
            )
        )


def _text(body: Any) -> str:
    return "" if body is None else _encoder.encode(body).decode()


def exchange_over(
    *, session: aiohttp.ClientSession, base_url: str, tokens: Mapping[str, str]
) -> Exchange:
    """Return calls of `base_url` over HTTP, with the token of the role that a request names."""

    async def exchanged(request: Request) -> Reply:
        headers = {"Content-Type": "application/json"} if request.body else {}
        if request.token:
            headers["Authorization"] = f"Bearer {tokens[request.token]}"
        async with session.request(
            request.method, f"{base_url}{request.path}", data=request.body or None, headers=headers
        ) as response:
            return Reply(
                status=response.status,
                body=(await response.read()).decode(errors="replace"),
                headers={name.lower(): value for name, value in response.headers.items()},
            )

    return exchanged
