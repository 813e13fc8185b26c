//! The dispatcher: looks, plans, claims, hands out work, and waits for the next reason to look.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::{self, JoinSet};

use super::planner::{Planned, Planner};
use super::pool::{Pool, dismiss};
use super::round::Round;
use super::trial::Trials;
use super::upstream::Timeouts;
use super::worker::Worker;
use crate::config::Config;
use crate::ids::{AccountName, ClientName};
use crate::observe::Observer;
use crate::queue::record::Claim;
use crate::queue::{Queue, QueueStore, StoreError, Urgency};
use crate::schedule::plan::{Capped, Plan, Wanted};
use crate::schedule::turn::{Stance, Turn};
use crate::time::Timestamp;
use crate::tokens::Logins;

/// What the dispatcher and its workers share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) planner: Planner,
    /// Takes what workers have planned, before they do anything else that might fail.
    pub(super) plans: mpsc::UnboundedSender<Planned>,
    pub(super) observer: Arc<Observer>,
    pub(super) pool: Pool,
    pub(super) timeouts: Timeouts,
    pub(super) logins: Arc<Logins>,
    /// Rung when there may be something to do. Workers need not: they plan what comes after them.
    pub(super) wake: Arc<Notify>,
    /// Outcomes that could not be written yet: until they are, nothing more is claimed.
    pub(super) unwritten: AtomicU32,
    /// Room for content in memory, in KiB.
    pub(super) memory: Arc<Semaphore>,
}

/// Sends what waits, by all accounts.
pub struct Dispatcher {
    shared: Arc<Shared>,
    config: watch::Receiver<Arc<Config>>,
    /// The accounts whose caps keep mail waiting, and the clients whose parts of them do.
    capped: HashSet<(AccountName, Option<ClientName>)>,
    /// The newest round that was heard of.
    newest: u64,
    /// Whether the last round found the disk full.
    full: bool,
    workers: JoinSet<()>,
    /// What workers have planned.
    planned: mpsc::UnboundedReceiver<Planned>,
    claims: HashMap<task::Id, Claim>,
    /// The last look, for whoever must know that there are any.
    turns: watch::Sender<Turn>,
    /// How long nothing may happen before it looks all the same.
    longest: Duration,
}

impl Dispatcher {
    /// A dispatcher for this queue. `wake` is rung by whoever adds to the queue or changes a lane.
    pub fn new(
        queue: Queue,
        observer: Arc<Observer>,
        config: watch::Receiver<Arc<Config>>,
        wake: Arc<Notify>,
        logins: Arc<Logins>,
    ) -> Self {
        let (turns, _) = watch::channel(Turn { at: queue.now(), lanes: Vec::new() });
        let planner = Planner::new(Arc::clone(&config.borrow()));
        let (plans, planned) = mpsc::unbounded_channel();
        let shared = Shared {
            queue,
            planner,
            plans,
            observer,
            pool: Pool::default(),
            timeouts: Timeouts::default(),
            logins,
            wake,
            unwritten: AtomicU32::new(0),
            memory: Arc::new(Semaphore::new(MEMORY_KIB as usize)),
        };
        Self {
            shared: Arc::new(shared),
            config,
            capped: HashSet::new(),
            newest: 0,
            full: false,
            workers: JoinSet::new(),
            planned,
            claims: HashMap::new(),
            turns,
            longest: LONGEST,
        }
    }

    /// The same, but it looks at least this often; once a minute it does in any case.
    pub fn looking_every(self, span: Duration) -> Self {
        Self { longest: span.min(LONGEST), ..self }
    }

    /// Its last look, and a sign of each new one; the end of all when it has ended.
    pub fn turns(&self) -> watch::Receiver<Turn> {
        self.turns.subscribe()
    }

    /// Trials that share slots, logins and connections with the deliveries.
    pub fn trials(&self) -> Trials {
        Trials::beside(Arc::clone(&self.shared))
    }

