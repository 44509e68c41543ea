"""Write-ahead log that is at hand, as on a server that has run for a day.

A fresh cluster makes a file of 16 MiB for each 16 MiB that it logs, and everybody who commits waits
50 ms for it: at 1,700 confirmations a second that is every second. A server that has been through
its checkpoints takes old files again.
"""

import asyncpg

# Enough for what a run logs; PostgreSQL keeps no more at hand than its smallest size says.
SETTINGS = {"min_wal_size": "4GB", "max_wal_size": "8GB"}
_SEGMENTS = 240


async def have_wal_at_hand(*, dsn: str) -> None:
    """Make segments of the log, and let a checkpoint put them in front."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        for _ in range(_SEGMENTS):
            await connection.execute("SELECT pg_logical_emit_message(false, 'bench', 'x')")
            await connection.execute("SELECT pg_switch_wal()")
        await connection.execute("CHECKPOINT", timeout=60)
    finally:
        await connection.close()
