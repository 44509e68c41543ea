"""What a database that was restored to an earlier moment needs before it is used.

Bills that were made after that moment are forgotten here and known to the bank: codes with
their numbers are on people's phones, and some are paid. A number must not be given to a second
bill: the bank, asked about it, would truthfully say "paid", and the wrong premium would be.
"""

from sqlalchemy import text

from chassis.database import Database

SKIPPED = 1_000_000  # more bills than are made between a backup and a disaster

_SKIP = {
    "postgresql": (
        "SELECT setval(pg_get_serial_sequence('bills', 'id'),"
        " nextval(pg_get_serial_sequence('bills', 'id')) + :skipped)"
    ),
    "sqlite": "UPDATE sqlite_sequence SET seq = seq + :skipped WHERE name = 'bills'",
}


async def skip_bill_numbers(*, database: Database) -> None:
    """Never give the next million numbers to bills: the forgotten ones have some of them.

    :raises DatabaseUnavailable: the database cannot be reached; nothing has changed.
    """
    async with database.transaction() as connection:
        await connection.execute(text(_SKIP[database.dialect]), {"skipped": SKIPPED})
