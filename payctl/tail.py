"""`payctl tail`: payments and events as they come."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from chassis.settings import own_variables
from payctl.api import Api, ApiRefused, ApiUnreachable, AsJson, Url, Where, opened, read_where
from payctl.timeline import clock, parsed

_SCOPES = ("operations:read",)
_PAGE = 200
_MOST_PAGES = 5  # between two looks; of more the oldest are left out, and that is said
_REMEMBERED = 5000
# What is followed: the path, the list in its answer, what tells two apart, and the moment.
_STREAMS = (
    ("/ops/payments", "payments", "paymentId", "recordedAt"),
    ("/ops/events", "events", "eventId", "createdAt"),
)


class Tail:
    """Remembers what it has told; `say` gets each line, or each row as JSON."""

    def __init__(self, *, api: Api, say: Callable[[str], None], as_json: bool, last: int) -> None:
        self._api = api
        self._say = say
        self._as_json = as_json
        self._last = last
        self._told: dict[str, dict[str, None]] = {}  # by stream, in the order of telling

    async def run_once(self) -> int:
        """Tell what came since the last look, oldest first; return how much that was.

        The first look tells the last few of each.

        :raises ApiRefused: the API says why not.
        :raises ApiUnreachable: it says nothing.
        """
        news = []
        for stream in _STREAMS:
            news += [(parsed(row[stream[3]]), stream, row) for row in await self._new(stream)]
        for _, stream, row in sorted(news, key=lambda one: one[0]):
            self._say(
                json.dumps({stream[1][:-1]: row}, ensure_ascii=False)
                if self._as_json
                else _line(stream[1], row)
            )
        return len(news)

    async def _new(self, stream: tuple[str, str, str, str]) -> list[Any]:
        path, members, identity, _ = stream
        first = path not in self._told
        told = self._told.setdefault(path, {})
        found: list[Any] = []
        token = None
        for _page in range(_MOST_PAGES):
            answer = await self._api.get(
                path, pageSize=max(1, self._last) if first else _PAGE, pageToken=token
            )
            fresh = [row for row in answer[members] if row[identity] not in told]
            found += fresh
            token = answer.get("nextPageToken")
            if first or not token or len(fresh) < len(answer[members]):
                break
        else:
            self._say(json.dumps({"leftOut": members}) if self._as_json else f"... ({members})")
        found.reverse()
        for row in found:
            told[row[identity]] = None
        while len(told) > _REMEMBERED:
            del told[next(iter(told))]
        return found if not first or self._last else []


def tail_command(
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, do not follow.")] = False,
    last: Annotated[int, typer.Option(min=0, max=_PAGE, help="How many to begin with.")] = 10,
    interval: Annotated[float, typer.Option(min=0.2, max=60.0, help="Seconds between looks.")] = 1,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Print payments and events as they come; Ctrl-C ends it."""
    where = read_where(variables=own_variables(), url=url, scopes=_SCOPES)
    try:
        asyncio.run(_follow(where, once=once, last=last, interval=interval, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except (ApiRefused, ApiUnreachable) as problem:
        sys.stderr.write(f"payctl: {problem}\n")
        raise typer.Exit(1) from None


async def _follow(where: Where, *, once: bool, last: int, interval: float, as_json: bool) -> None:
    async with opened(where) as api:
        tail = Tail(api=api, say=typer.echo, as_json=as_json, last=last)
        await tail.run_once()
        while not once:
            await asyncio.sleep(interval)
            await tail.run_once()


def _line(members: str, row: Any) -> str:
    if members == "payments":
        return " ".join(_payment(row))
    return " ".join(_event(row))


def _payment(row: Any) -> Iterator[str]:
    yield clock(row["recordedAt"])
    yield f"payment {row['state']:<9} {row['channel']}"
    yield f"{row['amount']} {row['currency']}"
    yield f"bill {row.get('billId') or '?'} policy {row.get('policyNumber') or '?'}"
    yield row["transactionId"]


def _event(row: Any) -> Iterator[str]:
    yield clock(row["createdAt"])
    yield f"event   {row['state']:<9} {row['topic']}"
    yield f"key {row['key']} {row['eventId']}"
    if row.get("lastError"):
        yield f"({row['lastError']})"
