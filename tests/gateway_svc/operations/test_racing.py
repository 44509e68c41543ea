"""Who decides at once: one word counts, the money moves once, nothing is half done.

| at once                                 | comes to                                           |
|-----------------------------------------|----------------------------------------------------|
| three proposals                         | one; the others are refused                        |
| two approvals                           | one; the other is refused                          |
| two approvals that pay one bill         | one; the other is refused, its money waits         |
| an approval and a webhook               | the premium is paid once, the loser is told        |
"""

import asyncio
from collections.abc import Awaitable

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from chassis.database import Database
from chassis.errors import ServiceError
from gateway_svc.payment import Bill, Confirmed, Refusal
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.gateway_svc.operations.stage import Stage
from tests.support.khqr_ledger import ScriptedBank, paid
from tests.support.ledger import notice_for


async def _refused_notice(stage: Stage) -> Bill:
    """Leave a refused notice that names the wrong bill, and the open bill that was meant."""
    bill = await stage.bill()
    await stage.confirmed(notice_for(bill, bill_id=999_999))
    return bill


async def _refused(call: Awaitable[object]) -> str:
    with pytest.raises(ServiceError) as refusal:
        await call
    assert refusal.value.reason == "RESOLUTION_REFUSED"
    return refusal.value.details


async def test_one_proposal_at_a_time(stage: Stage) -> None:
    bill = await _refused_notice(stage)
    calls = [
        stage.propose("notice-1", "APPLY", bill_id=bill.bill_id, by="dara"),
        stage.propose("notice-1", "VOID", by="sophea"),
        stage.propose("notice-1", "REFUND", by="vanna"),
    ]
    outcomes = await asyncio.gather(*map(asyncio.create_task, calls), return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, ServiceError)]
    assert [one.reason for one in refused] == ["RESOLUTION_REFUSED"] * 2
    assert await stage.counts("proposals") == (1,)


async def test_of_two_who_approve_at_once_one_does_and_it_happens_once(stage: Stage) -> None:
    bill = await _refused_notice(stage)
    proposal = await stage.propose("notice-1", "APPLY", bill_id=bill.bill_id)
    calls = [stage.decide(proposal.proposal_id, by=name) for name in ("sophea", "vanna")]
    outcomes = await asyncio.gather(*map(asyncio.create_task, calls), return_exceptions=True)
    [refused] = [one for one in outcomes if isinstance(one, ServiceError)]
    assert refused.reason == "RESOLUTION_REFUSED"
    assert await stage.counts("payments", "applications", "outbox") == (1, 1, 2)


async def test_a_webhook_that_pays_the_bill_first_wins_and_nothing_is_half_done(
    stage: Stage,
) -> None:
    bill = await _refused_notice(stage)
    proposal = await stage.propose("notice-1", "APPLY", bill_id=bill.bill_id)
    [decision] = await stage.confirmation.record([notice_for(bill, transaction_id="T2")])
    assert isinstance(decision.answer, Confirmed)
    refused = await _refused(stage.decide(proposal.proposal_id))
    assert refused == "The money cannot pay that bill: the premium was paid meanwhile"
    [waiting] = await stage.exceptions()
    assert waiting.state == pb.EXCEPTION_STATE_PROPOSED
    assert await stage.counts("payments", "applications", "outbox") == (1, 1, 2)


async def test_an_approval_and_a_webhook_at_once_pay_the_premium_once(stage: Stage) -> None:
    for attempt in range(10):
        policy = f"P{attempt:09d}"
        bill = await stage.bill(policy=policy)
        wrong = notice_for(
            bill, transaction_id=f"wrong-{attempt}", policy_number=policy, bill_id=999_999
        )
        await stage.confirmation.record([wrong])
        [exception] = [
            one
            for one in await stage.exceptions(state="OPEN")
            if one.transaction_id == f"wrong-{attempt}"
        ]
        proposal = await stage.propose(exception.exception_id, "APPLY", bill_id=bill.bill_id)
        right = notice_for(bill, transaction_id=f"right-{attempt}", policy_number=policy)
        racing = (stage.decide(proposal.proposal_id), stage.confirmed(right))
        tasks = [asyncio.create_task(one) for one in racing]
        decided, confirmed = await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(decided, ServiceError):
            assert decided.reason == "RESOLUTION_REFUSED"
            assert isinstance(confirmed, Confirmed)
        else:
            assert isinstance(confirmed, Refusal)
    assert await stage.counts("payments", "applications", "outbox") == (10, 10, 20)


async def test_an_approval_waits_for_who_holds_the_premium_and_reads_again(
    postgres_url: str,
) -> None:
    """By the lock, not by a collision: nothing is undone and tried again."""
    database = Database(url=postgres_url)
    stage = Stage(database=database, bank=ScriptedBank(paid()))
    stage.start()
    bill = await _refused_notice(stage)
    proposal = await stage.propose("notice-1", "APPLY", bill_id=bill.bill_id)
    with capture_logs() as logs:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT id FROM obligations FOR UPDATE"))
            deciding = asyncio.create_task(stage.decide(proposal.proposal_id))
            while not await _waits_for_a_lock(database):
                assert not deciding.done()
            await connection.execute(text("UPDATE bills SET state = 'CLOSED'"))
        refused = await _refused(deciding)
    assert refused == "The money cannot pay that bill: the bill is CLOSED"
    assert "work_repeated" not in [one["event"] for one in logs]
    await stage.stop()
    await database.close()


async def test_two_exceptions_that_would_pay_one_bill_pay_it_once(stage: Stage) -> None:
    bill = await stage.bill()
    for number in (1, 2):
        await stage.confirmed(notice_for(bill, transaction_id=f"W{number}", bill_id=999_999))
    proposals = [
        await stage.propose(f"notice-{number}", "APPLY", bill_id=bill.bill_id) for number in (1, 2)
    ]
    deciding = [asyncio.create_task(stage.decide(one.proposal_id)) for one in proposals]
    outcomes = await asyncio.gather(*deciding, return_exceptions=True)
    [refused] = [one for one in outcomes if isinstance(one, ServiceError)]
    assert refused.details == "The money cannot pay that bill: the premium was paid meanwhile"
    assert await stage.counts("payments", "applications", "outbox") == (1, 1, 2)
    [waiting] = await stage.exceptions()
    assert waiting.state == pb.EXCEPTION_STATE_PROPOSED


async def _waits_for_a_lock(database: Database) -> bool:
    async with database.reading() as connection:
        waiting = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
    return bool(waiting)
