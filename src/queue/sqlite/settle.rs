//! What came of a claim, and what becomes of claims whose holders died.

use rusqlite::OptionalExtension;

use super::claim::stored_address;
use super::{SqliteStore, history, micros};
use crate::ids::{AccountName, DeliveryId, MessageId};
use crate::queue::record::{Claim, Reclaimed, Settled, Settlement};
use crate::schedule::verdict::{Charge, Outcome};
use crate::smtp::Address;
use crate::time::Timestamp;

pub(super) fn settle(
    store: &mut SqliteStore,
    claim: &Claim,
    settlement: &Settlement,
    now: Timestamp,
) -> rusqlite::Result<Settled> {
    match settlement.charge {
        Charge::Kept => store.end_charge(claim.charge, now)?,
        Charge::Refunded => store.refund_charge(claim.charge)?,
    }
    let tried = u32::from(settlement.outcomes.iter().any(|(outcome, _)| *outcome != Outcome::Untried));
    let doubt = settlement.doubt.as_ref();
    let ours = store
        .connection
        .prepare_cached(
            "UPDATE delivery SET attempts = attempts + ?3, doubt_since = ?4, doubt_refusal = ?5, doubt_account = ?6 \
             WHERE id = ?1 AND fence = ?2 AND state = 2",
        )?
        .execute((
            claim.delivery.0,
            claim.fence,
            tried,
            doubt.map(|doubt| doubt.since.as_micros()),
            doubt.map(|doubt| doubt.refusal.as_str()),
            doubt.map(|doubt| doubt.account.as_str()),
        ))?;
    if ours == 0 {
        return Ok(Settled::Superseded);
    }
    for (recipient, (outcome, reply)) in claim.recipients.iter().zip(&settlement.outcomes) {
        write_outcome(store, claim.delivery, recipient.number, outcome, reply)?;
    }
    if settlement.outcomes.iter().any(|(outcome, _)| matches!(outcome, Outcome::Failed | Outcome::Expired)) {
        super::report::mark(store, claim.message, now)?;
    }
    history::note(store, claim, settlement, now)?;
    if settlement.wakes_doubted {
        wake_doubted(store, now)?;
    }
    let waiting = stand(store, claim.delivery, claim.message, now)?;
    Ok(Settled::Written { waiting, attempts: claim.attempts + tried })
}

fn write_outcome(
    store: &SqliteStore,
    delivery: DeliveryId,
    number: u32,
    outcome: &Outcome,
    reply: &str,
) -> rusqlite::Result<()> {
    let (state, due, counted) = match outcome {
        Outcome::Delivered => (1, None, 1),
        Outcome::Failed => (2, None, 1),
        Outcome::Expired => (3, None, 1),
        Outcome::Uncertain => (4, None, 1),
        Outcome::Deferred { until, counted } => (0, Some(until.as_micros()), i64::from(*counted)),
        Outcome::Untried => (0, None, 0),
    };
    store
        .connection
        .prepare_cached(
            "UPDATE recipient SET state = ?3, due = coalesce(?4, due), tried = tried + ?5, reply = ?6 \
             WHERE delivery = ?1 AND number = ?2",
        )?
        .execute((delivery.0, number, state, due, counted, reply))?;
    Ok(())
}

