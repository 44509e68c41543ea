"""Looks into the database the moment a 2xx arrives: is the row there, since when.

The commit's own time stamp decides (`track_commit_timestamp`), so that a database which is
away at that moment only delays the look, and a commit that came after the answer is seen.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field

import asyncpg

from tests.drill.ledger import Claim, Ledger

_PLACES = 4
_AGAIN_S = 0.3
# The last is what asyncpg says of a connection whose server died in the middle of an answer.
_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_CLOCKS_APART_S = 0.005  # one machine, but two readings of its clock

_BILL = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(a.xmin))::float8 AS at
FROM payments p JOIN applications a ON a.payment_id = p.id
WHERE p.channel = 'BILL' AND p.transaction_id = $1
"""
_KHQR = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(f.xmin))::float8 AS at
FROM payments p JOIN proofs f ON f.payment_id = p.id
WHERE p.channel = 'KHQR' AND p.bill_id = $1
ORDER BY 1 LIMIT 1
"""


@dataclass(kw_only=True)
class Witness:
    """Checks each acknowledgement; `close` waits for those that are still to be checked."""

    dsn: str
    ledger: Ledger
    seen: int = 0
    _looks: set[asyncio.Task[None]] = field(default_factory=set)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_PLACES))
    _idle: list[asyncpg.Connection] = field(default_factory=list)

    def acknowledged(self, *, claim: Claim, received_at: float) -> None:
        """Check that what `claim` says was on disk when its 2xx was received."""
        look = asyncio.create_task(self._look(claim, received_at))
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def close(self) -> None:
        """Return once everything is checked."""
        while self._looks:
            await asyncio.wait(set(self._looks))
        if self.seen != self.ledger.acknowledged:
            self.ledger.violated(
                f"1: {self.ledger.acknowledged} acknowledgements, {self.seen} of them looked at"
            )
        for connection in self._idle:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=2)

    async def _look(self, claim: Claim, received_at: float) -> None:
        committed_at = await self._asked(claim)
        what = f"{claim.channel} {claim.transaction_id or claim.bill_id}"
        if committed_at is None:
            self.ledger.violated(f"1: {what}: acknowledged, and no row is there")
        elif committed_at > received_at + _CLOCKS_APART_S:
            late_ms = (committed_at - received_at) * 1000
            self.ledger.violated(f"1: {what}: acknowledged {late_ms:.1f} ms before its commit")
        self.seen += 1

    async def _asked(self, claim: Claim) -> float | None:
        is_bill = claim.channel == "BILL"
        sql, key = (_BILL, claim.transaction_id) if is_bill else (_KHQR, claim.bill_id)
        async with self._places:
            while True:
                connection = None
                try:
                    connection = self._idle.pop() if self._idle else await self._connected()
                    found: float | None = await connection.fetchval(sql, key, timeout=5)
                except _AWAY:
                    if connection is not None:
                        connection.terminate()
                    await asyncio.sleep(_AGAIN_S)  # the database is away: look when it is back
                else:
                    self._idle.append(connection)
                    return found

    async def _connected(self) -> asyncpg.Connection:
        return await asyncpg.connect(self.dsn, timeout=5)