    /// Runs until `stop` says so, then lets what is under way come to its end, for `grace` at most.
    ///
    /// # Errors
    /// Where the queue has failed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>, grace: Duration) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut reaper = tokio::time::interval(REAPED_EVERY);
        let (mut due, mut soonest) = (shared.queue.now(), shared.queue.now());
        loop {
            if due <= shared.queue.now() {
                due = self.look().await?;
                soonest = shared.queue.now().after(AT_ONCE_WITHIN);
            }
            tokio::select! {
                // What comes while we look, or a worker plans, is kept, and looked at in its turn.
                () = shared.wake.notified() => due = due.min(soonest),
                () = tokio::time::sleep(due.since(shared.queue.now())) => {}
                Some(planned) = self.planned.recv() => due = due.min(self.serve(planned)),
                Some(ended) = self.workers.join_next_with_id() => self.see_off(ended),
                _ = reaper.tick(), if !shared.pool.is_empty() => dismiss(shared.pool.retire(false, shared.queue.now())),
                _ = self.config.changed() => due = shared.queue.now(),
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        shared.planner.close();
        let drain = async {
            loop {
                // A worker has handed over its plan before it ends.
                while let Ok(planned) = self.planned.try_recv() {
                    self.serve(planned);
                }
                let Some(ended) = self.workers.join_next_with_id().await else { break };
                self.see_off(ended);
            }
        };
        let drained = tokio::time::timeout(grace, drain).await;
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

    /// One round; when to look again where nothing happens.
    async fn look(&mut self) -> Result<Timestamp, StoreError> {
        if self.shared.unwritten.load(Ordering::Relaxed) > 0 {
            // Nothing is claimed; but whether the store still answers must be seen all the same.
            return match self.shared.queue.write(Urgency::Work, |_, _| Ok(())).await {
                Ok(()) | Err(StoreError::Full(_)) => Ok(self.turned(None, WITHOUT_ROOM)),
                Err(error) => Err(error),
            };
        }
        self.shared.planner.configure(&self.config.borrow_and_update());
        let shared = Arc::clone(&self.shared);
        let work = move |store: &mut dyn QueueStore, now| shared.planner.round(store, now);
        match self.shared.queue.write(Urgency::Work, work).await {
            Ok(Some(planned)) => Ok(self.serve(planned)),
            Ok(None) => Ok(self.turned(None, self.longest)),
            Err(StoreError::Full(full)) => {
                if !std::mem::replace(&mut self.full, true) {
                    let sentence = format!("{full}: nothing can be sent until there is room");
                    self.shared.observer.alarm_begun("disk_full", "claims", &sentence);
                }
                Ok(self.turned(None, WITHOUT_ROOM))
            }
            Err(error) => Err(error),
        }
    }

    /// Hands out what a round has claimed, and tells how things stand unless a later round has done so; when to look again where nothing happens.
    fn serve(&mut self, Planned { round, number, config, generation }: Planned) -> Timestamp {
        if std::mem::take(&mut self.full) {
            self.shared.observer.alarm_ended("disk_full", "claims");
        }
        let Round { claims, plan, lanes } = round;
        let missed = claims.len() < plan.claims.len();
        let is_newest = number > self.newest;
        if is_newest {
            self.newest = number;
            self.note_caps(&plan);
        }
        for (claim, content) in claims {
            let worker = Worker::new(Arc::clone(&self.shared), Arc::clone(&config), generation, claim.clone());
            let task = self.workers.spawn(worker.run(content));
            self.claims.insert(task.id(), claim);
        }
        let now = self.shared.queue.now();
        let wait = plan.wake.map_or(self.longest, |wake| wake.since(now));
        self.turned(is_newest.then_some(lanes), if missed { wait.min(WITHOUT_ROOM) } else { wait })
    }

    /// A look has ended, which has seen how the accounts stand or not; when the next one is due.
    fn turned(&self, lanes: Option<Vec<Stance>>, wait: Duration) -> Timestamp {
        let at = self.shared.queue.now();
        self.turns.send_modify(|turn| *turn = Turn { at, lanes: lanes.unwrap_or_else(|| turn.lanes.clone()) });
        at.after(wait.min(self.longest))
    }

    /// Forgets a worker that has ended; the claim of one that broke is settled all the same.
    fn see_off(&mut self, ended: Result<(task::Id, ()), task::JoinError>) {
        let broken = match ended {
            Ok((task, ())) => return drop(self.claims.remove(&task)),
            Err(broken) => broken,
        };
        if let Some(claim) = self.claims.remove(&broken.id()) {
            let (config, generation) = self.shared.planner.current();
            let worker = Worker::new(Arc::clone(&self.shared), config, generation, claim);
            self.workers.spawn(worker.run_after_panic());
        }
    }

    /// Says once of each account that its caps, or a client's part of them, keep mail waiting.
    fn note_caps(&mut self, plan: &Plan) {
        let now = self.shared.queue.now();
        for Capped { account, client, free_at } in &plan.capped {
            if self.capped.insert((account.clone(), client.clone())) {
                let free_in = free_at.map(|at| at.since(now));
                match client {
                    None => self.shared.observer.cap_reached(account, free_in),
                    Some(client) => self.shared.observer.share_reached(account, client, free_in),
                }
            }
        }
        // What could claim and is not capped any more has gone on.
        self.capped.retain(|(account, client)| {
            let capped = |one: &Capped| one.account == *account && one.client == *client;
            let claimed = |one: &Wanted| one.account == *account && client.as_ref().is_none_or(|it| one.client == *it);
            plan.capped.iter().any(capped) || !plan.claims.iter().any(claimed)
        });
    }
}

/// How soon after a look it looks again for new mail and what else it is told of. Mail that comes faster shares looks;
/// workers plan what comes after them by themselves, so no connection waits.
const AT_ONCE_WITHIN: Duration = Duration::from_millis(5);
/// How often idle connections are looked through.
const REAPED_EVERY: Duration = Duration::from_secs(2);
/// A look at least this often, whatever was planned.
const LONGEST: Duration = Duration::from_secs(60);
/// How long to wait where the disk has no room for a claim.
const WITHOUT_ROOM: Duration = Duration::from_secs(1);
/// Content that all transactions together hold in memory; the largest message passes alone.
pub(super) const MEMORY_KIB: u32 = 128 * 1024;

#[cfg(test)]
mod tests;
