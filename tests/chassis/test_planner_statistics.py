"""Plans grow with their tables (on a real PostgreSQL, whose autovacuum keeps out of these).

| a table                                    | what becomes of it                          |
|--------------------------------------------|---------------------------------------------|
| of a few rows                              | is left alone                               |
| that has grown                             | is analysed once, a prepared plan is renewed |
| that grew by half                          | is left alone                               |
| that doubled                               | is analysed again                           |
| that changes and keeps its size            | is left alone                               |
| that was large when it was analysed        | is autovacuum's                             |
| that came large, as from a backup          | is autovacuum's                             |
| that another one holds                     | is left for the next time, without a wait   |
| of another owner                           | is left alone                               |
| on SQLite                                  | has no such statistics                      |
| of a database that is away                 | is told of in the log, no more              |
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text
from structlog.testing import capture_logs

from chassis.database import Database
from chassis.planner_statistics import PlannerStatistics

_TABLE = 'bills of "today"'  # a name that must be quoted
_QUOTED = '"bills of ""today"""'
_MAKE = f"CREATE TABLE {_QUOTED} (id bigint, word text) WITH (autovacuum_enabled = off)"


@pytest.fixture
async def database(empty_postgres_url: str) -> AsyncIterator[Database]:
    database = Database(url=empty_postgres_url)
    await _run(database, _MAKE)
    yield database
    await database.close()


async def _run(database: Database, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))
        # What a session did is known to others after a second, unless it is told at once.
        await connection.execute(text("SELECT pg_stat_force_next_flush()"))


async def _grow(database: Database, *, rows: int) -> None:
    await _run(
        database,
        f"INSERT INTO {_QUOTED} SELECT number, 'word' FROM generate_series(1, {rows}) number",
    )


async def _rows_known(database: Database) -> float:
    """Return how many rows the planner believes there are, -1 if it was never told."""
    async with database.reading() as connection:
        found = await connection.scalar(
            text("SELECT reltuples FROM pg_class WHERE relname = :name"), {"name": _TABLE}
        )
        return float(found or 0)


async def test_a_table_that_has_grown_is_analysed_once(database: Database) -> None:
    await _grow(database, rows=500)
    statistics = PlannerStatistics(database=database)
    assert await statistics.run_once() == [_TABLE]
    assert await _rows_known(database) == 500
    assert await statistics.run_once() == []


async def test_a_plan_made_for_an_empty_table_is_renewed(database: Database) -> None:
    await _run(database, f"CREATE INDEX of_bills ON {_QUOTED} (id)")
    async with aclosing(
        await database.hold(session={"plan_cache_mode": "force_generic_plan"})
    ) as held:

        async def ran(statement: str) -> str:
            async with database.transaction(on=held) as connection:
                rows = await connection.execute(text(statement))
                return "\n".join(rows.scalars()) if rows.returns_rows else ""

        await ran(
            "PREPARE these (bigint[]) AS SELECT word "
            f"FROM {_QUOTED} JOIN unnest($1) wanted ON wanted = id"
        )
        explain = "EXPLAIN EXECUTE these ('{7,8,9}')"
        assert "Seq Scan" in await ran(explain)
        await _grow(database, rows=50_000)
        assert "Seq Scan" in await ran(explain)  # though the table is no longer small
        assert await PlannerStatistics(database=database).run_once() == [_TABLE]
        assert "Seq Scan" not in await ran(explain)


@pytest.mark.parametrize("rows", [0, 200])
async def test_a_table_of_few_rows_is_left_alone(database: Database, rows: int) -> None:
    await _grow(database, rows=rows)
    assert await PlannerStatistics(database=database).run_once() == []
    assert await _rows_known(database) == -1


@pytest.mark.parametrize(("more", "known"), [(250, 500.0), (600, 1100.0)])
async def test_a_table_is_analysed_again_when_it_has_doubled(
    database: Database, more: int, known: float
) -> None:
    statistics = PlannerStatistics(database=database)
    await _grow(database, rows=500)
    await statistics.run_once()
    await _grow(database, rows=more)
    await statistics.run_once()
    assert await _rows_known(database) == known


async def test_a_table_that_only_changes_is_left_alone(database: Database) -> None:
    statistics = PlannerStatistics(database=database)
    await _grow(database, rows=500)
    await statistics.run_once()
    for number in range(4):
        await _run(database, f"UPDATE {_QUOTED} SET word = 'word {number}'")
    assert await statistics.run_once() == []


async def test_a_table_that_came_large_is_left_to_autovacuum(database: Database) -> None:
    await _grow(database, rows=1000)
    assert await PlannerStatistics(database=database, most=500).run_once() == []
    assert await PlannerStatistics(database=database, most=501).run_once() == [_TABLE]


async def test_a_large_table_is_left_to_autovacuum(database: Database) -> None:
    statistics = PlannerStatistics(database=database, most=500)
    await _grow(database, rows=500)
    assert await statistics.run_once() == [_TABLE]
    await _grow(database, rows=5000)
    assert await statistics.run_once() == []


async def test_a_table_that_another_one_holds_waits_for_the_next_time(database: Database) -> None:
    statistics = PlannerStatistics(database=database)
    await _grow(database, rows=500)
    async with database.transaction() as other:
        await other.execute(text(f"LOCK TABLE {_QUOTED} IN SHARE UPDATE EXCLUSIVE MODE"))
        with capture_logs() as logs:
            assert await statistics.run_once() == []
        assert all(one["event"] != "tables_not_analysed" for one in logs)  # no lock timed out
        assert await _rows_known(database) == -1
    assert await statistics.run_once() == [_TABLE]
    assert await _rows_known(database) == 500


async def test_a_table_of_another_owner_is_left_alone(
    database: Database, empty_postgres_url: str
) -> None:
    role = f"only_writes_{uuid4().hex}"  # roles are of the whole server
    await _grow(database, rows=500)
    await _run(database, f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    other = make_url(empty_postgres_url).set(username=role, password=role)
    as_other = Database(url=other.render_as_string(hide_password=False))
    try:
        assert await PlannerStatistics(database=as_other).run_once() == []
    finally:
        await as_other.close()
        await _run(database, f"DROP ROLE {role}")
    assert await _rows_known(database) == -1


async def test_sqlite_has_no_such_statistics(empty_sqlite_url: str) -> None:
    database = Database(url=empty_sqlite_url)
    assert await PlannerStatistics(database=database).run_once() == []
    await database.close()


async def test_a_database_that_is_away_is_told_of(empty_postgres_url: str) -> None:
    away = empty_postgres_url.rpartition("/")[0] + "/nowhere"
    database = Database(url=away)
    with capture_logs() as logs:
        assert await PlannerStatistics(database=database).run_once() == []
    assert [one["event"] for one in logs] == ["tables_not_analysed"]
    await database.close()
