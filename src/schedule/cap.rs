//! Caps as exact sliding windows over a ledger of what was sent when.
//!
//! The provider counts by its own clock, at some moment between our claim and its final reply. So a charge occupies a
//! window from the claim until one window after the final reply; within the cap mail goes at once, unspaced. A client's
//! part of the caps is kept in the same way, over its own charges.

mod tally;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::ClientName;
use crate::provider::{Cap, Caps};
use crate::route::Priority;
use crate::time::Timestamp;
use tally::Tally;

/// What was sent when with one login at one host, in all and by client. The store keeps it on disk; this is its image in
/// memory, which answers in the logarithm of its length.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Charges whose transaction has not ended, by their numbers.
    open: BTreeMap<i64, Open>,
    all: Tally,
    /// Those of each client. Older versions did not write down whose a charge is: these are in `all` alone.
    clients: BTreeMap<ClientName, Tally>,
}

#[derive(Clone, Debug)]
struct Open {
    client: Option<ClientName>,
    recipients: u32,
}

/// A charge whose transaction has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When it is booked as sent.
    pub at: Timestamp,
    /// For whose mail, where that is known.
    pub client: Option<ClientName>,
    /// To how many.
    pub recipients: u32,
}

/// How much may go now, or goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Transactions.
    pub messages: u32,
    /// Recipients.
    pub recipients: u32,
}

impl Room {
    /// Where there is no cap.
    pub(super) const UNLIMITED: Self = Self { messages: u32::MAX, recipients: u32::MAX };

    /// Whether a transaction with one recipient fits.
    pub fn fits_one(self) -> bool {
        self.messages > 0 && self.recipients > 0
    }

    /// What both leave.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { messages: self.messages.min(other.messages), recipients: self.recipients.min(other.recipients) }
    }

    /// With a transaction to so many recipients more.
    #[must_use]
    pub fn more(self, recipients: u32) -> Self {
        Self { messages: self.messages.saturating_add(1), recipients: self.recipients.saturating_add(recipients) }
    }

    /// What is left where so much is taken.
    #[must_use]
    pub fn less(self, taken: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(taken.messages),
            recipients: self.recipients.saturating_sub(taken.recipients),
        }
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

impl Allowance {
    /// What both leave.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Now(one), Self::Now(two)) => Self::Now(one.and(two)),
            (Self::AfterSettlement, _) | (_, Self::AfterSettlement) => Self::AfterSettlement,
            (Self::NotBefore(one), Self::NotBefore(two)) => Self::NotBefore(one.max(two)),
            (Self::NotBefore(at), Self::Now(_)) | (Self::Now(_), Self::NotBefore(at)) => Self::NotBefore(at),
        }
    }

    /// What is left where transactions that are about to begin take so much.
    #[must_use]
    pub fn less(self, taken: Room) -> Self {
        match self {
            Self::Now(room) if room.less(taken).fits_one() => Self::Now(room.less(taken)),
            Self::Now(_) => Self::AfterSettlement,
            Self::NotBefore(_) | Self::AfterSettlement => self,
        }
    }

    /// The room there is now.
    pub fn room(self) -> Option<Room> {
        match self {
            Self::Now(room) => Some(room),
            Self::NotBefore(_) | Self::AfterSettlement => None,
        }
    }
}

impl Ledger {
    /// Notes a transaction that begins; with whose mail, where that is known.
    pub fn open(&mut self, charge: i64, client: Option<&ClientName>, recipients: u32) {
        self.tallies(client, |tally| tally.open(recipients));
        self.open.insert(charge, Open { client: client.cloned(), recipients });
    }

    /// Notes that the transaction has ended at `now`. Returns what it is booked as, at a time that is never before that of
    /// the charge ended last; none where it is not under way.
    pub fn end(&mut self, charge: i64, now: Timestamp) -> Option<Ended> {
        let Open { client, recipients } = self.close(charge)?;
        let at = self.all.last().map_or(now, |last| now.max(last));
        self.book(at, client.as_ref(), recipients);
        Some(Ended { at, client, recipients })
    }

    /// Forgets a charge whose transaction never began.
    pub fn refund(&mut self, charge: i64) {
        if let Some(client) = self.close(charge).and_then(|open| open.client)
            && self.clients.get(&client).is_some_and(Tally::is_empty)
        {
            self.clients.remove(&client);
        }
    }

    /// Enters a charge that ended at `at`, as a store does when it is opened; in the order of their times.
    pub fn book(&mut self, at: Timestamp, client: Option<&ClientName>, recipients: u32) {
        self.tallies(client, |tally| tally.book(at, recipients));
    }

    /// Forgets what ended before `horizon`.
    pub fn forget(&mut self, horizon: Timestamp) {
        self.all.forget(horizon);
        self.clients.retain(|_, tally| {
            tally.forget(horizon);
            !tally.is_empty()
        });
    }

