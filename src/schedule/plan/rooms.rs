//! What is left of an account's caps, and of the clients' parts of them, while a plan is made.

use std::collections::BTreeMap;

use super::{AccountState, Flow};
use crate::ids::ClientName;
use crate::route::Priority;
use crate::schedule::cap::{Allowance, Room};
use crate::time::Timestamp;

/// What the claims of a plan take of an account, whose ledger does not know of them yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub(super) all: Room,
    clients: BTreeMap<ClientName, Room>,
}

impl Taken {
    pub(super) fn add(&mut self, client: &ClientName, recipients: u32) {
        self.all = self.all.more(recipients);
        let own = self.clients.entry(client.clone()).or_default();
        *own = own.more(recipients);
    }
}

/// What high priority, the rest, and each client with a share may still take.
pub(super) struct Rooms<'a> {
    high: Allowance,
    rest: Allowance,
    parts: BTreeMap<&'a ClientName, Allowance>,
}

impl<'a> Rooms<'a> {
    /// What the ledger leaves, less what the plan has taken for other routes. `shares` are those of the clients whose mail
    /// waits.
    pub(super) fn of(
        account: &AccountState<'_>,
        taken: Option<&Taken>,
        shares: impl Iterator<Item = (&'a ClientName, u32)>,
        now: Timestamp,
    ) -> Self {
        let less = |allowance: Allowance, taken: Option<&Room>| allowance.less(taken.copied().unwrap_or_default());
        let all = |priority| less(account.ledger.allowance(account.caps, priority, now), taken.map(|taken| &taken.all));
        let part = |client, percent| {
            let own = taken.and_then(|taken| taken.clients.get(client));
            less(account.ledger.part(account.caps, client, percent, now), own)
        };
        Self {
            high: all(Priority::High),
            rest: all(Priority::Normal),
            parts: shares.map(|(client, percent)| (client, part(client, percent))).collect(),
        }
    }

    /// What may go of a flow.
    pub(super) fn of_flow(&self, flow: &Flow) -> Allowance {
        let all = self.of_caps(flow);
        self.parts.get(&flow.client).map_or(all, |part| all.and(*part))
    }

    /// What the caps alone leave for a flow, whatever its client's part of them.
    pub(super) fn of_caps(&self, flow: &Flow) -> Allowance {
        if flow.priority == Priority::High { self.high } else { self.rest }
    }

    pub(super) fn take(&mut self, client: &ClientName, recipients: u32) {
        let one = Room::default().more(recipients);
        self.high = self.high.less(one);
        self.rest = self.rest.less(one);
        if let Some(part) = self.parts.get_mut(client) {
            *part = part.less(one);
        }
    }
}
