"""What reading costs: so many statements however much there is, and each over an index.

The tables that grow with payments are never read whole; those of people's decisions are small.
"""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from chassis.database import Database
from gateway_svc.migrations import upgrade
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.gateway_svc.operations.stage import FIRST, THIRD, Stage, at, fill, statements_of
from tests.support.khqr_ledger import ScriptedBank, paid, told, usd
from tests.support.ledger import START, notice_for

GROWING = (
    *("obligations", "bills", "bill_numbers", "codes", "notices", "khqr_notices"),
    *("verifications", "proofs", "payments", "applications", "journal", "outbox"),
)
_SINCE = pb.Filter(since=at(START))
# What is asked, and the most statements it may take; opening a transaction is not counted.
ASKED: dict[str, tuple[str, Any, int]] = {
    "today": ("GetToday", pb.GetTodayRequest(), 11),
    "a case": ("GetCase", pb.GetCaseRequest(bill_id=150001), 16),
    "a policy": ("FindCases", pb.FindCasesRequest(text=FIRST), 17),
    "a bill": ("FindCases", pb.FindCasesRequest(text="150001"), 17),
    "a transfer": ("FindCases", pb.FindCasesRequest(text="K1"), 17),
    "an id": ("FindCases", pb.FindCasesRequest(text="held-request"), 17),
    "payments": ("ListPayments", pb.ListPaymentsRequest(), 1),
    "payments since": ("ListPayments", pb.ListPaymentsRequest(filter=_SINCE), 1),
    "payments of a policy": (
        "ListPayments",
        pb.ListPaymentsRequest(filter=pb.Filter(policy_number=FIRST)),
        1,
    ),
    "money that waits": (
        "ListPayments",
        pb.ListPaymentsRequest(filter=pb.Filter(state="UNAPPLIED")),
        1,
    ),
    "payments of a request": (
        "ListPayments",
        pb.ListPaymentsRequest(filter=pb.Filter(request_id="khqr-request-1")),
        3,
    ),
    "bills": ("ListBills", pb.ListBillsRequest(), 2),
    "bills of a transfer": (
        "ListBills",
        pb.ListBillsRequest(filter=pb.Filter(transaction_id="K1")),
        4,
    ),
    "codes": ("ListCodes", pb.ListCodesRequest(), 1),
    "notices": ("ListNotices", pb.ListNoticesRequest(), 2),
    "notices of a policy": (
        "ListNotices",
        pb.ListNoticesRequest(filter=pb.Filter(policy_number=THIRD)),
        2,
    ),
    "held notices": ("ListNotices", pb.ListNoticesRequest(filter=pb.Filter(state="HELD")), 2),
    "events": ("ListEvents", pb.ListEventsRequest(), 1),
    "events of a bill": ("ListEvents", pb.ListEventsRequest(filter=pb.Filter(bill_id=150001)), 1),
    "exceptions": ("ListExceptions", pb.ListExceptionsRequest(), 5),
    "ended exceptions": (
        "ListExceptions",
        pb.ListExceptionsRequest(filter=pb.Filter(state="RESOLVED")),
        5,
    ),
    "the outbox": ("GetOutbox", pb.GetOutboxRequest(), 8),
    "the system": ("GetSystem", pb.GetSystemRequest(), 4),
}


async def _statements(stage: Stage, asked: str) -> list[tuple[str, Any]]:
    method, request, _ = ASKED[asked]
    with statements_of(stage.database) as seen:
        await stage.ask(method, request)
    return [one for one in seen if not one[0].startswith("BEGIN")]


async def _more(stage: Stage) -> None:
    """Leave fifteen more of what may be held, all of the first policy's bill or like it."""
    for number in range(15):
        policy = f"P{number:09d}"
        bill = await stage.bill(policy=policy)
        await stage.confirmed(
            notice_for(bill, transaction_id=f"X{number}", policy_number=policy, money=usd(2))
        )
        await stage.confirmed(
            notice_for(bill, transaction_id=f"Y{number}", bill_id=150001, policy_number=FIRST)
        )
        await stage.tell(told(bill.bill_id, status="REVERSED"))


async def test_reading_takes_as_many_statements_for_much_as_for_little(filled: Stage) -> None:
    few = {asked: len(await _statements(filled, asked)) for asked in ASKED}
    await _more(filled)
    filled.seconds += 60  # what was counted of today is stale
    many = {asked: len(await _statements(filled, asked)) for asked in ASKED}
    for asked in ("exceptions", "ended exceptions"):  # an empty page asks for no proposals
        few[asked] = max(few[asked], many[asked])
    assert many == few
    too_many = {asked: count for asked, count in many.items() if count > ASKED[asked][2]}
    assert too_many == {}


async def test_no_table_that_grows_is_read_whole(postgres_url: str) -> None:
    database = Database(url=postgres_url)
    await upgrade(database=database)
    stage = Stage(database=database, bank=ScriptedBank(paid(transaction_id="K1"), paid()))
    stage.start()
    await fill(stage)
    whole: dict[str, list[str]] = {}
    for asked in ASKED:
        statements = await _statements(stage, asked)
        async with database.transaction() as connection:
            # The planner of a table of three rows reads it whole unless it is told not to: it
            # then does so only where no index serves.
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
            for statement, parameters in statements:
                plan = await connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
                lines = "\n".join(row[0] for row in plan)
                found = [name for name in GROWING if f"Seq Scan on {name}" in lines]
                if found:
                    whole.setdefault(asked, []).append(f"{found}: {statement}")
    await stage.stop()
    await database.close()
    assert whole == {}


async def test_today_is_counted_once_however_many_ask(filled: Stage) -> None:
    with statements_of(filled.database) as seen:
        answers = await asyncio.gather(
            *(asyncio.create_task(filled.ask("GetToday", pb.GetTodayRequest())) for _ in range(10))
        )
    counted = [one for one, _ in seen if "GROUP BY payments.currency" in one]
    assert len(counted) == 1
    assert len({one.payments for one in answers}) == 1


async def test_a_reader_cannot_write(stage: Stage) -> None:
    async with stage.database.reading() as connection:
        with pytest.raises(Exception, match=r"read-?only"):
            await connection.execute(text("DELETE FROM questions"))
