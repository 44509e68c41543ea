"""What keys and checks cannot say, as triggers on both engines.

Three promises: a state moves only along its edges and each move is journalled; what
identifies a row and its amount never changes; facts are never deleted.
"""

from collections.abc import Iterable, Mapping, Sequence

Edges = Mapping[str, Iterable[tuple[str, str]]]  # table -> (from, to)


def trigger_statements(
    *,
    dialect: str,
    edges: Edges,
    frozen: Mapping[str, Sequence[str]],
    kept: Mapping[str, str],
    with_functions: bool = True,
) -> list[str]:
    """Return the statements that make the promises on `dialect`.

    `edges` names the moves a table's state may make; every move is written to `journal`.
    `frozen` names the columns of a table that never change; `kept` the tables whose rows
    are never deleted, with the key of each. The first revision brings the functions.
    """
    if dialect == "sqlite":
        return _sqlite(edges=edges, frozen=frozen, kept=kept)
    functions = _functions() if with_functions else []
    return functions + _postgresql(edges=edges, frozen=frozen, kept=kept)


def _listed(moves: Iterable[tuple[str, str]]) -> str:
    pairs = " OR ".join(
        f"(OLD.state = '{start}' AND NEW.state = '{end}')" for start, end in sorted(moves)
    )
    return f"({pairs or 'FALSE'})"  # without edges a state never moves


def _changed(columns: Sequence[str], differs: str) -> str:
    return " OR ".join(f"OLD.{column} {differs} NEW.{column}" for column in columns)


def _functions() -> list[str]:
    """Return the functions that the triggers of every revision call."""
    refusal = (
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '% of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0] "
        "USING ERRCODE = 'check_violation'; END $$"
    )
    journalling = (
        "CREATE FUNCTION journal_state() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO journal (entity, entity_id, from_state, to_state, cause, at) VALUES "
        "(TG_TABLE_NAME, NEW.id, CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state, "
        "NEW.state_cause, NEW.state_at); RETURN NULL; END $$"
    )

    return [refusal, journalling]


def _postgresql(
    *, edges: Edges, frozen: Mapping[str, Sequence[str]], kept: Mapping[str, str]
) -> list[str]:
    def trigger(table: str, name: str, moment: str, each: str, does: str) -> str:
        return (
            f"CREATE TRIGGER {table}_{name} {moment} ON {table} FOR EACH {each} "
            f"EXECUTE FUNCTION {does}"
        )

    statements = []
    no_edge = "refuse_change('no such edge between states')"
    facts = "refuse_change('facts are kept')"
    moved = "OLD.state <> NEW.state"
    for table, moves in edges.items():
        astray = f"ROW WHEN ({moved} AND NOT {_listed(moves)})"
        statements += [
            trigger(table, "edges", "BEFORE UPDATE", astray, no_edge),
            trigger(table, "journal_insert", "AFTER INSERT", "ROW", "journal_state()"),
            trigger(
                table, "journal_update", "AFTER UPDATE", f"ROW WHEN ({moved})", "journal_state()"
            ),
        ]
    for table, columns in frozen.items():
        changed = f"ROW WHEN ({_changed(columns, 'IS DISTINCT FROM')})"
        never = "refuse_change('this column never changes')"
        statements.append(trigger(table, "frozen", "BEFORE UPDATE", changed, never))
    for table in kept:
        statements += [
            trigger(table, "kept", "BEFORE DELETE", "ROW", facts),
            trigger(table, "kept_whole", "BEFORE TRUNCATE", "STATEMENT", facts),
        ]
    return statements


def _sqlite(
    *, edges: Edges, frozen: Mapping[str, Sequence[str]], kept: Mapping[str, str]
) -> list[str]:
    def refuse(table: str, name: str, when: str, condition: str, why: str) -> str:
        return (
            f"CREATE TRIGGER {table}_{name} BEFORE {when} ON {table} FOR EACH ROW "
            f"{f'WHEN {condition} ' if condition else ''}"
            f"BEGIN SELECT RAISE(ABORT, '{when} of {table} is refused: {why}'); END"
        )

    def journal(table: str, name: str, when: str, condition: str, start: str) -> str:
        return (
            f"CREATE TRIGGER {table}_{name} AFTER {when} ON {table} FOR EACH ROW "
            f"{f'WHEN {condition} ' if condition else ''}BEGIN "
            "INSERT INTO journal (entity, entity_id, from_state, to_state, cause, at) VALUES "
            f"('{table}', NEW.id, {start}, NEW.state, NEW.state_cause, NEW.state_at); END"
        )

    statements = []
    moved = "OLD.state <> NEW.state"
    for table, moves in edges.items():
        statements += [
            refuse(
                table,
                "edges",
                "UPDATE",
                f"{moved} AND NOT {_listed(moves)}",
                "no such edge between states",
            ),
            journal(table, "journal_insert", "INSERT", "", "NULL"),
            journal(table, "journal_update", "UPDATE", moved, "OLD.state"),
        ]
    statements += [
        refuse(table, "frozen", "UPDATE", _changed(columns, "IS NOT"), "this column never changes")
        for table, columns in frozen.items()
    ]
    for table, key in kept.items():
        # INSERT OR REPLACE deletes without firing delete triggers.
        taken = f"EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"
        statements += [
            refuse(table, "kept", "DELETE", "", "facts are kept"),
            refuse(table, "kept_replace", "INSERT", taken, "facts are kept"),
        ]
    return statements
