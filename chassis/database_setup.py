"""How connections are opened: what each engine is told so that it keeps our promises."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


def postgresql_arguments(
    *, connect_timeout_s: float, statement_timeout_s: float, lock_timeout_s: float
) -> dict[str, Any]:
    """Return what each connection to PostgreSQL is opened with."""
    return {
        "timeout": connect_timeout_s,
        # The server ends a slow statement; where the network swallows its word, we do.
        "command_timeout": statement_timeout_s + 1,
        "server_settings": {
            "statement_timeout": str(round(statement_timeout_s * 1000)),
            "lock_timeout": str(round(lock_timeout_s * 1000)),
            # A process that hangs inside a transaction must not hold its locks for ever.
            "idle_in_transaction_session_timeout": "10000",
            "timezone": "UTC",
            "jit": "off",  # asyncpg's look-up of types is 100 times slower with it
        },
    }


def prepare_sqlite(*, engine: AsyncEngine, begin: str, query_only: bool) -> None:
    """See that each connection of `engine` keeps our promises; `begin` starts a transaction."""

    def on_connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            "foreign_keys=ON",
            "recursive_triggers=ON",  # else INSERT OR REPLACE deletes past the delete triggers
            "journal_mode=WAL",
            "synchronous=FULL",  # NORMAL may lose the last commits with the power
            f"query_only={'ON' if query_only else 'OFF'}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def on_begin(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
