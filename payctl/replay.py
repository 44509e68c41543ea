"""`payctl replay` and `payctl release`: events once more, and parked ones let go.

Both say first what they would do; `--yes` does it, with a reason that is kept. The database
is the one that DATABASE_URL names; the gateway's relay does the rest.
"""

import asyncio
import getpass
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import outbox_requests
from chassis.database import Database, DatabaseUnavailable
from chassis.outbox_requests import Asked, Found, Selection
from chassis.settings import SettingError, own_variables
from gateway_svc.events import topics_of
from gateway_svc.migrations import SchemaBehind, require_newest
from gateway_svc.settings import database_url, topic_prefix
from gateway_svc.tables import replays

EventId = Annotated[str | None, typer.Option("--event-id", help="One event.")]
Key = Annotated[str | None, typer.Option("--key", help="A policy number.")]
By = Annotated[str | None, typer.Option("--by", help="Who asks; the user of this machine.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept for good.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What is to be done, as the functions of the outbox see it."""

    find: Callable[..., Awaitable[Found]]
    do: Callable[..., Awaitable[int]]
    would: str
    done: str


_REPLAY = _Order(
    find=outbox_requests.find_published,
    do=outbox_requests.request_replay,
    would="would be delivered once more",
    done="will be delivered once more, after what is unpublished",
)
_RELEASE = _Order(
    find=outbox_requests.find_parked,
    do=outbox_requests.release,
    would="would be released",
    done="are released; the relay tries them now, and what waited behind them",
)


def replay_command(
    *,
    event_id: EventId = None,
    key: Key = None,
    topic: Annotated[
        str | None, typer.Option(help="Whole, or without the prefix: khqr.generated-event.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Written at or after: 2026-01-31T08:00:00+07:00.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Written before.")] = None,
    by: By = None,
    reason: Reason = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Have published events delivered once more: same id, same bytes; consumers drop repeats."""
    selection = Selection(
        event_id=_given("--event-id", event_id),
        key=_given("--key", key),
        topic=_topic(topic),
        since=_moment("--from", since),
        until=_moment("--to", until),
    )
    if selection.since and selection.until and selection.since >= selection.until:
        raise SettingError("--to: must be later than --from")
    _require(selection, "--event-id, --key, --topic, --from, --to")
    _run(_REPLAY, selection, asked=_asked(by, reason, yes=yes), as_json=as_json)


def release_command(
    *,
    event_id: EventId = None,
    key: Key = None,
    by: By = None,
    reason: Reason = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Let parked events be tried again, once what was wrong with them is mended."""
    selection = Selection(event_id=_given("--event-id", event_id), key=_given("--key", key))
    _require(selection, "--event-id, --key")
    _run(_RELEASE, selection, asked=_asked(by, reason, yes=yes), as_json=as_json)


def _run(order: _Order, selection: Selection, *, asked: Asked | None, as_json: bool) -> None:
    try:
        found = asyncio.run(_with_database(order, selection, asked))
    except (DatabaseUnavailable, SchemaBehind) as problem:
        sys.stderr.write(f"payctl: {problem}\n")
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps(_stated(found, selection, done=asked is not None)))
    else:
        _tell(order, found, done=asked is not None)
    if not found.events:
        raise typer.Exit(1)


async def _with_database(order: _Order, selection: Selection, asked: Asked | None) -> Found:
    database = Database(url=database_url(own_variables()), statement_timeout_s=60)
    named: dict[str, Any] = {"tables": replays, "selection": selection}
    try:
        await require_newest(database=database)
        if asked is None:
            async with database.reading() as connection:
                return await order.find(connection=connection, **named)
        async with database.transaction(name="outbox_request") as connection:
            return await _done(connection, order, named, asked)
    finally:
        await database.close()


async def _done(
    connection: AsyncConnection, order: _Order, named: dict[str, Any], asked: Asked
) -> Found:
    found = await order.find(connection=connection, **named)
    await order.do(connection=connection, asked=asked, **named)
    return found


def _tell(order: _Order, found: Found, *, done: bool) -> None:
    if not found.events:
        typer.echo("No such events. (What is not published yet goes by itself.)")
        return
    for topic, count in found.by_topic.items():
        typer.echo(f"{topic}: {count}")
    for name, one in (("first", found.first), ("last", found.last)):
        if one is not None:
            typer.echo(f"{name}: {one[0]}, written {one[1].isoformat()}")
    typer.echo(f"{found.events} events {order.done if done else order.would}.")
    if not done:
        typer.echo("Nothing is changed; --yes --reason '...' does it.")


def _stated(found: Found, selection: Selection, *, done: bool) -> dict[str, Any]:
    return {
        "done": done and bool(found.events),
        "selection": selection.stated(),
        "events": found.events,
        "byTopic": dict(found.by_topic),
        "first": found.first and {"eventId": found.first[0], "at": found.first[1].isoformat()},
        "last": found.last and {"eventId": found.last[0], "at": found.last[1].isoformat()},
    }


def _asked(by: str | None, reason: str | None, *, yes: bool) -> Asked | None:
    """Return who asks and why, None where it is only a question.

    :raises SettingError: it is to be done without a reason.
    """
    if not yes:
        return None
    if not (reason or "").strip():
        raise SettingError("--reason: is required with --yes; it is kept with the request")
    return Asked(
        by=_given("--by", by) or getpass.getuser(), reason=str(reason), at=datetime.now(tz=UTC)
    )


def _require(selection: Selection, options: str) -> None:
    if not selection.stated():
        raise SettingError(f"one of {options} is required: everything at once is a mistake")


def _given(option: str, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise SettingError(f"{option}: is empty")
    return value


def _topic(text: str | None) -> str | None:
    if text is None:
        return None
    prefix = topic_prefix(own_variables())
    known = topics_of(prefix=prefix)
    for topic in (text, f"{prefix}.{text}"):
        if topic in known:
            return topic
    raise SettingError(f"--topic: must be one of {', '.join(known)}, is {text!r}")


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(
            f"{option}: must be a time like 2026-01-31T08:00:00+07:00, is {text!r}"
        ) from None
    if moment.tzinfo is None:
        raise SettingError(f"{option}: must say its offset (+07:00 or Z), is {text!r}")
    return moment
