//! Reads beside the writer: each one a short transaction of its own, so that none holds the log back.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row};

use super::claim::{priority_of, stored_path};
use super::connection::{failed, may_tidy, not_opened, open_file};
use super::{OpenError, damage, history};
use crate::ids::MessageId;
use crate::queue::QueueReader;
use crate::queue::error::StoreError;
use crate::queue::record::{Fate, ListRequest, Listed, Shown, ShownRecipient, Stats};
use crate::time::Timestamp;

/// A reading connection.
#[derive(Debug)]
pub struct SqliteReader {
    pub(super) connection: Connection,
    path: PathBuf,
}

impl SqliteReader {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let connection = open_file(path).map_err(|error| not_opened(path, &error))?;
        // It reads most pages once, and the kernel has them.
        connection.pragma_update(None, "cache_size", -CACHE_KIB).map_err(|error| not_opened(path, &error))?;
        Ok(Self { connection, path: path.to_owned() })
    }

    /// Damage that a reader meets is noted for the next start. It concerns what was asked for, so the rest goes on.
    fn noted<T>(&self, read: rusqlite::Result<T>) -> Result<T, StoreError> {
        read.map_err(|error| {
            let error = failed(error);
            if let StoreError::Damaged(what) = &error {
                damage::mark(&self.path, what);
            }
            error
        })
    }
}

impl Drop for SqliteReader {
    fn drop(&mut self) {
        may_tidy(&self.connection, &self.path);
    }
}

impl QueueReader for SqliteReader {
    fn content(&mut self, message: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        self.noted(content(&self.connection, message))
    }

    fn head(&mut self, message: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
        self.noted(head(&self.connection, message, i64::MAX))
    }

    fn list(&mut self, request: &ListRequest, now: Timestamp) -> Result<Vec<Listed>, StoreError> {
        self.noted(list(&self.connection, request, now))
    }

    fn show(&mut self, message: MessageId, now: Timestamp) -> Result<Option<Shown>, StoreError> {
        self.noted(show(&self.connection, message, now))
    }

    fn stats(&mut self, now: Timestamp) -> Result<Stats, StoreError> {
        self.noted(stats(&self.connection, now))
    }
}

