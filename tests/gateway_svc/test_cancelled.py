"""Recording that is cancelled at any moment, as by the end of a process that drained too long.

Whatever the moment: all of it is on disk or nothing, no connection and no lock is left behind,
and the repeat that follows at once is answered.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from chassis.database import Database
from gateway_svc.case_loading import Answered
from gateway_svc.khqr_questions import _LEASE
from tests.support.khqr_ledger import KhqrLedger, ScriptedBank, paid, told
from tests.support.ledger import notice_for

_STEP_S = 0.0005  # a recording takes some 20 of these
_MOMENTS = range(0, 60, 2)
_AT_ONCE_S = 1.5  # less than the time-out of a lock


@pytest.fixture
async def ledger(postgres_url: str) -> AsyncIterator[KhqrLedger]:
    database = Database(url=postgres_url, pool_size=2)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    yield opened
    await opened.stop()
    await database.close()


async def _confirm_bill(ledger: KhqrLedger, bill_id: int, number: int) -> Any:
    policy = f"P{number:09d}"
    bill = await ledger.bill(policy="P999999999")  # only its words are used
    notice = notice_for(bill, transaction_id=f"T{number}", policy_number=policy, bill_id=bill_id)
    return await ledger.confirmation.record([notice])


async def _record_khqr(ledger: KhqrLedger, bill_id: int, number: int) -> Any:
    questions = ledger.khqr.questions
    assert await questions.take([bill_id]) == [True]
    finding = paid(transaction_id=f"B{number}")
    return await questions.recorder.record([Answered(bill_id=bill_id, finding=finding)])


Work = Callable[[KhqrLedger, int, int], Awaitable[Any]]


@pytest.mark.parametrize(("work", "events"), [(_confirm_bill, 2), (_record_khqr, 3)])
async def test_nothing_is_left_half_and_nothing_stays_taken(
    ledger: KhqrLedger, work: Work, events: int
) -> None:
    finished = 0
    for number in _MOMENTS:
        bill = await ledger.bill(policy=f"P{number:09d}")
        if work is _record_khqr:
            await ledger.khqr.bookings.submit(told(bill.bill_id))
        task = asyncio.ensure_future(work(ledger, bill.bill_id, number))
        await asyncio.wait({task}, timeout=number * _STEP_S)
        finished += task.done()
        task.cancel()
        await asyncio.wait({task})
        await asyncio.sleep(0)
        assert ledger.database.connections_in_use == 0
        payments, applications, written = await ledger.counts("payments", "applications", "outbox")
        assert (applications, written) == (payments, payments * events)
        ledger.now += _LEASE  # the one thing that outlives who took it
        async with asyncio.timeout(_AT_ONCE_S):
            await work(ledger, bill.bill_id, number)
    assert finished < len(_MOMENTS)  # else nothing was cancelled
    assert await ledger.counts("payments", "outbox") == (
        len(_MOMENTS),
        len(_MOMENTS) * events,
    )
