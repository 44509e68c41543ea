"""Attacks on what is taken, decided and recorded in sets.

| attack                                                        | what holds                      |
|---------------------------------------------------------------|---------------------------------|
| one gateway leaves two questions while another takes them     | neither is undone               |
| the completer meets notices, codes that somebody works on     | it passes over them             |
| the commit that took a question breaks unheard                | it is asked all the same        |
| the bank's answer could not be recorded                       | the bill is asked about again   |
| the second wave of a batch breaks after the first is on disk  | each is paid once, told once    |
| a commit breaks unheard between two waves                     | each is paid once, told once    |
| the second wave breaks, and money of the first pays nothing   | a person is told, once          |
| a bill that there is not among the answered                   | the others are recorded         |
| one transaction for bills of two gateways at once             | one payment, the other is held  |
| an answer that names another bill's own number                | one payment, the other is held  |
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from chassis.database import CommitUnknown, Database, DatabaseUnavailable
from chassis.group_commit import GroupCommit
from gateway_svc.case_loading import Answered
from gateway_svc.code_store import Code, expire_codes, schedule_polls
from gateway_svc.khqr_store import defer_questions, leave_questions, take_questions
from gateway_svc.verification import Finding
from tests.support.khqr_ledger import NOT_PAID, KhqrLedger, ScriptedBank, paid, told
from tests.support.ledger import DUE_ON, notice_for

_TWICE = (
    "SELECT obligation_id FROM applications GROUP BY obligation_id HAVING count(*) > 1"
    " UNION ALL SELECT count(*) FROM outbox GROUP BY event_id HAVING count(*) > 1"
)


class _Trouble:
    """Raises at the given visits of a point, before or after what is there is on disk."""

    def __init__(self) -> None:
        self.point = ""
        self.at: dict[int, Exception] = {}
        self.visits = 0

    def __call__(self, point: str) -> None:
        if point == self.point:
            self.visits += 1
            if self.visits in self.at:
                raise self.at[self.visits]


@pytest.fixture
def trouble() -> _Trouble:
    return _Trouble()


@pytest.fixture
async def ledger(database_url: str, trouble: _Trouble) -> AsyncIterator[KhqrLedger]:
    database = Database(url=database_url, reached=trouble)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    yield opened
    await opened.stop()
    await database.close()


@pytest.fixture
async def on_postgres(postgres_url: str) -> AsyncIterator[KhqrLedger]:
    database = Database(url=postgres_url)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    yield opened
    await opened.stop()
    await database.close()


async def _told(ledger: KhqrLedger, count: int) -> list[int]:
    """Return bills, each of an obligation of its own, that a booked notice tells of."""
    bills = [
        (await ledger.bill(due_on=DUE_ON + timedelta(days=number))).bill_id
        for number in range(count)
    ]
    for bill_id in bills:
        await ledger.khqr.bookings.submit(told(bill_id))
    return bills


def _answered(bills: Sequence[int], findings: Sequence[Finding]) -> list[Answered]:
    return [
        Answered(bill_id=bill_id, finding=finding)
        for bill_id, finding in zip(bills, findings, strict=True)
    ]


async def _waiting(database: Database) -> int:
    async with database.reading() as connection:
        found = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
    return int(found or 0)


async def _until(database: Database, count: int) -> None:
    async with asyncio.timeout(5):
        while await _waiting(database) < count:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)


async def test_leaving_and_taking_the_same_questions_undo_neither(on_postgres: KhqrLedger) -> None:
    database = on_postgres.database
    low, high = await _told(on_postgres, 2)
    now, length = on_postgres.now, timedelta(seconds=6)

    async def take(bills: list[int], owner: str) -> frozenset[int]:
        async with database.transaction() as connection:
            return await take_questions(
                connection=connection, bill_ids=bills, owner=owner, now=now, length=length
            )

    async def leave() -> None:
        async with database.transaction() as connection:
            await leave_questions(connection=connection, bill_ids=[low, high], owner="one")

    for bill_id in (high, low):  # so they lie in the table
        await take([bill_id], "one")
    async with database.transaction() as connection:
        await connection.execute(
            text("SELECT 1 FROM questions WHERE bill_id = :id FOR UPDATE"), {"id": low}
        )
        taking = asyncio.create_task(take([low, high], "two"))
        await _until(database, 1)
        leaving = asyncio.create_task(leave())
        await _until(database, 2)
    outcomes = await asyncio.gather(taking, leaving, return_exceptions=True)
    assert [one for one in outcomes if isinstance(one, Exception)] == []


async def _defer(ledger: KhqrLedger, connection: Any, bills: list[int]) -> None:
    await defer_questions(
        connection=connection,
        bill_ids=bills,
        now=ledger.now + timedelta(minutes=1),
        until=ledger.now + timedelta(minutes=2),
    )


async def _expire(ledger: KhqrLedger, connection: Any, _bills: list[int]) -> None:
    await expire_codes(connection=connection, now=ledger.now + timedelta(hours=1))


async def _schedule(ledger: KhqrLedger, connection: Any, bills: list[int]) -> None:
    await schedule_polls(
        connection=connection,
        bill_ids=bills,
        now=ledger.now + timedelta(hours=1),
        first=ledger.plan.first,
        longest=ledger.plan.longest,
        after_expiry=ledger.plan.after_expiry,
    )


@pytest.mark.parametrize(
    ("table", "work"),
    [("khqr_notices", _defer), ("codes", _expire), ("codes", _schedule)],
)
async def test_the_completer_passes_over_what_somebody_works_on(
    on_postgres: KhqrLedger, table: str, work: Callable[..., Any]
) -> None:
    """It holds many rows: were it to wait for one, who holds that may wait for it."""
    bills = await _told(on_postgres, 2)
    for bill_id in bills:
        await on_postgres.codes.record(
            bank_code="AMK",
            bill_id=bill_id,
            offered=Code(
                payload=str(bill_id), image=b"", expires_at=on_postgres.now + timedelta(minutes=30)
            ),
            request_id="code",
        )
    async with on_postgres.database.transaction() as holding:
        await holding.execute(text(f"SELECT 1 FROM {table} WHERE bill_id = {bills[0]} FOR UPDATE"))
        async with on_postgres.database.transaction() as connection:
            await work(on_postgres, connection, bills)
    column = "next_attempt_at" if table == "khqr_notices" else "state_at, next_poll_at"
    untouched, touched = await on_postgres.rows(f"SELECT {column} FROM {table} ORDER BY bill_id")
    assert untouched != touched


async def test_a_question_whose_taking_was_not_heard_of_is_asked(
    ledger: KhqrLedger, trouble: _Trouble
) -> None:
    [bill_id] = await _told(ledger, 1)
    trouble.point = "khqr_take.after_commit"
    trouble.at = {1: CommitUnknown("broke")}
    outcome = await ledger.tell(told(bill_id))
    assert getattr(outcome.answer, "status", "") == "CONFIRMED"


async def test_a_bill_whose_answer_was_not_recorded_is_asked_about_again_at_once(
    ledger: KhqrLedger, trouble: _Trouble
) -> None:
    [bill_id] = await _told(ledger, 1)
    trouble.point = "khqr_record.before_commit"
    trouble.at = {1: DatabaseUnavailable("away")}
    with pytest.raises(DatabaseUnavailable):
        await ledger.tell(told(bill_id))
    outcome = await ledger.tell(told(bill_id))
    assert getattr(outcome.answer, "status", "") == "CONFIRMED"


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ("khqr_record.before_commit", DatabaseUnavailable("away")),
        ("khqr_record.after_commit", DatabaseUnavailable("away")),
        ("khqr_record.after_commit", CommitUnknown("broke")),
    ],
)
@pytest.mark.parametrize("visit", [1, 2])
async def test_waves_that_break_are_recorded_once(
    ledger: KhqrLedger, trouble: _Trouble, point: str, problem: Exception, visit: int
) -> None:
    bills = await _told(ledger, 4)
    names = ("A", "B", "A", "C")
    trouble.point, trouble.at = point, {visit: problem}
    writer: GroupCommit[Answered, Any] = GroupCommit(record=ledger.khqr.questions.recorder.record)
    answered = _answered(bills, [paid(transaction_id=name) for name in names])
    waiting = [asyncio.create_task(writer.submit(one)) for one in answered]
    await asyncio.sleep(0)
    await writer.run_once()
    decisions = await asyncio.gather(*waiting)
    assert [one.case.bill.bill_id for one in decisions] == bills
    assert await ledger.counts("payments", "applications", "proofs", "outbox") == (3, 3, 3, 9)
    states = await ledger.rows("SELECT state FROM khqr_notices ORDER BY state")
    assert states == [("DONE",)] * 3 + [("HELD",)]
    assert await ledger.rows(_TWICE) == []
    sequences = await ledger.rows("SELECT event_sequence FROM obligations ORDER BY 1")
    assert sequences == [(0,), (3,), (3,), (3,)]


async def test_what_needs_a_person_is_told_though_a_later_wave_breaks(
    ledger: KhqrLedger, trouble: _Trouble
) -> None:
    bills = [await ledger.bill(due_on=DUE_ON + timedelta(days=number)) for number in range(3)]
    await ledger.confirmation.record([notice_for(bills[0])])
    trouble.point, trouble.at = "khqr_record.before_commit", {2: DatabaseUnavailable("away")}
    writer: GroupCommit[Answered, Any] = GroupCommit(record=ledger.khqr.questions.recorder.record)
    findings = [paid(transaction_id=name) for name in ("A", "B", "A")]
    answered = _answered([bill.bill_id for bill in bills], findings)
    waiting = [asyncio.create_task(writer.submit(one)) for one in answered]
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await writer.run_once()
    await asyncio.gather(*waiting)
    assert [one["event"] for one in logs].count("payment_unapplied") == 1


async def test_a_bill_that_there_is_not_takes_nobody_with_it(ledger: KhqrLedger) -> None:
    bills = await _told(ledger, 2)
    writer: GroupCommit[Answered, Any] = GroupCommit(record=ledger.khqr.questions.recorder.record)
    findings = [paid(transaction_id=name) for name in ("A", "B", "C")]
    answered = _answered([bills[0], 999_999, bills[1]], findings)
    waiting = [asyncio.create_task(writer.submit(one)) for one in answered]
    await asyncio.sleep(0)
    await writer.run_once()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(one, Exception) for one in outcomes] == [False, True, False]
    assert await ledger.counts("payments", "applications", "outbox") == (2, 2, 6)


async def test_one_transaction_named_to_two_gateways_at_once_is_one_payment(
    ledger: KhqrLedger,
) -> None:
    other = KhqrLedger(database=ledger.database, bank=ScriptedBank(paid()))
    bills = await _told(ledger, 8)
    sides = (bills[:4], bills[4:])
    names = ("A", "B", "C", "D"), ("D", "C", "B", "A")
    recorders = (ledger.khqr.questions.recorder, other.khqr.questions.recorder)
    recorded = await asyncio.gather(
        *(
            recorder.record(_answered(side, [paid(transaction_id=name) for name in named]))
            for recorder, side, named in zip(recorders, sides, names, strict=True)
        ),
        return_exceptions=True,
    )
    assert [one for one in recorded if isinstance(one, Exception)] == []
    assert await ledger.counts("payments", "applications", "outbox") == (4, 4, 12)
    states = await ledger.rows("SELECT state FROM khqr_notices ORDER BY state")
    assert states == [("DONE",)] * 4 + [("HELD",)] * 4


async def test_an_answer_that_names_another_bills_own_number_is_one_payment(
    ledger: KhqrLedger,
) -> None:
    bills = await _told(ledger, 2)
    findings: list[Finding] = [
        paid(transaction_id=None),
        paid(transaction_id=f"AMK_KHQR_{bills[0]}"),
    ]
    writer: GroupCommit[Answered, Any] = GroupCommit(record=ledger.khqr.questions.recorder.record)
    waiting = [asyncio.create_task(writer.submit(one)) for one in _answered(bills, findings)]
    await asyncio.sleep(0)
    await writer.run_once()
    await asyncio.gather(*waiting)
    assert await ledger.counts("payments", "applications", "outbox") == (1, 1, 3)


async def test_what_is_not_said_again_stays_in_a_set(ledger: KhqrLedger) -> None:
    bills = await _told(ledger, 3)
    recorder = ledger.khqr.questions.recorder
    await recorder.record(_answered(bills, [NOT_PAID, NOT_PAID, NOT_PAID]))
    findings: list[Finding] = [paid(transaction_id="A"), NOT_PAID, paid(foreign="another's")]
    await recorder.record(_answered(bills, findings))
    rows = await ledger.rows(
        "SELECT state, hold, payment_id IS NULL, next_attempt_at IS NULL, asked,"
        " answer IS NULL FROM khqr_notices ORDER BY id"
    )
    assert [tuple(map(str, row)) for row in rows] == [
        tuple(map(str, row))
        for row in (
            ("DONE", None, _no(ledger), _yes(ledger), 2, _no(ledger)),
            ("VERIFYING", None, _yes(ledger), _no(ledger), 2, _no(ledger)),
            ("HELD", "VERIFICATION_DIFFERS", _yes(ledger), _yes(ledger), 2, _no(ledger)),
        )
    ]


def _yes(ledger: KhqrLedger) -> object:
    return True if ledger.database.dialect == "postgresql" else 1


def _no(ledger: KhqrLedger) -> object:
    return False if ledger.database.dialect == "postgresql" else 0
