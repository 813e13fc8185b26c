//! The queue in SQLite: one writer, readers beside it. The only place with SQL.
//!
//! WAL with `synchronous=FULL`: a commit is one fsync of the log. Checkpoints run on a thread and a connection of their
//! own; only where the log has grown large does the writer itself wait for one.

mod backup;
mod checkpoint;
mod claim;
mod connection;
mod container;
mod damage;
mod enqueue;
mod history;
mod lanes;
mod ledger;
mod operate;
mod outside;
mod place;
mod read;
mod recover;
mod report;
mod salvage;
mod schema;
mod settle;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::QueueStore;
use super::error::{Full, OpenError, StoreError};
use super::record::{
    Claim, ClaimRequest, DueReport, NewMessage, Operated, Operation, Reclaimed, Settled, Settlement, View,
};
use crate::ids::{AccountName, DeliveryId, LoginKey, MessageId, RouteName};
use crate::schedule::cap::Ledger;
use crate::schedule::lane::Lane;
use crate::time::Timestamp;
pub use backup::{BackupError, Copied, Existing, back_up};
use checkpoint::Checkpointer;
use connection::{connect, failed, not_opened};
use lanes::Lanes;
pub use outside::damage_seen;
use place::Place;
pub use place::{Machine, Survey};
pub use read::SqliteReader;
pub use recover::{CapsUnknown, Held, Lost, RecoverError, Recovered, recover};

/// Where the queue lies and how much it may hold.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database file.
    pub path: PathBuf,
    /// Live octets beyond which nothing more is taken in.
    pub max_bytes: u64,
    /// Free octets of the file system below which nothing more is taken in.
    pub min_free: u64,
    /// Whether a file system that forgets is allowed.
    pub ephemeral: bool,
}

/// The writing side of the queue.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    checkpointer: Checkpointer,
    place: Place,
    options: Options,
    /// The time of the newest commit.
    newest: Timestamp,
    live_bytes: u64,
    /// Rows changed on this connection before the transaction began.
    changes_before: u64,
    ledgers: HashMap<LoginKey, Ledger>,
    /// Of accounts without caps that this process has claimed by: what is under way by them has no row of its own.
    logins: HashMap<AccountName, LoginKey>,
    clocks: HashMap<RouteName, RouteClock>,
    lanes: Lanes,
    next_delivery: i64,
    next_charge: i64,
    /// Up to which numbers of charges may be given out without reserving more.
    reserved_charges: i64,
}

/// By what the mail of a route ages.
#[derive(Clone, Copy, Debug, Default)]
struct RouteClock {
    stopped: Duration,
    since: Option<Timestamp>,
}

