"""What a check of schemathesis calls a failure and is none, each with its reason.

A request may keep the schema of every field and still be refused because its fields contradict
each other, or the moment. JSON Schema cannot say these rules.
"""

import re
from dataclasses import dataclass

_ACCEPTANCE = "positive_data_acceptance"
_LISTS = r"GET /ops/(payments|bills|codes|notices|events|exceptions)"
_ORDERS = r"POST /ops/(replays|releases)"
_KHQR = r"POST /\{bankCode\}/khqr"


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """Refusals of some operations with some words."""

    operations: str  # a pattern
    details: str  # a pattern of one violation; the others of the same answer must be excluded too
    because: str
    status: int = 400
    check: str = _ACCEPTANCE


EXCLUSIONS = (
    Exclusion(
        operations=r"GET /khqr",
        details=r"bankCode\.bank: must be the same as bankCode\.id",
        because="two members must be equal",
    ),
    Exclusion(
        operations=_KHQR,
        details=r"(paid_amount|currency|paid_datetime): is required of a SUCCESS",
        because="one status requires more than the others",
    ),
    Exclusion(
        operations=_KHQR,
        details=r"status: must be one of [A-Z, ]+",
        because="a status that we do not know is kept for a person, so the contract is open",
    ),
    Exclusion(
        operations=_KHQR,
        details=r".*",
        status=422,
        because="the bank says that it was not paid",
    ),
    Exclusion(
        operations=rf"{_LISTS}|{_ORDERS}",
        details=r"(filter|selection)\.until: must be later than since",
        because="a period has an order",
    ),
    Exclusion(
        operations=_LISTS,
        details=r"filter\.state: must be one of [A-Z, ]+",
        because="one filter serves six lists, each with states of its own",
    ),
    Exclusion(
        operations=_LISTS,
        details=r"pageToken: is not one of this list and filter",
        because="a page token comes from an answer",
    ),
    Exclusion(
        operations=_LISTS,
        details=r"pageSize: must be at most 200",
        because="the contract's field rules have no greatest number",
    ),
    Exclusion(
        operations=_ORDERS,
        details=r"selection: must say which events",
        because="one of its members must be there",
    ),
    Exclusion(
        operations=_ORDERS,
        details=r"reason: is required, at least 3 characters",
        because="a dry run needs no reason",
    ),
    Exclusion(
        operations=r"POST /ops/exceptions/\{exceptionId\}/proposals",
        details=r"(bankReference|billId): is (only|required) of (REFUNDED|APPLY)",
        because="a member belongs to one action",
    ),
    Exclusion(
        operations=r"GET /(\{bankCode\}/payments|ops/cases)/\{(id|billId)\}",
        details=r"(id|billId): must be a whole number in plain digits",
        because="the stateful phase puts another answer's id, such as payment-1, into the path",
    ),
)


def excluded(*, check: str, operation: str, status: int, details: str) -> bool:
    """Tell whether a refusal is one of `EXCLUSIONS` in all that it complains of."""
    rows = [
        row
        for row in EXCLUSIONS
        if (row.check, row.status) == (check, status) and re.fullmatch(row.operations, operation)
    ]
    return all(any(re.fullmatch(row.details, one) for row in rows) for one in details.split("; "))
