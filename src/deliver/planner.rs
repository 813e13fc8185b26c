//! Who may plan a round: the dispatcher when it looks, and each worker together with its settlement, so that a connection
//! goes on with its next message after one commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::round::{Round, round};
use crate::config::Config;
use crate::queue::{QueueStore, StoreError};
use crate::schedule::fairness::Fairness;
use crate::time::Timestamp;

/// What the next round must know of those before it. Rounds come one after the other, inside transactions of the queue.
pub(super) struct Planner(Mutex<Standing>);

struct Standing {
    config: Arc<Config>,
    generation: u64,
    fairness: Fairness,
    rounds: u64,
    closed: bool,
}

/// A round, and what it was planned by.
pub(super) struct Planned {
    pub(super) round: Round,
    /// Which in a row it is, from 1: those of several workers may be heard of in another order.
    pub(super) number: u64,
    pub(super) config: Arc<Config>,
    /// Which in a row this configuration is: connections of an older one are not used again.
    pub(super) generation: u64,
}

impl Planner {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self(Mutex::new(Standing { config, generation: 0, fairness: Fairness::default(), rounds: 0, closed: false }))
    }

    /// From now on rounds are planned by this configuration.
    pub(super) fn configure(&self, config: &Arc<Config>) {
        let mut standing = self.standing();
        if !Arc::ptr_eq(config, &standing.config) {
            standing.config = Arc::clone(config);
            standing.generation += 1;
        }
    }

    /// The configuration of the next round, and which in a row it is.
    pub(super) fn current(&self) -> (Arc<Config>, u64) {
        let standing = self.standing();
        (Arc::clone(&standing.config), standing.generation)
    }

    /// Nothing more is claimed.
    pub(super) fn close(&self) {
        self.standing().closed = true;
    }

    /// A round, within a transaction; none where nothing more is claimed. Where the transaction is rolled back, some client
    /// has had its turn for nothing.
    pub(super) fn round(&self, store: &mut dyn QueueStore, now: Timestamp) -> Result<Option<Planned>, StoreError> {
        let mut standing = self.standing();
        if standing.closed {
            return Ok(None);
        }
        let mut round = round(store, &standing.config, &standing.fairness, now)?;
        standing.fairness = std::mem::take(&mut round.plan.fairness);
        standing.rounds += 1;
        Ok(Some(Planned {
            round,
            number: standing.rounds,
            config: Arc::clone(&standing.config),
            generation: standing.generation,
        }))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
