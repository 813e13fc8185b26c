//! Counts since the start of the process.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// What is counted, one for each event that a message or a client meets.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) deferred: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) uncertain: AtomicU64,
    pub(super) alarms: AtomicU64,
    pub(super) login_switches: AtomicU64,
    pub(super) unterminated: AtomicU64,
    pub(super) quirks: AtomicU64,
    pub(super) probes: AtomicU64,
}

/// The counts at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages stored.
    pub accepted: u64,
    /// Refusals of clients, and messages that broke off: each one perhaps a lost message, since devices do not try again.
    pub refused: u64,
    /// Recipients delivered.
    pub delivered: u64,
    /// Times that a recipient was put off.
    pub deferred: u64,
    /// Recipients that failed for good or expired.
    pub failed: u64,
    /// Recipients of which nobody knows.
    pub uncertain: u64,
    /// Alarms raised.
    pub alarms: u64,
    /// Times that an account went over to another way of logging in.
    #[serde(default)]
    pub login_switches: u64,
    /// Messages that were lost because a bare LF stood at the dot behind them; among the refusals too.
    #[serde(default)]
    pub unterminated: u64,
    /// Times that a client was let do something beside the rules, each once a session.
    #[serde(default)]
    pub quirks: u64,
    /// Connections that were no attempt to send mail.
    #[serde(default)]
    pub probes: u64,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            accepted: read(&self.accepted),
            refused: read(&self.refused),
            delivered: read(&self.delivered),
            deferred: read(&self.deferred),
            failed: read(&self.failed),
            uncertain: read(&self.uncertain),
            alarms: read(&self.alarms),
            login_switches: read(&self.login_switches),
            unterminated: read(&self.unterminated),
            quirks: read(&self.quirks),
            probes: read(&self.probes),
        }
    }
}
