"""The connection breaks while it commits: PostgreSQL has done it, and nobody was told.

| work | found by | so |
|------|----------|----|
| a bill confirmation | the bank's transaction id | one payment, the caller is confirmed |
| a premium inquiry | the obligation | one bill, the caller gets it |
| a KHQR notice booked | its digest | one notice |
| what the bank said recorded | the transaction it names | one payment, the caller is confirmed |
| a code kept | the bill's live code | one code, one event, however soon it ends |

Who hears the answer for the first time is not told that it is a repeat; another caller is.

Where the database is away as well, the caller hears 503 and nothing is doubled by a repeat.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from chassis.database import Database, DatabaseUnavailable
from gateway_svc.code_store import Code
from gateway_svc.payment import Confirmed
from tests.drill.tcp_proxy import TcpProxy
from tests.support.khqr_ledger import KhqrLedger, ScriptedBank, paid, told
from tests.support.ledger import notice_for


class _BrokenCommit:
    """A link to PostgreSQL that breaks once, after a commit was sent and before it is answered."""

    def __init__(self, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.point = ""
        self.broken = 0

    def __call__(self, point: str) -> None:
        if point == f"{self.point}.before_commit" and not self.broken:
            self.broken += 1
            self.proxy.weather.cut_after_bytes = 0


@pytest.fixture
async def broken(postgres_url: str) -> AsyncIterator[_BrokenCommit]:
    """Return a proxy in front of the database, with a schema behind it."""
    url = make_url(postgres_url)
    database = Database(url=postgres_url)
    await database.close()
    assert url.port is not None
    proxy = TcpProxy(name="postgres", target_port=url.port)
    await proxy.start()
    yield _BrokenCommit(proxy)
    await proxy.stop()


@pytest.fixture
async def ledger(broken: _BrokenCommit, postgres_url: str) -> AsyncIterator[KhqrLedger]:
    """Return a ledger whose commits pass the proxy."""
    url = make_url(postgres_url).set(port=broken.proxy.port)
    database = Database(url=url.render_as_string(hide_password=False), reached=broken)
    opened = KhqrLedger(database=database, bank=ScriptedBank(paid()))
    opened.start()
    yield opened
    await opened.stop()
    await database.close()


async def _confirm_bill(ledger: KhqrLedger) -> bool:
    bill = await ledger.bill()
    decision = await ledger.notice_writer.submit(notice_for(bill))
    return isinstance(decision.answer, Confirmed)


async def _inquire(ledger: KhqrLedger) -> bool:
    return (await ledger.bill()).bill_id == 150001


async def _tell(ledger: KhqrLedger) -> bool:
    await ledger.bill()
    return (await ledger.tell(told())).answer.status == "CONFIRMED"  # type: ignore[union-attr]


async def _keep_code(ledger: KhqrLedger, *, minutes: int = 30) -> bool:
    bill = await ledger.bill()
    offered = Code(payload="0002", image=b"", expires_at=ledger.now + timedelta(minutes=minutes))
    kept = await ledger.codes.record(
        bank_code="AMK", bill_id=bill.bill_id, offered=offered, request_id="r"
    )
    return kept.payload == "0002"


_WORK: dict[str, tuple[Callable[[KhqrLedger], Awaitable[bool]], dict[str, int]]] = {
    "confirm": (_confirm_bill, {"notices": 1, "payments": 1, "applications": 1, "outbox": 2}),
    "inquire": (_inquire, {"bills": 1, "obligations": 1, "bill_numbers": 1}),
    "khqr_book": (_tell, {"khqr_notices": 1, "payments": 1, "outbox": 3}),
    "khqr_record": (_tell, {"khqr_notices": 1, "payments": 1, "verifications": 1, "outbox": 3}),
    "khqr_code": (_keep_code, {"codes": 1, "outbox": 1}),
}


@pytest.mark.parametrize("point", _WORK)
async def test_what_was_committed_unheard_is_found_and_not_done_twice(
    broken: _BrokenCommit, ledger: KhqrLedger, point: str
) -> None:
    work, expected = _WORK[point]
    broken.point = point
    assert await work(ledger)
    assert broken.broken == 1
    assert dict(zip(expected, await ledger.counts(*expected), strict=True)) == expected


@pytest.mark.parametrize("minutes", [3, -1])
async def test_a_code_that_ends_soon_is_kept_once_too(
    broken: _BrokenCommit, ledger: KhqrLedger, minutes: int
) -> None:
    broken.point = "khqr_code"
    assert await _keep_code(ledger, minutes=minutes)
    assert await _keep_code(ledger, minutes=minutes)  # KhqrService, which did not hear either
    assert broken.broken == 1
    assert await ledger.counts("codes", "outbox") == (1, 1)


async def test_the_first_answer_is_no_replay_and_what_is_held_is_told(
    broken: _BrokenCommit, ledger: KhqrLedger
) -> None:
    notice = notice_for(await ledger.bill(), policy_number="P000000000")
    broken.point = "confirm"
    with capture_logs() as logs:
        first = await ledger.notice_writer.submit(notice)
        second = await ledger.notice_writer.submit(notice)
    assert [one.replayed for one in (first, second)] == [False, True]
    assert [one["event"] for one in logs] == ["work_repeated", "notice_held"]
    assert await ledger.counts("notices") == (1,)


async def test_the_first_answer_to_a_khqr_notice_is_no_replay_either(
    broken: _BrokenCommit, ledger: KhqrLedger
) -> None:
    await ledger.bill()
    broken.point = "khqr_book"
    outcomes = [await ledger.tell(told(status="REVERSED")) for _ in range(2)]
    assert [one.replayed for one in outcomes] == [False, True]
    assert await ledger.counts("khqr_notices") == (1,)


async def test_with_the_database_away_the_caller_hears_so_and_a_repeat_finds_it(
    broken: _BrokenCommit, ledger: KhqrLedger
) -> None:
    bill = await ledger.bill()
    broken.point = "confirm"
    notice = notice_for(bill)

    def cut_and_stay_away(point: str) -> None:
        broken(point)
        if point == "confirm.before_commit":
            asyncio.get_running_loop().call_later(0.005, broken.proxy.swallow)

    ledger.database._reached = cut_and_stay_away
    with pytest.raises(DatabaseUnavailable):
        await ledger.notice_writer.submit(notice)
    ledger.database._reached = broken
    broken.proxy.clear()
    decision: Any = await ledger.notice_writer.submit(notice)
    assert isinstance(decision.answer, Confirmed)
    assert await ledger.counts("notices", "payments", "applications", "outbox") == (1, 1, 1, 2)
