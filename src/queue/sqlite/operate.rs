//! What operators do to messages, and what goes by age.

use std::time::Duration;

use rusqlite::OptionalExtension;

use super::claim::{make_ready, stored_address};
use super::settle::{forget_content, stand, stopped_micros};
use super::{SqliteStore, micros};
use crate::ids::{DeliveryId, MessageId};
use crate::queue::record::{Operated, Operation};
use crate::smtp::Address;
use crate::time::Timestamp;

struct Target {
    delivery: DeliveryId,
    route: String,
    state: i64,
}

pub(super) fn operate(
    store: &mut SqliteStore,
    message: MessageId,
    operation: Operation,
    now: Timestamp,
) -> rusqlite::Result<Operated> {
    let client: Option<String> = store
        .connection
        .prepare_cached("SELECT client FROM message WHERE id = ?1")?
        .query_row([message.0], |row| row.get(0))
        .optional()?;
    let Some(client) = client else { return Ok(Operated::Unknown) };
    let targets = targets(store, message)?;
    if targets.iter().any(|target| target.state == 2) {
        return Ok(Operated::Busy);
    }
    let mut recipients = Vec::new();
    for target in &targets {
        recipients.append(&mut apply(store, message, target, operation, now)?);
    }
    if recipients.is_empty() {
        return Ok(Operated::Nothing(nothing(operation).into()));
    }
    Ok(Operated::Done { client: client.into(), recipients })
}

fn targets(store: &SqliteStore, message: MessageId) -> rusqlite::Result<Vec<Target>> {
    let mut statement = store.connection.prepare_cached("SELECT id, route, state FROM delivery WHERE message = ?1")?;
    let rows = statement.query_map([message.0], |row| {
        Ok(Target { delivery: DeliveryId(row.get(0)?), route: row.get(1)?, state: row.get(2)? })
    })?;
    rows.collect()
}

/// Does it to one delivery; who was concerned.
fn apply(
    store: &mut SqliteStore,
    message: MessageId,
    target: &Target,
    operation: Operation,
    now: Timestamp,
) -> rusqlite::Result<Vec<Address>> {
    let Target { delivery, state, .. } = *target;
    match operation {
        Operation::Hold if matches!(state, 0 | 1) => {
            set_state(store, delivery, 3)?;
            in_states(store, delivery, &[0])
        }
        Operation::Release if state == 3 => {
            make_ready(store, delivery.0, now)?;
            in_states(store, delivery, &[0])
        }
        Operation::Retry if matches!(state, 0 | 1 | 6) => {
            let concerned = in_states(store, delivery, &[0, 2, 3])?;
            revive(store, target, now)?;
            super::report::forget(store, &[message])?;
            stand(store, delivery, message, now)?;
            Ok(concerned)
        }
        Operation::Delete if state != 5 => {
            let concerned = in_states(store, delivery, &[0, 2, 3, 4])?;
            move_recipients(store, delivery, &[0, 2, 3, 4], 5, now)?;
            stand(store, delivery, message, now)?;
            forget_content(store, message)?;
            Ok(concerned)
        }
        Operation::SettleDelivered | Operation::SettleFailed => {
            let concerned = in_states(store, delivery, &[4])?;
            if !concerned.is_empty() {
                move_recipients(
                    store,
                    delivery,
                    &[4],
                    if operation == Operation::SettleDelivered { 1 } else { 2 },
                    now,
                )?;
                // A delivery on hold stays there with what else it has.
                if state != 3 {
                    stand(store, delivery, message, now)?;
                }
            }
            Ok(concerned)
        }
        _ => Ok(Vec::new()),
    }
}

