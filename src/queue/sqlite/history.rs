//! What was said in the attempts at a message: written at each settlement, read to be shown.

use rusqlite::{Connection, Row};

use super::SqliteStore;
use crate::queue::record::{Claim, Settlement, ShownAttempt};
use crate::schedule::attempt::Step;
use crate::schedule::verdict::Heard;
use crate::smtp::reply::steady;
use crate::time::Timestamp;

/// Writes down what was heard. What says the same as the attempt before is counted, not repeated: a lane may be probed
/// every 30 s for days.
pub(super) fn note(
    store: &SqliteStore,
    claim: &Claim,
    settlement: &Settlement,
    now: Timestamp,
) -> rusqlite::Result<()> {
    if settlement.heard.is_empty() {
        return Ok(());
    }
    let before = last(&store.connection, claim)?;
    for heard in &settlement.heard {
        let entry = Entry::of(claim, settlement, heard);
        match before.iter().find(|(_, known)| known.says_the_same(&entry)) {
            Some((row, _)) => count(&store.connection, *row, &entry, settlement.wall, now)?,
            None => insert(store, claim, &entry, settlement.wall, now)?,
        }
    }
    // Of most messages there is one attempt.
    if before.is_empty() && settlement.heard.len() <= KEPT as usize { Ok(()) } else { trim(&store.connection, claim) }
}

/// A row of the history, but for its times.
struct Entry {
    account: String,
    host: String,
    step: &'static str,
    sentence: String,
    reply: String,
    recipients: u32,
    named: String,
}

impl Entry {
    fn of(claim: &Claim, settlement: &Settlement, heard: &Heard) -> Self {
        let addresses = heard.recipients.iter().filter_map(|place| claim.recipients.get(*place));
        let named: Vec<&str> = addresses.take(NAMED).map(|recipient| recipient.address.as_str()).collect();
        Self {
            account: claim.account.to_string(),
            host: settlement.host.clone(),
            step: heard.step.map_or("", Step::as_str),
            sentence: heard.sentence.clone(),
            reply: heard.reply.clone(),
            recipients: u32::try_from(heard.recipients.len()).unwrap_or(u32::MAX),
            // A list of texts is always JSON.
            named: serde_json::to_string(&named).unwrap_or_default(),
        }
    }
}

/// What is known of the attempt before.
struct Known {
    account: String,
    step: String,
    reply: String,
    recipients: u32,
    named: String,
}

impl Known {
    fn says_the_same(&self, entry: &Entry) -> bool {
        self.account == entry.account
            && self.step == entry.step
            && steady(&self.reply) == steady(&entry.reply)
            && (self.recipients, &self.named) == (entry.recipients, &entry.named)
    }
}

fn last(connection: &Connection, claim: &Claim) -> rusqlite::Result<Vec<(i64, Known)>> {
    let mut statement = connection.prepare_cached(
        "SELECT rowid, account, step, reply, recipients, named FROM attempt \
         WHERE delivery = ?1 AND at = (SELECT max(at) FROM attempt WHERE delivery = ?1)",
    )?;
    let rows = statement.query_map([claim.delivery.0], |row| {
        let (account, step, reply) = (row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((row.get(0)?, Known { account, step, reply, recipients: row.get(4)?, named: row.get(5)? }))
    })?;
    rows.collect()
}

fn count(connection: &Connection, row: i64, entry: &Entry, wall: Timestamp, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "UPDATE attempt SET times = times + 1, at = ?2, wall = ?3, reply = ?4, sentence = ?5, host = ?6 WHERE rowid = ?1",
        )?
        .execute((row, now.as_micros(), wall.as_micros(), &entry.reply, &entry.sentence, &entry.host))?;
    Ok(())
}

fn insert(store: &SqliteStore, claim: &Claim, entry: &Entry, wall: Timestamp, now: Timestamp) -> rusqlite::Result<()> {
    store
        .connection
        .prepare_cached(
            "INSERT INTO attempt (delivery, at, wall, first, account, host, step, sentence, reply, recipients, named) \
             VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?
        .execute((
            claim.delivery.0,
            now.as_micros(),
            wall.as_micros(),
            &entry.account,
            &entry.host,
            entry.step,
            &entry.sentence,
            &entry.reply,
            entry.recipients,
            &entry.named,
        ))?;
    Ok(())
}

/// Forgets the oldest rows of a delivery where replies take turns for days.
fn trim(connection: &Connection, claim: &Claim) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "DELETE FROM attempt WHERE rowid IN \
             (SELECT rowid FROM attempt WHERE delivery = ?1 ORDER BY rowid DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((claim.delivery.0, KEPT))?;
    Ok(())
}

/// The history of a delivery, the oldest first.
pub(super) fn read(connection: &Connection, delivery: i64, now: Timestamp) -> rusqlite::Result<Vec<ShownAttempt>> {
    let mut statement = connection.prepare_cached(
        "SELECT at, wall, first, times, account, host, step, sentence, reply, recipients, named \
         FROM attempt WHERE delivery = ?1 ORDER BY rowid",
    )?;
    let rows = statement.query_map([delivery], |row| shown(row, now))?;
    rows.collect()
}

fn shown(row: &Row<'_>, now: Timestamp) -> rusqlite::Result<ShownAttempt> {
    let time = |index| row.get(index).map(|micros| Timestamp::from_micros(micros).to_string());
    Ok(ShownAttempt {
        ago_seconds: now.since(Timestamp::from_micros(row.get(0)?)).as_secs(),
        time: time(1)?,
        first: time(2)?,
        times: row.get(3)?,
        account: row.get::<_, String>(4)?.into(),
        host: row.get(5)?,
        step: Some(row.get(6)?).filter(|step: &String| !step.is_empty()),
        sentence: row.get(7)?,
        reply: row.get(8)?,
        recipients: row.get(9)?,
        to: serde_json::from_str(row.get_ref(10)?.as_str()?).unwrap_or_default(),
    })
}

/// So many recipients are named where something was said about more.
const NAMED: usize = 5;
/// Rows of a delivery; its attempts are counted beside them.
const KEPT: u32 = 500;
