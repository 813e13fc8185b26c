//! Charges in the order of their ends, with running sums: what occupies a window, and when some of it leaves.

use std::collections::VecDeque;
use std::ops::{AddAssign, SubAssign};
use std::time::Duration;

use super::{Allowance, Room, UNKNOWN};
use crate::provider::{Cap, Caps, Counted};
use crate::time::Timestamp;

/// The charges of a login, or those of one client among them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// The sums of all charges whose transaction has not ended.
    open: Sums,
    /// Ended charges, oldest first, each with the sums of all charges up to and with it.
    ended: VecDeque<Ended>,
    /// The sums of all charges that have been forgotten.
    forgotten: Sums,
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Timestamp,
    through: Sums,
}

/// Transactions and their recipients.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    messages: u64,
    recipients: u64,
}

impl Sums {
    fn one(recipients: u32) -> Self {
        Self { messages: if recipients == UNKNOWN { UNKNOWN.into() } else { 1 }, recipients: recipients.into() }
    }

    fn of(self, counted: Counted) -> u64 {
        match counted {
            Counted::Messages => self.messages,
            Counted::Recipients => self.recipients,
        }
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.recipients += other.recipients;
    }
}

impl SubAssign for Sums {
    fn sub_assign(&mut self, other: Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.recipients = self.recipients.saturating_sub(other.recipients);
    }
}

impl Tally {
    /// Notes a transaction that begins.
    pub(super) fn open(&mut self, recipients: u32) {
        self.open += Sums::one(recipients);
    }

    /// Forgets a transaction that has been opened: it has ended or never began.
    pub(super) fn close(&mut self, recipients: u32) {
        self.open -= Sums::one(recipients);
    }

    /// Enters a charge that ended at `at`, not before the one entered last.
    pub(super) fn book(&mut self, at: Timestamp, recipients: u32) {
        let mut through = self.through();
        through += Sums::one(recipients);
        self.ended.push_back(Ended { at, through });
    }

    /// When the charge entered last has ended.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.ended.back().map(|last| last.at)
    }

    /// Forgets what ended before `horizon`.
    pub(super) fn forget(&mut self, horizon: Timestamp) {
        while let Some(first) = self.ended.front().filter(|first| first.at < horizon) {
            self.forgotten = first.through;
            self.ended.pop_front();
        }
    }

    /// Whether nothing is known of it any more.
    pub(super) fn is_empty(&self) -> bool {
        self.open.messages == 0 && self.ended.is_empty()
    }

    /// What may go now where it may use so much of each cap.
    pub(super) fn allowance(&self, caps: &Caps, limit: impl Fn(&Cap) -> u32, now: Timestamp) -> Allowance {
        let mut room = Room::UNLIMITED;
        let mut not_before = Some(now);
        for cap in &caps.windows {
            let limit = u64::from(limit(cap));
            let used = self.used(cap, now);
            let left = u32::try_from(limit.saturating_sub(used)).unwrap_or(u32::MAX);
            match cap.counted {
                Counted::Messages => room.messages = room.messages.min(left),
                Counted::Recipients => room.recipients = room.recipients.min(left),
            }
            if left == 0 {
                let free_at = self.free_at(cap, used + 1 - limit, now);
                not_before = not_before.zip(free_at).map(|(a, b)| a.max(b));
            }
        }
        match not_before {
            _ if room.fits_one() => Allowance::Now(room),
            Some(at) => Allowance::NotBefore(at),
            None => Allowance::AfterSettlement,
        }
    }

    /// How much of the cap it occupies now.
    pub(super) fn used(&self, cap: &Cap, now: Timestamp) -> u64 {
        self.open.of(cap.counted) + self.through().of(cap.counted) - self.through_before_window(cap, now)
    }

    /// The earliest time at which `wanted` of what occupies the cap has left its window; none where that is still open.
    fn free_at(&self, cap: &Cap, wanted: u64, now: Timestamp) -> Option<Timestamp> {
        let goal = self.through_before_window(cap, now) + wanted;
        let index = self.ended.partition_point(|entry| entry.through.of(cap.counted) < goal);
        self.ended.get(index).map(|entry| entry.at.after(cap.window).after(TICK))
    }

    /// The sums of all charges that have ended.
    fn through(&self) -> Sums {
        self.ended.back().map_or(self.forgotten, |last| last.through)
    }

    /// The sum up to the last charge that has left the window. A charge that ended exactly one window ago is still in.
    fn through_before_window(&self, cap: &Cap, now: Timestamp) -> u64 {
        let gone = self.ended.partition_point(|entry| entry.at.after(cap.window) < now);
        match gone.checked_sub(1) {
            Some(index) => self.ended[index].through.of(cap.counted),
            None => self.forgotten.of(cap.counted),
        }
    }
}

/// The step of [`Timestamp`].
pub(super) const TICK: Duration = Duration::from_micros(1);