/// What failed or was put off begins anew, as young as if it had just been accepted.
fn revive(store: &SqliteStore, target: &Target, now: Timestamp) -> rusqlite::Result<()> {
    move_recipients(store, target.delivery, &[0, 2, 3], 0, now)?;
    if target.state == 6 {
        store
            .connection
            .prepare_cached(
                "UPDATE delivery SET aged_from = ?2, stopped = ?3, doubt_since = NULL, doubt_refusal = NULL, doubt_account = NULL WHERE id = ?1",
            )?
            .execute((target.delivery.0, now.as_micros(), stopped_micros(store, &target.route, now)))?;
    }
    Ok(())
}

fn set_state(store: &SqliteStore, delivery: DeliveryId, state: i64) -> rusqlite::Result<()> {
    store.connection.prepare_cached("UPDATE delivery SET state = ?2 WHERE id = ?1")?.execute((delivery.0, state))?;
    Ok(())
}

fn in_states(store: &SqliteStore, delivery: DeliveryId, states: &[i64]) -> rusqlite::Result<Vec<Address>> {
    let mut statement =
        store.connection.prepare_cached("SELECT address, state FROM recipient WHERE delivery = ?1 ORDER BY number")?;
    let rows = statement.query_map([delivery.0], |row| Ok((stored_address(row, 0)?, row.get::<_, i64>(1)?)))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(rows.into_iter().filter(|(_, state)| states.contains(state)).map(|(address, _)| address).collect())
}

fn move_recipients(
    store: &SqliteStore,
    delivery: DeliveryId,
    from: &[i64],
    to: i64,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let mut statement = store
        .connection
        .prepare_cached("UPDATE recipient SET state = ?3, due = ?4 WHERE delivery = ?1 AND state = ?2")?;
    for state in from {
        statement.execute((delivery.0, state, to, now.as_micros()))?;
    }
    Ok(())
}

fn nothing(operation: Operation) -> &'static str {
    match operation {
        Operation::Retry => {
            "nothing of it waits or has failed (a message on hold is released, an uncertain one settled)"
        }
        Operation::Hold => "nothing of it waits",
        Operation::Release => "it is not on hold",
        Operation::Delete => "all of it has been delivered or deleted already",
        Operation::SettleDelivered | Operation::SettleFailed => "nothing of it is uncertain",
    }
}

pub(super) fn sweep(
    store: &mut SqliteStore,
    keep: Duration,
    ledger: Duration,
    now: Timestamp,
) -> rusqlite::Result<u32> {
    let ended: Vec<(i64, i64)> = store
        .connection
        .prepare_cached("SELECT id, message FROM delivery WHERE ended < ?1 ORDER BY ended LIMIT 1000")?
        .query_map([now.as_micros() - micros(keep)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (delivery, message) in &ended {
        forget_delivery(store, *delivery, MessageId(*message))?;
    }
    let horizon = now.before(ledger);
    let charges = store
        .connection
        .prepare_cached(
            "DELETE FROM charge WHERE id IN (SELECT id FROM charge WHERE ended < ?1 ORDER BY ended LIMIT 1000)",
        )?
        .execute([horizon.as_micros()])?;
    if charges < 1000 {
        store.ledgers.values_mut().for_each(|ledger| ledger.forget(horizon));
    }
    // Pages that deletions have freed go back to the file system, a few at a time.
    let mut vacuum = store.connection.prepare_cached("PRAGMA incremental_vacuum(256)")?;
    let mut pages = vacuum.query(())?;
    // Each step frees one page.
    while pages.next()?.is_some() {}
    Ok(u32::try_from(ended.len() + charges).unwrap_or(u32::MAX))
}

fn forget_delivery(store: &mut SqliteStore, delivery: i64, message: MessageId) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM attempt WHERE delivery = ?1",
        "DELETE FROM recipient WHERE delivery = ?1",
        "DELETE FROM delivery WHERE id = ?1",
    ] {
        store.connection.prepare_cached(sql)?.execute([delivery])?;
    }
    forget_content(store, message)?;
    super::report::forget(store, &[message])?;
    store
        .connection
        .prepare_cached("DELETE FROM message WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE message = ?1)")?
        .execute([message.0])?;
    Ok(())
}
