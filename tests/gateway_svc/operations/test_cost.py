"""What reading costs: so many statements however much there is, and each over an index."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from chassis.database import Database
from payments.gateway.v1 import operations_service_pb2 as pb
from tests.gateway_svc.operations.stage import FIRST, THIRD, Stage, at, fill, statements_of
from tests.support.khqr_ledger import ScriptedBank, paid, told, usd
from tests.support.ledger import START, notice_for

_SINCE = pb.Filter(since=at(START))
_LONG_AGO = pb.Filter(until=at(START - timedelta(days=1000)))
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
    "payments long ago": ("ListPayments", pb.ListPaymentsRequest(filter=_LONG_AGO), 1),
    "bills since": ("ListBills", pb.ListBillsRequest(filter=_SINCE), 2),
    "codes since": ("ListCodes", pb.ListCodesRequest(filter=_SINCE), 1),
    "notices since": ("ListNotices", pb.ListNoticesRequest(filter=_SINCE), 2),
    "events since": ("ListEvents", pb.ListEventsRequest(filter=_SINCE), 1),
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


# Ten thousand premiums that were paid a year ago, and their notices and events.
_YEAR_AGO = "'2024-10-07T05:00:00Z'::timestamptz"
_STUFFING = (
    "INSERT INTO obligations (id, policy_number, due_on, currency, created_at)"
    f" SELECT n, 'Q' || n, '2024-11-15', 'USD', {_YEAR_AGO} FROM generate_series(1001, 11000) n",
    "INSERT INTO bills (id, bank_code, obligation_id, amount_hundredths, currency, payer,"
    " looked_up_at, created_at, state, state_at, state_cause)"
    f" SELECT 200000 + n, 'AMK', n, 15000, 'USD', 'J', {_YEAR_AGO}, {_YEAR_AGO}, 'CLOSED',"
    f" {_YEAR_AGO}, 'x' FROM generate_series(1001, 11000) n",
    "INSERT INTO bill_numbers SELECT 200000 + n, 'Q' || n FROM generate_series(1001, 11000) n",
    "INSERT INTO notices (id, bank_code, channel, natural_key, contradicts, bill_id,"
    " policy_number, amount_hundredths, currency, payer, paid_at, received_at, body_digest,"
    " subject, request_id, answer, state, state_at, state_cause)"
    f" SELECT n, 'AMK', 'BILL', 'Q' || n, FALSE, 200000 + n, 'Q' || n, 15000, 'USD', 'J',"
    f" {_YEAR_AGO}, {_YEAR_AGO}, 'd', 's', 'q' || n, '{{}}', 'DONE', {_YEAR_AGO}, 'decided'"
    " FROM generate_series(1001, 11000) n",
    "INSERT INTO khqr_notices (id, bank_code, digest, bill_id, merchant_number, status,"
    " received_at, body_digest, subject, request_id, answer, state, state_at, state_cause)"
    f" SELECT n, 'AMK', 'd' || n, 200000 + n, 'm', 'FAILED', {_YEAR_AGO}, 'd', 's', 'k' || n,"
    f" '{{}}', 'DONE', {_YEAR_AGO}, 'decided' FROM generate_series(1001, 11000) n",
    "INSERT INTO payments (id, bank_code, transaction_id, channel, notice_id, bill_id,"
    " obligation_id, amount_hundredths, currency, paid_at, recorded_at, assurance, state,"
    " state_at, state_cause)"
    f" SELECT n, 'AMK', 'Q' || n, 'BILL', n, 200000 + n, n, 15000, 'USD', {_YEAR_AGO},"
    f" {_YEAR_AGO}, 'BANK_NOTICE', 'APPLIED', {_YEAR_AGO}, 'x' FROM generate_series(1001, 11000) n",
    f"INSERT INTO applications SELECT n, n, {_YEAR_AGO} FROM generate_series(1001, 11000) n",
    "INSERT INTO codes (id, bill_id, payload, image, expires_at, created_at, state, state_at,"
    f" state_cause) SELECT n, 200000 + n, 'x', 'x', {_YEAR_AGO}, {_YEAR_AGO}, 'EXPIRED',"
    f" {_YEAR_AGO}, 'x' FROM generate_series(1001, 11000) n",
    "INSERT INTO outbox (id, event_id, topic, event_key, value, request_id, created_at,"
    " published_at)"
    " SELECT n, 'q' || n, 't', 'Q' || n, '{\"billId\":\"1\"}', 'q' || n,"
    f" {_YEAR_AGO}, {_YEAR_AGO} FROM generate_series(1001, 11000) n",
)
_MOST_EXAMINED = 2500  # rows for one statement: a quarter of a table, some blocks of it


def _examined(plan: Any) -> int:
    """Return how many rows the scans of a plan looked at."""
    own = 0
    if "Scan" in plan["Node Type"]:
        looked_at = (
            plan["Actual Rows"],
            plan.get("Rows Removed by Filter", 0),
            plan.get("Rows Removed by Index Recheck", 0),
        )
        own = int(sum(looked_at) * plan["Actual Loops"])
    return own + sum(_examined(one) for one in plan.get("Plans", ()))


async def test_nothing_is_found_by_looking_at_everything(postgres_url: str) -> None:
    database = Database(url=postgres_url, statement_timeout_s=30)
    stage = Stage(database=database, bank=ScriptedBank(paid(transaction_id="K1"), paid()))
    stage.start()
    async with database.transaction() as connection:
        for statement in _STUFFING:
            await connection.exec_driver_sql(statement)
        for table in ("bills", "obligations", "notices", "khqr_notices", "payments", "codes"):
            start = 300_000 if table == "bills" else 20_000
            await connection.execute(
                text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {start})")
            )
        await connection.execute(
            text("SELECT setval(pg_get_serial_sequence('outbox', 'id'), 20000)")
        )
    await fill(stage)
    kept = await database.hold(session={"statement_timeout": "30000"})
    autocommit = await kept.execution_options(isolation_level="AUTOCOMMIT")
    await autocommit.execute(text("VACUUM ANALYZE"))
    await kept.close()
    too_much: dict[str, list[str]] = {}
    [(first,)] = await stage.rows("SELECT min(id) FROM bills WHERE id >= 300000")
    asked = {name: (method, _of(request, first)) for name, (method, request, _) in ASKED.items()}
    for name, (method, request) in asked.items():
        with statements_of(database) as seen:
            await stage.ask(method, request)
        async with database.transaction() as connection:
            for statement, parameters in seen:
                if statement.startswith("BEGIN"):
                    continue
                explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
                [plan] = (await connection.exec_driver_sql(explain, parameters)).scalar_one()
                examined = _examined(plan["Plan"])
                if examined > _MOST_EXAMINED:
                    too_much.setdefault(name, []).append(f"{examined} rows: {statement}")
    await stage.stop()
    await database.close()
    assert too_much == {}


def _of(request: Any, bill_id: int) -> Any:
    """Return the request about the first bill that there is here."""
    changed = type(request)()
    changed.CopyFrom(request)
    if getattr(changed, "bill_id", 0):
        changed.bill_id = bill_id
    if "filter" in changed.DESCRIPTOR.fields_by_name and changed.filter.bill_id:
        changed.filter.bill_id = bill_id
    if getattr(changed, "text", "") == "150001":
        changed.text = str(bill_id)
    return changed


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
