"""The tables of the sandbox; money is whole hundredths in integers."""

SCHEMA = """
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
  next_send_at        TEXT,
  channel             TEXT NOT NULL DEFAULT 'BILL' CHECK (channel IN ('BILL', 'KHQR'))
) STRICT;

CREATE INDEX IF NOT EXISTS transfers_of_bill ON transfers (bill_id);
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

CREATE TABLE IF NOT EXISTS tokens (
  digest     TEXT PRIMARY KEY,
  given_at   TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  revoked_at TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS codes (
  id            INTEGER PRIMARY KEY,
  bill_id       INTEGER NOT NULL REFERENCES bills (id),
  hundredths    INTEGER NOT NULL CHECK (hundredths > 0),
  currency      TEXT NOT NULL CHECK (currency IN ('USD', 'KHR')),
  payload       TEXT NOT NULL,
  md5           TEXT NOT NULL UNIQUE,
  policy_number TEXT,
  created_at    TEXT NOT NULL,
  expires_at    TEXT NOT NULL,
  times_paid    INTEGER NOT NULL DEFAULT 0,
  shown_image   BLOB,
  shown_for     TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS codes_of_bill ON codes (bill_id);

CREATE TABLE IF NOT EXISTS notices (
  id                  INTEGER PRIMARY KEY,
  bill_id             INTEGER NOT NULL REFERENCES bills (id),
  bank_transaction_id TEXT REFERENCES transfers (bank_transaction_id),
  body                BLOB NOT NULL,
  claims_success      INTEGER NOT NULL CHECK (claims_success IN (0, 1)),
  forged              INTEGER NOT NULL CHECK (forged IN (0, 1)),
  copies              INTEGER NOT NULL CHECK (copies BETWEEN 1 AND 100),
  fault               TEXT,
  state               TEXT NOT NULL
                      CHECK (state IN ('PENDING', 'CONFIRMED', 'REFUSED', 'WITHHELD')),
  attempts            INTEGER NOT NULL DEFAULT 0,
  next_send_at        TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS notices_of_transfer ON notices (bank_transaction_id);

CREATE TABLE IF NOT EXISTS notice_sendings (
  id         INTEGER PRIMARY KEY,
  notice_id  INTEGER NOT NULL REFERENCES notices (id),
  sent_at    TEXT NOT NULL,
  sent_by    TEXT NOT NULL CHECK (sent_by IN ('BANK', 'SCHEDULE', 'OPERATOR')),
  status     INTEGER,
  answer     TEXT NOT NULL,
  elapsed_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sendings_of_notice ON notice_sendings (notice_id);

CREATE TABLE IF NOT EXISTS switches (
  point     TEXT PRIMARY KEY,
  fault     TEXT NOT NULL,
  remaining INTEGER CHECK (remaining > 0)
) STRICT;

CREATE TABLE IF NOT EXISTS fault_uses (
  fault   TEXT NOT NULL,
  bill_id INTEGER NOT NULL,
  uses    INTEGER NOT NULL,
  PRIMARY KEY (fault, bill_id)
) STRICT;

CREATE TABLE IF NOT EXISTS calls (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  endpoint    TEXT NOT NULL,
  received_at TEXT NOT NULL,
  asked       TEXT NOT NULL,
  fault       TEXT,
  status      INTEGER,
  answer      TEXT NOT NULL,
  elapsed_ms  INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS call_counts (
  endpoint TEXT PRIMARY KEY,
  calls    INTEGER NOT NULL
) STRICT;
"""

# A file made before KHQR has transfers of one channel only.
ADDED_COLUMNS = (
    (
        "transfers",
        "channel",
        "TEXT NOT NULL DEFAULT 'BILL' CHECK (channel IN ('BILL', 'KHQR'))",
    ),
    ("codes", "shown_for", "TEXT"),
)