fn content(connection: &Connection, message: MessageId) -> rusqlite::Result<Option<Vec<u8>>> {
    let transaction = connection.unchecked_transaction()?;
    let found = transaction
        .prepare_cached("SELECT head, size FROM message WHERE id = ?1 AND head IS NOT NULL")?
        .query_row([message.0], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((mut content, size)) = found else { return Ok(None) };
    content.reserve(usize::try_from(size).unwrap_or(0).saturating_sub(content.len()).min(LARGEST));
    {
        let mut statement = transaction.prepare_cached("SELECT bytes FROM chunk WHERE message = ?1 ORDER BY number")?;
        let mut rows = statement.query([message.0])?;
        while let Some(row) = rows.next()? {
            content.extend_from_slice(row.get_ref(0)?.as_blob()?);
        }
    }
    transaction.commit()?;
    Ok(Some(content))
}

/// The beginning of a content that has so many chunks behind it at most: with none it is all.
pub(super) fn head(connection: &Connection, message: MessageId, chunks: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection
        .prepare_cached("SELECT head FROM message WHERE id = ?1 AND head IS NOT NULL AND chunks <= ?2")?
        .query_row((message.0, chunks), |row| row.get(0))
        .optional()
}

/// Octets that are asked of the system at once: a size that was never true must not be believed.
const LARGEST: usize = 1 << 30;

/// What a list shows of a message.
const LISTED: &str = "
SELECT m.id, d.state, m.client, m.priority, m.reverse_path,
       (SELECT address FROM recipient WHERE delivery = d.id ORDER BY number LIMIT 1),
       (SELECT count(*) FROM recipient WHERE delivery = d.id),
       m.size, m.accepted, d.due, d.attempts,
       (SELECT reply FROM recipient WHERE delivery = d.id AND reply IS NOT NULL ORDER BY state = 1, number LIMIT 1),
       EXISTS (SELECT 1 FROM recipient WHERE delivery = d.id AND state = 3) AS expired,
       EXISTS (SELECT 1 FROM recipient WHERE delivery = d.id AND state = 1) AS delivered
FROM delivery d JOIN message m ON m.id = d.message
";

fn listed(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<Listed> {
    let state: i64 = row.get(1)?;
    let fate = match state {
        0 | 1 => Fate::Waiting,
        2 => Fate::Sending,
        3 => Fate::Held,
        4 => Fate::Uncertain,
        5 if row.get(13)? => Fate::Delivered,
        5 => Fate::Deleted,
        _ if row.get(12)? => Fate::Expired,
        _ => Fate::Failed,
    };
    let due = Timestamp::from_micros(row.get(9)?);
    Ok(Listed {
        queue_id: MessageId(row.get(0)?),
        fate,
        client: row.get::<_, String>(2)?.into(),
        priority: priority_of(row.get(3)?),
        from: stored_path(row, 4)?,
        to: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
        recipients: row.get(6)?,
        size: u64::try_from(row.get::<_, i64>(7)?).unwrap_or(0),
        age_seconds: now.since(Timestamp::from_micros(row.get(8)?)).as_secs(),
        next_attempt_in: (state == 1).then(|| due.since(now).as_secs()),
        attempts: row.get(10)?,
        last_reply: row.get(11)?,
    })
}

fn list(connection: &Connection, request: &ListRequest, now: Timestamp) -> rusqlite::Result<Vec<Listed>> {
    let states = match request.fate {
        None => "d.state <> 5",
        Some(Fate::Waiting) => "d.state IN (0, 1)",
        Some(Fate::Sending) => "d.state = 2",
        Some(Fate::Held) => "d.state = 3",
        Some(Fate::Uncertain) => "d.state = 4",
        Some(Fate::Failed) => "d.state = 6 AND NOT expired",
        Some(Fate::Expired) => "d.state = 6 AND expired",
        Some(Fate::Delivered) => "d.state = 5 AND delivered",
        Some(Fate::Deleted) => "d.state = 5 AND NOT delivered",
    };
    // By the index on this column: by `m.id` all of them would be sorted first.
    let sql = format!("{LISTED} WHERE d.message > ?1 AND {states} ORDER BY d.message LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let after = request.after.map_or(0, |after| after.0);
    let rows = statement.query_map((after, request.limit), |row| listed(row, now))?;
    rows.collect()
}

fn show(connection: &Connection, message: MessageId, now: Timestamp) -> rusqlite::Result<Option<Shown>> {
    let sql = format!("{LISTED} WHERE m.id = ?1");
    let Some(listed) = connection.prepare_cached(&sql)?.query_row([message.0], |row| listed(row, now)).optional()?
    else {
        return Ok(None);
    };
    let (address, message_id, received, route, delivery) = connection
        .prepare_cached(
            "SELECT m.address, m.header_id, m.received, d.route, d.id FROM message m JOIN delivery d ON d.message = m.id \
             WHERE m.id = ?1",
        )?
        .query_row([message.0], |row| {
            let received = Timestamp::from_micros(row.get(2)?).to_string();
            Ok((row.get(0)?, row.get(1)?, received, row.get::<_, String>(3)?, row.get::<_, i64>(4)?))
        })?;
    let mut statement = connection.prepare_cached(
        "SELECT r.address, r.state, r.tried, r.reply, d.state, d.state = 2 AND r.leased = d.fence \
             FROM recipient r JOIN delivery d ON d.id = r.delivery WHERE d.id = ?1 ORDER BY r.number",
    )?;
    let each = statement
        .query_map([delivery], |row| {
            let fate = match row.get::<_, i64>(1)? {
                0 if row.get::<_, i64>(4)? == 3 => Fate::Held,
                0 if row.get(5)? => Fate::Sending,
                0 => Fate::Waiting,
                1 => Fate::Delivered,
                2 => Fate::Failed,
                3 => Fate::Expired,
                4 => Fate::Uncertain,
                _ => Fate::Deleted,
            };
            Ok(ShownRecipient { address: row.get(0)?, fate, attempts: row.get(2)?, reply: row.get(3)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let history = history::read(connection, delivery, now)?;
    Ok(Some(Shown { listed, address, message_id, received, route: route.into(), each, history, waits_for: Vec::new() }))
}

/// One pass without a sort: sorting a million rows would hold them in memory.
fn stats(connection: &Connection, now: Timestamp) -> rusqlite::Result<Stats> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), count(*) FILTER (WHERE state = 2), \
                count(*) FILTER (WHERE state = 3), count(*) FILTER (WHERE state = 4), count(*) FILTER (WHERE state = 5), \
                count(*) FILTER (WHERE state = 6), min(aged_from) FILTER (WHERE state < 3), (SELECT live_bytes FROM meta) \
         FROM delivery",
    )?;
    statement.query_row((), |row| {
        let count = |index| row.get::<_, i64>(index).map(|count| u64::try_from(count).unwrap_or(0));
        let oldest: Option<i64> = row.get(7)?;
        Ok(Stats {
            ready: count(0)?,
            deferred: count(1)?,
            sending: count(2)?,
            held: count(3)?,
            uncertain: count(4)?,
            done: count(5)?,
            failed: count(6)?,
            live_bytes: count(8)?,
            oldest_seconds: oldest.map(|oldest| now.since(Timestamp::from_micros(oldest)).as_secs()),
        })
    })
}

/// What a reader remembers of the database; SQLite takes a negative number for KiB.
const CACHE_KIB: i32 = 256;