impl RouteClock {
    /// How long the route has been stopped in all.
    fn stopped(self, now: Timestamp) -> Duration {
        self.stopped + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl SqliteStore {
    /// Opens the queue, making it where it is missing, and holds it for this process alone.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let place = Place::take(&options.path, options.ephemeral)?;
        if place.free_bytes().is_some_and(|free| free < TOO_LITTLE_TO_START) {
            // The log, its index and the first transaction need room, or mail that waits could never leave.
            place.free_ballast();
        }
        damage::look(&options.path)?;
        let connection = connect(&options.path)?;
        let database = |error: rusqlite::Error| not_opened(&options.path, &error);
        let newest = connection
            .query_row("SELECT clock FROM meta", (), |row| row.get(0))
            .map(Timestamp::from_micros)
            .map_err(database)?;
        place.lay_ballast(options.min_free);
        let checkpointer = Checkpointer::start(&options.path).map_err(database)?;
        let mut store = Self {
            connection,
            checkpointer,
            place,
            newest,
            live_bytes: 0,
            changes_before: 0,
            ledgers: HashMap::new(),
            logins: HashMap::new(),
            clocks: HashMap::new(),
            lanes: Lanes::default(),
            next_delivery: 0,
            next_charge: 0,
            reserved_charges: 0,
            options,
        };
        if let Err(error) = store.load() {
            let refused = not_opened(&store.options.path, &error);
            if let OpenError::Damaged { what, .. } = &refused {
                // Or the last connection to close would move the log into a damaged file.
                store.give_up(&StoreError::Damaged(what.clone()));
            }
            return Err(refused);
        }
        connection::may_tidy(&store.connection, &store.options.path);
        Ok(store)
    }

    /// What to say where damage showed when the queue was taken up, before it was handed to its
    /// [`Queue`](crate::queue::Queue): the same as where it shows at opening.
    pub fn damaged(mut self, what: &str) -> OpenError {
        self.give_up(&StoreError::Damaged(what.to_owned()));
        damage::report(&self.options.path, what)
    }

    /// A reader of the same queue.
    ///
    /// # Errors
    /// Where SQLite refuses.
    pub fn reader(&self) -> Result<SqliteReader, OpenError> {
        SqliteReader::open(&self.options.path)
    }

    /// The newest time that a commit was made at; [`Timestamp::EPOCH`] in a new queue.
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// The highest queue id given out.
    ///
    /// # Errors
    /// Where the store has failed.
    pub fn newest_id(&self) -> Result<MessageId, StoreError> {
        let sql =
            "SELECT max(coalesce((SELECT max(id) FROM message), 0), coalesce((SELECT max(message) FROM chunk), 0))";
        self.connection.query_row(sql, (), |row| row.get(0)).map(MessageId).map_err(failed)
    }

    /// Takes up where the last process left off: what the newest commit and `now` are apart does not age the mail, what
    /// was under way has ended, parts of messages that never came to their end are gone. Of that time the ledgers believe
    /// only what `machine` vouches for: `now` rests on a wall clock, which may have been set. Once, right after opening.
    ///
    /// # Errors
    /// Where the store has failed.
    pub fn take_up(&mut self, now: Timestamp, machine: &Machine) -> Result<(), StoreError> {
        self.begin()?;
        self.vouch(now, machine).map_err(failed)?;
        let gap = if self.newest == Timestamp::EPOCH { Duration::ZERO } else { now.since(self.newest) };
        let gap = i64::try_from(gap.as_micros()).unwrap_or(i64::MAX);
        self.connection
            .execute("UPDATE route_clock SET stopped = stopped + ?1 WHERE since IS NULL", [gap])
            .and_then(|_| {
                self.connection.execute("UPDATE charge SET ended = ?1 WHERE ended IS NULL", [now.as_micros()])
            })
            .and_then(|_| enqueue::sweep_orphans(self))
            .map_err(failed)?;
        self.commit(now)?;
        self.load().map_err(failed)
    }

    /// Moves what was sent to where it lies if only the time has passed that is believed to have. Where the machine has
    /// been up all along it is known; over a boot the wall clock is believed, unless it says more than a week: that may
    /// be a clock without a battery, and then only the time since the boot is sure.
    fn vouch(&self, now: Timestamp, machine: &Machine) -> rusqlite::Result<()> {
        let (boot, booted): (String, i64) =
            self.connection.query_row("SELECT boot, booted FROM meta", (), |row| Ok((row.get(0)?, row.get(1)?)))?;
        let gap = now.since(self.newest);
        let passed = if boot == machine.boot && !boot.is_empty() {
            machine.up.saturating_sub(self.newest.since(Timestamp::from_micros(booted)))
        } else if gap <= BELIEVED_OFF {
            gap
        } else {
            machine.up
        };
        let unproven = micros(gap.saturating_sub(passed));
        self.connection.execute("UPDATE charge SET ended = ended + ?1 WHERE ended IS NOT NULL", [unproven])?;
        let booted = now.before(machine.up).as_micros();
        self.connection.execute("UPDATE meta SET boot = ?1, booted = ?2", (&machine.boot, booted))?;
        Ok(())
    }

    /// Reads what is kept in memory from what is on disk.
    fn load(&mut self) -> rusqlite::Result<()> {
        let one = |sql: &str| self.connection.query_row(sql, (), |row| row.get::<_, i64>(0));
        self.live_bytes = u64::try_from(one("SELECT live_bytes FROM meta")?).unwrap_or(0);
        // Never back: a number that was given out and undone may still be known to whoever had it.
        self.next_delivery = one("SELECT coalesce(max(id), 0) + 1 FROM delivery")?.max(self.next_delivery);
        self.reserved_charges = ledger::reserved(self)?;
        let next = one("SELECT coalesce(max(id), 0) + 1 FROM charge")?;
        // At the start all that was reserved is the last process's.
        self.next_charge =
            if self.next_charge == 0 { next.max(self.reserved_charges) } else { next.max(self.next_charge) };
        self.clocks = self.load_clocks()?;
        self.ledgers = ledger::load(&self.connection, &self.logins)?;
        self.lanes = Lanes::default();
        Ok(())
    }

    fn load_clocks(&self) -> rusqlite::Result<HashMap<RouteName, RouteClock>> {
        let mut statement = self.connection.prepare_cached("SELECT route, stopped, since FROM route_clock")?;
        let rows = statement.query_map((), |row| {
            let stopped = Duration::from_micros(u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0));
            let since = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros);
            Ok((RouteName::from(row.get::<_, String>(0)?), RouteClock { stopped, since }))
        })?;
        rows.collect()
    }

    /// How long the route has been stopped in all.
    fn stopped(&self, route: &RouteName, now: Timestamp) -> Duration {
        self.clocks.get(route).map_or(Duration::ZERO, |clock| clock.stopped(now))
    }

    fn write_clock(&mut self, route: &RouteName, clock: RouteClock) -> Result<(), StoreError> {
        let stopped = i64::try_from(clock.stopped.as_micros()).unwrap_or(i64::MAX);
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO route_clock (route, stopped, since) VALUES (?1, ?2, ?3)")
            .and_then(|mut statement| {
                statement.execute((route.as_str(), stopped, clock.since.map(Timestamp::as_micros)))
            })
            .map_err(failed)?;
        self.clocks.insert(route.clone(), clock);
        Ok(())
    }
}

