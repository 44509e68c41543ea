"""`payctl replay` and `payctl release`, over both engines and to the relay's end.

| asked                                   | done                                              |
|-----------------------------------------|---------------------------------------------------|
| without --yes                           | says how many by topic, first, last; changes none |
| --yes --reason                          | the relay delivers the same bytes, in order       |
| the same again before that              | nothing more to do: exit 1                        |
| unpublished events                      | are not replayed: they go by themselves           |
| while others are unpublished            | the unpublished go first                          |
| one that no broker takes any more       | refused, kept with why; the others go             |
| a broker that is away                   | all of it waits, from the first one               |
| release of a parked key                 | it and what waited behind it go, in order         |
| a bad option                            | one line that names it, exit 2                    |
"""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from chassis import outbox
from chassis.database import Database
from chassis.delivery import PublishFailed
from chassis.outbox import Event
from chassis.relay import Relay
from chassis.settings import SettingError
from gateway_svc.tables import outbox as table
from gateway_svc.tables import replays
from payctl.main import app
from tests.support.events import Clock, Listener

_START = datetime(2026, 1, 31, 1, tzinfo=UTC)
_DONE = ("--yes", "--reason", "the warehouse lost a day")
_BAD = {
    "--event-id, --key": (["release"], "one of --event-id, --key is required"),
    "nothing": (["replay"], "one of --event-id, --key, --topic, --from, --to is required"),
    "empty id": (["replay", "--event-id", " "], "--event-id: is empty"),
    "no time": (["replay", "--from", "yesterday"], "--from: must be a time like"),
    "no offset": (["replay", "--to", "2026-01-31T08:00:00"], "--to: must say its offset"),
    "backwards": (
        ["replay", "--from", "2026-01-31T08:00:00Z", "--to", "2026-01-31T08:00:00Z"],
        "--to: must be later than --from",
    ),
    "other topic": (["replay", "--topic", "dev.paid"], "--topic: must be one of dev.gateway"),
    "no reason": (["replay", "--event-id", "A1", "--yes"], "--reason: is required"),
}


@pytest.fixture
async def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    database = Database(url=database_url)
    yield database
    await database.close()


@pytest.fixture
def listener() -> Listener:
    return Listener()


def _relay(database: Database, listener: Listener) -> Relay:
    return Relay(
        database=database, table=table, publisher=listener, clock=Clock(now=_START),
        random=lambda: 0.0, most=3, replays=replays,
    )  # fmt: skip


async def _append(database: Database, *names: str) -> None:
    for hour, name in enumerate(names):
        event = Event(
            event_id=name,
            topic=f"dev.gateway.payment.{'success' if hour % 2 else 'confirmed'}",
            key=name[0],
            value=b'{"id":"%b"}' % name.encode(),
        )
        async with database.transaction() as connection:
            await outbox.append(
                connection=connection, table=table, events=[event],
                at=_START + timedelta(hours=hour),
            )  # fmt: skip


async def _drained(relay: Relay) -> int:
    total = 0
    while went := await relay.run_once():
        total += went
    return total


async def _payctl(*arguments: str) -> tuple[int, str]:
    """Run a command in a thread: it has a loop of its own."""
    import asyncio  # noqa: PLC0415 - beside its one use

    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


async def test_a_question_changes_nothing_and_says_what_would_be(
    database: Database, listener: Listener
) -> None:
    relay = _relay(database, listener)
    await _append(database, "A1", "B1", "A2", "B2")
    await _drained(relay)
    code, said = await _payctl("replay", "--key", "A")
    assert code == 0
    assert said.splitlines() == [
        "dev.gateway.payment.confirmed: 2",
        "first: A1, written 2026-01-31T01:00:00+00:00",
        "last: A2, written 2026-01-31T03:00:00+00:00",
        "2 events would be delivered once more.",
        "Nothing is changed; --yes --reason '...' does it.",
    ]
    code, said = await _payctl("replay", "--from", "2026-01-31T09:00:00+07:00", "--to",
                               "2026-01-31T04:00:00Z", "--json")  # fmt: skip
    assert json.loads(said) == {
        "done": False,
        "selection": {"since": "2026-01-31T09:00:00+07:00", "until": "2026-01-31T04:00:00+00:00"},
        "events": 2,
        "byTopic": {"dev.gateway.payment.confirmed": 1, "dev.gateway.payment.success": 1},
        "first": {"eventId": "B1", "at": "2026-01-31T02:00:00+00:00"},
        "last": {"eventId": "A2", "at": "2026-01-31T03:00:00+00:00"},
    }
    assert await relay.run_once() == 0


