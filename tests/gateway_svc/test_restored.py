"""A database that was restored to a moment before a bill was made, whose code is then paid.

| `python -m gateway_svc.migrations` | the next bill's number | once the bank is asked |
|------------------------------------|------------------------|------------------------|
| was told `--restored`              | its own                | nothing is paid        |
| was not told                       | of the forgotten one   | the wrong one is paid  |
"""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from chassis.database import Database
from gateway_svc.code_store import Code
from gateway_svc.migrations import __main__ as migrations
from gateway_svc.migrations.restored import SKIPPED
from gateway_svc.verification import Finding
from tests.support.khqr_ledger import NOT_PAID, KhqrLedger, ScriptedBank, paid

FORGOTTEN = 150001  # the first bill of a database; restored to before it, it is empty


class _Bank(ScriptedBank):
    """Knows of one paid code."""

    async def verify(self, *, bill_id: int, ends_at_s: float) -> Finding:
        await super().verify(bill_id=bill_id, ends_at_s=ends_at_s)
        return paid() if bill_id == FORGOTTEN else NOT_PAID


@pytest.mark.parametrize(
    ("arguments", "bill_id", "applied"),
    [(["--restored"], FORGOTTEN + SKIPPED, 0), ([], FORGOTTEN, 1)],
    ids=["told", "not told"],
)
async def test_a_number_the_bank_knows_goes_to_no_other_bill_if_it_is_told(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    bill_id: int,
    applied: int,
) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "amk-hmac-key").write_text("a dummy key, of no bank")
    monkeypatch.setattr(sys, "argv", ["migrations", *arguments])
    assert await asyncio.to_thread(migrations.main) == 0
    database = Database(url=database_url)
    ledger = KhqrLedger(database=database, bank=_Bank(NOT_PAID))
    ledger.start()
    bill = await ledger.bill(policy="P222222222")
    code = Code(payload="code", image=b"", expires_at=ledger.now + timedelta(minutes=30))
    await ledger.codes.record(bank_code="AMK", bill_id=bill.bill_id, offered=code, request_id="r")
    ledger.now += ledger.plan.first
    await ledger.completer.run_once()
    assert (bill.bill_id - bill_id) in {0, 1}  # PostgreSQL takes one to skip from
    assert await ledger.counts("applications") == (applied,)
    await ledger.stop()
    await database.close()
