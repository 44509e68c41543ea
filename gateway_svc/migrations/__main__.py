"""Brings the schema to the newest revision: `python -m gateway_svc.migrations`.

`--restored` says that the database was restored to an earlier moment, from a backup or by a
standby that had not everything: numbers of bills that are forgotten are then never given again.
"""

import argparse
import asyncio
import sys

from chassis.database import Database, DatabaseUnavailable
from chassis.settings import SettingError, own_variables
from chassis.telemetry import complain
from gateway_svc.migrations import upgrade
from gateway_svc.migrations.restored import skip_bill_numbers
from gateway_svc.settings import read_settings

# The driver ends a statement of a gateway after 4 s: an index over millions of rows takes longer.
_STATEMENT_LIMIT_S = 3600


async def _migrate(url: str, *, restored: bool) -> None:
    database = Database(url=url, statement_timeout_s=_STATEMENT_LIMIT_S)
    try:
        await upgrade(database=database)
        if restored:
            await skip_bill_numbers(database=database)
    finally:
        await database.close()


def main() -> int:
    """Migrate the database of this environment; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gateway_svc.migrations")
    parser.add_argument(
        "--restored", action="store_true", help="the database was restored to an earlier moment"
    )
    arguments = parser.parse_args()
    try:
        variables = own_variables()
        settings = read_settings(variables=variables, environ=variables.environ)
        asyncio.run(_migrate(settings.database_url, restored=arguments.restored))
    except (SettingError, DatabaseUnavailable) as problem:
        complain(service="migrations", problem=problem)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
