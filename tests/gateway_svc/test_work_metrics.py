"""What waits for a bank or a person is told as it is on disk, on both engines.

| what is on disk                          | what is told                               |
|------------------------------------------|--------------------------------------------|
| a notice the bank is silent about        | open, VERIFYING, as old as it is           |
| a PENDING notice                         | nothing: nobody is asked about it          |
| a held KHQR notice, a held bill notice   | an exception each, by why                  |
| money of another amount                  | an unapplied payment, its notice no more   |
| a decided notice                         | nothing                                    |
| the database is away                     | the last numbers, with the time of them    |
| every question, on PostgreSQL            | answered by its partial index              |
"""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import text

from chassis.database import Database
from gateway_svc import work_metrics
from gateway_svc.work_metrics import WorkMetrics
from tests.support.events import Clock
from tests.support.khqr_ledger import DOWN, PAID_AT, KhqrLedger, ScriptedBank, paid, told, usd
from tests.support.ledger import notice_for

_HOLDS = {"MISMATCHED", "ALREADY_PAID", "VERIFICATION_DIFFERS", "UNAPPLIED_PAYMENT", "UNKNOWN_BILL"}


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[KhqrLedger]:
    database = Database(url=database_url)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
        await database.close()


class Told:
    """The measurements of one database at one time."""

    def __init__(self, database: Database) -> None:
        self.clock = Clock(now=PAID_AT)
        self.registry = CollectorRegistry()
        self.metrics = WorkMetrics(registry=self.registry, database=database, clock=self.clock)

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    def exceptions(self) -> dict[tuple[str, str], float]:
        """Return what is not zero."""
        return {
            (sample.labels["channel"], sample.labels["hold"]): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == "exceptions_open" and sample.value
        }


async def test_nothing_waits_at_first_and_every_reason_is_told_with_zero(
    ledger: KhqrLedger,
) -> None:
    seen = Told(ledger.database)
    assert await seen.metrics.run_once() == 0
    assert seen.exceptions() == {}
    for hold in _HOLDS:
        assert seen.value("exceptions_open", channel="KHQR", hold=hold) == 0
    assert seen.value("notices_open", state="VERIFYING") == 0
    assert seen.value("exceptions_oldest_age_seconds") == 0


async def test_a_notice_that_waits_for_the_bank_is_told_with_its_age(ledger: KhqrLedger) -> None:
    await ledger.bill()
    ledger.bank.answers = [DOWN]
    await ledger.tell(told())
    await ledger.tell(told(status="PENDING", money=None, paid_at=None))
    seen = Told(ledger.database)
    seen.clock.forward(seconds=90)
    assert await seen.metrics.run_once() == 1
    assert seen.value("notices_open", state="VERIFYING") == 1
    assert seen.value("notices_open", state="RECEIVED") == 0
    assert seen.value("notices_oldest_age_seconds", state="VERIFYING") == 90
    assert seen.exceptions() == {}

    ledger.bank.answers = [paid()]
    ledger.now += timedelta(hours=1)
    await ledger.completer.run_once()
    assert await seen.metrics.run_once() == 0
    assert seen.value("notices_oldest_age_seconds", state="VERIFYING") == 0


async def test_what_needs_a_person_is_told_by_why(ledger: KhqrLedger) -> None:
    bill = await ledger.bill()
    ledger.bank.answers = [paid(money=usd(14000))]
    await ledger.tell(told())  # the bank vouches for another amount: held; its money counts
    await ledger.tell(told(status="REVERSED", money=None, paid_at=None))
    await ledger.notice_writer.submit(notice_for(bill, bill_id=999999))
    seen = Told(ledger.database)
    seen.clock.forward(seconds=60)
    await seen.metrics.run_once()
    assert seen.exceptions() == {
        ("KHQR", "UNAPPLIED_PAYMENT"): 1,
        ("KHQR", "TAKEN_BACK"): 1,
        ("BILL", "UNKNOWN_BILL"): 1,
    }
    age_s = seen.value("exceptions_oldest_age_seconds")
    assert age_s is not None
    assert age_s >= 60


async def test_while_the_database_is_away_the_last_numbers_keep_their_time(
    ledger: KhqrLedger,
) -> None:
    seen = Told(ledger.database)
    await seen.metrics.run_once()
    measured = seen.value("work_measured_timestamp_seconds")
    away = Database(url="postgresql+asyncpg://nobody@127.0.0.1:1/none", connect_timeout_s=0.2)
    seen.metrics._database = away
    seen.clock.forward(seconds=60)
    assert await seen.metrics.run_once() == 0
    assert seen.value("work_measured_timestamp_seconds") == measured == PAID_AT.timestamp()


@pytest.mark.parametrize(
    ("question", "index"),
    [
        (work_metrics._waiting, "ix_khqr_notices_waiting"),
        (work_metrics._held_bills, "ix_notices_held"),
        (work_metrics._held_codes, "ix_khqr_notices_held"),
        (work_metrics._unapplied, "ix_payments_unapplied"),
    ],
)
async def test_its_index_answers(postgres_url: str, question: object, index: str) -> None:
    database = Database(url=postgres_url)
    assert callable(question)
    statement = question().compile(
        dialect=database._writer.dialect, compile_kwargs={"literal_binds": True}
    )
    async with database.transaction() as connection:
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        await connection.execute(text("SET LOCAL enable_sort = off"))
        plan = [row[0] for row in await connection.execute(text(f"EXPLAIN {statement}"))]
    await database.close()
    assert any(index in line for line in plan), plan
