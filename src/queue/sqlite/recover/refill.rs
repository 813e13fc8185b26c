//! What is not mail: the time, the ledger, the clocks of routes. What of it is lost is put in such a way that no cap is
//! exceeded and nothing expires early.

use rusqlite::Connection;

use super::super::salvage::{Damage, Table};
use super::CapsUnknown;
use crate::ids::LoginKey;
use crate::schedule::cap::UNKNOWN;
use crate::time::wall_clock;

/// Puts right what the daemon will go by, and says what was lost.
pub(super) fn refill(
    connection: &Connection,
    found: &Damage,
    logins: &[LoginKey],
    caps: CapsUnknown,
    also: &mut Vec<String>,
) -> rusqlite::Result<()> {
    time(connection)?;
    clocks(connection)?;
    if found.unknown || found.old || found.tables.contains(&Table::Charge) {
        also.push(ledger(connection, logins, caps)?);
    }
    let told = [
        (Table::Lane, "how accounts stood: what was paused by an operator must be paused again"),
        (Table::Attempt, "parts of the history of messages"),
        (Table::Report, "which failures were still to be reported"),
        (Table::Kept, "which alarms have been told: some are told again"),
    ];
    also.extend(told.iter().filter(|(table, _)| found.tables.contains(table)).map(|(_, what)| (*what).to_owned()));
    Ok(())
}

/// Scheduling time goes on behind everything that the queue has seen.
fn time(connection: &Connection) -> rusqlite::Result<()> {
    let newest: i64 = connection.query_row(
        "SELECT max(coalesce((SELECT max(accepted) FROM message), 0), coalesce((SELECT max(at) FROM attempt), 0),
                    coalesce((SELECT max(ended) FROM delivery), 0), coalesce((SELECT max(claimed) FROM charge), 0),
                    coalesce((SELECT max(ended) FROM charge), 0))",
        (),
        |row| row.get(0),
    )?;
    // Without the row nobody knows when the queue was written last: not after now.
    let lost: bool = connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM meta)", (), |row| row.get(0))?;
    let newest = if lost { newest.max(wall_clock().as_micros()) } else { newest };
    connection.execute("INSERT OR IGNORE INTO meta VALUES (1, ?1, 0, '', 0)", [newest])?;
    connection.execute(
        "UPDATE meta SET clock = max(clock, ?1), live_bytes =
             (SELECT coalesce(sum(length(head)), 0) FROM message) + (SELECT coalesce(sum(length(bytes)), 0) FROM chunk)",
        [newest],
    )?;
    Ok(())
}

/// Where it is lost how long a route was stopped, its mail begins to age anew.
fn clocks(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "UPDATE delivery SET stopped = 0, aged_from = (SELECT clock FROM meta)
         WHERE state < 5 AND route NOT IN (SELECT route FROM route_clock);
         INSERT OR IGNORE INTO route_clock (route, stopped, since) SELECT DISTINCT route, 0, NULL FROM delivery;",
    )
}

/// What was sent within the caps can no longer be told.
fn ledger(connection: &Connection, logins: &[LoginKey], caps: CapsUnknown) -> rusqlite::Result<String> {
    if caps == CapsUnknown::Empty {
        return Ok("what was sent within the caps; as you said, it is taken that nothing was".into());
    }
    let mut statement = connection.prepare(
        "INSERT INTO charge (id, login, recipients, claimed, ended, client)
         SELECT (SELECT coalesce(max(id), 0) + 1 FROM charge), ?1, ?2, clock, clock, NULL FROM meta",
    )?;
    let mut known = connection.prepare("SELECT DISTINCT login FROM charge")?;
    let known = known.query_map((), |row| row.get(0).map(LoginKey))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut all: Vec<&LoginKey> = known.iter().chain(logins).collect();
    all.sort();
    all.dedup();
    for login in all {
        statement.execute((&login.0, UNKNOWN))?;
    }
    Ok("what was sent within the caps: each cap counts as used up when the queue was written last, and mail waits until its \
        window has passed (--caps-unused, at the recovery, sends at once and may exceed them)"
        .into())
}
