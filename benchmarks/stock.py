"""Bills, codes and transfers made by the thousand, so that a load has something to pay."""

import asyncio
import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

_MERCHANT = "900000000290002"
_BANK_TIME = timedelta(hours=7)

# Each as an inquiry leaves it: an obligation, its bill, the number it was asked by.
_MAKE = """
WITH made AS (
  INSERT INTO obligations (policy_number, due_on, currency, created_at)
  SELECT 'L' || lpad(n::text, 9, '0'), DATE '2027-06-30', 'USD', now()
  FROM generate_series($1::int, $2::int) AS n RETURNING id, policy_number
), billed AS (
  INSERT INTO bills (bank_code, obligation_id, amount_hundredths, currency, payer, looked_up_at,
                     created_at, state, state_at, state_cause)
  SELECT 'AMK', id, 150, 'USD', 'Load Payer', now(), now(), 'OPEN', now(), 'load'
  FROM made RETURNING id, obligation_id
), numbered AS (
  INSERT INTO bill_numbers (bill_id, number)
  SELECT billed.id, made.policy_number FROM billed JOIN made ON made.id = billed.obligation_id
)
SELECT billed.id, made.policy_number
FROM billed JOIN made ON made.id = billed.obligation_id ORDER BY billed.id
"""


@dataclass(frozen=True, kw_only=True)
class StockedBill:
    """An open bill of 1.50 USD."""

    bill_id: int
    policy: str


async def stock_bills(*, dsn: str, first: int, count: int) -> list[StockedBill]:
    """Make `count` open bills, of policies numbered from `first` on."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        rows = await connection.fetch(_MAKE, first, first + count - 1, timeout=300)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()
    return [StockedBill(bill_id=row[0], policy=row[1]) for row in rows]


async def stock_transfers(*, file: Path, bills: list[StockedBill]) -> None:
    """Let the sandbox's bank have moved the money of a code of each bill."""
    await asyncio.to_thread(_write_transfers, file, bills)


def _write_transfers(file: Path, bills: list[StockedBill]) -> None:
    now = datetime.now(tz=UTC)
    stored = now.isoformat(timespec="microseconds")
    later = (now + timedelta(hours=12)).isoformat(timespec="microseconds")
    connection = sqlite3.connect(file, timeout=30)
    try:
        with connection:
            connection.executemany(
                "INSERT INTO bills VALUES (?, ?, ?, 'Load Payer', 150, 'USD', '2027-06-30', ?)",
                [(one.bill_id, one.policy, one.policy, stored) for one in bills],
            )
            connection.executemany(
                "INSERT INTO codes (bill_id, hundredths, currency, payload, md5, policy_number,"
                " created_at, expires_at, times_paid) VALUES (?, 150, 'USD', ?, ?, ?, ?, ?, 1)",
                [
                    (one.bill_id, f"load {one.bill_id}", f"load {one.bill_id}", one.policy,
                     stored, later)
                    for one in bills
                ],
            )  # fmt: skip
            connection.executemany(
                "INSERT INTO transfers (bank_transaction_id, bill_id, hundredths, currency,"
                " paid_at, state, body, channel)"
                " VALUES (?, ?, 150, 'USD', ?, 'PENDING', x'', 'KHQR')",
                [(f"LOAD{one.bill_id}", one.bill_id, stored) for one in bills],
            )
    finally:
        connection.close()


def bill_requests(*, bills: list[StockedBill], token: str, port: int) -> Iterator[bytes]:
    """Walk the confirmations of `bills`, each once."""
    paid = datetime.now(tz=UTC) + _BANK_TIME
    for one in bills:
        body = (
            f'{{"id":{one.bill_id},"policyNumber":"{one.policy}","amount":1.50,'
            f'"currency":"USD","bankTransactionId":"L{one.bill_id}","payer":"Load Payer",'
            f'"paidDate":"{paid:%Y%m%d%H%M%S}"}}'
        )
        yield _post("/AMK/payments", body, token, port)


def envoy_requests(*, bills: list[StockedBill], token: str, port: int) -> Iterator[bytes]:
    """Walk the same confirmations as proto3's own JSON spells them, which Envoy reads."""
    paid = datetime.now(tz=UTC)
    for one in bills:
        body = (
            f'{{"id":"{one.bill_id}","policyNumber":"{one.policy}","amount":{{"value":"1.50"}},'
            f'"currency":"USD","bankTransactionId":"L{one.bill_id}","payer":"Load Payer",'
            f'"paidDate":"{paid:%Y-%m-%dT%H:%M:%SZ}"}}'
        )
        yield _post("/AMK/payments", body, token, port)


def khqr_requests(*, bills: list[StockedBill], token: str, port: int) -> Iterator[bytes]:
    """Walk the KHQR webhooks of `bills`, each once."""
    paid = datetime.now(tz=UTC) + _BANK_TIME
    for one in bills:
        body = (
            f'{{"invoice_number":"{one.bill_id}","status":"SUCCESS",'
            f'"merchant_number":"{_MERCHANT}","paid_amount":1.50,"currency":"USD",'
            f'"paid_datetime":"{paid:%Y-%m-%d %H:%M:%S.%f}"}}'
        )
        yield _post("/AMK/khqr", body, token, port)


def taken(requests: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Walk the next `count` requests."""
    return itertools.islice(requests, count)


def _post(path: str, body: str, token: str, port: int) -> bytes:
    content = body.encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content