/// Those put off because nobody else's mail had passed either: now somebody's has.
fn wake_doubted(store: &SqliteStore, now: Timestamp) -> rusqlite::Result<()> {
    let mut statement = store.connection.prepare_cached(
        "SELECT id FROM delivery WHERE state = 1 AND doubt_since IS NOT NULL AND doubt_since < ?1 LIMIT 100",
    )?;
    let ids =
        statement.query_map([now.as_micros()], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    ids.iter().try_for_each(|id| super::claim::make_ready(store, *id, now))
}

/// Where a delivery stands, from where its recipients do; it is not leased any more. Returns how many wait.
pub(super) fn stand(
    store: &mut SqliteStore,
    delivery: DeliveryId,
    message: MessageId,
    now: Timestamp,
) -> rusqlite::Result<u32> {
    let (waiting, due, uncertain, failed): (u32, Option<i64>, u32, u32) = store
        .connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE state = 0), min(due) FILTER (WHERE state = 0), \
                    count(*) FILTER (WHERE state = 4), count(*) FILTER (WHERE state IN (2, 3)) \
             FROM recipient WHERE delivery = ?1",
        )?
        .query_row([delivery.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let (state, ended) = match (due, uncertain, failed) {
        (Some(due), _, _) if due > now.as_micros() => (1, None),
        (Some(_), _, _) => (0, None),
        (None, 1.., _) => (4, None),
        (None, 0, 1..) => (6, Some(now.as_micros())),
        (None, 0, 0) => (5, Some(now.as_micros())),
    };
    store
        .connection
        .prepare_cached(
            "UPDATE delivery SET state = ?2, waiting = ?3, due = coalesce(?4, due), ended = ?5, \
             account = NULL, charge = NULL, lease_until = NULL WHERE id = ?1",
        )?
        .execute((delivery.0, state, waiting, due, ended))?;
    if state == 5 {
        forget_content(store, message)?;
    }
    Ok(waiting)
}

/// The content goes once nothing can want it: no delivery of the message is anything but done.
pub(super) fn forget_content(store: &mut SqliteStore, message: MessageId) -> rusqlite::Result<()> {
    let wanted = store
        .connection
        .prepare_cached("SELECT 1 FROM delivery WHERE message = ?1 AND state <> 5")?
        .exists([message.0])?;
    if wanted {
        return Ok(());
    }
    let size: Option<i64> = store
        .connection
        .prepare_cached("UPDATE message SET head = NULL WHERE id = ?1 AND head IS NOT NULL RETURNING size")?
        .query_row([message.0], |row| row.get(0))
        .optional()?;
    if let Some(size) = size {
        store.connection.prepare_cached("DELETE FROM chunk WHERE message = ?1")?.execute([message.0])?;
        store.live_bytes = store.live_bytes.saturating_sub(u64::try_from(size).unwrap_or(0));
    }
    Ok(())
}

pub(super) fn reclaim(
    store: &mut SqliteStore,
    everything: bool,
    hold: &dyn Fn(&AccountName) -> bool,
    now: Timestamp,
) -> rusqlite::Result<Vec<Reclaimed>> {
    let horizon = if everything { i64::MAX } else { now.as_micros() };
    let mut dead = Vec::new();
    {
        let mut statement = store.connection.prepare_cached(
            "SELECT id, message, client, account, fence, charge FROM delivery WHERE state = 2 AND lease_until < ?1",
        )?;
        let mut rows = statement.query([horizon])?;
        while let Some(row) = rows.next()? {
            let reclaimed = Reclaimed {
                delivery: DeliveryId(row.get(0)?),
                message: MessageId(row.get(1)?),
                client: row.get::<_, String>(2)?.into(),
                account: row.get::<_, String>(3)?.into(),
                recipients: Vec::new(),
            };
            dead.push((reclaimed, row.get::<_, i64>(4)?, row.get::<_, i64>(5)?));
        }
    }
    let mut reclaimed = Vec::with_capacity(dead.len());
    for (mut one, fence, charge) in dead {
        one.recipients = leased_recipients(store, one.delivery, fence)?;
        let state = if hold(&one.account) { 4 } else { 0 };
        store
            .connection
            .prepare_cached(
                "UPDATE recipient SET state = ?3, due = ?4, tried = tried + 1, \
                 reply = 'the daemon stopped during the transaction' \
                 WHERE delivery = ?1 AND leased = ?2 AND state = 0",
            )?
            .execute((one.delivery.0, fence, state, now.as_micros()))?;
        store
            .connection
            .prepare_cached("UPDATE delivery SET fence = fence + 1, attempts = attempts + 1 WHERE id = ?1")?
            .execute([one.delivery.0])?;
        store.end_charge(charge, now)?;
        stand(store, one.delivery, one.message, now)?;
        reclaimed.push(one);
    }
    Ok(reclaimed)
}

fn leased_recipients(store: &SqliteStore, delivery: DeliveryId, fence: i64) -> rusqlite::Result<Vec<Address>> {
    let mut statement = store.connection.prepare_cached(
        "SELECT address FROM recipient WHERE delivery = ?1 AND leased = ?2 AND state = 0 ORDER BY number",
    )?;
    let rows = statement.query_map((delivery.0, fence), |row| stored_address(row, 0))?;
    rows.collect()
}

/// How old the delivery is, in microseconds, for what is written anew.
pub(super) fn stopped_micros(store: &SqliteStore, route: &str, now: Timestamp) -> i64 {
    micros(store.stopped(&route.into(), now))
}