    /// Transactions under way.
    pub fn under_way(&self) -> u32 {
        u32::try_from(self.open.len()).unwrap_or(u32::MAX)
    }

    /// What may go now at this priority, whoever's it is. All caps must have room; of caps with a window of an hour or
    /// more the last tenth is for [`Priority::High`] alone. Concurrency is not looked at here.
    pub fn allowance(&self, caps: &Caps, priority: Priority, now: Timestamp) -> Allowance {
        self.all.allowance(caps, |cap| limit(cap, priority), now)
    }

    /// What may go now of a client's part of the caps, which is so many percent of each; not whether the caps themselves
    /// have room.
    pub fn part(&self, caps: &Caps, client: &ClientName, percent: u32, now: Timestamp) -> Allowance {
        let limit = |cap: &Cap| part(cap, percent);
        match self.clients.get(client) {
            Some(tally) => tally.allowance(caps, limit, now),
            None => Tally::default().allowance(caps, limit, now),
        }
    }

    /// How much of the cap is occupied now; all of it where nobody can tell what was sent.
    pub fn used(&self, cap: &Cap, now: Timestamp) -> u64 {
        let used = self.all.used(cap, now);
        if used < u64::from(UNKNOWN) { used } else { u64::from(cap.count) }
    }

    /// How much of the cap a client's mail occupies now.
    pub fn used_by(&self, client: &ClientName, cap: &Cap, now: Timestamp) -> u64 {
        self.clients.get(client).map_or(0, |tally| tally.used(cap, now))
    }

    fn close(&mut self, charge: i64) -> Option<Open> {
        let open = self.open.remove(&charge)?;
        self.tallies(open.client.as_ref(), |tally| tally.close(open.recipients));
        Some(open)
    }

    /// What is done to the tally of the login is done to that of the client.
    fn tallies(&mut self, client: Option<&ClientName>, change: impl Fn(&mut Tally)) {
        change(&mut self.all);
        if let Some(client) = client {
            change(self.clients.entry(client.clone()).or_default());
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

/// What a client with a share of so many percent may use of a cap: that part, rounded down, and one at least.
pub fn part(cap: &Cap, percent: u32) -> u32 {
    let part = u64::from(cap.count) * u64::from(percent) / 100;
    u32::try_from(part).unwrap_or(u32::MAX).max(1)
}

/// The longest window of any cap; what is older need not be remembered. At least a day and an hour.
pub fn horizon<'a>(caps: impl Iterator<Item = &'a Cap>) -> Duration {
    caps.map(|cap| cap.window).fold(Duration::from_secs(25 * 3600), Duration::max)
}

/// The recipients of a charge that stands for all that was sent up to its end, where nobody can tell any more how much that
/// was: it fills every cap, of messages too.
pub const UNKNOWN: u32 = u32::MAX;
/// From this length on the last tenth of a cap is kept for high priority.
pub const LONG_WINDOW: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::tally::TICK;
    use super::*;
    use crate::provider::Counted;

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
        ledger.open(1, None, 1);
        assert_eq!(ledger.allowance(&caps, Priority::High, at(500)), Allowance::AfterSettlement);
        ledger.end(1, at(500));
        assert_eq!(ledger.allowance(&caps, Priority::High, at(560)), Allowance::NotBefore(at(560).after(TICK)));
        assert!(matches!(ledger.allowance(&caps, Priority::High, at(560).after(TICK)), Allowance::Now(_)));
    }

    #[test]
    fn what_nobody_can_tell_fills_every_cap_for_a_window() {
        let caps = caps(&[(Counted::Messages, 30, 60), (Counted::Recipients, 10_000, 600)]);
        let mut ledger = Ledger::default();
        ledger.book(at(0), None, UNKNOWN);
        assert_eq!(ledger.allowance(&caps, Priority::High, at(100)), Allowance::NotBefore(at(600).after(TICK)));
        assert_eq!(caps.windows.iter().map(|cap| ledger.used(cap, at(30))).collect::<Vec<_>>(), [30, 10_000]);
        let minute = Caps { windows: vec![caps.windows[0]], ..caps.clone() };
        assert_eq!(ledger.allowance(&minute, Priority::High, at(30)), Allowance::NotBefore(at(60).after(TICK)));
        assert!(ledger.allowance(&caps, Priority::High, at(601)).room().is_some());
    }

    #[test]
    fn all_caps_must_have_room() {
        let caps = caps(&[(Counted::Messages, 10, 60), (Counted::Recipients, 5, 600)]);
        let mut ledger = Ledger::default();
        ledger.book(at(0), None, 4);
        assert_eq!(
            ledger.allowance(&caps, Priority::Normal, at(1)),
            Allowance::Now(Room { messages: 9, recipients: 1 })
        );
        ledger.book(at(1), None, 1);
        assert_eq!(ledger.allowance(&caps, Priority::Normal, at(2)), Allowance::NotBefore(at(600).after(TICK)));
    }

