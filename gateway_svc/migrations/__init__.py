"""The schema's history (Alembic), and the two things done with it: upgrade and compare."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from chassis.database import Database

# Whoever waits for a table makes all wait who come after: payments would stand still behind us.
_TABLE_WAIT = "2s"
_LOCK = 7_150_001  # any number of ours: two services that start at once migrate one by one


class SchemaBehind(Exception):
    """The database's schema is not the one this code needs; the text says what to run."""


async def upgrade(*, database: Database) -> None:
    """Bring the schema to the newest revision, in one transaction.

    :raises DatabaseUnavailable: the database cannot be reached, or somebody held a table of ours
        for too long; nothing has changed.
    """
    async with database.transaction() as connection:
        if database.dialect == "postgresql":
            await connection.execute(text("SET LOCAL lock_timeout = 0"))
            await connection.execute(text("SET LOCAL statement_timeout = 0"))
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            await connection.execute(text(f"SET LOCAL lock_timeout = '{_TABLE_WAIT}'"))
        await connection.run_sync(_upgrade)


async def require_newest(*, database: Database) -> None:
    """Refuse a database whose schema is older than this code.

    A newer one is fine: revisions expand before they contract, so that the code of one
    version back runs on it.

    :raises SchemaBehind: it is empty or behind.
    """
    async with database.reading() as connection:
        current = await connection.run_sync(_current)
    known = [revision.revision for revision in _scripts().walk_revisions()]
    if current is None or (current in known and current != known[0]):
        raise SchemaBehind(
            f"the database schema is at {current or 'nothing'}, this code needs {known[0]}: "
            "run python -m gateway_svc.migrations"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
