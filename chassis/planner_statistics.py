"""Statistics of tables that grow from nothing, so that PostgreSQL's plans grow with them.

A statement that is prepared while its tables are empty is planned to read them whole, and keeps
that plan until the tables are analysed. Autovacuum looks once a minute: with 20 callers a fresh
database came from 760 confirmations a second to 250 within half a minute, and to 1,400 with what
is here. https://www.postgresql.org/docs/current/planner-stats.html
"""

from collections.abc import Sequence

import structlog
from sqlalchemy import text

from chassis.database import Database, DatabaseUnavailable

LOOK_INTERVAL_S = 2.0
_FEWEST = 200  # rows: what fits a few pages is read whole by every good plan
# Above, a tenth of a table is so much that autovacuum comes in time; and what came all at once, as
# from a backup, may take longer to read than a statement may run.
_MOST = 100_000

# Rows, not changes: a table that only changes keeps its size, and with it its plans.
_GROWN = text(
    """
    SELECT c.relname
    FROM pg_stat_user_tables s
    JOIN pg_class c ON c.oid = s.relid
    WHERE s.schemaname = current_schema()
      AND s.n_live_tup > :fewest
      AND s.n_live_tup > 2 * c.reltuples
      AND c.reltuples < :most
      AND s.n_live_tup < 2 * :most
      AND pg_has_role(c.relowner, 'USAGE')
    ORDER BY c.relname
    """
)

_log = structlog.get_logger()


class PlannerStatistics:
    """Analyses tables of ours that have doubled since they were last analysed."""

    def __init__(self, *, database: Database, fewest: int = _FEWEST, most: int = _MOST) -> None:
        """Look after tables of more than `fewest` rows that had fewer than `most` when analysed."""
        self._database = database
        self._given = {"fewest": fewest, "most": most}

    async def run_once(self) -> Sequence[str]:
        """Analyse what has doubled and return those tables' names; on SQLite there are none.

        A table that another one analyses or alters at this moment is left for the next time.
        """
        if self._database.dialect != "postgresql":
            return []
        try:
            return await self._analyse()
        except DatabaseUnavailable as problem:  # plans stay what they are, payments go on
            _log.warning("tables_not_analysed", why=str(problem))
            return []

    async def _analyse(self) -> Sequence[str]:
        grown = await self._grown()
        for table in grown:
            # A transaction each: its lock keeps others from altering the table.
            async with self._database.transaction(name="analyze") as connection:
                name = connection.dialect.identifier_preparer.quote_identifier(table)
                await connection.execute(text(f"ANALYZE (SKIP_LOCKED) {name}"))
        # What was skipped is told of by a warning alone, which no driver hands on.
        skipped = await self._grown() if grown else ()
        analysed = [table for table in grown if table not in skipped]
        for table in analysed:
            _log.info("table_analysed", table=table)
        return analysed

    async def _grown(self) -> Sequence[str]:
        async with self._database.reading() as connection:
            return (await connection.execute(_GROWN, self._given)).scalars().all()