    #[test]
    fn the_last_tenth_of_a_long_window_is_for_high_priority() {
        let caps = caps(&[(Counted::Recipients, 10, 86_400)]);
        let mut ledger = Ledger::default();
        ledger.book(at(0), None, 9);
        assert!(matches!(ledger.allowance(&caps, Priority::Normal, at(1)), Allowance::NotBefore(_)));
        assert!(matches!(ledger.allowance(&caps, Priority::High, at(1)), Allowance::Now(Room { recipients: 1, .. })));
    }

    #[test]
    fn a_refund_leaves_no_trace_and_forgetting_keeps_the_sums() {
        let caps = caps(&[(Counted::Messages, 2, 60)]);
        let mut ledger = Ledger::default();
        ledger.open(1, None, 7);
        ledger.refund(1);
        ledger.book(at(0), None, 1);
        ledger.book(at(100), None, 1);
        ledger.forget(at(50));
        assert_eq!(ledger.used(&caps.windows[0], at(110)), 1);
    }

    #[test]
    fn time_that_steps_back_does_not_disorder_the_ledger() {
        let mut ledger = Ledger::default();
        ledger.book(at(100), None, 1);
        ledger.open(1, None, 1);
        assert_eq!(ledger.end(1, at(50)).map(|ended| ended.at), Some(at(100)));
    }

    #[test]
    fn a_client_has_its_part_of_each_cap_and_one_at_least() {
        let caps = caps(&[(Counted::Messages, 30, 60), (Counted::Recipients, 3, 600)]);
        let [minute, ten_minutes] = &caps.windows[..] else { panic!("two caps") };
        assert_eq!([1, 3, 25, 99, 100].map(|percent| part(minute, percent)), [1, 1, 7, 29, 30]);
        assert_eq!([1, 25, 66, 67, 100].map(|percent| part(ten_minutes, percent)), [1, 1, 1, 2, 3]);
        let most = Cap { counted: Counted::Messages, count: u32::MAX, window: Duration::from_secs(1) };
        assert_eq!(part(&most, 100), u32::MAX);
    }

    #[test]
    fn a_client_s_part_is_of_its_own_charges_from_their_claims_to_a_window_after_their_ends() {
        let caps = caps(&[(Counted::Messages, 8, 60)]);
        let (camera, form) = ("camera".into(), "form".into());
        let mut ledger = Ledger::default();
        ledger.book(at(0), None, 1);
        ledger.book(at(0), Some(&form), 1);
        let part = |ledger: &Ledger, now| ledger.part(&caps, &camera, 25, now);
        let room = |messages| Allowance::Now(Room { messages, recipients: u32::MAX });
        assert_eq!(part(&ledger, at(1)), room(2));
        ledger.open(1, Some(&camera), 1);
        ledger.open(2, Some(&camera), 1);
        assert_eq!(part(&ledger, at(1)), Allowance::AfterSettlement);
        assert_eq!(ledger.allowance(&caps, Priority::Normal, at(1)), room(4), "others are not hindered");
        ledger.end(1, at(5));
        ledger.refund(2);
        assert_eq!(part(&ledger, at(5)), room(1));
        ledger.book(at(7), Some(&camera), 1);
        assert_eq!(part(&ledger, at(65)), Allowance::NotBefore(at(65).after(TICK)));
        assert_eq!(part(&ledger, at(66)), room(1));
        assert_eq!(ledger.used_by(&camera, &caps.windows[0], at(66)), 1);
    }

    #[test]
    fn a_client_of_which_nothing_is_known_any_more_takes_no_room() {
        let camera = "camera".into();
        let mut ledger = Ledger::default();
        ledger.open(1, Some(&camera), 1);
        ledger.refund(1);
        assert!(ledger.clients.is_empty());
        ledger.open(1, Some(&camera), 1);
        ledger.open(2, Some(&camera), 1);
        ledger.end(1, at(10));
        ledger.forget(at(20));
        assert_eq!(ledger.clients.len(), 1, "one is under way");
        ledger.end(2, at(20));
        ledger.forget(at(21));
        assert!(ledger.clients.is_empty());
    }

    #[test]
    fn what_two_leave_is_the_least_of_both() {
        let (one, two) = (Room { messages: 1, recipients: 9 }, Room { messages: 3, recipients: 4 });
        let both = Room { messages: 1, recipients: 4 };
        let (soon, late) = (Allowance::NotBefore(at(1)), Allowance::NotBefore(at(2)));
        assert_eq!(Allowance::Now(one).and(Allowance::Now(two)), Allowance::Now(both));
        assert_eq!(Allowance::Now(one).and(soon), soon);
        assert_eq!(soon.and(late), late);
        assert_eq!(late.and(Allowance::AfterSettlement), Allowance::AfterSettlement);
        assert_eq!(Allowance::AfterSettlement.and(Allowance::Now(one)), Allowance::AfterSettlement);
    }
}
