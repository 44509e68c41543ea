"""Bills, as the bank reads them from the insurer's look-up."""

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import msgspec

from amk_sandbox.insurer import Answer
from amk_sandbox.refusal import Refusal
from chassis.money import Currency, Money, MoneyError, parse_money

_NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True)
class Bill:
    """A bill as the insurer's look-up gave it."""

    id: int
    query: str
    policy_number: str
    payer: str
    amount: Money
    due_on: date


class _Due(msgspec.Struct, rename="camel"):
    id: int
    policy_number: str
    payer: str
    amount: Decimal
    currency: str
    due_date: date


class _Inquiry(msgspec.Struct):
    success: bool
    data: _Due


def read_bill(*, query: str, answer: Answer) -> Bill:
    """Return the bill in the insurer's 200 `answer` to `query`.

    :raises Refusal: the answer is not what the specification says.
    """
    try:
        due = msgspec.json.decode(answer.text, type=_Inquiry).data
        amount = parse_money(text=str(due.amount), currency=Currency.parse(due.currency))
    except (msgspec.DecodeError, MoneyError) as problem:
        raise Refusal(
            status=502, code="UNREADABLE_ANSWER", message=f"The insurer's answer: {problem}"
        ) from None
    return Bill(
        id=due.id,
        query=query,
        policy_number=due.policy_number,
        payer=due.payer,
        amount=amount,
        due_on=due.due_date,
    )


def refused_look_up(*, answer: Answer) -> Refusal:
    """Return what the bank's app says where the insurer gave no bill."""
    try:
        error = json.loads(answer.text)["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "NO_ANSWER", answer.text if answer.status is None else "unreadable answer"
    if answer.status is None:
        return Refusal(status=503, code=code, message=f"The insurer cannot be asked: {message}")
    status = _NOT_FOUND if answer.status == _NOT_FOUND else 502
    return Refusal(
        status=status, code=code, message=f"The insurer answered {answer.status}: {message}"
    )
