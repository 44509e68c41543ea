"""Statements over sets, on both engines.

| given | the statement |
|-------|---------------|
| a list | finds its members, none for an empty one |
| rows of several columns | finds those rows once each, no other combination of their values; on
|                         | PostgreSQL by the index, however small the table was when planned |
| rows to insert | inserts what meets no conflict, in their order, and returns what landed |
| rows with NULL, bytes, times, non-ASCII text | keeps them as they are |
| rows to change | changes each to its own values; a null leaves what may stay |
| rows of another number | is the same statement on PostgreSQL: prepared once |
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.columns import COUNTED_ID, UtcDateTime
from chassis.database import Database
from chassis.sets import among, insert_set, rows_as, update_set, with_rows

_METADATA = MetaData()
_THINGS = Table(
    "things",
    _METADATA,
    Column("id", COUNTED_ID, primary_key=True, autoincrement=True),
    Column("bank", Text, nullable=False),
    Column("number", Integer, nullable=False, unique=True),
    Column("at", UtcDateTime),
    Column("body", LargeBinary),
)
_AT = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)


def _row(number: int, *, bank: str = "AMK", at: datetime | None = _AT) -> dict[str, Any]:
    return {"bank": bank, "number": number, "at": at, "body": b"\x00\xff" if number % 2 else None}


@pytest.fixture
async def connection(empty_database_url: str) -> AsyncIterator[AsyncConnection]:
    """Return a connection within a transaction, with an empty table."""
    database = Database(url=empty_database_url)
    async with database.transaction() as opened:
        await opened.run_sync(_METADATA.create_all)
        yield opened
    await database.close()


async def _numbers(connection: AsyncConnection, condition: Any, **given: Any) -> list[int]:
    rows = await connection.execute(
        select(_THINGS.c.number).where(condition).order_by(_THINGS.c.number), given
    )
    return list(rows.scalars())


async def test_rows_land_in_their_order_as_they_are(connection: AsyncConnection) -> None:
    rows = [_row(3, bank="ធនាគារ"), _row(1), _row(2, at=None)]
    landed = await insert_set(
        connection=connection, table=_THINGS, rows=rows, returning=("id", "number")
    )
    assert [row.number for row in landed] == [3, 1, 2]
    assert [row.id for row in landed] == [1, 2, 3]
    kept = (await connection.execute(select(_THINGS).order_by(_THINGS.c.id))).all()
    assert [(row.bank, row.number, row.at, row.body) for row in kept] == [
        ("ធនាគារ", 3, _AT, b"\x00\xff"),
        ("AMK", 1, _AT, b"\x00\xff"),
        ("AMK", 2, None, None),
    ]


async def test_what_meets_a_conflict_does_not_land(connection: AsyncConnection) -> None:
    await insert_set(connection=connection, table=_THINGS, rows=[_row(1)])
    landed = await insert_set(
        connection=connection,
        table=_THINGS,
        rows=[_row(1, bank="XYZ"), _row(2), _row(2)],
        returning=("number",),
    )
    assert [row.number for row in landed] == [2]


async def test_where_a_conflict_is_a_fault_it_is_raised(connection: AsyncConnection) -> None:
    await insert_set(connection=connection, table=_THINGS, rows=[_row(1)])
    with pytest.raises(IntegrityError):
        async with connection.begin_nested():
            await insert_set(
                connection=connection, table=_THINGS, rows=[_row(1)], skip_conflicts=False
            )


async def test_no_rows_are_no_statement(connection: AsyncConnection) -> None:
    assert await insert_set(connection=connection, table=_THINGS, rows=[]) == []


@pytest.mark.parametrize("wanted", [[], [2], [2, 4, 4, 99]])
async def test_members_of_a_list_are_found(connection: AsyncConnection, wanted: list[int]) -> None:
    await insert_set(connection=connection, table=_THINGS, rows=[_row(n) for n in range(6)])
    condition = among(column=_THINGS.c.number, name="wanted", dialect=connection.dialect.name)
    assert await _numbers(connection, condition, wanted=wanted) == sorted({*wanted} - {99})


async def test_rows_are_found_and_no_other_combination(connection: AsyncConnection) -> None:
    await insert_set(
        connection=connection,
        table=_THINGS,
        rows=[_row(1), _row(2), *(_row(number, bank="XYZ") for number in (3, 4, 5))],
    )
    dialect = connection.dialect.name
    statement = with_rows(
        wanted=select(_THINGS.c.number, _THINGS.c.bank).where(_THINGS.c.number < 5),
        columns=(_THINGS.c.bank, _THINGS.c.number),
        name="keys",
        dialect=dialect,
    )

    async def found(*rows: tuple[str, int]) -> list[tuple[int, str]]:
        given = rows_as(name="keys", rows=rows, dialect=dialect)
        return sorted((row.number, row.bank) for row in await connection.execute(statement, given))

    assert await found(("AMK", 1), ("XYZ", 4), ("AMK", 3)) == [(1, "AMK"), (4, "XYZ")]
    assert await found(("AMK", 2), ("AMK", 2)) == [(2, "AMK")]
    assert await found(("XYZ", 5)) == []  # what was wanted before still holds


async def test_rows_are_looked_up_by_the_index_whatever_was_known_when_planned(
    empty_postgres_url: str,
) -> None:
    database = Database(url=empty_postgres_url)
    columns = (_THINGS.c.bank, _THINGS.c.number)
    wanted = with_rows(wanted=select(_THINGS), columns=columns, name="keys", dialect="postgresql")
    async with database.transaction() as connection:
        text = str(wanted.compile(dialect=connection.dialect))
        await connection.run_sync(_METADATA.create_all)
        await connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.exec_driver_sql(f"PREPARE found AS {text}")
        explained = await connection.exec_driver_sql("EXPLAIN EXECUTE found('{AMK}', '{1}')")
        plan = "\n".join(explained.scalars())
        assert "Seq Scan" not in plan
        assert "Index Scan" in plan
    await database.close()


async def test_another_number_of_rows_is_the_same_statement(empty_postgres_url: str) -> None:
    database = Database(url=empty_postgres_url)
    async with database.transaction() as connection:
        await connection.run_sync(_METADATA.create_all)
        for first, count in ((0, 1), (10, 7), (100, 64)):
            rows = [_row(first + place) for place in range(count)]
            await insert_set(connection=connection, table=_THINGS, rows=rows)
        prepared = await connection.exec_driver_sql(
            "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'INSERT INTO things%'"
        )
        assert prepared.scalar() == 1
    await database.close()


async def test_rows_are_changed_each_to_its_own_values(connection: AsyncConnection) -> None:
    await insert_set(
        connection=connection, table=_THINGS, rows=[_row(number) for number in (1, 2, 3, 4)]
    )
    later = datetime(2026, 11, 26, tzinfo=UTC)
    await update_set(
        connection=connection,
        table=_THINGS,
        key="number",
        rows=[
            {"number": 1, "bank": "ធនាគារ", "at": None, "body": b"new"},
            {"number": 3, "bank": "XYZ", "at": later, "body": None},
            {"number": 9, "bank": "none", "at": None, "body": None},
        ],
        keep_if_null=frozenset({"at"}),
    )
    rows = (await connection.execute(select(_THINGS).order_by(_THINGS.c.number))).all()
    assert [(row.number, row.bank, row.at, row.body) for row in rows] == [
        (1, "ធនាគារ", _AT, b"new"),
        (2, "AMK", _AT, None),
        (3, "XYZ", later, None),
        (4, "AMK", _AT, None),
    ]
    await update_set(connection=connection, table=_THINGS, key="number", rows=[])