impl QueueStore for SqliteStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.checkpointer.health()?;
        self.connection.prepare_cached("BEGIN IMMEDIATE").and_then(|mut begin| begin.execute(())).map_err(failed)?;
        self.changes_before = self.connection.total_changes();
        Ok(())
    }

    fn commit(&mut self, now: Timestamp) -> Result<(), StoreError> {
        if self.connection.total_changes() == self.changes_before && now.since(self.newest) < CLOCK_STEP {
            // Nothing to make durable but the time, which may lag a little.
            return self
                .connection
                .prepare_cached("COMMIT")
                .and_then(|mut commit| commit.execute(()))
                .map(|_| ())
                .map_err(failed);
        }
        self.newest = self.newest.max(now);
        self.connection
            .prepare_cached("UPDATE meta SET clock = ?1, live_bytes = ?2")
            .and_then(|mut statement| statement.execute((self.newest.as_micros(), self.live_bytes.cast_signed())))
            .map_err(failed)?;
        self.connection.prepare_cached("COMMIT").and_then(|mut statement| statement.execute(())).map_err(failed)?;
        self.checkpointer.after_commit(&self.connection, self.place.log_bytes())
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK").map_err(failed)?;
        }
        self.load().map_err(failed)
    }

    fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.checkpointer.make_room(&self.connection)
    }

    fn free_ballast(&mut self) -> bool {
        self.place.free_ballast()
    }

    fn give_up(&mut self, error: &StoreError) {
        let StoreError::Damaged(what) = error else { return };
        damage::mark(&self.options.path, what);
        // What a transaction has changed is not committed, and the log is not moved into a file that is damaged.
        let _ = self.connection.execute_batch("ROLLBACK");
        let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }

    fn room_for(&self, octets: u64) -> Result<(), StoreError> {
        if self.live_bytes.saturating_add(octets) > self.options.max_bytes {
            return Err(StoreError::Full(Full::MaxBytes));
        }
        let wanted = self.options.min_free.saturating_add(octets);
        if self.place.free_bytes().is_some_and(|free| free < wanted) {
            return Err(StoreError::Full(Full::MinFree));
        }
        Ok(())
    }

    fn append(&mut self, message: MessageId, number: u32, chunk: &[u8]) -> Result<(), StoreError> {
        enqueue::append(self, message, number, chunk)
    }

    fn abandon(&mut self, message: MessageId) -> Result<(), StoreError> {
        enqueue::abandon(self, message)
    }

    fn enqueue(&mut self, message: &NewMessage, now: Timestamp) -> Result<(), StoreError> {
        enqueue::enqueue(self, message, now)
    }

    fn view(&mut self, heads: u32, now: Timestamp) -> Result<View, StoreError> {
        claim::view(self, heads, now).map_err(failed)
    }

    fn ledger(&self, login: &LoginKey) -> Option<&Ledger> {
        self.ledgers.get(login)
    }

    fn claim(&mut self, request: &ClaimRequest<'_>, now: Timestamp) -> Result<Option<Claim>, StoreError> {
        claim::claim(self, request, now).map_err(failed)
    }

    fn content(&mut self, message: MessageId) -> Option<Vec<u8>> {
        read::head(&self.connection, message, 0).ok().flatten()
    }

    fn renew(&mut self, claim: &Claim, lease: Duration, now: Timestamp) -> Result<bool, StoreError> {
        claim::renew(self, claim, lease, now).map_err(failed)
    }

    fn settle(&mut self, claim: &Claim, settlement: &Settlement, now: Timestamp) -> Result<Settled, StoreError> {
        settle::settle(self, claim, settlement, now).map_err(failed)
    }

    fn reclaim(
        &mut self,
        everything: bool,
        hold: &dyn Fn(&AccountName) -> bool,
        now: Timestamp,
    ) -> Result<Vec<Reclaimed>, StoreError> {
        settle::reclaim(self, everything, hold, now).map_err(failed)
    }

    fn lane(&mut self, account: &AccountName) -> Result<Lane, StoreError> {
        self.lanes.get(&self.connection, account)
    }

    fn set_lane(&mut self, account: &AccountName, lane: &Lane) -> Result<(), StoreError> {
        self.lanes.set(&self.connection, account, lane)
    }

    fn run_clock(&mut self, route: &RouteName, runs: bool, now: Timestamp) -> Result<(), StoreError> {
        let clock = self.clocks.get(route).copied();
        match (clock.unwrap_or_default().since, runs) {
            (None, true) | (Some(_), false) if clock.is_some() => Ok(()),
            (None, true) => self.write_clock(route, RouteClock::default()),
            (_, false) => {
                let stopped = clock.unwrap_or_default().stopped;
                self.write_clock(route, RouteClock { stopped, since: Some(now) })
            }
            (Some(_), true) => {
                let stopped = clock.unwrap_or_default().stopped(now);
                self.write_clock(route, RouteClock { stopped, since: None })
            }
        }
    }

    fn routes(&self) -> Vec<RouteName> {
        self.clocks.keys().cloned().collect()
    }

    fn hasten(&mut self, limit: u32, now: Timestamp) -> Result<u32, StoreError> {
        claim::hasten(self, limit, now).map_err(failed)
    }

    fn operate(&mut self, message: MessageId, operation: Operation, now: Timestamp) -> Result<Operated, StoreError> {
        operate::operate(self, message, operation, now).map_err(failed)
    }

    fn due_reports(&mut self, limit: u32) -> Result<Vec<DueReport>, StoreError> {
        report::due(self, limit).map_err(failed)
    }

    fn reported(&mut self, messages: &[MessageId]) -> Result<(), StoreError> {
        report::forget(self, messages).map_err(failed)
    }

    fn kept(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        report::kept(self, name).map_err(failed)
    }

    fn keep(&mut self, name: &str, text: &str) -> Result<(), StoreError> {
        report::keep(self, name, text).map_err(failed)
    }

    fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    fn free_bytes(&self) -> Option<u64> {
        self.place.free_bytes()
    }

    fn sweep(&mut self, keep: Duration, ledger: Duration, now: Timestamp) -> Result<u32, StoreError> {
        self.place.lay_ballast(self.options.min_free);
        operate::sweep(self, keep, ledger, now).map_err(failed)
    }
}

/// A machine is believed to have been off for so long where its wall clock says so after a boot.
const BELIEVED_OFF: Duration = Duration::from_secs(7 * 86_400);
/// By how much the newest time on disk may lag behind where nothing else is written.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// Octets that opening a queue may need: the index of the log and some pages.
const TOO_LITTLE_TO_START: u64 = 1 << 20;

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

impl SqliteStore {
    fn take_delivery_id(&mut self) -> DeliveryId {
        self.next_delivery += 1;
        DeliveryId(self.next_delivery - 1)
    }
}

#[cfg(test)]
mod tests;
