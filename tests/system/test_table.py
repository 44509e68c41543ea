"""The table of answers, row by row, over the running system; each by what it leaves.

Rows that need a bank in a mood of its own are in `test_khqr_faults.py`, races and late payments
in `test_bill_payment.py` and `test_khqr_payment.py`.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.khqr_system import KhqrSystem, running_khqr_system
from tests.support.postgres import start_postgres
from tests.support.postgres_cluster import PostgresNotRunnable
from tests.support.system import NOTICE as BILL
from tests.system.test_khqr_payment import NOTICE as KHQR
from tests.system.test_khqr_payment import pay_silently

MISMATCHED = "PAYMENT_VERIFICATION_DATA_MISMATCHED"


@pytest.fixture
async def system(tmp_path: Path, database_url: str) -> AsyncIterator[KhqrSystem]:
    async with running_khqr_system(tmp_path=tmp_path, database_url=database_url) as running:
        yield running


async def told(system: KhqrSystem, path: str, body: bytes) -> tuple[int, str]:
    answer = await system.call("POST", path, body)
    data = answer.json.get("data", {})
    return answer.status, answer.code or data["status"]


BILL_ROWS = {
    "fits": (b"", b"", (200, "CONFIRMED"), ("DONE", None)),
    "differs in amount": (b"150.00", b"1.00", (409, MISMATCHED), ("HELD", "MISMATCHED")),
    "differs in currency": (
        b'150.00,"currency":"USD"',
        b'150,"currency":"KHR"',
        (409, MISMATCHED),
        ("HELD", "MISMATCHED"),
    ),
    "differs in policy": (b"P123456789", b"P999999999", (409, MISMATCHED), ("HELD", "MISMATCHED")),
    "unknown bill": (
        b"150001",
        b"999999",
        (404, "RESOURCE_NOT_FOUND"),
        ("HELD", "UNKNOWN_BILL"),
    ),
}


@pytest.mark.parametrize("row", BILL_ROWS)
async def test_a_bill_notice_that(system: KhqrSystem, row: str) -> None:
    old, new, expected, kept = BILL_ROWS[row]
    await system.get()
    notice = BILL.replace(old, new) if old else BILL
    for _ in range(2):
        assert await told(system, "/AMK/payments", notice) == expected
    assert await system.rows("SELECT state, hold FROM notices") == [kept]
    paid = expected[0] == 200
    assert await system.payments() == (["APPLIED"] if paid else [])
    assert (await system.topics()).count("success") == paid
    assert ((await system.get()).status == 404) is paid


async def test_a_bill_transfer_with_other_content_is_held_and_changes_nothing(
    system: KhqrSystem,
) -> None:
    await system.get()
    await told(system, "/AMK/payments", BILL)
    other = BILL.replace(b"150.00", b"151.00")
    assert await told(system, "/AMK/payments", other) == (409, MISMATCHED)
    assert await system.rows("SELECT state, hold FROM notices ORDER BY id") == [
        ("DONE", None),
        ("HELD", "CONTRADICTS"),
    ]
    assert await told(system, "/AMK/payments", BILL) == (200, "CONFIRMED")
    assert await system.payments() == ["APPLIED"]


KHQR_ROWS = {
    "fits": (b"", b"", (200, "CONFIRMED"), ("DONE", None)),
    "names an unknown bill": (
        b"150001",
        b"999999",
        (404, "RESOURCE_NOT_FOUND"),
        ("HELD", "UNKNOWN_BILL"),
    ),
    "has an unknown status": (
        b"SUCCESS",
        b"PERHAPS",
        (400, "BAD_REQUEST"),
        ("HELD", "UNKNOWN_STATUS"),
    ),
    **{
        f"says {status}": (b"SUCCESS", status.encode(), (200, status), ("DONE", None))
        for status in ("FAILED", "DECLINED", "CANCELLED", "EXPIRED")
    },
    "says PENDING": (b"SUCCESS", b"PENDING", (200, "PENDING"), ("RECEIVED", None)),
    **{
        f"says {status}": (b"SUCCESS", status.encode(), (200, status), ("HELD", "TAKEN_BACK"))
        for status in ("REVERSED", "REFUNDED")
    },
}


@pytest.mark.parametrize("row", KHQR_ROWS)
async def test_a_khqr_notice_that(tmp_path: Path, database_url: str, row: str) -> None:
    old, new, expected, kept = KHQR_ROWS[row]
    async with running_khqr_system(tmp_path=tmp_path, database_url=database_url) as system:
        if row == "fits":
            await pay_silently(system)
        else:
            await system.get()  # a bill, and no money
        notice = KHQR.replace(old, new) if old else KHQR
        for _ in range(2):
            assert await told(system, "/AMK/khqr", notice) == expected
        assert await system.notices() == [kept]
        paid = row == "fits"
        assert await system.payments() == (["APPLIED"] if paid else [])
        assert (await system.topics()).count("success") == paid
        standing = await system.get("/AMK/payments/150001")
        assert standing.json["data"]["status"] == ("PAID" if paid else "PENDING")


async def test_a_khqr_notice_that_lacks_what_a_success_needs_is_bad_and_names_it(
    system: KhqrSystem,
) -> None:
    await system.get()
    notice = b'{"invoice_number":"150001","status":"SUCCESS","merchant_number":"900000000290002"}'
    answer = await system.call("POST", "/AMK/khqr", notice)
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")
    for name in ("paid_amount", "currency", "paid_datetime"):
        assert name in answer.json["error"]["details"]
    assert await system.notices() == []


async def test_while_the_database_is_down_nothing_is_acknowledged(tmp_path: Path) -> None:
    try:
        server = start_postgres()
    except PostgresNotRunnable as reason:
        pytest.skip(str(reason))
    stopped = False
    try:
        async with running_khqr_system(
            tmp_path=tmp_path, database_url=server.url(database=server.fresh_database())
        ) as system:
            await system.get()
            server.stop()
            stopped = True
            for path, notice in (("/AMK/payments", BILL), ("/AMK/khqr", KHQR)):
                answer = await system.call("POST", path, notice)
                assert (answer.status, answer.code) == (503, "SERVER_UNAVAILABLE")
                assert int(answer.headers["Retry-After"]) >= 1
    finally:
        if not stopped:
            server.stop()
