"""When a bank answers slower than it is told, few wait and the rest is told so at once.

| the bank's places | a webhook about money | what nobody waits for |
|-------------------|-----------------------|-----------------------|
| one is free | is booked, the bank is asked | is asked |
| all taken, room to wait | is booked, waits its turn | is postponed: it stays due |
| all taken, no room | 503 with Retry-After, nothing is booked | is postponed |

Webhooks that move no money ask nobody and are taken all the same.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from chassis.admission import Bounds
from chassis.database import Database
from chassis.errors import ServiceError
from tests.support.khqr_ledger import KhqrLedger, ScriptedBank, paid, told
from tests.support.ledger import DUE_ON

_BOUNDS = Bounds(
    most=2,
    kept_for_vital=1,
    most_of_one_kind=2,
    waiting=0,
    waiting_vital=1,
    patience_vital_s=10,
)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[KhqrLedger]:
    """Return a ledger whose bank is slow until its gate opens, with two places."""
    database = Database(url=database_url)
    bank = ScriptedBank(*(paid(transaction_id=f"BANK{number}") for number in range(1, 20)))
    bank.gate = asyncio.Event()
    opened = KhqrLedger(database=database, bank=bank, bounds=_BOUNDS)
    opened.start()
    yield opened
    bank.gate.set()
    await opened.stop()
    await database.close()


async def _bills(ledger: KhqrLedger, count: int) -> list[int]:
    return [
        (await ledger.bill(due_on=DUE_ON + timedelta(days=number))).bill_id
        for number in range(count)
    ]


async def _until_asked(ledger: KhqrLedger, count: int) -> None:
    async with asyncio.timeout(5):
        while ledger.bank.asked < count:  # noqa: ASYNC110 - the bank has no event for a number
            await asyncio.sleep(0.01)


async def test_few_wait_for_a_slow_bank_and_the_rest_is_refused_unbooked(
    ledger: KhqrLedger,
) -> None:
    bills = await _bills(ledger, 4)
    telling = []
    for bill_id in bills[:3]:
        telling.append(asyncio.create_task(ledger.tell(told(bill_id), within_s=10)))
        await asyncio.sleep(0.1)
    await _until_asked(ledger, 2)
    with pytest.raises(ServiceError) as refused:
        await ledger.tell(told(bills[3]), within_s=10)
    assert refused.value.reason == "SERVER_UNAVAILABLE"
    assert refused.value.retry_after_s is not None
    assert await ledger.counts("khqr_notices") == (3,)
    assert ledger.bank.most_at_once == 2
    assert ledger.bank.gate is not None
    ledger.bank.gate.set()
    outcomes = await asyncio.gather(*telling)
    assert {getattr(one.answer, "status", None) for one in outcomes} == {"CONFIRMED"}
    assert ledger.bank.most_at_once == 2
    assert getattr((await ledger.tell(told(bills[3]))).answer, "status", None) == "CONFIRMED"


async def test_what_nobody_waits_for_is_postponed_and_stays_due(ledger: KhqrLedger) -> None:
    bills = await _bills(ledger, 2)
    telling = asyncio.create_task(ledger.tell(told(bills[0]), within_s=10))
    await _until_asked(ledger, 1)
    await ledger.khqr.questions.ask(
        bill_id=bills[1],
        bank_code="AMK",
        ends_at_s=time.monotonic() + 5,
        waited_for=False,
    )
    assert ledger.bank.asked == 1  # the last place is kept for whoever waits
    assert ledger.bank.gate is not None
    ledger.bank.gate.set()
    await telling
    await ledger.khqr.questions.ask(
        bill_id=bills[1], bank_code="AMK", ends_at_s=time.monotonic() + 5, waited_for=False
    )
    assert ledger.bank.asked == 2


async def test_a_notice_that_moves_no_money_is_taken_however_busy_the_bank_is(
    ledger: KhqrLedger,
) -> None:
    bills = await _bills(ledger, 4)
    telling = []
    for bill_id in bills[:3]:
        telling.append(asyncio.create_task(ledger.tell(told(bill_id), within_s=10)))
        await asyncio.sleep(0.05)
    await _until_asked(ledger, 2)
    outcome = await ledger.tell(told(bills[3], status="FAILED"))
    assert getattr(outcome.answer, "status", None) == "FAILED"
    assert ledger.bank.gate is not None
    ledger.bank.gate.set()
    await asyncio.gather(*telling)


async def test_a_crowd_that_comes_while_one_is_booked_is_not_booked_in_vain(
    ledger: KhqrLedger,
) -> None:
    bills = await _bills(ledger, 8)
    telling = [asyncio.create_task(ledger.tell(told(bill_id), within_s=10)) for bill_id in bills]
    await _until_asked(ledger, 2)
    await asyncio.sleep(0.05)
    assert await ledger.counts("khqr_notices") == (3,)  # two places, and one that waits
    assert ledger.bank.gate is not None
    ledger.bank.gate.set()
    outcomes = await asyncio.gather(*telling, return_exceptions=True)
    refused = [one for one in outcomes if isinstance(one, ServiceError)]
    assert [one.overloaded for one in refused] == [True] * 5
    assert ledger.bank.asked == 3
