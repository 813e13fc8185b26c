//! Messages on their way in.

use super::connection::failed;
use super::{SqliteStore, micros};
use crate::ids::MessageId;
use crate::queue::error::StoreError;
use crate::queue::record::NewMessage;
use crate::time::Timestamp;

pub(super) fn append(store: &mut SqliteStore, message: MessageId, number: u32, chunk: &[u8]) -> Result<(), StoreError> {
    store
        .connection
        .prepare_cached("INSERT INTO chunk (message, number, bytes) VALUES (?1, ?2, ?3)")
        .and_then(|mut statement| statement.execute((message.0, number, chunk)))
        .map_err(failed)?;
    store.live_bytes = store.live_bytes.saturating_add(chunk.len() as u64);
    Ok(())
}

pub(super) fn abandon(store: &mut SqliteStore, message: MessageId) -> Result<(), StoreError> {
    forget_chunks(store, "message = ?1 AND NOT EXISTS (SELECT 1 FROM message WHERE id = ?1)", [message.0])
        .map_err(failed)
}

/// Forgets the chunks whose messages never came to their end.
pub(super) fn sweep_orphans(store: &mut SqliteStore) -> rusqlite::Result<()> {
    forget_chunks(store, "NOT EXISTS (SELECT 1 FROM message WHERE id = chunk.message)", ())
}

fn forget_chunks(store: &mut SqliteStore, which: &str, of: impl rusqlite::Params + Copy) -> rusqlite::Result<()> {
    let octets: i64 = store
        .connection
        .prepare_cached(&format!("SELECT coalesce(sum(length(bytes)), 0) FROM chunk WHERE {which}"))?
        .query_row(of, |row| row.get(0))?;
    store.connection.prepare_cached(&format!("DELETE FROM chunk WHERE {which}"))?.execute(of)?;
    store.live_bytes = store.live_bytes.saturating_sub(octets.cast_unsigned());
    Ok(())
}

pub(super) fn enqueue(store: &mut SqliteStore, message: &NewMessage, now: Timestamp) -> Result<(), StoreError> {
    if !store.clocks.contains_key(&message.route) {
        // A route is known from its first message on, so that the time the daemon is down does not age that one.
        store.write_clock(&message.route, super::RouteClock::default())?;
    }
    insert(store, message, now).map_err(failed)?;
    // Its chunks have been counted as they came.
    store.live_bytes = store.live_bytes.saturating_add(message.head.len() as u64);
    Ok(())
}

fn insert(store: &mut SqliteStore, message: &NewMessage, now: Timestamp) -> rusqlite::Result<()> {
    let reverse_path = message.envelope.reverse_path.address().map_or("", |address| address.as_str());
    let priority = super::claim::priority_number(message.priority);
    let delivery = store.take_delivery_id();
    let stopped = micros(store.stopped(&message.route, now));
    let connection = &store.connection;
    connection
        .prepare_cached(
            "INSERT INTO message (id, accepted, received, client, address, priority, reverse_path, header_id, size, chunks, head) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute((
            message.id.0,
            now.as_micros(),
            message.received.as_micros(),
            message.client.as_str(),
            &message.address,
            priority,
            reverse_path,
            &message.header_id,
            message.size.cast_signed(),
            message.chunks,
            &message.head,
        ))?;
    connection
        .prepare_cached(
            "INSERT INTO delivery (id, message, route, priority, client, state, waiting, due, aged_from, stopped) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?7, ?8)",
        )?
        .execute((
            delivery.0,
            message.id.0,
            message.route.as_str(),
            priority,
            message.client.as_str(),
            i64::try_from(message.envelope.recipients.len()).unwrap_or(i64::MAX),
            now.as_micros(),
            stopped,
        ))?;
    let mut statement = connection
        .prepare_cached("INSERT INTO recipient (delivery, number, address, state, due) VALUES (?1, ?2, ?3, 0, ?4)")?;
    for (number, recipient) in (0_u32..).zip(&message.envelope.recipients) {
        statement.execute((delivery.0, number, recipient.as_str(), now.as_micros()))?;
    }
    Ok(())
}
