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
    Select,
    Subquery,
    Table,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

_POSTGRESQL = "postgresql"
_GIVEN = "given"


def among(*, column: ColumnElement[Any], name: str, dialect: str) -> ColumnElement[bool]:
    """Return the condition that `column` is one of the list given as parameter `name`."""
    if dialect == _POSTGRESQL:
        return column == any_(_unseen(name, column.type))
    return column.in_(bindparam(name, expanding=True))


def _unseen(name: str, kind: TypeEngine[Any]) -> ColumnElement[Any]:
    """Return the list given as parameter `name`, whose length the planner does not see.

    A plan made for its length is made anew each time: 1 ms and more for what runs in 0.2, and as a
    short list looks cheaper than one of unknown length, PostgreSQL would always choose to.
    """
    kind = ARRAY(kind)
    return cast(select(bindparam(name, type_=kind)).scalar_subquery(), kind)


def with_rows(
    *, wanted: Select[Any], columns: Sequence[ColumnElement[Any]], name: str, dialect: str
) -> Select[Any]:
    """Return `wanted` narrowed to where `columns` are a row of those given by `rows_as(name=...)`.

    On PostgreSQL each given row is looked up by itself, which OFFSET 0 keeps the planner from
    turning into a join: a join of a table that was small when it was planned reads all of it, and
    goes on doing so while the table grows to the double (1.4 ms instead of 0.3 at 5,000 rows).
    """
    if dialect != _POSTGRESQL:
        return wanted.where(tuple_(*columns).in_(bindparam(name, expanding=True)))
    places = _places(len(columns))
    types = {place: column.type for place, column in zip(places, columns, strict=True)}
    given = given_rows(name=name, types=types)
    found = (
        wanted.where(
            *(column == given.c[place] for place, column in zip(places, columns, strict=True))
        )
        .offset(literal_column("0"))
        .lateral()
    )
    return select(found).select_from(given.join(found, true()))


def rows_as(*, name: str, rows: Sequence[tuple[Any, ...]], dialect: str) -> dict[str, Any]:
    """Return the parameters of `with_rows`; a row that is given twice counts once."""
    rows = list(dict.fromkeys(rows))
    if dialect != _POSTGRESQL:
        return {name: rows}
    places = _places(len(rows[0]) if rows else 0)
    found = [dict(zip(places, row, strict=True)) for row in rows]
    return rows_given(name=name, columns=places, rows=found)


def _places(width: int) -> list[str]:
    return [str(place) for place in range(width)]


def given_rows(*, name: str, types: Mapping[str, TypeEngine[Any]]) -> Subquery:
    """Return the rows of `rows_given(name=...)` as a table of PostgreSQL.

    `types` are those of its columns; one more, `place`, counts the rows from 1 on. The lists are
    columns of one row, which OFFSET 0 hides from the planner as `_unseen` hides one: 45 of those
    in a statement are 45 nodes of its plan, and 3 % of what recording 20 confirmations takes.
    """
    lists = (
        select(
            *(
                bindparam(f"{name}_{column}", type_=ARRAY(kind)).label(column)
                for column, kind in types.items()
            )
        )
        .offset(literal_column("0"))
        .subquery(f"{name}_lists")
    )
    rows = (
        func.unnest(*lists.c)
        .table_valued(*types, with_ordinality="place", name=f"{name}_rows")
        .render_derived()
    )
    typed = [type_coerce(rows.c[column], kind).label(column) for column, kind in types.items()]
    return select(*typed, rows.c.place).select_from(lists.join(rows, true())).subquery(name)


def rows_given(
    *, name: str, columns: Iterable[str], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the parameters of `given_rows`: for each column of `rows` the list of its values."""
    return {f"{name}_{column}": [row[column] for row in rows] for column in columns}


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
    dialect, wanted = connection.dialect.name, tuple(returning)
    statement, given = inserting(table=table, rows=rows, dialect=dialect)
    whole = _known_landing if dialect == _POSTGRESQL else _landing
    statement = whole(statement, table, wanted, skip_conflicts=skip_conflicts)
    landed = await connection.execute(statement, given)
    return landed.all() if wanted else []


def inserting(
    *, table: Table, rows: Sequence[Mapping[str, Any]], dialect: str
) -> tuple[Any, dict[str, Any]]:
    """Return the INSERT of `rows`, of which there is one, to be added to, and its parameters."""
    if dialect != _POSTGRESQL:
        return sqlite.insert(table).values(list(rows)), {}
    names = tuple(rows[0])
    given = rows_given(name=_GIVEN, columns=names, rows=rows)
    return insert_given(table=table, name=_GIVEN, columns=names), given


async def update_set(
    *,
    connection: AsyncConnection,
    table: Table,
    key: str,
    rows: Sequence[Mapping[str, Any]],
    keep_if_null: frozenset[str] = frozenset(),
) -> None:
    """Set columns of the rows whose `key` is given, each to its own values.

    Every row of `rows` names the same columns. A null for a column of `keep_if_null` leaves the
    value that is there.
    """
    if not rows:
        return
    names = tuple(name for name in rows[0] if name != key)
    dialect = connection.dialect.name
    statement = _update_of(table, key, names, keep_if_null, dialect)
    if dialect == _POSTGRESQL:
        given = rows_given(name=_GIVEN, columns=(key, *names), rows=rows)
        await connection.execute(statement, given)
    else:
        await connection.execute(
            statement, [{_given(name): row[name] for name in (key, *names)} for row in rows]
        )


def _given(name: str) -> str:
    return f"{_GIVEN}_{name}"  # a parameter named as a column means something else to SQLAlchemy


@lru_cache(maxsize=64)
def _update_of(
    table: Table, key: str, names: tuple[str, ...], keep_if_null: frozenset[str], dialect: str
) -> Any:
    if dialect == _POSTGRESQL:
        types = {name: table.c[name].type for name in (key, *names)}
        given = given_rows(name=_GIVEN, types=types)
        values = {name: given.c[name] for name in names}
        own = given.c[key]
    else:
        values = {name: bindparam(_given(name), type_=table.c[name].type) for name in names}
        own = bindparam(_given(key), type_=table.c[key].type)
    return (
        update(table)
        .where(table.c[key] == own)
        .values(
            {
                name: func.coalesce(value, table.c[name]) if name in keep_if_null else value
                for name, value in values.items()
            }
        )
    )


@lru_cache(maxsize=256)
def insert_given(*, table: Table, name: str, columns: tuple[str, ...]) -> postgresql.Insert:
    """Return PostgreSQL's INSERT of the rows of `rows_given(name=...)`, in their order."""
    given = given_rows(name=name, types={column: table.c[column].type for column in columns})
    rows = select(*(given.c[column] for column in columns)).order_by(given.c.place)
    return postgresql.insert(table).from_select(list(columns), rows)


def _landing(insert: Any, table: Table, returning: tuple[str, ...], *, skip_conflicts: bool) -> Any:
    """Return the whole statement of `insert_set`."""
    if skip_conflicts:
        insert = insert.on_conflict_do_nothing()
    return insert.returning(*(table.c[name] for name in returning)) if returning else insert


# Where there is one INSERT for all numbers of rows. The same object each time: of a new one
# SQLAlchemy finds out anew what it is: 5.8 to 8.4 ms of Python for a batch of 16 confirmations
# became 5.1 to 6.3 (three runs each).
_known_landing = lru_cache(maxsize=256)(_landing)
