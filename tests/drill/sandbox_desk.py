"""What the drill does at the sandbox, which may die and come back at any moment."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp

from tests.drill.sender import GaveUp

_OK, _CONFLICT = 200, 409
_AGAIN_S = 0.3
_TIMEOUT = aiohttp.ClientTimeout(total=6)
_DUE_ON = "2027-06-30"
_HUNDRED = 100


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Money that the bank moved by a code."""

    number: str
    bill_id: int
    amount: Decimal
    currency: str


@dataclass(kw_only=True)
class SandboxDesk:
    """Opens policies, pays codes, and reads the bank's own books."""

    http: aiohttp.ClientSession
    url: str
    file: Path

    async def open_policy(
        self, *, number: str, amount: str, currency: str, gives_up: Callable[[], bool]
    ) -> None:
        """Make a premium fall due."""
        policy = {
            "number": number,
            "payer": "Drill Payer",
            "amount": amount,
            "currency": currency,
            "dueDate": _DUE_ON,
        }
        await self._post("/sandbox/policies", policy, gives_up)

    async def pay_code(self, *, bill_id: int, gives_up: Callable[[], bool]) -> bytes:
        """Scan and pay the bill's code once; return the webhook that the bank would send."""
        answer = await self._post(f"/sandbox/khqr/{bill_id}/pay", None, gives_up)
        if answer is not None:
            body: str = answer["notices"][0]["body"]
            return body.encode()
        # It had been paid, and died before it said so: the books know the webhook.
        rows = await asyncio.to_thread(
            self._read, "SELECT body FROM notices WHERE bill_id = ? ORDER BY id LIMIT 1", bill_id
        )
        return bytes(rows[0][0])

    def transfers(self) -> list[Transfer]:
        """Return every transfer of the bank's books."""
        rows = self._read(
            "SELECT bank_transaction_id, bill_id, hundredths, currency FROM transfers"
        )
        return [
            Transfer(
                number=number,
                bill_id=bill_id,
                amount=Decimal(hundredths) / _HUNDRED,
                currency=currency,
            )
            for number, bill_id, hundredths, currency in rows
        ]

    def _read(self, sql: str, *values: int) -> list[Any]:
        connection = sqlite3.connect(f"file:{self.file}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    async def _post(self, path: str, body: Any, gives_up: Callable[[], bool]) -> Any:
        """Return the answer, asked for until it is 200; None for 409, which says: done already."""
        while True:
            try:
                async with self.http.post(
                    f"{self.url}{path}", json=body, timeout=_TIMEOUT
                ) as response:
                    text = await response.text()
                    if response.status == _CONFLICT:
                        return None
                    if response.status == _OK:
                        return json.loads(text, parse_float=Decimal)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            if gives_up():
                raise GaveUp
            await asyncio.sleep(_AGAIN_S)
