"""A check of `payctl doctor`: a question with an answer that is green, red, or was not asked."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

_LIMIT_S = 15.0  # for one check, however slow the other side


class Verdict(StrEnum):
    """What a check came to; one that was not asked is never green."""

    GREEN = "ok"
    RED = "FAILED"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check saw, and what to do about it where it is not green."""

    verdict: Verdict
    seen: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row of the table."""

    name: str
    ask: Callable[[], Awaitable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A check with its finding."""

    name: str
    finding: Finding


def green(seen: str) -> Finding:
    """Return that all is well."""
    return Finding(verdict=Verdict.GREEN, seen=seen)


def red(seen: str, *, remedy: str) -> Finding:
    """Return what is wrong, and what to do."""
    return Finding(verdict=Verdict.RED, seen=seen, remedy=remedy)


def not_asked(why: str, *, remedy: str) -> Finding:
    """Return that nobody knows, and how to have it asked."""
    return Finding(verdict=Verdict.NOT_ASKED, seen=why, remedy=remedy)


async def run_check(check: Check, *, limit_s: float = _LIMIT_S) -> Checked:
    """Return the check with its finding; one that breaks or takes too long is red."""
    try:
        async with asyncio.timeout(limit_s):
            finding = await check.ask()
    except TimeoutError:
        finding = red(f"no answer within {limit_s:g} s", remedy="See whether the network lets us.")
    except Exception as problem:  # noqa: BLE001 - one broken check must not hide the others
        # Its type alone: texts of libraries may hold what they were given.
        finding = red(f"the check broke: {type(problem).__name__}", remedy="Report this.")
    return Checked(name=check.name, finding=finding)


def exit_code(checked: Sequence[Checked]) -> int:
    """Return 1 if anything is red, else 0."""
    return int(any(one.finding.verdict is Verdict.RED for one in checked))


def table_lines(checked: Sequence[Checked]) -> Iterator[tuple[Verdict, str]]:
    """Yield the table's lines, each with its verdict: what is wrong says what to do."""
    width = max((len(one.name) for one in checked), default=0)
    for one in checked:
        finding = one.finding
        yield finding.verdict, f"{finding.verdict.value:<9}  {one.name:<{width}}  {finding.seen}"
        if finding.remedy:
            yield finding.verdict, f"{'':<9}  {'':<{width}}  -> {finding.remedy}"
