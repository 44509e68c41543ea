"""`payctl why`: what became of a policy, bill, transfer, request or event, and what to do next."""

import asyncio
import json
import sys
from typing import Annotated, Any

import typer

from chassis.settings import own_variables
from payctl.api import Api, ApiRefused, ApiUnreachable, AsJson, Url, Where, opened, read_where
from payctl.timeline import case_lines, clock

_SCOPES = ("operations:read",)
_MOST_TOLD = 20  # of one text; the rest is named


def why_command(
    *,
    text: Annotated[
        str, typer.Argument(help="A policy, bill, transaction id, request id or event id.")
    ],
    every: Annotated[
        bool, typer.Option("--all", help=f"Tell every case, up to {_MOST_TOLD}, not the last one.")
    ] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Tell what happened, why, and what to do next; 1 if nothing is on record."""
    where = read_where(variables=own_variables(), url=url, scopes=_SCOPES)
    try:
        found, cases = asyncio.run(_asked(where, text, most=_MOST_TOLD if every else 1))
    except (ApiRefused, ApiUnreachable) as problem:
        sys.stderr.write(f"payctl: {problem}\n")
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps({"text": text, "found": found, "cases": cases}, ensure_ascii=False))
    else:
        _tell(text, found, cases)
    if not cases:
        raise typer.Exit(1)


async def _asked(where: Where, text: str, *, most: int) -> tuple[list[Any], list[Any]]:
    async with opened(where) as api:
        found = (await api.get("/ops/cases", text=text))["cases"]
        return found, [await _case(api, one["billId"]) for one in found[:most]]


async def _case(api: Api, bill_id: int) -> Any:
    return await api.get(f"/ops/cases/{bill_id}")


def _tell(text: str, found: list[Any], cases: list[Any]) -> None:
    if not found:
        typer.echo(f"Nothing on record is called {text}.")
        return
    for number, (one, case) in enumerate(zip(found, cases, strict=False)):
        if number:
            typer.echo("")
        typer.echo(f"{text} is {_FOUND_AS[one['foundAs']]} {one['billId']}.")
        for line in case_lines(case=case):
            typer.echo(line)
    if len(found) > len(cases):
        typer.echo("")
        typer.echo(f"{len(found) - len(cases)} more (--all tells them):")
    for one in found[len(cases) :]:
        amount = f"  {one['amount']} {one['currency']}" if one.get("amount") else ""
        typer.echo(f"  {one['billId']}  {one['standing']:<12} {clock(one['at'])}{amount}")


_FOUND_AS = {
    "BILL": "bill",
    "POLICY": "a policy, or a number that was asked for; bill",
    "TRANSACTION": "a bank's number of a transfer; bill",
    "REQUEST": "the id of a request; bill",
    "EVENT": "the id of an event; bill",
}
