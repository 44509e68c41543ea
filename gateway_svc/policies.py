"""The insurer's Integration Service: what is due on a policy or application number.

`GET {base}/policies/{number}/premium` answers 200 with
`{policyNumber, payer, amount, currency, dueDate}`; 404: unknown; 204 or amount 0: nothing due.
Premiums are never cached: a paid bill must not look due.
"""

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Protocol
from unicodedata import category
from urllib.parse import quote

import msgspec

from chassis.http_client import ExchangeFailed, HttpRequest, HttpResponse, Send
from chassis.money import Currency, MoneyError, parse_money
from gateway_svc.payment import Premium

_OK, _NO_CONTENT, _NOT_FOUND = 200, 204, 404
_POLICY_NUMBER = re.compile(r"[A-Za-z0-9]{9,10}", re.ASCII)
_PAYER_LENGTH = 140
_NO_TEXT = ("Cc", "Cs")  # control characters and lone surrogates: no database takes them all


class PolicyNotFound(Exception):
    """The insurer knows no such policy or application."""


class NothingDue(Exception):
    """The policy exists, and no premium is due on it."""


class PoliciesUnavailable(Exception):
    """The Integration Service did not answer, or not with something we understand."""


class Policies(Protocol):
    """Where premiums are looked up."""

    async def premium(self, number: str) -> Premium:
        """Return what is due on the policy or application `number`.

        :raises PolicyNotFound: unknown number.
        :raises NothingDue: known, nothing due.
        :raises PoliciesUnavailable: no usable answer.
        """


class _Answer(msgspec.Struct, rename="camel"):
    policy_number: str
    payer: Annotated[str, msgspec.Meta(min_length=1, max_length=_PAYER_LENGTH)]
    amount: Decimal
    currency: str
    due_date: date


class IntegrationService:
    """Policies over HTTP."""

    def __init__(self, *, base_url: str, send: Send, timeout_s: float) -> None:
        self._base_url = base_url.rstrip("/")
        self._send = send
        self._timeout_s = timeout_s

    async def premium(self, number: str) -> Premium:
        """Return what is due on `number`; see `Policies`."""
        request = HttpRequest(
            method="GET",
            url=f"{self._base_url}/policies/{quote(number, safe='')}/premium",
            timeout_s=self._timeout_s,
            headers={"Accept": "application/json"},
        )
        try:
            response = await self._send(request)
        except ExchangeFailed as problem:
            raise PoliciesUnavailable(str(problem)) from problem
        return parse_premium(response)


def parse_premium(response: HttpResponse) -> Premium:
    """Return the premium that `response` states; the raises are those of `Policies`."""
    if response.status == _NOT_FOUND:
        raise PolicyNotFound
    if response.status == _NO_CONTENT:
        raise NothingDue
    if response.status != _OK:
        raise PoliciesUnavailable(f"answered {response.status}")
    try:
        answer = msgspec.json.decode(response.body, type=_Answer)
        if not answer.amount:
            raise NothingDue
        money = parse_money(text=f"{answer.amount:f}", currency=Currency.parse(answer.currency))
    except (msgspec.MsgspecError, MoneyError, UnicodeDecodeError) as problem:
        raise PoliciesUnavailable(f"answered what is no premium: {problem}") from None
    if any(category(letter) in _NO_TEXT for letter in answer.payer):
        raise PoliciesUnavailable("answered a payer with control characters")
    if money.hundredths <= 0:
        raise PoliciesUnavailable("answered a negative amount")
    if not _POLICY_NUMBER.fullmatch(answer.policy_number):
        raise PoliciesUnavailable("answered a policy number that is not 9 or 10 letters or digits")
    return Premium(
        policy_number=answer.policy_number,
        payer=answer.payer,
        money=money,
        due_on=answer.due_date,
    )
