"""The sandbox's one SQLite file: its schema, reading, and transactions.

One connection, used from one thread; money is whole hundredths in integers.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS policies (
  number             TEXT PRIMARY KEY,
  application_number TEXT UNIQUE,
  payer              TEXT NOT NULL,
  currency           TEXT NOT NULL CHECK (currency IN ('USD', 'KHR')),
  hundredths         INTEGER NOT NULL CHECK (hundredths >= 0),
  due_on             TEXT NOT NULL,
  settled_by         TEXT,
  settled_at         TEXT,
  note               TEXT NOT NULL,
  CHECK ((settled_by IS NULL) = (settled_at IS NULL)),
  CHECK (currency = 'USD' OR hundredths % 100 = 0)
) STRICT;

CREATE TABLE IF NOT EXISTS seen_events (
  event_id      TEXT PRIMARY KEY,
  policy_number TEXT NOT NULL,
  settled       INTEGER NOT NULL CHECK (settled IN (0, 1)),
  seen_at       TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS positions (
  source   TEXT PRIMARY KEY,
  position TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS accounts (
  id       TEXT PRIMARY KEY,
  kind     TEXT NOT NULL CHECK (kind IN ('CUSTOMER', 'INSURER', 'BANK')),
  holder   TEXT NOT NULL,
  currency TEXT NOT NULL CHECK (currency IN ('USD', 'KHR')),
  UNIQUE (kind, currency)
) STRICT;

CREATE TABLE IF NOT EXISTS bills (
  id            INTEGER PRIMARY KEY,
  query         TEXT NOT NULL,
  policy_number TEXT NOT NULL,
  payer         TEXT NOT NULL,
  hundredths    INTEGER NOT NULL CHECK (hundredths > 0),
  currency      TEXT NOT NULL,
  due_on        TEXT NOT NULL,
  looked_up_at  TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS transfers (
  bank_transaction_id TEXT PRIMARY KEY,
  bill_id             INTEGER NOT NULL REFERENCES bills (id),
  hundredths          INTEGER NOT NULL CHECK (hundredths > 0),
  currency            TEXT NOT NULL,
  paid_at             TEXT NOT NULL,
  state               TEXT NOT NULL
                      CHECK (state IN ('PENDING', 'CONFIRMED', 'REVERSED', 'REFUSED')),
  body                BLOB NOT NULL,
  attempts            INTEGER NOT NULL DEFAULT 0,
  next_send_at        TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS entries (
  id                  INTEGER PRIMARY KEY,
  account_id          TEXT NOT NULL REFERENCES accounts (id),
  kind                TEXT NOT NULL CHECK (kind IN ('OPENING', 'TRANSFER', 'REVERSAL')),
  bank_transaction_id TEXT REFERENCES transfers (bank_transaction_id),
  hundredths          INTEGER NOT NULL,
  booked_at           TEXT NOT NULL,
  CHECK ((kind = 'OPENING') = (bank_transaction_id IS NULL)),
  UNIQUE (bank_transaction_id, kind, account_id)
) STRICT;

CREATE TABLE IF NOT EXISTS sendings (
  id                  INTEGER PRIMARY KEY,
  bank_transaction_id TEXT NOT NULL REFERENCES transfers (bank_transaction_id),
  sent_at             TEXT NOT NULL,
  sent_by             TEXT NOT NULL CHECK (sent_by IN ('BANK', 'SCHEDULE', 'OPERATOR')),
  status              INTEGER,
  answer              TEXT NOT NULL,
  elapsed_ms          INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sendings_of_transfer ON sendings (bank_transaction_id);
"""

Value = str | int | bytes | None


class Store:
    """The file, opened."""

    def __init__(self, *, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Transactions are begun by hand: the module's own are implicit and late.
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_SCHEMA)

    def rows(self, sql: str, *values: Value) -> list[sqlite3.Row]:
        """Return every row that `sql` answers."""
        return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Value) -> sqlite3.Row | None:
        """Return the first row that `sql` answers, or None."""
        found: sqlite3.Row | None = self._connection.execute(sql, values).fetchone()
        return found

    def run(self, sql: str, *values: Value) -> int:
        """Carry out `sql` and return how many rows it changed."""
        return self._connection.execute(sql, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do the block's statements together or not at all; inside another, be part of it."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