async def test_the_same_bytes_go_once_more_after_what_is_unpublished(
    database: Database, listener: Listener
) -> None:
    relay = _relay(database, listener)
    await _append(database, "A1", "B1", "A2", "B2", "A3")
    await _drained(relay)
    first = list(listener.got)
    for topic in ("gateway.payment.confirmed", "dev.gateway.payment.success"):
        code, said = await _payctl("replay", "--topic", topic, *_DONE)
        assert (code, "will be delivered once more" in said) == (0, True)
        assert (await _payctl("replay", "--topic", topic, *_DONE))[0] == 1  # it is asked for
    await _append(database, "C1")
    assert await _drained(relay) == 6
    assert listener.ids == ["A1", "B1", "A2", "B2", "A3", "C1", "A1", "A2", "A3", "B1", "B2"]
    assert {event.event_id: event for event in listener.got[6:]} == {
        event.event_id: event for event in first
    }
    async with database.reading() as connection:
        requests = (await connection.execute(select(replays.requests))).all()
        done = (await connection.execute(select(replays.replays))).all()
    assert [(one.kind, one.events, one.reason) for one in requests] == [
        ("REPLAY", 3, _DONE[2]),
        ("REPLAY", 2, _DONE[2]),
    ]
    assert all(one.delivered_at == _START and one.delivered_offset > 6 for one in done)
    assert (await _payctl("replay", "--event-id", "A1", *_DONE))[0] == 0  # and again, if wanted
    assert await _drained(relay) == 1


async def test_what_is_not_published_is_not_replayed(
    database: Database, listener: Listener
) -> None:
    await _append(database, "A1")
    code, said = await _payctl("replay", "--event-id", "A1", *_DONE)
    assert code == 1
    assert "goes by itself" in said
    assert await _drained(_relay(database, listener)) == 1


async def test_a_replay_waits_for_the_broker_and_drops_what_nobody_takes(
    database: Database, listener: Listener
) -> None:
    relay = _relay(database, listener)
    await _append(database, "A1", "B1", "A2", "B2")
    await _drained(relay)
    await _payctl("replay", "--from", "2026-01-01T00:00:00Z", *_DONE)
    listener.down = PublishFailed(error="away")
    assert await relay.run_once() == 0
    listener.down = None
    listener.fails["A1"] = PublishFailed(error="too large now", poison=True)
    assert await relay.run_once() == 1  # B1; A2 waits behind A1
    assert await _drained(relay) == 2
    assert listener.ids[4:] == ["B1", "A2", "B2"]
    async with database.reading() as connection:
        refused = await connection.scalars(
            select(replays.replays.c.refused_because).where(
                replays.replays.c.delivered_at.is_(None)
            )
        )
        assert list(refused) == ["too large now"]


async def test_a_released_key_goes_in_order(database: Database, listener: Listener) -> None:
    relay = _relay(database, listener)
    await _append(database, "A1", "A2", "B1", "A3")
    listener.fails["A1"] = PublishFailed(error="no", poison=True)
    await _drained(relay)
    assert listener.ids == ["B1"]
    listener.fails.clear()
    assert (await _payctl("release", "--key", "B", *_DONE))[0] == 1
    code, said = await _payctl("release", "--key", "A")
    assert (code, "1 events would be released." in said) == (0, True)
    assert await _drained(relay) == 0
    assert (await _payctl("release", "--event-id", "A1", *_DONE))[0] == 0
    assert await _drained(relay) == 3
    assert listener.ids == ["B1", "A1", "A2", "A3"]


async def test_requests_and_replays_are_kept_by_the_database(
    database: Database, listener: Listener
) -> None:
    await _append(database, "A1", "A2")
    await _drained(_relay(database, listener))
    await _payctl("replay", "--event-id", "A1", *_DONE)
    statements = [
        update(replays.requests).values(reason="other"),
        replays.requests.delete(),
        replays.replays.delete(),  # not delivered yet
        update(replays.replays).values(outbox_id=2),
    ]
    for statement in statements:
        with pytest.raises(Exception, match="refused"):
            async with database.transaction() as connection:
                await connection.execute(statement)
    assert await _drained(_relay(database, listener)) == 1
    with pytest.raises(Exception, match="it is done"):
        async with database.transaction() as connection:
            await connection.execute(update(replays.replays).values(delivered_at=None))


@pytest.mark.parametrize(("arguments", "said"), _BAD.values(), ids=_BAD.keys())
async def test_a_bad_option_is_named(arguments: list[str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        await _payctl(*arguments)
