"""Brings the schema to the newest revision: `python -m gateway_svc.migrations`."""

import asyncio
import sys

from chassis.database import Database, DatabaseUnavailable
from chassis.settings import SettingError, own_variables
from chassis.telemetry import complain
from gateway_svc.migrations import upgrade
from gateway_svc.settings import read_settings


async def _migrate(url: str) -> None:
    database = Database(url=url)
    try:
        await upgrade(database=database)
    finally:
        await database.close()


def main() -> int:
    """Migrate the database of this environment; return the exit code."""
    try:
        variables = own_variables()
        settings = read_settings(variables=variables, environ=variables.environ)
        asyncio.run(_migrate(settings.database_url))
    except (SettingError, DatabaseUnavailable) as problem:
        complain(service="migrations", problem=problem)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
