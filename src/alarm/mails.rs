//! When a mail may carry the news: never more than four in any hour. What comes meanwhile is put together in the next one.
//!
//! A mail counts from when it has left the queue, and there is one at a time: so those that wait for an account that is
//! stopped do not all come at once when it opens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Telling;
use crate::ids::MessageId;
use crate::time::Timestamp;

/// What has been mailed and what has not; survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mails {
    /// When the last of them left, the oldest first.
    left: Vec<Timestamp>,
    /// The one that is in the queue.
    waiting: Option<MessageId>,
    pending: Vec<Telling>,
    /// How many were too many to keep.
    dropped: u64,
}

impl Mails {
    /// Takes in news.
    pub fn add(&mut self, news: impl IntoIterator<Item = Telling>) {
        self.pending.extend(news);
        let surplus = self.pending.len().saturating_sub(PENDING);
        self.pending.drain(..surplus);
        self.dropped += surplus as u64;
    }

    /// Forgets what nobody is to be mailed any more.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.dropped = 0;
    }

    /// What the next mail has to tell, the oldest first, and how much more there was that only the log has.
    pub fn pending(&self) -> (&[Telling], u64) {
        (&self.pending, self.dropped)
    }

    /// Whether there is a mail to write, and it may be written.
    pub fn may_write(&self, now: Timestamp) -> bool {
        !self.pending.is_empty() && self.waiting.is_none() && self.next().is_none_or(|at| at <= now)
    }

    /// When the next mail may be written; none where it may at once, or where the last one still waits.
    pub fn next(&self) -> Option<Timestamp> {
        let first = self.left.len().checked_sub(IN_AN_HOUR).and_then(|index| self.left.get(index))?;
        Some(first.after(HOUR).after(TICK))
    }

    /// The mail in the queue.
    pub fn waiting(&self) -> Option<MessageId> {
        self.waiting
    }

    /// All that was pending is in this mail now.
    pub fn written(&mut self, mail: MessageId) {
        self.clear();
        self.waiting = Some(mail);
    }

    /// The mail has left the queue, in whichever way.
    pub fn left(&mut self, now: Timestamp) {
        self.waiting = None;
        self.left.push(now);
        let surplus = self.left.len().saturating_sub(IN_AN_HOUR);
        self.left.drain(..surplus);
    }
}

/// Mails in any hour.
const IN_AN_HOUR: usize = 4;
const HOUR: Duration = Duration::from_secs(3600);
/// The step of [`Timestamp`].
const TICK: Duration = Duration::from_micros(1);
/// News that wait for a mail; of what is more, the newest are kept.
const PENDING: usize = 500;

#[cfg(test)]
mod tests;
