//! What is left of an account's caps while a plan is made.

use super::AccountState;
use crate::route::Priority;
use crate::schedule::cap::{Allowance, Room};
use crate::time::Timestamp;

/// The room that is left for high priority and for the rest, while a plan is made.
pub(super) struct Rooms {
    high: (Room, Option<Timestamp>),
    rest: (Room, Option<Timestamp>),
}

impl Rooms {
    /// What the ledger leaves, less what the plan has taken for other routes.
    pub(super) fn of(account: &AccountState<'_>, taken: Room, now: Timestamp) -> Self {
        let rest = |room: Room| Room {
            messages: room.messages.saturating_sub(taken.messages),
            recipients: room.recipients.saturating_sub(taken.recipients),
        };
        let room = |priority| match account.ledger.allowance(account.caps, priority, now) {
            Allowance::Now(room) => (rest(room), None),
            Allowance::NotBefore(at) => (NOTHING, Some(at)),
            Allowance::AfterSettlement => (NOTHING, None),
        };
        Self { high: room(Priority::High), rest: room(Priority::Normal) }
    }

    pub(super) fn of_priority(&self, priority: Priority) -> Room {
        self.side(priority).0
    }

    pub(super) fn free_at(&self, priority: Priority) -> Option<Timestamp> {
        self.side(priority).1
    }

    fn side(&self, priority: Priority) -> (Room, Option<Timestamp>) {
        if priority == Priority::High { self.high } else { self.rest }
    }

    pub(super) fn take(&mut self, recipients: u32) {
        self.high.0 = self.high.0.less(recipients);
        self.rest.0 = self.rest.0.less(recipients);
    }
}

pub(super) const NOTHING: Room = Room { messages: 0, recipients: 0 };
