"""Statements over sets whose text does not depend on how many members there are.

A list in the text (`IN ($1, $2, ...)`, `VALUES (...), (...)`) makes a new statement of every
length: compiled anew, prepared anew, 30 ms of CPU for 32 rows of 25 columns against 2. PostgreSQL
takes a set as arrays (`= ANY($1)`, `FROM unnest($1, $2)`). SQLite, whose statements are compiled
in the process, has no arrays: there the lists stay.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Table,
    and_,
    any_,
    bindparam,
    exists,
    func,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

_POSTGRESQL = "postgresql"


def among(*, column: ColumnElement[Any], name: str, dialect: str) -> ColumnElement[bool]:
    """Return the condition that `column` is one of the list given as parameter `name`."""
    if dialect == _POSTGRESQL:
        return column == any_(bindparam(name, type_=ARRAY(column.type)))
    return column.in_(bindparam(name, expanding=True))


def among_rows(
    *, columns: Sequence[ColumnElement[Any]], name: str, dialect: str
) -> ColumnElement[bool]:
    """Return the condition that the columns are a row of those given by `rows_as(name=...)`."""
    if dialect != _POSTGRESQL:
        return tuple_(*columns).in_(bindparam(name, expanding=True))
    places = [f"{name}_{place}" for place in range(len(columns))]
    given = (
        func.unnest(
            *(
                bindparam(place, type_=ARRAY(column.type))
                for place, column in zip(places, columns, strict=True)
            )
        )
        .table_valued(*places, name=name)
        .render_derived()
    )
    return exists().where(
        and_(*(column == given.c[place] for place, column in zip(places, columns, strict=True)))
    )


def rows_as(*, name: str, rows: Sequence[tuple[Any, ...]], dialect: str) -> dict[str, Any]:
    """Return the parameters of `among_rows`."""
    if dialect != _POSTGRESQL:
        return {name: rows}
    width = len(rows[0]) if rows else 0
    return {f"{name}_{place}": [row[place] for row in rows] for place in range(width)}


async def insert_set(
    *,
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    returning: Iterable[str] = (),
    skip_conflicts: bool = True,
) -> Sequence[Row[Any]]:
    """Insert those of `rows` that meet no conflict, in their order; return what landed.

    Every row names the same columns. `returning` names columns of the rows that landed. Without
    `skip_conflicts` a conflict is an IntegrityError.
    """
    if not rows:
        return []
    names, wanted = tuple(rows[0]), tuple(returning)
    if connection.dialect.name == _POSTGRESQL:
        landed = await connection.execute(
            _insert_unnested(table, names, wanted, skip_conflicts),
            {name: [row[name] for row in rows] for name in names},
        )
    else:
        statement: Any = sqlite.insert(table).values(list(rows))
        if skip_conflicts:
            statement = statement.on_conflict_do_nothing()
        if wanted:
            statement = statement.returning(*(table.c[name] for name in wanted))
        landed = await connection.execute(statement)
    return landed.all() if wanted else []


@lru_cache(maxsize=256)
def _insert_unnested(
    table: Table,
    names: tuple[str, ...],
    wanted: tuple[str, ...],
    skip_conflicts: bool,  # noqa: FBT001 - a key of the cache
) -> Any:
    given = (
        func.unnest(*(bindparam(name, type_=ARRAY(table.c[name].type)) for name in names))
        .table_valued(*names, name="given")
        .render_derived()
    )
    statement: Any = postgresql.insert(table).from_select(
        list(names), select(*(given.c[name] for name in names))
    )
    if skip_conflicts:
        statement = statement.on_conflict_do_nothing()
    return statement.returning(*(table.c[name] for name in wanted)) if wanted else statement
