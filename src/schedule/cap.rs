//! Caps as exact sliding windows over a ledger of what was sent when.
//!
//! The provider counts by its own clock, at some moment between our claim and its final reply. So a charge occupies a
//! window from the claim until one window after the final reply; within the cap mail goes at once, unspaced.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::provider::{Cap, Caps, Counted};
use crate::route::Priority;
use crate::time::Timestamp;

/// What was sent when with one login at one host. The store keeps it on disk; this is its image in memory, which
/// answers in the logarithm of its length.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Charges whose transaction has not ended, with their recipients.
    open: BTreeMap<i64, u32>,
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

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    messages: u64,
    recipients: u64,
}

impl Sums {
    fn of(self, counted: Counted) -> u64 {
        match counted {
            Counted::Messages => self.messages,
            Counted::Recipients => self.recipients,
        }
    }
}

/// How much may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Transactions.
    pub messages: u32,
    /// Recipients.
    pub recipients: u32,
}

impl Room {
    /// Whether a transaction with one recipient fits.
    pub fn fits_one(self) -> bool {
        self.messages > 0 && self.recipients > 0
    }

    /// What is left after a transaction with so many recipients.
    #[must_use]
    pub fn less(self, recipients: u32) -> Self {
        Self { messages: self.messages.saturating_sub(1), recipients: self.recipients.saturating_sub(recipients) }
    }
}

/// Now, or not before when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// There is room for at least one recipient.
    Now(Room),
    /// There is room for one from this moment on.
    NotBefore(Timestamp),
    /// There is room once a transaction that is under way has ended and its window has passed.
    AfterSettlement,
}

impl Ledger {
    /// Notes a transaction that begins.
    pub fn open(&mut self, charge: i64, recipients: u32) {
        self.open.insert(charge, recipients);
    }

    /// Notes that the transaction has ended at `now`. Returns the time it is booked at, which is never before that of
    /// the charge ended last.
    pub fn end(&mut self, charge: i64, now: Timestamp) -> Timestamp {
        let at = self.ended.back().map_or(now, |last| now.max(last.at));
        if let Some(recipients) = self.open.remove(&charge) {
            self.book(at, recipients);
        }
        at
    }

    /// Forgets a charge whose transaction never began.
    pub fn refund(&mut self, charge: i64) {
        self.open.remove(&charge);
    }

    /// Enters a charge that ended at `at`, as a store does when it is opened; in the order of their times.
    pub fn book(&mut self, at: Timestamp, recipients: u32) {
        let before = self.ended.back().map_or(self.forgotten, |last| last.through);
        let through = Sums { messages: before.messages + 1, recipients: before.recipients + u64::from(recipients) };
        self.ended.push_back(Ended { at, through });
    }

    /// Forgets what ended before `horizon`.
    pub fn forget(&mut self, horizon: Timestamp) {
        while let Some(first) = self.ended.front().filter(|first| first.at < horizon) {
            self.forgotten = first.through;
            self.ended.pop_front();
        }
    }

    /// Transactions under way.
    pub fn under_way(&self) -> u32 {
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }

    /// What may go now at this priority. All caps must have room; of caps with a window of an hour or more the last
    /// tenth is for [`Priority::High`] alone. Concurrency is not looked at here.
    pub fn allowance(&self, caps: &Caps, priority: Priority, now: Timestamp) -> Allowance {
        let mut room = Room { messages: u32::MAX, recipients: u32::MAX };
        let mut not_before = Some(now);
        for cap in &caps.windows {
            let limit = limit(cap, priority);
            let used = self.used(cap, now);
            let left = u32::try_from(u64::from(limit).saturating_sub(used)).unwrap_or(u32::MAX);
            match cap.counted {
                Counted::Messages => room.messages = room.messages.min(left),
                Counted::Recipients => room.recipients = room.recipients.min(left),
            }
            if left == 0 {
                let free_at = self.free_at(cap, used + 1 - u64::from(limit), now);
                not_before = not_before.zip(free_at).map(|(a, b)| a.max(b));
            }
        }
        match not_before {
            _ if room.fits_one() => Allowance::Now(room),
            Some(at) => Allowance::NotBefore(at),
            None => Allowance::AfterSettlement,
        }
    }

