"""What schemathesis cannot read from the document, and which of its findings are none.

It is loaded by schemathesis in a process of its own, and named there by SCHEMATHESIS_HOOKS.
"""

import itertools
import json
import os
import re
from datetime import datetime
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import Failure

from tests.fuzz.exclusions import excluded

BANK, MERCHANT, POLICY = "AMK", "900000000290002", "P123456789"
STRANGE_EVERY = 8  # good requests; the others speak of banks and bills that there are
_MOST = 10**12  # above about 10^15 a JSON writer in binary spells an exponent, which is refused
_MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))  # noqa: DTZ001 - the bank's wall clock
_AMOUNTS = ("amount", "paid_amount")
_SOME_BANK = re.compile(r'\{("(id|bank)": "[A-Z0-9]{2,10}"(, )?)+\}')
_turn = itertools.count(1)
_bills = itertools.cycle(range(150001, 150009))
_statuses = itertools.cycle(("SUCCESS", "PENDING", "FAILED", "SUCCESS", "REVERSED"))

schemathesis.openapi.format("yyyyMMddHHmmss", _MOMENTS.map(lambda at: f"{at:%Y%m%d%H%M%S}"))
schemathesis.openapi.format(
    "yyyy-MM-dd HH:mm:ss.SSSSSS", _MOMENTS.map(lambda at: f"{at:%Y-%m-%d %H:%M:%S.%f}")
)


class _Bearer:
    """Gives the token that a variable holds."""

    variable: str

    def get(self, _case: schemathesis.Case[Any], _context: schemathesis.AuthContext) -> str:
        return os.environ[self.variable]

    def set(
        self, case: schemathesis.Case[Any], data: str, _context: schemathesis.AuthContext
    ) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth().apply_to(path_regex="^/ops/")
class Operator(_Bearer):
    """An operator, bound to no bank."""

    variable = "OPERATOR_TOKEN"


@schemathesis.auth().skip_for(path_regex="^/ops/")
class Partner(_Bearer):
    """The bank and its customer's app."""

    variable = "PARTNER_TOKEN"


@schemathesis.hook
def map_query(_context: schemathesis.HookContext, query: dict[str, Any]) -> dict[str, Any]:
    """Ask our bank for a code, where any bank is asked: `bankCode` is JSON within a query."""
    written = str((query or {}).get("bankCode", ""))
    if _SOME_BANK.fullmatch(written) and next(_turn) % STRANGE_EVERY:
        query["bankCode"] = json.dumps(dict.fromkeys(json.loads(written), BANK))
    return query


@schemathesis.hook
def before_call(
    _context: schemathesis.HookContext, case: schemathesis.Case[Any], _arguments: dict[str, Any]
) -> None:
    """Make a good request one that gets behind the door: our bank, our money, whole numbers."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if isinstance(case.body, dict):
        case.body |= {name: _whole(value) for name, value in case.body.items()}
        _in_hundredths(case.body)
    if next(_turn) % STRANGE_EVERY:
        _make_known(case)


@schemathesis.hook
def filter_failure(
    _context: schemathesis.HookContext,
    failure: Failure,
    case: schemathesis.Case[Any],
    response: schemathesis.Response,
) -> bool:
    """Drop what the table of exclusions names, and nothing else."""
    try:
        told = json.loads(response.content)["error"]["details"]
    except (ValueError, KeyError, TypeError):
        return True
    return not excluded(
        check=failure.checks[0] if failure.checks else "",
        operation=f"{case.method} {case.path}",
        status=response.status_code,
        details=str(told),
    )


def _make_known(case: schemathesis.Case[Any]) -> None:
    """Speak of a bank, a merchant, a bill and events that there are."""
    if "bankCode" in case.path_parameters:
        case.path_parameters["bankCode"] = BANK
    if isinstance(case.body, dict) and "invoice_number" in case.body:
        case.body |= {
            "invoice_number": str(next(_bills)),
            "merchant_number": MERCHANT,
            "status": next(_statuses),
        }
    if isinstance(case.body, dict) and "selection" in case.body:
        case.body |= {"selection": {"key": POLICY}, "reason": "asked by a test"}


def _whole(value: Any) -> Any:
    """Return `5.0`, a whole number in JSON Schema, as the `5` that we ask for."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _in_hundredths(body: dict[str, Any]) -> None:
    """Write amounts in the currency's decimals.

    JSON Schema has `multipleOf` for it, which readers that compute in binary get wrong.
    """
    for name in _AMOUNTS:
        value = body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            whole = body.get("currency") == "KHR"
            body[name] = min(max(round(value, None if whole else 2), 1 if whole else 0.01), _MOST)
