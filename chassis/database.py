"""One database behind an engine URL: a SQLite file or PostgreSQL, with the same promises.

A `transaction()` is atomic and durable on both engines; what makes a database unreachable,
slow or overloaded is one exception, `DatabaseUnavailable`. A broken constraint stays
SQLAlchemy's `IntegrityError`: that is an answer, not trouble.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncTransaction,
    create_async_engine,
)
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from chassis.crash_points import Reached, no_crash
from chassis.database_setup import postgresql_arguments, prepare_sqlite
from chassis.database_trouble import is_conflict, shown, trouble_of
from chassis.direct import Direct, Unfinished
from chassis.rested import ping_rested

_SQLITE_READERS = 4  # each connection is a thread; readers never wait for the writer (WAL)
_READS_ONLY = {"postgresql_readonly": True}  # SQLite ignores it and has its pragma
_DRIVERS = ("sqlite+aiosqlite", "postgresql+asyncpg")


class DatabaseUnavailable(Exception):
    """The database did not do it, and not because of what was asked.

    The text holds no password and no row.
    """


class TransactionConflict(DatabaseUnavailable):
    """Another transaction was in the way; all of this one is undone, a repeat may succeed."""


class CommitUnknown(DatabaseUnavailable):
    """The connection broke while it committed: on disk or not is for a look by key to tell."""


class Database:
    """Connections to one database; nothing is opened before the first use."""

    def __init__(
        self,
        *,
        url: str,
        pool_size: int = 20,
        checkout_timeout_s: float = 2.0,
        connect_timeout_s: float = 2.0,
        statement_timeout_s: float = 3.0,
        lock_timeout_s: float = 2.0,
        reached: Reached = no_crash,
    ) -> None:
        """Make the engine. `reached` hears of each transaction before and after its commit.

        :raises ValueError: the URL is neither a SQLite file nor PostgreSQL by asyncpg.
        """
        parsed = _parsed(url)
        self._parsed = parsed
        self._reached = reached
        self._shown_url = parsed.render_as_string(hide_password=True)
        self._dialect = parsed.get_backend_name()
        common: dict[str, Any] = {
            "poolclass": AsyncAdaptedQueuePool,
            "max_overflow": 0,
            "pool_timeout": checkout_timeout_s,
            "hide_parameters": True,  # rows hold personal data and errors end in logs
        }
        if self._dialect == "sqlite":
            common["connect_args"] = {
                "timeout": lock_timeout_s,
                "isolation_level": None,  # sqlite3 opens no transaction behind our back
            }
            # One connection writes, as SQLite has one write lock: waiting in the pool's queue
            # is fair and costs no thread, waiting in BEGIN IMMEDIATE is neither.
            self._writer = create_async_engine(parsed, pool_size=1, **common)
            self._reader = create_async_engine(
                parsed, pool_size=_SQLITE_READERS, execution_options=_READS_ONLY, **common
            )
            prepare_sqlite(engine=self._writer, begin="BEGIN IMMEDIATE", query_only=False)
            prepare_sqlite(engine=self._reader, begin="BEGIN", query_only=True)
            self._engines = [self._writer, self._reader]
        else:
            self._connect_arguments = postgresql_arguments(
                connect_timeout_s=connect_timeout_s,
                statement_timeout_s=statement_timeout_s,
                lock_timeout_s=lock_timeout_s,
            )
            self._writer = create_async_engine(
                parsed,
                pool_size=pool_size,
                isolation_level="READ COMMITTED",
                connect_args=self._connect_arguments,
                **common,
            )
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", **_READS_ONLY
            )
            self._engines = [self._writer]
            ping_rested(engine=self._writer.sync_engine, timer=time.monotonic)
        for engine in self._engines:
            event.listen(engine.sync_engine, "handle_error", self._on_error)

    @property
    def dialect(self) -> str:
        """Return `sqlite` or `postgresql`."""
        return self._dialect

    @property
    def connections_in_use(self) -> int:
        """Return how many connections are checked out now."""
        pools = (engine.sync_engine.pool for engine in self._engines)
        return sum(pool.checkedout() for pool in pools if isinstance(pool, AsyncAdaptedQueuePool))

    @property
    def connections_limit(self) -> int:
        """Return how many connections may be checked out at once."""
        pools = (engine.sync_engine.pool for engine in self._engines)
        return sum(pool.size() for pool in pools if isinstance(pool, AsyncAdaptedQueuePool))

    @asynccontextmanager
    async def transaction(
        self, *, name: str = "work", on: AsyncConnection | None = None
    ) -> AsyncIterator[AsyncConnection]:
        """Yield a connection whose work is committed at the end, or rolled back on any error.

        On SQLite the write lock is held from the start, so two of these never overlap. `name`
        says what the work is: its points are `{name}.before_commit` and `{name}.after_commit`.
        The connection is one of the pool, or `on`, which stays its holder's.

        :raises DatabaseUnavailable: not reached, too busy, too slow, or lost on the way.
        :raises CommitUnknown: lost while it committed.
        """
        async with AsyncExitStack() as stack:
            connection = on or await self._checked_out(stack, self._writer)
            async with connection.begin() as work:
                yield connection
                self._reached(f"{name}.before_commit")
                await self._committed(work)
            self._reached(f"{name}.after_commit")

    @asynccontextmanager
    async def direct(self, *, name: str) -> AsyncIterator[Direct]:
        """Yield what `transaction` does, on PostgreSQL, passing SQLAlchemy by until the end.

        :raises DatabaseUnavailable: not reached, too busy, too slow, or lost on the way.
        :raises CommitUnknown: lost while it committed.
        """
        async with AsyncExitStack() as stack:
            connection = await self._checked_out(stack, self._writer)
            driver: Any = (await connection.get_raw_connection()).driver_connection
            direct = Direct(driver=driver, trouble=self._trouble)
            try:
                await direct.begin()
                try:
                    yield direct
                    self._reached(f"{name}.before_commit")
                except Exception:
                    await direct.undo()
                    raise
                try:
                    await direct.commit()
                except TransactionConflict:
                    raise
                except (DatabaseUnavailable, Unfinished) as problem:
                    raise CommitUnknown(str(problem)) from problem
            finally:
                if not direct.is_clean:  # also where our task was cancelled
                    await _dropped(connection, is_closed=driver.is_closed())
            self._reached(f"{name}.after_commit")

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection that reads one consistent state and refuses to write.

        :raises DatabaseUnavailable: not reached, too busy, too slow, or lost on the way.
        """
        async with AsyncExitStack() as stack:
            yield await self._checked_out(stack, self._reader)

    async def hold(self, *, session: Mapping[str, str]) -> AsyncConnection:
        """Return a connection of its own to PostgreSQL, which the caller keeps and closes.

        It is outside the pool, so whoever waits for the pool does not wait for it. `session`
        are settings of the server for this session alone.

        :raises DatabaseUnavailable: not reached.
        """
        settings = {**self._connect_arguments["server_settings"], **session}
        engine = create_async_engine(
            self._parsed,
            poolclass=NullPool,  # closing the connection closes it
            isolation_level="READ COMMITTED",
            connect_args={**self._connect_arguments, "server_settings": settings},
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "handle_error", self._on_error)
        try:
            return await engine.connect()
        except (OSError, SQLAlchemyError) as problem:
            raise self._unavailable(shown(problem=problem)) from problem

    async def ping(self) -> None:
        """Ask the database for an answer.

        :raises DatabaseUnavailable: it gives none.
        """
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close every connection that is not in use; those in use close when given back."""
        for engine in self._engines:
            await engine.dispose()

    async def _committed(self, work: AsyncTransaction) -> None:
        try:
            await work.commit()
        except TransactionConflict:
            raise
        except DatabaseUnavailable as problem:
            raise CommitUnknown(str(problem)) from problem

    async def _checked_out(self, stack: AsyncExitStack, engine: AsyncEngine) -> AsyncConnection:
        try:
            return await stack.enter_async_context(engine.connect())
        except (OSError, SQLAlchemyError) as problem:  # TimeoutError is an OSError
            raise self._unavailable(shown(problem=problem)) from problem

    def _on_error(self, context: ExceptionContext) -> Exception | None:
        """Return what SQLAlchemy raises instead, for errors of the driver that are trouble."""
        problem = context.original_exception
        if context.is_pre_ping or not isinstance(problem, Exception):
            return None  # a cancelled call stays cancelled
        if isinstance(problem, OSError):
            # The driver gave up waiting: the connection may be a black hole, so drop it.
            context.is_disconnect = True
        trouble = trouble_of(problem=problem, is_disconnect=context.is_disconnect)
        if trouble is None or _is_writing_while_reading(context):
            return None
        kind = TransactionConflict if is_conflict(problem=problem) else DatabaseUnavailable
        return self._unavailable(trouble, kind)

    def _trouble(self, reason: str, may_repeat: bool) -> DatabaseUnavailable:  # noqa: FBT001
        return self._unavailable(reason, TransactionConflict if may_repeat else DatabaseUnavailable)

    def _unavailable(
        self, reason: str, kind: type[DatabaseUnavailable] = DatabaseUnavailable
    ) -> DatabaseUnavailable:
        return kind(f"{self._shown_url}: {reason}")


async def _dropped(connection: AsyncConnection, *, is_closed: bool) -> None:
    """See that `connection` is not used again, nor those opened before it if the server closed it.

    SQLAlchemy drops those of a pool when it meets the end of one; it has not yet.
    """
    if is_closed:
        with suppress(DatabaseUnavailable):
            await connection.exec_driver_sql("SELECT 1")
    await connection.invalidate()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError("a database URL cannot be read") from None  # it may hold a password
    if parsed.drivername not in _DRIVERS:
        raise ValueError(f"a database URL starts with {' or '.join(_DRIVERS)}")
    if not parsed.database or parsed.database == ":memory:" or "mode=memory" in url:
        raise ValueError("a database URL names a file or a database")
    return parsed


def _is_writing_while_reading(context: ExceptionContext) -> bool:
    if context.connection is None:
        return False
    problem, options = context.original_exception, context.connection.get_execution_options()
    return "postgresql_readonly" in options and (
        getattr(problem, "sqlstate", None) == "25006"
        or getattr(problem, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY
    )
