"""What the runbook asks a database, a database can be asked; what it quotes of logs is logged."""

import re

import pytest
from sqlalchemy import text

from chassis.database import Database
from tests.support.metrics import ROOT, documented, queryable
from tests.support.promql import names_in

RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", RUNBOOK, re.DOTALL)
    for statement in block.split(";")
    if statement.strip()
]
LOGGED = re.compile(r"`([a-z]+(?:_[a-z]+)+)`(?= in the log| and `|,? in (?:its|the) log)", re.ASCII)


async def test_every_statement_is_answered(postgres_url: str) -> None:
    database = Database(url=postgres_url)
    assert len(STATEMENTS) >= 6
    async with database.reading() as connection:  # which refuses to write
        for statement in STATEMENTS:
            await connection.execute(text(statement))
    await database.close()


def test_every_line_of_the_log_is_one_that_is_written() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("chassis", "gateway_svc", "khqr_svc", "rest_bridge")
        for path in (ROOT / folder).rglob("*.py")
    )
    named = set(LOGGED.findall(RUNBOOK))
    assert len(named) >= 5
    assert [name for name in named if f'"{name}"' not in sources] == []


@pytest.mark.parametrize("expression", re.findall(r"`((?:sum|histogram_quantile)[^`]*)`", RUNBOOK))
def test_every_expression_asks_for_what_is_served(expression: str) -> None:
    series = {one for found in documented().values() for one in found}
    assert names_in(expression) <= queryable(series)
