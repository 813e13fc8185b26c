//! `plan(&State, now) -> Plan`: what to claim now, and when to look again.
//!
//! Within an account mail is ordered by class (what has waited a quarter of an hour rises one), shared fairly among
//! clients, oldest first within a client. Caps and connections must have room. A lane that is not open gets one message
//! when its probe is due.

mod rooms;

use std::collections::BTreeMap;
use std::time::Duration;

use super::cap::{Allowance, Ledger};
use super::fairness::Fairness;
use super::lane::{Lane, Standing};
use crate::ids::{AccountName, ClientName, RouteName};
use crate::provider::Caps;
use crate::route::Priority;
use crate::time::Timestamp;
use rooms::{Rooms, Taken};

/// What the plan is made from: counts and times, never mail.
#[derive(Debug)]
pub struct State<'a> {
    /// The routes.
    pub routes: Vec<RouteState<'a>>,
    /// What waits, by flow.
    pub flows: &'a [Flow],
    /// Clients that may have a part of each cap at most, in percent.
    pub shares: &'a BTreeMap<ClientName, u32>,
    /// When the next delivery that was put off is due.
    pub next_due: Option<Timestamp>,
    /// Who has had how much.
    pub fairness: &'a Fairness,
}

/// A route: its accounts, the preferred first.
#[derive(Debug)]
pub struct RouteState<'a> {
    /// Its name.
    pub name: &'a RouteName,
    /// Its accounts. Mail goes by the first whose lane is open; the others are only probed.
    pub accounts: Vec<AccountState<'a>>,
}

/// An account, as far as the plan must know it.
#[derive(Clone, Copy, Debug)]
pub struct AccountState<'a> {
    /// Its name.
    pub name: &'a AccountName,
    /// Its standing.
    pub lane: &'a Lane,
    /// Its caps.
    pub caps: &'a Caps,
    /// What was sent with its login.
    pub ledger: &'a Ledger,
}

/// Mail of one client, one class and one route that may go now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The route.
    pub route: RouteName,
    /// Whose mail.
    pub client: ClientName,
    /// In which class it was accepted.
    pub priority: Priority,
    /// The oldest deliveries, oldest first: as many as one plan may claim.
    pub heads: Vec<Head>,
}

/// A delivery that may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Recipients still to be served.
    pub recipients: u32,
    /// How long it has waited, without the time in which no account could send.
    pub age: Duration,
}

/// What to claim now and when to look again.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The claims, in order.
    pub claims: Vec<Wanted>,
    /// When to look again, where nothing happens before.
    pub wake: Option<Timestamp>,
    /// What caps keep waiting.
    pub capped: Vec<Capped>,
    /// Who has had how much after these claims.
    pub fairness: Fairness,
    /// What the claims take of each account.
    taken: BTreeMap<AccountName, Taken>,
}

/// That caps of an account keep mail waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capped {
    /// Which account.
    pub account: AccountName,
    /// The client that has had its part, where there is room for others; none where the caps themselves are reached.
    pub client: Option<ClientName>,
    /// Until when, where that is known.
    pub free_at: Option<Timestamp>,
}

/// A claim that the plan wants: the oldest delivery of a flow, by an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// By which account.
    pub account: AccountName,
    /// Of which route.
    pub route: RouteName,
    /// Of whose mail.
    pub client: ClientName,
    /// Of which class.
    pub priority: Priority,
}

/// Plans. Pure: the same state and time give the same plan.
pub fn plan(state: &State<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan { wake: state.next_due, fairness: state.fairness.clone(), ..Plan::default() };
    for route in &state.routes {
        let mut waiting: Vec<Waiting<'_>> =
            state.flows.iter().filter(|flow| flow.route == *route.name).map(|flow| Waiting::new(flow, state)).collect();
        for account in route.accounts.iter().filter(|account| account.lane.standing != Standing::Open) {
            plan.probe(route.name, account, &mut waiting, now);
        }
        if let Some(account) = route.accounts.iter().find(|account| account.lane.standing == Standing::Open) {
            plan.fill(route.name, account, &mut waiting, now);
        }
    }
    plan
}

/// A flow, its client's share, and how many of its heads this plan has claimed.
struct Waiting<'a> {
    flow: &'a Flow,
    share: Option<u32>,
    claimed: usize,
}

impl<'a> Waiting<'a> {
    fn new(flow: &'a Flow, state: &State<'_>) -> Self {
        Self { flow, share: state.shares.get(&flow.client).copied(), claimed: 0 }
    }

    fn head(&self) -> Option<&'a Head> {
        self.flow.heads.get(self.claimed)
    }
}

