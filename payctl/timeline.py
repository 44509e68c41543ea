"""A case as lines of text: what happened when, how long after, why, and what to do next."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

_PHNOM_PENH = timezone(timedelta(hours=7))
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


def case_lines(*, case: Any) -> Iterator[str]:
    """Yield everything a person wants to know of a case, the sentence first."""
    yield case["sentence"]
    bill = case.get("bill")
    if bill:
        numbers = ", ".join(bill.get("numbers", []))
        yield (
            f"  {bill['bankCode']} bill {bill['billId']}: {bill['amount']} {bill['currency']},"
            f" due {bill['dueDate']}, asked for as {numbers}"
        )
    others = case.get("otherBillIds") or []
    if others:
        yield f"  Other bills of the same premium: {', '.join(map(str, others))}"
    yield ""
    yield from _step_lines(case.get("steps", []))
    exceptions = case.get("exceptions", [])
    if exceptions:
        yield ""
    for one in exceptions:
        yield from _exception_lines(one)


def clock(text: str) -> str:
    """Return a moment of the API in Phnom Penh time, with its offset."""
    moment = parsed(text).astimezone(_PHNOM_PENH)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}+07:00"


def parsed(text: str) -> datetime:
    """Return the moment that the API writes as `text`."""
    return datetime.fromisoformat(text)


def length(taken: timedelta) -> str:
    """Return a length of time in the two largest units that say something."""
    if taken < _SECOND:
        return f"{taken // timedelta(milliseconds=1)} ms"
    if taken < _MINUTE:
        return f"{taken // _SECOND}.{taken % _SECOND // timedelta(milliseconds=100)} s"
    if taken < _HOUR:
        return f"{taken // _MINUTE} min {taken % _MINUTE // _SECOND} s"
    if taken < _DAY:
        return f"{taken // _HOUR} h {taken % _HOUR // _MINUTE} min"
    return f"{taken // _DAY} d {taken % _DAY // _HOUR} h"


def _step_lines(steps: Sequence[Any]) -> Iterator[str]:
    before: datetime | None = None
    for step in steps:
        at = parsed(step["at"])
        after = "" if before is None else f"+{length(at - before)}"
        before = at
        words = step["kind"].lower().replace("_", " ")
        cause = f": {step['cause']}" if step.get("cause") else ""
        request = f"  [{step['requestId']}]" if step.get("requestId") else ""
        yield f"  {clock(step['at'])}  {after:>14}  {step['subject']:<12} {words}{cause}{request}"


def _exception_lines(one: Any) -> Iterator[str]:
    amount = f", {one['amount']} {one['currency']}" if one.get("amount") else ""
    yield f"{one['exceptionId']} {one['state']} ({one['hold']}{amount}) since {clock(one['since'])}"
    yield f"  {one['explanation']}"
    if one.get("actions"):
        yield f"  May end by: {', '.join(one['actions'])}"
    if one.get("fittingBillIds"):
        yield f"  Open bills it could pay: {', '.join(map(str, one['fittingBillIds']))}"
    for proposal in one.get("proposals", []):
        target = f" bill {proposal['billId']}" if proposal.get("billId") else ""
        reference = f" {proposal['bankReference']}" if proposal.get("bankReference") else ""
        yield (
            f"  {proposal['action']}{target}{reference} proposed by {proposal['proposedBy']}"
            f" at {clock(proposal['proposedAt'])}: {proposal['reason']}"
        )
        if proposal.get("decidedBy"):
            yield (
                f"    {proposal['state'].lower()} by {proposal['decidedBy']}"
                f" at {clock(proposal['decidedAt'])}: {proposal['decisionReason']}"
            )
