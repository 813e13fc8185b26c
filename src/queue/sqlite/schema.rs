//! The tables, and how older ones become these.

use rusqlite::Connection;

/// The version of the tables, in `user_version`.
pub(super) const VERSION: i64 = 4;

/// Each brings the tables from the version of its index to the next.
const MIGRATIONS: &[&str] = &[V1, V2, V3, V4];

/// Brings the tables to [`VERSION`]; the caller has made sure that they are not newer.
pub(super) fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    migrate_to(connection, found, VERSION)
}

fn migrate_to(connection: &mut Connection, found: i64, wanted: i64) -> rusqlite::Result<()> {
    for (version, sql) in (1..).zip(MIGRATIONS).filter(|(version, _)| (found + 1..=wanted).contains(version)) {
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

/// The history says to which step something was said and about whom, counts what was said several times in a row, and
/// has the time by the wall clock. `at` is the last time; of older rows it is all that is known.
const V2: &str = "
ALTER TABLE attempt ADD COLUMN wall INTEGER NOT NULL DEFAULT 0;       -- the last time, by the wall clock
ALTER TABLE attempt ADD COLUMN first INTEGER NOT NULL DEFAULT 0;      -- the first time, by the wall clock
ALTER TABLE attempt ADD COLUMN times INTEGER NOT NULL DEFAULT 1;
ALTER TABLE attempt ADD COLUMN step TEXT NOT NULL DEFAULT '';         -- empty: none
ALTER TABLE attempt ADD COLUMN recipients INTEGER NOT NULL DEFAULT 0; -- how many
ALTER TABLE attempt ADD COLUMN named TEXT NOT NULL DEFAULT '[]';      -- the first few of them, as JSON
UPDATE attempt SET wall = at, first = at;
";

/// What must be told to people, and what is known of it.
const V3: &str = "
CREATE TABLE report (
    message INTEGER PRIMARY KEY REFERENCES message (id), -- of which a recipient has failed, and nobody was told
    failed INTEGER NOT NULL
);

CREATE TABLE kept (
    name TEXT PRIMARY KEY,
    text TEXT NOT NULL            -- JSON
) WITHOUT ROWID;
";

/// A charge says whose mail it is for.
const V4: &str = "
ALTER TABLE charge ADD COLUMN client TEXT; -- NULL: nobody wrote it down; it counts for no client's part
";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Machine, Options, SqliteStore};
    use super::*;
    use crate::ids::{LoginKey, MessageId};
    use crate::provider::{Cap, Caps, Counted};
    use crate::queue::{QueueReader, QueueStore};
    use crate::route::Priority;
    use crate::time::Timestamp;

    const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

    /// A queue as the first version left it: one message, tried once.
    fn of_the_first_version(path: &std::path::Path) {
        let connection = Connection::open(path).unwrap();
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").unwrap();
        connection.execute_batch(V1).unwrap();
        let at = AT.as_micros();
        connection
            .execute_batch(&format!(
                "INSERT INTO message VALUES (1, {at}, {at}, 'shop', '192.0.2.1', 1, '', '1@example.com', 1, 0, x'2e');
                 INSERT INTO delivery (id, message, route, priority, client, state, waiting, due, attempts, aged_from, stopped)
                 VALUES (1, 1, 'default', 1, 'shop', 1, 1, {at}, 1, {at}, 0);
                 INSERT INTO recipient (delivery, number, address, state, due, tried, reply)
                 VALUES (1, 0, 'a@example.org', 0, {at}, 1, '451 4.3.0 later');
                 INSERT INTO attempt VALUES (1, {at}, 'office', 'smtp.example.net', 'It was put off.', '451 4.3.0 later');
                 PRAGMA user_version = 1;"
            ))
            .unwrap();
    }

    #[test]
    fn an_older_package_reads_the_version_from_the_head_of_the_file_while_the_queue_is_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        of_the_first_version(&path);
        let options = Options { path: path.clone(), max_bytes: u64::MAX, min_free: 0, ephemeral: true };
        let store = SqliteStore::open(options).unwrap();
        // The file format of SQLite, 1.3.
        let head = std::fs::read(path).unwrap();
        assert_eq!(i64::from(u32::from_be_bytes(head[60..64].try_into().unwrap())), VERSION);
        drop(store);
        let preinst = include_str!("../../../deploy/debian/preinst");
        assert!(preinst.contains(&format!("\nknown={VERSION}\n")), "deploy/debian/preinst knows another version");
    }

    #[test]
    fn a_queue_of_the_first_version_is_taken_on_with_its_history() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        of_the_first_version(&path);
        let options = Options { path, max_bytes: u64::MAX, min_free: 0, ephemeral: true };
        for _ in 0..2 {
            let store = SqliteStore::open(options.clone()).unwrap();
            let found: i64 = store.connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(found, VERSION);
            let now = AT.after(Duration::from_secs(60));
            let shown = store.reader().unwrap().show(MessageId(1), now).unwrap().unwrap();
            let [attempt] = &shown.history[..] else { panic!("{:?}", shown.history) };
            let said = (attempt.ago_seconds, attempt.reply.as_str(), attempt.sentence.as_str());
            assert_eq!(said, (60, "451 4.3.0 later", "It was put off."));
            assert_eq!((attempt.time.clone(), &attempt.first, attempt.times), (AT.to_string(), &attempt.time, 1));
            assert_eq!((&attempt.step, attempt.recipients, attempt.to.len()), (&None, 0, 0), "nobody wrote it down");
        }
    }

    /// What the third version charged counts for the caps, and for no client's part of them.
    #[test]
    fn charges_of_the_third_version_are_nobody_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        of_the_first_version(&path);
        {
            let mut connection = Connection::open(&path).unwrap();
            migrate_to(&mut connection, 1, 3).unwrap();
            let at = AT.as_micros();
            let charges = [format!("1, 'user@host', 2, {at}, {at}"), format!("2, 'user@host', 3, {at}, NULL")];
            for charge in charges {
                connection.execute(&format!("INSERT INTO charge VALUES ({charge})"), ()).unwrap();
            }
        }
        let mut store = SqliteStore::open(Options { path, max_bytes: u64::MAX, min_free: 0, ephemeral: true }).unwrap();
        store.take_up(AT, &Machine::now()).unwrap();
        let cap = Cap { counted: Counted::Recipients, count: 10, window: Duration::from_secs(60) };
        let caps = Caps { windows: vec![cap], connections: 1, recipients_per_message: 10, message_size: 1 };
        let ledger = store.ledger(&LoginKey("user@host".into())).unwrap();
        assert_eq!(ledger.allowance(&caps, Priority::High, AT).room().unwrap().recipients, 5);
        assert_eq!(ledger.part(&caps, &"shop".into(), 40, AT).room().unwrap().recipients, 4);
    }
}