impl Plan {
    /// One message for a lane that is not open, where its probe is due and none is under way.
    fn probe(&mut self, route: &RouteName, account: &AccountState<'_>, waiting: &mut [Waiting<'_>], now: Timestamp) {
        let Some(probe_at) = account.lane.stop().and_then(|stop| stop.probe_at) else { return };
        let under_way = account.ledger.under_way() > 0 || self.taken.contains_key(account.name);
        if waiting.iter().all(|one| one.head().is_none()) || under_way {
            return;
        }
        if probe_at > now {
            return self.wake_at(probe_at);
        }
        let mut rooms = self.rooms(account, waiting, now);
        let other = |one: &Waiting<'_>| Some(&one.flow.client) != account.lane.last_probe.as_ref();
        let has_room = |one: &Waiting<'_>| one.head().is_some() && rooms.of_flow(one.flow).room().is_some();
        let others_wait = waiting.iter().any(|one| other(one) && has_room(one));
        let chosen = self.choose(account, waiting, &rooms, |one| !others_wait || other(one));
        match chosen {
            Some(index) => self.claim(route, account, &mut waiting[index], &mut rooms),
            None => self.note_cap(account, &rooms, waiting),
        }
    }

    /// As many messages as connections, caps and what waits allow.
    fn fill(&mut self, route: &RouteName, account: &AccountState<'_>, waiting: &mut [Waiting<'_>], now: Timestamp) {
        let caps = account.lane.paced(account.caps, now);
        let account = &AccountState { caps: &caps, ..*account };
        if waiting.iter().any(|one| one.head().is_some()) {
            account.lane.faster_at(now).into_iter().for_each(|at| self.wake_at(at));
        }
        let mut rooms = self.rooms(account, waiting, now);
        let taken = self.taken.get(account.name).map_or(0, |taken| taken.all.messages);
        for _ in account.ledger.under_way() + taken..account.caps.connections {
            let Some(index) = self.choose(account, waiting, &rooms, |_| true) else {
                return self.note_cap(account, &rooms, waiting);
            };
            self.claim(route, account, &mut waiting[index], &mut rooms);
        }
    }

    /// The flow whose turn it is among those that have room: of the best class, by fair shares.
    fn choose(
        &mut self,
        account: &AccountState<'_>,
        waiting: &[Waiting<'_>],
        rooms: &Rooms<'_>,
        eligible: impl Fn(&Waiting<'_>) -> bool,
    ) -> Option<usize> {
        let candidates = || {
            waiting
                .iter()
                .enumerate()
                .filter_map(|(index, one)| Some((index, one, rooms.of_flow(one.flow).room()?)))
                .filter(|(_, one, _)| eligible(one))
        };
        let class = |one: &Waiting<'_>| one.head().map(|head| risen(one.flow.priority, head.age));
        let best = candidates().filter_map(|(_, one, _)| class(one)).min()?;
        let mut turns: BTreeMap<&ClientName, u32> = BTreeMap::new();
        for (_, one, room) in candidates().filter(|(_, one, _)| class(one) == Some(best)) {
            let most = account.caps.recipients_per_message.min(room.recipients);
            let cost = one.head().map_or(1, |head| head.recipients.min(most));
            turns.entry(&one.flow.client).or_insert(cost);
        }
        let client = self.fairness.choose(best, &turns)?.clone();
        let chosen = |one: &Waiting<'_>| one.flow.client == client && class(one) == Some(best);
        candidates().find(|(_, one, _)| chosen(one)).map(|(index, _, _)| index)
    }

    fn claim(&mut self, route: &RouteName, account: &AccountState<'_>, one: &mut Waiting<'_>, rooms: &mut Rooms<'_>) {
        let (Some(head), Some(room)) = (one.head(), rooms.of_flow(one.flow).room()) else { return };
        let recipients = head.recipients.min(account.caps.recipients_per_message).min(room.recipients);
        rooms.take(&one.flow.client, recipients);
        self.taken.entry(account.name.clone()).or_default().add(&one.flow.client, recipients);
        one.claimed += 1;
        self.claims.push(Wanted {
            account: account.name.clone(),
            route: route.clone(),
            client: one.flow.client.clone(),
            priority: one.flow.priority,
        });
    }

    fn rooms<'a>(&self, account: &AccountState<'_>, waiting: &[Waiting<'a>], now: Timestamp) -> Rooms<'a> {
        let shares = waiting.iter().filter_map(|one| Some((&one.flow.client, one.share?)));
        Rooms::of(account, self.taken.get(account.name), shares, now)
    }

    /// Notes that caps keep what waits, and wakes when the first of it may go.
    fn note_cap(&mut self, account: &AccountState<'_>, rooms: &Rooms<'_>, waiting: &[Waiting<'_>]) {
        for one in waiting.iter().filter(|one| one.head().is_some()) {
            let free_at = match rooms.of_flow(one.flow) {
                Allowance::Now(_) => continue,
                Allowance::NotBefore(at) => Some(at),
                Allowance::AfterSettlement => None,
            };
            free_at.into_iter().for_each(|at| self.wake_at(at));
            let client = rooms.of_caps(one.flow).room().map(|_| one.flow.client.clone());
            let known = |capped: &&mut Capped| capped.account == *account.name && capped.client == client;
            match self.capped.iter_mut().find(known) {
                Some(known) => known.free_at = [known.free_at, free_at].into_iter().flatten().min(),
                None => self.capped.push(Capped { account: account.name.clone(), client, free_at }),
            }
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// The class in which a delivery stands after it has waited: one higher for each quarter of an hour.
fn risen(priority: Priority, age: Duration) -> Priority {
    let quarters = age.as_secs() / RISES_AFTER.as_secs();
    match (priority, quarters) {
        (Priority::Low, 0) => Priority::Low,
        (Priority::Low, 1) | (Priority::Normal, 0) => Priority::Normal,
        _ => Priority::High,
    }
}

const RISES_AFTER: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests;
