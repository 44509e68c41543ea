"""Years of paid bills in a database, made of one that was really paid.

The store itself confirms a bill, so that triggers, journal and outbox have written what they
write. The database then copies its rows, each with numbers of its own: nothing else of a row is
made up here. Constraints are not checked while copying (`session_replication_role`), and at the
end the tables are vacuumed and analysed, as they would be after years.
"""

import asyncio
from collections.abc import Iterable, Sequence

import asyncpg

_CHUNK = 100_000  # bills in one transaction
_WRITERS = 2
_TIMEOUT_S = 3600
_TABLES = (
    *("obligations", "bills", "bill_numbers", "notices", "payments", "applications"),
    *("journal", "outbox"),
)
_SHIFTED = frozenset({"obligation_id", "bill_id", "notice_id", "payment_id", "entity_id"})
_NAMED = frozenset(
    {"policy_number", "number", "natural_key", "transaction_id", "event_key", "request_id"}
)


async def grow(*, dsn: str, bills: int) -> None:
    """Copy the one paid bill of the database, which holds nothing else, `bills` times."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await _durable(connection, "off")
        await connection.execute("CREATE SCHEMA grown")
        statements = [await _copying(connection, table) for table in _TABLES]
        starts = iter(range(1, bills + 1, _CHUNK))
        await asyncio.gather(*(_write(dsn, statements, starts, bills) for _ in range(_WRITERS)))
        for table in _TABLES:
            await _count_on(connection, table)
        await connection.execute("DROP SCHEMA grown CASCADE", timeout=_TIMEOUT_S)
        await connection.execute("VACUUM (ANALYZE)", timeout=_TIMEOUT_S)
        await _durable(connection, "on")
        await connection.execute("CHECKPOINT", timeout=_TIMEOUT_S)
    finally:
        await connection.close()


async def _durable(connection: asyncpg.Connection, word: str) -> None:
    for setting in ("fsync", "full_page_writes"):
        await connection.execute(f"ALTER SYSTEM SET {setting} = {word}")
    await connection.execute("SELECT pg_reload_conf()")


async def _copying(connection: asyncpg.Connection, table: str) -> str:
    """Keep the rows to copy of `table`, and return the statement for bills $1 to $2."""
    await connection.execute(
        f"CREATE TABLE grown.{table} AS SELECT *, count(*) OVER () AS places"  # noqa: S608
        f" FROM {table}"
    )
    names = [
        row["attname"]
        for row in await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass"
            " AND attnum > 0 AND NOT attisdropped",
            f"public.{table}",
        )
    ]
    values = ", ".join(_value(name) for name in names)
    return (
        f"INSERT INTO {table} ({', '.join(names)}) OVERRIDING SYSTEM VALUE SELECT {values}"  # noqa: S608
        f" FROM generate_series($1::int, $2::int) AS n CROSS JOIN grown.{table} AS one"
    )


def _value(name: str) -> str:
    if name == "id":
        return "one.id + n * one.places"
    if name in _SHIFTED:
        return f"one.{name} + n"
    if name in _NAMED:
        return f"CASE WHEN one.{name} <> '' THEN 'H' || lpad(n::text, 10, '0') ELSE '' END"
    if name == "event_id":
        return "one.event_id || '-' || n"
    if name == "published_at":
        return "one.created_at"
    return f"one.{name}"


async def _write(dsn: str, statements: Sequence[str], starts: Iterable[int], bills: int) -> None:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute("SET session_replication_role = replica")
        for start in starts:
            async with connection.transaction():
                for statement in statements:
                    await connection.execute(
                        statement, start, min(start + _CHUNK - 1, bills), timeout=_TIMEOUT_S
                    )
    finally:
        await connection.close()


async def _count_on(connection: asyncpg.Connection, table: str) -> None:
    """Let the numbers of new rows begin behind those of the copies."""
    sequence = await connection.fetchval(
        "SELECT pg_get_serial_sequence($1, a.attname) FROM pg_attribute a"
        " WHERE a.attrelid = $1::text::regclass AND a.attname = 'id'",
        f"public.{table}",
    )
    if sequence is not None:
        await connection.execute(
            f"SELECT setval('{sequence}', (SELECT max(id) FROM {table}))",  # noqa: S608
            timeout=_TIMEOUT_S,
        )
