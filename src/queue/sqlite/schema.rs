//! The tables, and how older ones become these.

use rusqlite::Connection;

/// The version of the tables, in `user_version`.
pub(super) const VERSION: i64 = 2;

/// Each brings the tables from the version of its index to the next.
const MIGRATIONS: &[&str] = &[V1, TELLING];

/// Brings the tables to [`VERSION`]; the caller has made sure that they are not newer.
pub(super) fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| *version > found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

/// States of a delivery: 0 ready, 1 deferred, 2 sending, 3 held, 4 uncertain, 5 done, 6 failed.
/// States of a recipient: 0 waiting, 1 delivered, 2 failed, 3 expired, 4 uncertain, 5 deleted.
/// Times are microseconds of scheduling time.
const V1: &str = "
CREATE TABLE meta (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    clock INTEGER NOT NULL,       -- the newest time of a commit
    live_bytes INTEGER NOT NULL,  -- octets of stored content
    boot TEXT NOT NULL,           -- of the machine, when the process of that commit began
    booted INTEGER NOT NULL       -- the time of that boot by the clock of that process
);
INSERT INTO meta VALUES (1, 0, 0, '', 0);

CREATE TABLE message (
    id INTEGER PRIMARY KEY,
    accepted INTEGER NOT NULL,
    received INTEGER NOT NULL,    -- by the wall clock
    client TEXT NOT NULL,
    address TEXT NOT NULL,
    priority INTEGER NOT NULL,
    reverse_path TEXT NOT NULL,   -- empty: the null path
    header_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    chunks INTEGER NOT NULL,
    head BLOB                     -- NULL: the content is gone
);

CREATE TABLE chunk (
    message INTEGER NOT NULL,
    number INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (message, number)
);

CREATE TABLE delivery (
    id INTEGER PRIMARY KEY,
    message INTEGER NOT NULL REFERENCES message (id),
    route TEXT NOT NULL,
    priority INTEGER NOT NULL,
    client TEXT NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 6),
    waiting INTEGER NOT NULL,     -- recipients that wait
    due INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    aged_from INTEGER NOT NULL,   -- when it began to age
    stopped INTEGER NOT NULL,     -- what the route had been stopped for by then
    fence INTEGER NOT NULL DEFAULT 0,
    account TEXT,                 -- of the lease
    charge INTEGER,               -- of the lease
    lease_until INTEGER,
    doubt_since INTEGER,
    doubt_refusal TEXT,
    doubt_account TEXT,
    ended INTEGER,
    CHECK ((state = 2) = (lease_until IS NOT NULL)),
    CHECK ((state IN (5, 6)) = (ended IS NOT NULL))
);
CREATE INDEX delivery_message ON delivery (message);
CREATE INDEX delivery_ready ON delivery (route, priority, client, id) WHERE state = 0;
CREATE INDEX delivery_due ON delivery (due) WHERE state = 1;
CREATE INDEX delivery_leased ON delivery (lease_until) WHERE state = 2;
CREATE INDEX delivery_doubted ON delivery (doubt_since) WHERE state = 1 AND doubt_since IS NOT NULL;
CREATE INDEX delivery_ended ON delivery (ended) WHERE ended IS NOT NULL;

CREATE TABLE recipient (
    delivery INTEGER NOT NULL REFERENCES delivery (id),
    number INTEGER NOT NULL,
    address TEXT NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 5),
    due INTEGER NOT NULL,
    tried INTEGER NOT NULL DEFAULT 0,
    leased INTEGER NOT NULL DEFAULT 0, -- the fence of the claim that holds it
    reply TEXT,
    PRIMARY KEY (delivery, number)
) WITHOUT ROWID;

CREATE TABLE attempt (
    delivery INTEGER NOT NULL REFERENCES delivery (id),
    at INTEGER NOT NULL,
    account TEXT NOT NULL,
    host TEXT NOT NULL,
    sentence TEXT NOT NULL,
    reply TEXT NOT NULL
);
CREATE INDEX attempt_delivery ON attempt (delivery);

CREATE TABLE charge (
    id INTEGER PRIMARY KEY,
    login TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    claimed INTEGER NOT NULL,
    ended INTEGER                 -- NULL: under way
);
CREATE INDEX charge_ended ON charge (ended);

CREATE TABLE lane (
    account TEXT PRIMARY KEY,
    standing TEXT NOT NULL        -- JSON
) WITHOUT ROWID;

CREATE TABLE route_clock (
    route TEXT PRIMARY KEY,
    stopped INTEGER NOT NULL,     -- how long it has been stopped in all, microseconds
    since INTEGER                 -- when it was stopped; NULL: it runs
) WITHOUT ROWID;
";

/// What must be told to people, and what is known of it.
const TELLING: &str = "
CREATE TABLE report (
    message INTEGER PRIMARY KEY REFERENCES message (id), -- of which a recipient has failed, and nobody was told
    failed INTEGER NOT NULL
);

CREATE TABLE kept (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL            -- JSON
) WITHOUT ROWID;
";
