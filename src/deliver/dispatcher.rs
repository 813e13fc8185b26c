//! The dispatcher: looks, plans, claims, hands out work, and waits for the next reason to look.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use super::pool::{Pool, dismiss};
use super::round::{Round, round};
use super::upstream::Timeouts;
use super::worker::Worker;
use crate::config::Config;
use crate::ids::AccountName;
use crate::observe::Observer;
use crate::queue::{Queue, StoreError, Urgency};
use crate::schedule::fairness::Fairness;
use crate::schedule::plan::Plan;

/// What the dispatcher and its workers share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) observer: Arc<Observer>,
    pub(super) pool: Pool,
    pub(super) timeouts: Timeouts,
    /// Rung when there may be something to do.
    pub(super) wake: Arc<Notify>,
    /// Which configuration counts, so that connections of an older one are not used again.
    pub(super) generation: AtomicU64,
    /// Outcomes that could not be written yet: until they are, nothing more is claimed.
    pub(super) unwritten: AtomicU32,
    /// Room for content in memory, in KiB.
    pub(super) memory: Arc<Semaphore>,
}

/// Sends what waits, by all accounts.
pub struct Dispatcher {
    shared: Arc<Shared>,
    config: watch::Receiver<Arc<Config>>,
    fairness: Fairness,
    capped: HashSet<AccountName>,
    workers: JoinSet<()>,
}

impl Dispatcher {
    /// A dispatcher for this queue. `wake` is rung by whoever adds to the queue or changes a lane.
    pub fn new(queue: Queue, observer: Arc<Observer>, config: watch::Receiver<Arc<Config>>, wake: Arc<Notify>) -> Self {
        let shared = Shared {
            queue,
            observer,
            pool: Pool::default(),
            timeouts: Timeouts::default(),
            wake,
            generation: AtomicU64::new(0),
            unwritten: AtomicU32::new(0),
            memory: Arc::new(Semaphore::new(MEMORY_KIB as usize)),
        };
        Self {
            shared: Arc::new(shared),
            config,
            fairness: Fairness::default(),
            capped: HashSet::new(),
            workers: JoinSet::new(),
        }
    }

    /// Runs until `stop` says so, then lets what is under way come to its end, for `grace` at most.
    ///
    /// # Errors
    /// Where the queue has failed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, grace: Duration) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut reaper = tokio::time::interval(REAPED_EVERY);
        loop {
            // Registered before looking, so that nothing that comes while we look is missed.
            let notified = shared.wake.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            let next = self.look().await?;
            tokio::select! {
                () = notified => {}
                () = tokio::time::sleep(next) => {}
                Some(_) = self.workers.join_next() => {}
                _ = reaper.tick(), if !shared.pool.is_empty() => dismiss(shared.pool.retire(false, shared.queue.now())),
                changed = self.config.changed() => if changed.is_ok() {
                    shared.generation.fetch_add(1, Ordering::Relaxed);
                },
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        let drained = tokio::time::timeout(grace, async { while self.workers.join_next().await.is_some() {} }).await;
        dismiss(shared.pool.retire(true, shared.queue.now()));
        if drained.is_err() {
            let left = self.workers.len();
            shared.observer.stopping(&format!(
                "{left} transactions did not end within {} s; what they carry is sent again",
                grace.as_secs()
            ));
        }
        Ok(())
    }

    /// One round; how long to wait for the next one where nothing happens.
    async fn look(&mut self) -> Result<Duration, StoreError> {
        if self.shared.unwritten.load(Ordering::Relaxed) > 0 {
            return Ok(WITHOUT_ROOM);
        }
        let config = Arc::clone(&self.config.borrow_and_update());
        let (fairness, settings) = (self.fairness.clone(), Arc::clone(&config));
        let work = move |store: &mut dyn crate::queue::QueueStore, now| round(store, &settings, &fairness, now);
        let Round { claims, plan } = match self.shared.queue.write(Urgency::Work, work).await {
            Ok(round) => round,
            Err(StoreError::Full(_)) => return Ok(WITHOUT_ROOM),
            Err(error) => return Err(error),
        };
        let missed = claims.len() < plan.claims.len();
        self.note_caps(&plan);
        self.fairness = plan.fairness;
        for claim in claims {
            let worker = Worker::new(Arc::clone(&self.shared), Arc::clone(&config), claim);
            self.workers.spawn(worker.run());
        }
        let now = self.shared.queue.now();
        let wait = plan.wake.map_or(LONGEST, |wake| wake.since(now));
        Ok(if missed { wait.min(WITHOUT_ROOM) } else { wait.min(LONGEST) })
    }

    /// Says once of each account that its caps keep mail waiting.
    fn note_caps(&mut self, plan: &Plan) {
        let now = self.shared.queue.now();
        for (account, free_at) in &plan.capped {
            if self.capped.insert(account.clone()) {
                self.shared.observer.cap_reached(account, free_at.map(|at| at.since(now)));
            }
        }
        // An account that could claim and is not capped any more has gone on.
        let claimed: HashSet<&AccountName> = plan.claims.iter().map(|wanted| &wanted.account).collect();
        self.capped
            .retain(|account| plan.capped.iter().any(|(capped, _)| capped == account) || !claimed.contains(account));
    }
}

/// How often idle connections are looked through.
const REAPED_EVERY: Duration = Duration::from_secs(2);
/// A look at least this often, whatever was planned.
const LONGEST: Duration = Duration::from_secs(60);
/// How long to wait where the disk has no room for a claim.
const WITHOUT_ROOM: Duration = Duration::from_secs(1);
/// Content that all transactions together hold in memory; the largest message passes alone.
pub(super) const MEMORY_KIB: u32 = 128 * 1024;
