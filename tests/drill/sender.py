"""The bank's side of a claim: sent again and again until its answer is final."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.drill.ledger import Claim, Ledger
from tests.drill.witness import Witness

_OK = 200
_CONFLICT = 409
_AGAIN = {429, 500, 502, 503, 504}
_TIMEOUT_S = 6.0  # a bank waits a little longer than our five seconds
_PATHS = {"BILL": "/AMK/payments", "KHQR": "/AMK/khqr"}


class GaveUp(Exception):
    """No final answer within the time that a repaired system has for it."""


@dataclass(kw_only=True)
class Sender:
    """Sends over HTTP as clients do; trouble is tried again, a final answer ends it."""

    http: aiohttp.ClientSession
    base_url: str
    token: str
    ledger: Ledger
    witness: Witness
    rng: random.Random
    gives_up: Callable[[], bool]

    async def ask(self, path: str, *, also_again: frozenset[int] = frozenset()) -> Any:
        """Return the data of a GET, asked until it is 200, or None if it is refused for good.

        :raises GaveUp: it never was answered.
        """
        while True:
            status, body = await self._once("GET", path, None)
            if status == _OK:
                return json.loads(body, parse_float=str)["data"]
            if status is not None and status not in _AGAIN | also_again:
                return None
            await self._pause()

    async def confirm(self, claim: Claim, *, also_again: frozenset[int] = frozenset()) -> int:
        """Return the final answer to `claim`, which must be one that it may be.

        :raises GaveUp: there was none in time.
        """
        while True:
            claim.sent += 1
            status, body = await self._once("POST", _PATHS[claim.channel], claim.body)
            if status is not None and status not in _AGAIN | also_again:
                self._final(claim, status, body)
                return status
            await self._pause()

    async def _once(self, method: str, path: str, body: bytes | None) -> tuple[int | None, bytes]:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.ledger.requests += 1
        try:
            async with self.http.request(
                method,
                f"{self.base_url}{path}",
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
            ) as response:
                content = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            self.ledger.statuses[f"{method} {type(problem).__name__}"] += 1
            return None, b""
        self.ledger.statuses[f"{method} {status}"] += 1
        return status, content

    def _final(self, claim: Claim, status: int, body: bytes) -> None:
        what = f"{claim.channel} {claim.transaction_id or claim.bill_id}"
        if status == _OK and json.loads(body)["data"].get("status") == "CONFIRMED":
            self.ledger.acknowledged += 1
            self.witness.acknowledged(claim=claim, received_at=time.time())
        if status not in claim.may_be:
            self.ledger.violated(f"7: {what}: answered {status}: {body[:200]!r}")
        elif claim.finished and (claim.final_status, claim.final_body) != (status, body):
            self.ledger.violated(
                f"7: {what}: first {claim.final_status} {claim.final_body!r},"
                f" then {status} {body!r}"
            )
        if not claim.finished:
            claim.final_status, claim.final_body, claim.finished = status, body, True

    async def _pause(self) -> None:
        if self.gives_up():
            raise GaveUp
        await asyncio.sleep(0.2 + self.rng.random() * 0.6)
