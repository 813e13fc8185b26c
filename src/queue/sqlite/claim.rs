//! What may go now, and who takes it.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row};

use super::{SqliteStore, micros};
use crate::ids::{DeliveryId, MessageId, RouteName};
use crate::queue::record::{Claim, ClaimRequest, ClaimedRecipient, View};
use crate::route::Priority;
use crate::schedule::cap::{Allowance, Room};
use crate::schedule::plan::{Flow, Head};
use crate::schedule::verdict::Doubt;
use crate::smtp::{Address, ReversePath};
use crate::time::Timestamp;

/// As the tables have it; the order is that of the classes.
pub(super) fn priority_number(priority: Priority) -> i64 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

pub(super) fn priority_of(number: i64) -> Priority {
    match number {
        0 => Priority::High,
        2 => Priority::Low,
        _ => Priority::Normal,
    }
}

pub(super) fn view(store: &mut SqliteStore, heads: u32, now: Timestamp) -> rusqlite::Result<View> {
    store
        .connection
        .prepare_cached(
            "UPDATE delivery SET state = 0 WHERE id IN \
             (SELECT id FROM delivery WHERE state = 1 AND due <= ?1 ORDER BY due LIMIT 1000)",
        )?
        .execute([now.as_micros()])?;
    let next_due = store
        .connection
        .prepare_cached("SELECT due FROM delivery WHERE state = 1 ORDER BY due LIMIT 1")?
        .query_row((), |row| row.get(0))
        .optional()?
        .map(Timestamp::from_micros);
    let mut flows = Vec::new();
    let mut after = (String::new(), -1_i64, String::new());
    while let Some((route, priority, client)) = next_flow(store, &after)? {
        let heads = flow_heads(store, (&route, priority, &client), heads, now)?;
        flows.push(Flow {
            route: route.as_str().into(),
            client: client.as_str().into(),
            priority: priority_of(priority),
            heads,
        });
        after = (route, priority, client);
    }
    Ok(View { flows, next_due })
}

/// The first flow after this one that has mail ready: one step in the index, however much waits. Three questions, as
/// SQLite answers `(route, priority, client) > (?, ?, ?)` by walking through all of the flow it starts from.
fn next_flow(store: &SqliteStore, after: &(String, i64, String)) -> rusqlite::Result<Option<(String, i64, String)>> {
    for rest in ["route = ?1 AND priority = ?2 AND client > ?3", "route = ?1 AND priority > ?2", "route > ?1"] {
        let sql = format!(
            "SELECT route, priority, client, ?2, ?3 FROM delivery WHERE state = 0 AND {rest} \
             ORDER BY route, priority, client LIMIT 1",
        );
        let next = store
            .connection
            .prepare_cached(&sql)?
            .query_row((&after.0, after.1, &after.2), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        if next.is_some() {
            return Ok(next);
        }
    }
    Ok(None)
}

fn flow_heads(
    store: &SqliteStore,
    (route, priority, client): (&str, i64, &str),
    heads: u32,
    now: Timestamp,
) -> rusqlite::Result<Vec<Head>> {
    let stopped = store.stopped(&RouteName::from(route), now);
    let mut statement = store.connection.prepare_cached(
        "SELECT waiting, aged_from, stopped FROM delivery \
         WHERE state = 0 AND route = ?1 AND priority = ?2 AND client = ?3 ORDER BY id LIMIT ?4",
    )?;
    let rows = statement.query_map((route, priority, client, heads), |row| {
        Ok(Head { recipients: row.get(0)?, age: age(row.get(1)?, row.get(2)?, stopped, now) })
    })?;
    rows.collect()
}

/// How long a delivery has aged: since it began to, without what its route was stopped for since.
pub(super) fn age(aged_from: i64, stopped_then: i64, stopped_now: Duration, now: Timestamp) -> Duration {
    let stopped = stopped_now.saturating_sub(Duration::from_micros(u64::try_from(stopped_then).unwrap_or(0)));
    now.since(Timestamp::from_micros(aged_from)).saturating_sub(stopped)
}

pub(super) fn claim(
    store: &mut SqliteStore,
    request: &ClaimRequest<'_>,
    now: Timestamp,
) -> rusqlite::Result<Option<Claim>> {
    let ledger = store.ledgers.entry(request.login.clone()).or_default();
    let allowance = ledger.allowance(request.caps, request.priority, now);
    let allowance = match request.share {
        Some(percent) => allowance.and(ledger.part(request.caps, request.client, percent, now)),
        None => allowance,
    };
    let room = match allowance {
        Allowance::Now(room) if ledger.under_way() < request.caps.connections => room,
        _ => return Ok(None),
    };
    let oldest = store
        .connection
        .prepare_cached(
            "SELECT id, message, fence, attempts, aged_from, stopped, doubt_since, doubt_refusal, doubt_account FROM delivery \
             WHERE state = 0 AND route = ?1 AND priority = ?2 AND client = ?3 ORDER BY id LIMIT 1",
        )?
        .query_row((request.route.as_str(), priority_number(request.priority), request.client.as_str()), |row| {
            Oldest::read(row)
        })
        .optional()?;
    let Some(oldest) = oldest else { return Ok(None) };
    let recipients = due_recipients(store, oldest.delivery, room, request, now)?;
    if recipients.is_empty() {
        // None of its recipients is due yet: it comes back when the first one is.
        store
            .connection
            .prepare_cached(
                "UPDATE delivery SET state = 1, due = (SELECT min(due) FROM recipient WHERE delivery = ?1 AND state = 0) \
                 WHERE id = ?1 AND waiting > 0",
            )?
            .execute([oldest.delivery.0])?;
        return Ok(None);
    }
    lease(store, request, &oldest, recipients, now).map(Some)
}

struct Oldest {
    delivery: DeliveryId,
    message: MessageId,
    fence: i64,
    attempts: u32,
    aged_from: i64,
    stopped: i64,
    doubt: Option<Doubt>,
}

impl Oldest {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let doubt =
            match (row.get::<_, Option<i64>>(6)?, row.get::<_, Option<String>>(7)?, row.get::<_, Option<String>>(8)?) {
                (Some(since), Some(refusal), Some(account)) => {
                    Some(Doubt { account: account.into(), since: Timestamp::from_micros(since), refusal })
                }
                _ => None,
            };
        Ok(Self {
            delivery: DeliveryId(row.get(0)?),
            message: MessageId(row.get(1)?),
            fence: row.get(2)?,
            attempts: row.get(3)?,
            aged_from: row.get(4)?,
            stopped: row.get(5)?,
            doubt,
        })
    }
}

