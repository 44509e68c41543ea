"""What recording a payment reads in a database that has never been analysed: PostgreSQL only.

A plan is made while the tables are empty, where reading them whole is the cheapest, and is kept
while they grow: the payments of the first minute would each read all before them.

| 400 paid in twenties through | tables read whole | rows read for a payment, at most |
|------------------------------|-------------------|----------------------------------|
| bills                        | none              | 10, in each table                |
| KHQR                         | none              | 10, in each table                |
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from sqlalchemy import text

from chassis.database import Database
from gateway_svc.payment import Bill
from tests.support.khqr_ledger import KhqrLedger, ScriptedBank, paid, told
from tests.support.ledger import notice_for

_PAYMENTS, _AT_ONCE = 400, 20
_MOST_ROWS = 10 * _PAYMENTS
_GROWING = ("notices", "khqr_notices", "payments", "applications", "verifications", "proofs")
_READ = text(
    "SELECT relname, seq_tup_read, coalesce(idx_tup_fetch, 0) + (SELECT sum(idx_tup_read)"
    " FROM pg_stat_user_indexes i WHERE i.relid = t.relid) FROM pg_stat_user_tables t"
    " WHERE relname = ANY(:growing)"
)
_RECORDED = text("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'applications'")


async def pay_bills(ledger: KhqrLedger, found: Sequence[Bill]) -> None:
    await ledger.confirmation.record(
        [
            notice_for(bill, transaction_id=f"T{bill.bill_id}", policy_number=policy_of(bill))
            for bill in found
        ]
    )


async def pay_codes(ledger: KhqrLedger, found: Sequence[Bill]) -> None:
    async with asyncio.timeout(20):
        outcomes = await asyncio.gather(*(ledger.tell(told(bill.bill_id)) for bill in found))
    assert all(outcome.answer is not None for outcome in outcomes)


def policy_of(bill: Bill) -> str:
    return f"P{bill.obligation_id:09d}"


@pytest.mark.parametrize("pay", [pay_bills, pay_codes])
async def test_a_payment_reads_by_keys_what_few_rows_it_needs(
    postgres_url: str, pay: Callable[[KhqrLedger, Sequence[Bill]], Awaitable[None]]
) -> None:
    database = Database(url=postgres_url)
    bank = ScriptedBank(*(paid(transaction_id=f"B{number}") for number in range(_PAYMENTS)))
    ledger = KhqrLedger(database=database, bank=bank)
    ledger.start()
    for first in range(1, _PAYMENTS, _AT_ONCE):
        policies = [f"P{number:09d}" for number in range(first, first + _AT_ONCE)]
        found = await ledger.lookups.record([ledger.lookup(policy=one) for one in policies])
        await pay(ledger, [bill for bill in found if bill is not None])
    await ledger.stop()
    assert await ledger.counts("applications") == (_PAYMENTS,)
    await database.close()  # its connections tell their counts when they end
    looking = Database(url=postgres_url, reads_by_key=False)
    async with asyncio.timeout(10):
        while True:
            async with looking.reading() as connection:
                if await connection.scalar(_RECORDED) == _PAYMENTS:
                    rows = (await connection.execute(_READ, {"growing": list(_GROWING)})).all()
                    break
            await asyncio.sleep(0.05)
    await looking.close()
    assert {name: whole for name, whole, _ in rows if whole} == {}
    assert {name: found for name, _, found in rows if found > _MOST_ROWS} == {}
