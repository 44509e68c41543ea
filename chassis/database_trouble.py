"""What an error of a database's driver says: trouble of the database, or a fault of what was asked.

PostgreSQL tells by SQLSTATE, SQLite by its result codes.
"""

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TROUBLE_CLASSES = (
    "08",  # connection lost
    "28",  # not let in
    "3D",  # no such database
    "40",  # deadlock, serialization: a repeat may succeed
    "53",  # too many connections, disk full, out of memory
    "57",  # shutting down, starting up, statement time-out
    "58",  # system error outside PostgreSQL
)
_CONFLICT_STATES = ("40001", "40P01")  # serialization failure, deadlock
_TROUBLE_STATES = (
    "25006",  # read-only: we reached a standby
    "25P03",  # idle in transaction for too long
    "25P04",  # transaction time-out
    "55P03",  # lock time-out
)
# https://www.sqlite.org/rescode.html
_SQLITE_TROUBLE = {5: "BUSY", 6: "LOCKED", 7: "NOMEM", 8: "READONLY", 10: "IOERR"}
_SQLITE_TROUBLE |= {11: "CORRUPT", 13: "FULL", 14: "CANTOPEN", 15: "PROTOCOL", 26: "NOTADB"}
_SQLITE_PRIMARY_CODE = 0xFF  # an extended code holds the primary one in its lowest byte


def trouble_of(*, problem: Exception, is_disconnect: bool) -> str | None:
    """Return what is wrong with the database, or None if the statement is at fault."""
    state = getattr(problem, "sqlstate", None) or ""
    if state.startswith(_TROUBLE_CLASSES) or state in _TROUBLE_STATES:
        driver = problem.__cause__ or problem  # SQLAlchemy wraps what the driver raised
        return f"{type(driver).__name__} ({state})"
    code = getattr(problem, "sqlite_errorcode", 0) & _SQLITE_PRIMARY_CODE
    if code in _SQLITE_TROUBLE:
        return f"SQLITE_{_SQLITE_TROUBLE[code]}"
    return shown(problem=problem) if is_disconnect else None


def is_conflict(*, problem: Exception) -> bool:
    """Tell whether another transaction was in the way, so that a repeat may succeed."""
    return getattr(problem, "sqlstate", None) in _CONFLICT_STATES


def shown(*, problem: Exception) -> str:
    """Return what went wrong without a word of the driver's, which may quote rows."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return type(problem).__name__
