//! What must be told of failed messages, and what the rest of the program keeps here.

use rusqlite::OptionalExtension;

use super::SqliteStore;
use crate::ids::MessageId;
use crate::queue::record::DueReport;
use crate::time::Timestamp;

/// A recipient of this message has failed.
pub(super) fn mark(store: &SqliteStore, message: MessageId, now: Timestamp) -> rusqlite::Result<()> {
    store
        .connection
        .prepare_cached("INSERT OR IGNORE INTO report (message, failed) VALUES (?1, ?2)")?
        .execute((message.0, now.as_micros()))?;
    Ok(())
}

/// Of which nothing is ready, put off, being sent, on hold or uncertain any more.
pub(super) fn due(store: &SqliteStore, limit: u32) -> rusqlite::Result<Vec<DueReport>> {
    let mut statement = store.connection.prepare_cached(
        "SELECT message, failed FROM report WHERE NOT EXISTS \
         (SELECT 1 FROM delivery WHERE message = report.message AND state < 5) ORDER BY failed, message LIMIT ?1",
    )?;
    let rows = statement.query_map([limit], |row| {
        Ok(DueReport { message: MessageId(row.get(0)?), failed: Timestamp::from_micros(row.get(1)?) })
    })?;
    rows.collect()
}

pub(super) fn forget(store: &SqliteStore, messages: &[MessageId]) -> rusqlite::Result<()> {
    let mut statement = store.connection.prepare_cached("DELETE FROM report WHERE message = ?1")?;
    messages.iter().try_for_each(|message| statement.execute([message.0]).map(|_| ()))
}

pub(super) fn kept(store: &SqliteStore, name: &str) -> rusqlite::Result<Option<String>> {
    store
        .connection
        .prepare_cached("SELECT text FROM kept WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

pub(super) fn keep(store: &SqliteStore, name: &str, text: &str) -> rusqlite::Result<()> {
    store
        .connection
        .prepare_cached("INSERT OR REPLACE INTO kept (name, text) VALUES (?1, ?2)")?
        .execute((name, text))?;
    Ok(())
}
