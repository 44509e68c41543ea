"""`payctl certify`: the bank's sign-off cases against a running system and its sandbox.

Every case makes policies of its own, so it can be run again and again. It changes the
sandbox's books and leaves exceptions for people: never run it against the real bank.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from chassis.settings import SettingError, Variables, own_variables
from gateway_svc.settings import read_settings
from payctl.api import AsJson, Url, read_token, read_url
from payctl.bill_cases import BILL_CASES
from payctl.cases import Case, Outcome, run_case
from payctl.certificate import certificate
from payctl.examiner import Examiner, Exchange, exchange_over
from payctl.khqr_cases import KHQR_CASES
from payctl.tokens import APP_SCOPES, BANK_SCOPES

_LIMIT_S = 10.0  # more than the 5 s that a call may take
_DIGITS = 10**9
ALL_CASES = (*BILL_CASES, *KHQR_CASES)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    base_url: str
    sandbox_url: str
    bank: str
    merchant: str
    tokens: dict[str, str]


def certify_command(
    *,
    report: Annotated[Path | None, typer.Option(help="Where to write the HTML report.")] = None,
    sandbox: Annotated[
        str | None, typer.Option(help="The sandbox; http://127.0.0.1:8687 if left out.")
    ] = None,
    bank: Annotated[str, typer.Option(help="The bank's code.")] = "AMK",
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A case's name, or its beginning; repeat.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Run the sign-off cases; 1 if one fails."""
    plan = _plan(own_variables(), url=url, sandbox=sandbox, bank=bank)
    cases = chosen(only or [])
    outcomes = asyncio.run(_run(plan, cases, shown=not as_json and sys.stderr.isatty()))
    if report is not None:
        report.write_text(
            certificate(
                outcomes=outcomes, at=datetime.now(tz=UTC), base_url=plan.base_url, bank=bank
            ),
            encoding="utf-8",
        )
    if as_json:
        typer.echo(json.dumps([stated(one) for one in outcomes], ensure_ascii=False))
    else:
        _tell(outcomes, report)
    raise typer.Exit(int(not all(one.passed for one in outcomes)))


def chosen(only: Sequence[str]) -> list[Case]:
    """Return the cases whose names begin with one of `only`, all for none.

    :raises SettingError: nothing begins like that.
    """
    cases = [case for case in ALL_CASES if not only or case.name.startswith(tuple(only))]
    if not cases:
        names = ", ".join(case.name for case in ALL_CASES)
        raise SettingError(f"--only: no case is called so; there are: {names}")
    return cases


async def examine(
    *,
    cases: Sequence[Case],
    exchange: Exchange,
    sandbox: Exchange,
    bank: str,
    merchant: str,
    done: Callable[[Outcome], object],
) -> list[Outcome]:
    """Run `cases` one after another, each with evidence of its own; `done` hears of each."""
    outcomes = []
    for case in cases:
        examiner = Examiner(
            exchange=exchange,
            sandbox=sandbox,
            bank=bank,
            merchant=merchant,
            new_number=lambda: f"{secrets.randbelow(_DIGITS):09d}",
        )
        outcomes.append(await run_case(case=case, examiner=examiner))
        done(outcomes[-1])
    return outcomes


def stated(one: Outcome) -> dict[str, object]:
    """Return an outcome as JSON says it."""
    return {
        "case": one.case.name,
        "channel": one.case.channel,
        "passed": one.passed,
        "expected": one.case.expects,
        "unlike": one.unlike,
        "tookMs": round(one.took_s * 1000),
    }


async def _run(plan: _Plan, cases: Sequence[Case], *, shown: bool) -> list[Outcome]:
    limit = aiohttp.ClientTimeout(total=_LIMIT_S)
    async with aiohttp.ClientSession(timeout=limit) as session:
        with typer.progressbar(
            length=len(cases), label="Certifying", file=sys.stderr, hidden=not shown
        ) as bar:
            return await examine(
                cases=cases,
                exchange=exchange_over(session=session, base_url=plan.base_url, tokens=plan.tokens),
                sandbox=exchange_over(session=session, base_url=plan.sandbox_url, tokens={}),
                bank=plan.bank,
                merchant=plan.merchant,
                done=lambda _outcome: bar.update(1),
            )


def _plan(variables: Variables, *, url: str | None, sandbox: str | None, bank: str) -> _Plan:
    """Return whom to ask as whom.

    :raises SettingError: it is not said, or this is production.
    """
    settings = read_settings(variables=variables, environ=variables.environ)
    if settings.production:
        raise SettingError("ENVIRONMENT: a certification pays with the sandbox, not in production")
    account = settings.banks[bank].account if bank in settings.banks else None
    if account is None:
        raise SettingError(f"--bank: {bank} has no merchant account in BANKS_FILE")
    tokens = {
        "bank": read_token(
            variables=variables, name="PAYCTL_BANK_TOKEN", scopes=BANK_SCOPES, bank=bank
        ),
        "app": read_token(variables=variables, name="PAYCTL_APP_TOKEN", scopes=APP_SCOPES),
        "operator": read_token(variables=variables, scopes=("operations:read",)),
    }
    return _Plan(
        base_url=read_url(variables=variables, url=url),
        sandbox_url=(sandbox or f"http://{_sandbox_address(variables)}").rstrip("/"),
        bank=bank,
        merchant=account.merchant_id,
        tokens=tokens,
    )


def _sandbox_address(variables: Variables) -> str:
    return str(variables.address("SANDBOX_LISTEN", default="127.0.0.1:8687"))


def _tell(outcomes: Sequence[Outcome], report: Path | None) -> None:
    width = max(len(one.case.name) for one in outcomes)
    for one in outcomes:
        colour = typer.colors.GREEN if one.passed else typer.colors.RED
        said = one.case.expects if one.passed else one.unlike
        typer.secho(
            f"{'ok' if one.passed else 'FAILED':<7} {one.case.name:<{width}}  {said}", fg=colour
        )
    passed = sum(one.passed for one in outcomes)
    typer.echo(f"{passed} of {len(outcomes)} cases passed.")
    if report is not None:
        typer.echo(f"The report is in {report}.")
