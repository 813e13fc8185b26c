//! A look of the dispatcher, as others see it.

use super::lane::{CauseKind, Lane};
use crate::ids::AccountName;
use crate::time::Timestamp;

/// A look that came to its end: the store has answered, and what could be claimed is under way. Who waits for the next one
/// sees that the dispatcher, and the queue's writer behind it, still work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When it ended, in scheduling time.
    pub at: Timestamp,
    /// How each account stood then; none before the first look.
    pub lanes: Vec<Stance>,
}

/// How an account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stance {
    /// Which.
    pub account: AccountName,
    /// `open`, `resting` or `paused`.
    pub standing: &'static str,
    /// When it is probed next, where it is paused because there was no connection or no TLS.
    pub unreached: Option<Timestamp>,
}

impl Stance {
    /// That of this lane.
    pub fn of(account: &AccountName, lane: &Lane) -> Self {
        let unreached = lane.stop().filter(|stop| stop.cause.kind == CauseKind::Connect);
        Self {
            account: account.clone(),
            standing: lane.standing.as_str(),
            unreached: unreached.and_then(|stop| stop.probe_at),
        }
    }
}
