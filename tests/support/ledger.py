"""The gateway's use cases over a database, without wire: bills by amount, notices by change."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select, text

from chassis.database import Database
from chassis.group_commit import GroupCommit
from chassis.money import Currency, Money
from gateway_svc.confirmation import Confirmation
from gateway_svc.events import EventWriter
from gateway_svc.inquiry import LookupRecorder
from gateway_svc.payment import Bill, Decision, Lookup, Notice, Premium
from gateway_svc.proposal_tables import metadata

START = datetime(2025, 10, 7, 5, 0, tzinfo=UTC)
DUE_ON = date(2025, 11, 15)


class Ledger:
    """Writers over one database, and short ways to look at what they left."""

    def __init__(self, *, database: Database, clock: Callable[[], datetime] | None = None) -> None:
        ticks = itertools.count()
        ids = itertools.count(1)
        self.database = database
        self.clock = clock or (lambda: START + timedelta(milliseconds=next(ticks)))
        self.nudged = 0
        self.confirmation = Confirmation(
            database=database,
            events=EventWriter(prefix="test", new_id=lambda: f"event-{id(self)}-{next(ids)}"),
            clock=self.clock,
            committed=self._nudge,
        )
        self.lookups = LookupRecorder(database=database, clock=self.clock)
        self.notice_writer: GroupCommit[Notice, Decision] = GroupCommit(
            record=self.confirmation.record
        )

    def _nudge(self) -> None:
        self.nudged += 1

    def start(self) -> None:
        """Start the writer."""
        self.notice_writer.start()

    async def stop(self) -> None:
        """Stop the writer."""
        await self.notice_writer.stop()

    async def bill(self, **changes: Any) -> Bill:
        """Return the bill that a look-up with `changes` gives; it must be unpaid."""
        [bill] = await self.lookups.record([self.lookup(**changes)])
        assert bill is not None, "the obligation is paid"
        return bill

    async def is_due(self, **changes: Any) -> bool:
        """Tell whether a look-up that the insurer answers with a premium still gives a bill."""
        [bill] = await self.lookups.record([self.lookup(**changes)])
        return bill is not None

    def lookup(
        self,
        *,
        amount: str = "150.00",
        currency: Currency = Currency.USD,
        bank: str = "AMK",
        policy: str = "P123456789",
        number: str | None = None,
        due_on: date = DUE_ON,
        looked_up_at: datetime | None = None,
    ) -> Lookup:
        """Return a look-up that began now."""
        return Lookup(
            bank_code=bank,
            number=number or policy,
            premium=Premium(
                policy_number=policy,
                payer="John Doe",
                money=Money(hundredths=int(amount.replace(".", "")), currency=currency),
                due_on=due_on,
            ),
            looked_up_at=looked_up_at or self.clock(),
        )

    async def counts(self, *names: str) -> tuple[int, ...]:
        """Return how many rows the named tables have."""
        async with self.database.reading() as connection:
            return tuple(
                [
                    (
                        await connection.execute(
                            select(func.count()).select_from(metadata.tables[name])
                        )
                    ).scalar_one()
                    for name in names
                ]
            )

    async def rows(self, sql: str) -> list[Any]:
        """Return what a query says."""
        async with self.database.reading() as connection:
            return [tuple(row) for row in await connection.execute(text(sql))]


def notice_for(bill: Bill, *, transaction_id: str = "T1", **changes: Any) -> Notice:
    """Return the notice that fits `bill`, but for `changes`."""
    return replace(
        Notice(
            bank_code=bill.bank_code,
            transaction_id=transaction_id,
            bill_id=bill.bill_id,
            policy_number="P123456789",
            money=bill.money,
            payer="John Doe",
            paid_at=START,
            received_at=START,
            body_digest="0" * 64,
            subject="amk",
            request_id="request-1",
        ),
        **changes,
    )