fn due_recipients(
    store: &SqliteStore,
    delivery: DeliveryId,
    room: Room,
    request: &ClaimRequest<'_>,
    now: Timestamp,
) -> rusqlite::Result<Vec<ClaimedRecipient>> {
    let limit = room.recipients.min(request.caps.recipients_per_message).max(1);
    let mut statement = store.connection.prepare_cached(
        "SELECT number, address, tried FROM recipient WHERE delivery = ?1 AND state = 0 AND due <= ?2 ORDER BY number LIMIT ?3",
    )?;
    let rows = statement.query_map((delivery.0, now.as_micros(), limit), |row| {
        Ok(ClaimedRecipient { number: row.get(0)?, address: stored_address(row, 1)?, tried: row.get(2)? })
    })?;
    rows.collect()
}

fn lease(
    store: &mut SqliteStore,
    request: &ClaimRequest<'_>,
    oldest: &Oldest,
    recipients: Vec<ClaimedRecipient>,
    now: Timestamp,
) -> rusqlite::Result<Claim> {
    let fence = oldest.fence + 1;
    let count = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
    let charge = store.open_charge(request, count, now)?;
    let connection = &store.connection;
    connection
        .prepare_cached(
            "UPDATE delivery SET state = 2, fence = ?2, account = ?3, charge = ?4, lease_until = ?5 WHERE id = ?1",
        )?
        .execute((oldest.delivery.0, fence, request.account.as_str(), charge, now.after(request.lease).as_micros()))?;
    let mut mark = connection.prepare_cached("UPDATE recipient SET leased = ?3 WHERE delivery = ?1 AND number = ?2")?;
    for recipient in &recipients {
        mark.execute((oldest.delivery.0, recipient.number, fence))?;
    }
    let (accepted, size, reverse_path) = connection
        .prepare_cached("SELECT accepted, size, reverse_path FROM message WHERE id = ?1")?
        .query_row([oldest.message.0], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, stored_path(row, 2)?)))?;
    Ok(Claim {
        delivery: oldest.delivery,
        message: oldest.message,
        fence,
        charge,
        account: request.account.clone(),
        login: request.login.clone(),
        route: request.route.clone(),
        client: request.client.clone(),
        reverse_path,
        recipients,
        accepted: Timestamp::from_micros(accepted),
        claimed: now,
        age: age(oldest.aged_from, oldest.stopped, store.stopped(request.route, now), now),
        size: u64::try_from(size).unwrap_or(0),
        attempts: oldest.attempts,
        doubt: oldest.doubt.clone(),
    })
}

pub(super) fn renew(store: &SqliteStore, claim: &Claim, lease: Duration, now: Timestamp) -> rusqlite::Result<bool> {
    let changed = store
        .connection
        .prepare_cached("UPDATE delivery SET lease_until = ?3 WHERE id = ?1 AND fence = ?2 AND state = 2")?
        .execute((claim.delivery.0, claim.fence, now.as_micros().saturating_add(micros(lease))))?;
    Ok(changed == 1)
}

pub(super) fn hasten(store: &SqliteStore, limit: u32, now: Timestamp) -> rusqlite::Result<u32> {
    let mut statement =
        store.connection.prepare_cached("SELECT id FROM delivery WHERE state = 1 ORDER BY due LIMIT ?1")?;
    let ids = statement.query_map([limit], |row| row.get::<_, i64>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for id in &ids {
        make_ready(store, *id, now)?;
    }
    Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
}

/// What waits of the delivery may go now.
pub(super) fn make_ready(store: &SqliteStore, delivery: i64, now: Timestamp) -> rusqlite::Result<()> {
    store
        .connection
        .prepare_cached("UPDATE recipient SET due = ?2 WHERE delivery = ?1 AND state = 0 AND due > ?2")?
        .execute((delivery, now.as_micros()))?;
    store
        .connection
        .prepare_cached("UPDATE delivery SET state = 0, due = ?2 WHERE id = ?1")?
        .execute((delivery, now.as_micros()))?;
    Ok(())
}

pub(super) fn stored_address(row: &Row<'_>, index: usize) -> rusqlite::Result<Address> {
    let text: String = row.get(index)?;
    text.parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, Box::new(error)))
}

pub(super) fn stored_path(row: &Row<'_>, index: usize) -> rusqlite::Result<ReversePath> {
    if row.get_ref(index)?.as_str().is_ok_and(str::is_empty) {
        return Ok(ReversePath::Null);
    }
    stored_address(row, index).map(ReversePath::Address)
}