    /// How much of the cap is occupied now.
    pub fn used(&self, cap: &Cap, now: Timestamp) -> u64 {
        let open = match cap.counted {
            Counted::Messages => self.open.len() as u64,
            Counted::Recipients => self.open.values().map(|recipients| u64::from(*recipients)).sum(),
        };
        let last = self.ended.back().map_or(self.forgotten, |last| last.through);
        open + last.of(cap.counted) - self.through_before_window(cap, now)
    }

    /// The earliest time at which `wanted` of what occupies the cap has left its window; none where that is still open.
    fn free_at(&self, cap: &Cap, wanted: u64, now: Timestamp) -> Option<Timestamp> {
        let goal = self.through_before_window(cap, now) + wanted;
        let index = self.ended.partition_point(|entry| entry.through.of(cap.counted) < goal);
        self.ended.get(index).map(|entry| entry.at.after(cap.window).after(TICK))
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

/// What mail of this priority may use of a cap.
pub fn limit(cap: &Cap, priority: Priority) -> u32 {
    match priority {
        Priority::High => cap.count,
        Priority::Normal | Priority::Low if cap.window < LONG_WINDOW => cap.count,
        Priority::Normal | Priority::Low => cap.count - cap.count / 10,
    }
}

/// The longest window of any cap; what is older need not be remembered. At least a day and an hour.
pub fn horizon<'a>(caps: impl Iterator<Item = &'a Cap>) -> Duration {
    caps.map(|cap| cap.window).fold(Duration::from_secs(25 * 3600), Duration::max)
}

/// From this length on the last tenth of a cap is kept for high priority.
pub const LONG_WINDOW: Duration = Duration::from_secs(3600);
/// The step of [`Timestamp`].
const TICK: Duration = Duration::from_micros(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(windows: &[(Counted, u32, u64)]) -> Caps {
        let windows = windows
            .iter()
            .map(|(counted, count, secs)| Cap { counted: *counted, count: *count, window: Duration::from_secs(*secs) })
            .collect();
        Caps { windows, connections: 3, recipients_per_message: 500, message_size: 1 << 20 }
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_charge_counts_from_its_claim_until_a_window_after_its_end() {
        let caps = caps(&[(Counted::Messages, 1, 60)]);
        let mut ledger = Ledger::default();
        ledger.open(1, 1);
        assert_eq!(ledger.allowance(&caps, Priority::High, at(500)), Allowance::AfterSettlement);
        ledger.end(1, at(500));
        assert_eq!(ledger.allowance(&caps, Priority::High, at(560)), Allowance::NotBefore(at(560).after(TICK)));
        assert!(matches!(ledger.allowance(&caps, Priority::High, at(560).after(TICK)), Allowance::Now(_)));
    }

    #[test]
    fn all_caps_must_have_room() {
        let caps = caps(&[(Counted::Messages, 10, 60), (Counted::Recipients, 5, 600)]);
        let mut ledger = Ledger::default();
        ledger.book(at(0), 4);
        assert_eq!(
            ledger.allowance(&caps, Priority::Normal, at(1)),
            Allowance::Now(Room { messages: 9, recipients: 1 })
        );
        ledger.book(at(1), 1);
        assert_eq!(ledger.allowance(&caps, Priority::Normal, at(2)), Allowance::NotBefore(at(600).after(TICK)));
    }

    #[test]
    fn the_last_tenth_of_a_long_window_is_for_high_priority() {
        let caps = caps(&[(Counted::Recipients, 10, 86_400)]);
        let mut ledger = Ledger::default();
        ledger.book(at(0), 9);
        assert!(matches!(ledger.allowance(&caps, Priority::Normal, at(1)), Allowance::NotBefore(_)));
        assert!(matches!(ledger.allowance(&caps, Priority::High, at(1)), Allowance::Now(Room { recipients: 1, .. })));
    }

    #[test]
    fn a_refund_leaves_no_trace_and_forgetting_keeps_the_sums() {
        let caps = caps(&[(Counted::Messages, 2, 60)]);
        let mut ledger = Ledger::default();
        ledger.open(1, 7);
        ledger.refund(1);
        ledger.book(at(0), 1);
        ledger.book(at(100), 1);
        ledger.forget(at(50));
        assert_eq!(ledger.used(&caps.windows[0], at(110)), 1);
    }

    #[test]
    fn time_that_steps_back_does_not_disorder_the_ledger() {
        let mut ledger = Ledger::default();
        ledger.book(at(100), 1);
        ledger.open(1, 1);
        assert_eq!(ledger.end(1, at(50)), at(100));
    }
}
