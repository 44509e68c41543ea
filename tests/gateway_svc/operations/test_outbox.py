"""The outbox as operators see it, and what they ask of it: dry first, then for good.

| asked                                   | comes to                                   |
|-----------------------------------------|--------------------------------------------|
| a dry run                               | what it would be of; nothing changes       |
| a replay                                | an order under the name of who asked       |
| the same again before it is delivered   | nothing more                               |
| a release of a parked key               | it is tried again                          |
| everything, or without a reason         | BAD_REQUEST                                |
"""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from chassis.errors import BadRequest
from payments.gateway.v1 import operations_service_pb2 as pb
from payments.operations.v1 import operations_pb2
from tests.gateway_svc.operations.stage import FIRST, SECOND, Stage, at
from tests.support.ledger import START

KEY = pb.EventSelection(key=FIRST)


async def _published(stage: Stage) -> None:
    async with stage.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE outbox SET published_at = created_at, published_partition = 1,"
                " published_offset = id"
            )
        )


async def _parked(stage: Stage, key: str) -> None:
    async with stage.database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE outbox SET parked_at = created_at, last_error = 'too large'"
                " WHERE id = (SELECT min(id) FROM outbox WHERE event_key = :key)"
            ),
            {"key": key},
        )


async def test_what_waits_is_told_with_its_age(filled: Stage) -> None:
    outbox = await filled.ask("GetOutbox", pb.GetOutboxRequest())
    assert (outbox.depth, outbox.leads, len(outbox.parked), len(outbox.orders)) == (7, True, 0, 0)
    assert not outbox.HasField("last_published_at")
    await _published(filled)
    outbox = await filled.ask("GetOutbox", pb.GetOutboxRequest())
    assert (outbox.depth, outbox.HasField("oldest_at")) == (0, False)
    assert outbox.last_published_at == at(START + timedelta(minutes=2))


async def test_a_parked_key_shows_its_first_event_and_what_waits_behind(filled: Stage) -> None:
    await _parked(filled, FIRST)
    outbox = await filled.ask("GetOutbox", pb.GetOutboxRequest())
    [parked] = outbox.parked
    assert (parked.key, parked.waiting, parked.first.last_error) == (FIRST, 3, "too large")
    assert parked.first.state == pb.EVENT_STATE_PARKED
    system = await filled.ask("GetSystem", pb.GetSystemRequest())
    [relay] = [part for part in system.parts if part.name == "relay"]
    assert relay.health == operations_pb2.HEALTH_STRAINED


async def test_a_relay_that_stands_still_is_told(filled: Stage) -> None:
    filled.now += timedelta(minutes=10)
    system = await filled.ask("GetSystem", pb.GetSystemRequest())
    [relay] = [part for part in system.parts if part.name == "relay"]
    assert (relay.health, relay.since) == (operations_pb2.HEALTH_DOWN, at(START))


async def test_a_dry_run_tells_what_a_replay_would_deliver_and_does_nothing(filled: Stage) -> None:
    await _published(filled)
    request = pb.ReplayEventsRequest(selection=KEY, dry_run=True)
    answer = await filled.ask("ReplayEvents", request)
    assert (answer.events, [(one.topic, one.events) for one in answer.topics]) == (
        3,
        [
            ("test.gateway.payment.confirmed", 1),
            ("test.gateway.payment.success", 1),
            ("test.gateway.payment.verified", 1),
        ],
    )
    assert [one.partition for one in answer.sample] == [1, 1, 1]
    assert await filled.counts("outbox_requests", "outbox_replays") == (0, 0)


async def test_a_replay_is_kept_under_the_name_of_who_asked(filled: Stage) -> None:
    await _published(filled)
    request = pb.ReplayEventsRequest(selection=KEY, reason="a consumer lost them")
    nudged = filled.nudged
    answer = await filled.ask("ReplayEvents", request, by="sophea")
    assert (answer.events, filled.nudged) == (3, nudged + 1)
    assert (await filled.ask("ReplayEvents", request, by="sophea")).events == 0
    outbox = await filled.ask("GetOutbox", pb.GetOutboxRequest())
    [order] = outbox.orders
    assert (order.kind, order.requested_by, order.events, order.outstanding) == (
        *("REPLAY", "sophea"),
        *(3, 3),
    )


async def test_a_parked_key_is_let_go(filled: Stage) -> None:
    await _parked(filled, SECOND)
    dry = pb.ReleaseEventsRequest(selection=pb.EventSelection(key=SECOND), dry_run=True)
    assert (await filled.ask("ReleaseEvents", dry)).events == 1
    assert len((await filled.ask("GetOutbox", pb.GetOutboxRequest())).parked) == 1
    release = pb.ReleaseEventsRequest(selection=pb.EventSelection(key=SECOND), reason="mended")
    assert (await filled.ask("ReleaseEvents", release)).events == 1
    outbox = await filled.ask("GetOutbox", pb.GetOutboxRequest())
    assert (len(outbox.parked), [one.kind for one in outbox.orders]) == (0, ["RELEASE"])


@pytest.mark.parametrize("method", ["ReplayEvents", "ReleaseEvents"])
@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"selection": pb.EventSelection(), "dry_run": True}, "selection"),
        ({"selection": KEY}, "reason"),
        ({"selection": KEY, "reason": "  "}, "reason"),
        (
            {"selection": pb.EventSelection(since=at(START), until=at(START)), "dry_run": True},
            "selection.until",
        ),
    ],
)
async def test_what_is_asked_wrongly_is_named(
    filled: Stage, method: str, members: dict[str, Any], field: str
) -> None:
    request = {"ReplayEvents": pb.ReplayEventsRequest, "ReleaseEvents": pb.ReleaseEventsRequest}
    with pytest.raises(BadRequest) as refusal:
        await filled.ask(method, request[method](**members))
    assert [one.field for one in refusal.value.violations] == [field]
