"""One leader among replicas: who holds a lock of the database's session leads.

The lock, the proof of life and every write of the leader live on one connection. A leader
that dies loses its socket and the lock at once. A leader that is frozen sends nothing; the
server ends its session after `IDLE_LIMIT_S`, and with it the lock and the only connection
that could have written. There is no moment at which two may write.

A connection through a pool of transactions (pgbouncer) is no session: give this one a direct
address. PostgreSQL 14 or later (`idle_session_timeout`).
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database, DatabaseUnavailable

_log = structlog.get_logger()

# Four missed signs of life at 2 s each. With the follower's 2 s a frozen leader is replaced
# within about 10 s, and a pause of a busy machine (1 to 3 s were seen) replaces nobody.
IDLE_LIMIT_S = 8.0
PROOF_INTERVAL_S = 2.0
_CLOSE_LIMIT_S = 2.0


class LeadershipLost(DatabaseUnavailable):
    """Another may lead by now: what was about to be written is not ours to write."""


class Tenure(Protocol):
    """One stretch of leading; over for good once it is lost."""

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection to read with; raises DatabaseUnavailable."""

    def transaction(self, *, name: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection that writes only while this tenure lasts; as above."""


class Leadership(Protocol):
    """Says whether this process leads."""

    @property
    def tenure(self) -> Tenure | None:
        """Return the present tenure, None where another leads."""

    async def run_once(self) -> int:
        """Stand for leadership or prove to be alive; return 1 if this process leads."""

    async def close(self) -> None:
        """Step down."""


class Alone:
    """Always leads: for a database that one process uses, such as a SQLite file."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    @property
    def tenure(self) -> Tenure:
        """Return the tenure, which never ends."""
        return self

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection to read with."""
        return self._database.reading()

    def transaction(self, *, name: str) -> AbstractAsyncContextManager[AsyncConnection]:
        """Yield a connection whose work is committed at the end."""
        return self._database.transaction(name=name)

    async def run_once(self) -> int:
        """Return 1: there is nobody else."""
        return 1

    async def close(self) -> None:
        """Do nothing."""


class _Session:
    """A connection of one's own; a tenure once it has the lock."""

    def __init__(
        self,
        *,
        database: Database,
        connection: AsyncConnection,
        clock_s: Callable[[], float],
        idle_limit_s: float,
    ) -> None:
        self._database = database
        self._connection = connection
        self._clock_s = clock_s
        self._idle_limit_s = idle_limit_s
        self._alone = asyncio.Lock()  # a connection does one thing at a time
        self._heard_s = clock_s()
        self._ended = False
        self.leads = False

    @property
    def lasts(self) -> bool:
        """Return whether the server must still know this session.

        The server counts from the end of our last statement, we from its start: we are never
        the later one to call it over, not even after we were frozen.
        """
        return not self._ended and self._clock_s() - self._heard_s < self._idle_limit_s

    @asynccontextmanager
    async def transaction(self, *, name: str) -> AsyncIterator[AsyncConnection]:
        async with self._alone:
            # An invalidated connection would open a new session at its next statement, one
            # without the lock.
            if not self.lasts or self._connection.invalidated or self._connection.closed:
                self._ended = True
                raise LeadershipLost("another may lead by now")
            asked_s = self._clock_s()
            try:
                async with self._database.transaction(name=name, on=self._connection):
                    yield self._connection
            finally:
                self._ended = self._ended or self._connection.invalidated
            self._heard_s = asked_s

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return self.transaction(name="leader_reads")

    async def try_lock(self, *, key: int) -> bool:
        async with self.transaction(name="leader_stands") as connection:
            taken = await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": key})
        self.leads = bool(taken)
        return self.leads

    async def prove_alive(self) -> None:
        async with self.transaction(name="leader_lives") as connection:
            await connection.execute(text("SELECT 1"))

    async def end(self) -> None:
        """End the session: after what it is doing, or in the middle of it if that takes long."""
        self._ended = True
        with contextlib.suppress(DatabaseUnavailable, SQLAlchemyError, OSError):
            try:
                async with asyncio.timeout(_CLOSE_LIMIT_S), self._alone:
                    await self._connection.close()
            except TimeoutError:
                await self._connection.invalidate()


class AdvisoryLeadership:
    """Leads while its own session of PostgreSQL holds the advisory lock `key`.

    Call `run_once` every `PROOF_INTERVAL_S`, whatever else the leader is doing.
    """

    def __init__(
        self,
        *,
        database: Database,
        key: int,
        idle_limit_s: float = IDLE_LIMIT_S,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._key = key
        self._idle_limit_s = idle_limit_s
        self._clock_s = clock_s
        self._session: _Session | None = None
        self._told = False  # what the log was told last

    @property
    def tenure(self) -> Tenure | None:
        """Return the present tenure, None where another leads or the session may be over."""
        session = self._session
        return session if session is not None and session.leads and session.lasts else None

    async def run_once(self) -> int:
        """Stand for leadership or prove to be alive; return 1 if this process leads."""
        try:
            session = await self._kept_session()
            if session.leads:
                await session.prove_alive()
            else:
                await session.try_lock(key=self._key)
        except DatabaseUnavailable as problem:
            _log.warning("leadership_unreachable", why=str(problem))
            await self.close()
        except Exception:  # noqa: BLE001 - this process must be able to lead again
            _log.exception("leadership_broke")
            await self.close()
        self._tell()
        return int(self.tenure is not None)

    async def close(self) -> None:
        """Step down: the session ends, and the lock with it."""
        session, self._session = self._session, None
        if session is not None:
            await session.end()
        self._tell()

    async def _kept_session(self) -> _Session:
        if self._session is not None and not self._session.lasts:
            await self.close()
        if self._session is None:
            limit_ms = str(round(self._idle_limit_s * 1000))
            connection = await self._database.hold(
                session={
                    "application_name": "leadership",
                    # The set of keys that wait is kept whole in memory (see `outbox.claim`):
                    # with PostgreSQL's 4 MB it is for 100,000 keys at most, then it crawls.
                    "work_mem": "64MB",
                    "idle_session_timeout": limit_ms,
                    # A leader that is frozen between two statements of a transaction.
                    "idle_in_transaction_session_timeout": limit_ms,
                    # A leader whose host has vanished while the server was answering it.
                    "tcp_keepalives_idle": "4",
                    "tcp_keepalives_interval": "2",
                    "tcp_keepalives_count": "2",
                    "tcp_user_timeout": limit_ms,
                }
            )
            self._session = _Session(
                database=self._database,
                connection=connection,
                clock_s=self._clock_s,
                idle_limit_s=self._idle_limit_s,
            )
        return self._session

    def _tell(self) -> None:
        leads = self.tenure is not None
        if leads is not self._told:
            self._told = leads
            _log.info("leadership_won" if leads else "leadership_left")


def leadership_of(*, database: Database, key: int) -> Leadership:
    """Return the leadership that fits the engine: SQLite has one process."""
    if database.dialect == "sqlite":
        return Alone(database=database)
    return AdvisoryLeadership(database=database, key=key)
