//! `plan(&State, now) -> Plan`: what to claim now, and when to look again.
//!
//! Within an account mail is ordered by class (what has waited a quarter of an hour rises one), shared fairly among
//! clients, oldest first within a client. Caps and connections must have room. A lane that is not open gets one message
//! when its probe is due.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cap::{Allowance, Ledger, Room};
use super::fairness::Fairness;
use super::lane::{Lane, Standing};
use crate::ids::{AccountName, ClientName, RouteName};
use crate::provider::Caps;
use crate::route::Priority;
use crate::time::Timestamp;

/// What the plan is made from: counts and times, never mail.
#[derive(Debug)]
pub struct State<'a> {
    /// The routes.
    pub routes: Vec<RouteState<'a>>,
    /// What waits, by flow.
    pub flows: &'a [Flow],
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
    /// Accounts whose caps keep mail waiting, and until when where that is known.
    pub capped: Vec<(AccountName, Option<Timestamp>)>,
    /// Who has had how much after these claims.
    pub fairness: Fairness,
    /// What the claims take of each account, whose ledger does not know of them yet.
    taken: BTreeMap<AccountName, Room>,
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
            state.flows.iter().filter(|flow| flow.route == *route.name).map(Waiting::new).collect();
        for account in route.accounts.iter().filter(|account| account.lane.standing != Standing::Open) {
            plan.probe(route.name, account, &mut waiting, now);
        }
        if let Some(account) = route.accounts.iter().find(|account| account.lane.standing == Standing::Open) {
            plan.fill(route.name, account, &mut waiting, now);
        }
    }
    plan
}

/// A flow and how many of its heads this plan has claimed.
struct Waiting<'a> {
    flow: &'a Flow,
    claimed: usize,
}

impl<'a> Waiting<'a> {
    fn new(flow: &'a Flow) -> Self {
        Self { flow, claimed: 0 }
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
        let mut rooms = Rooms::of(account, self.taken(account), now);
        let other = |one: &Waiting<'_>| Some(&one.flow.client) != account.lane.last_probe.as_ref();
        let has_room = |one: &Waiting<'_>| one.head().is_some() && rooms.of_priority(one.flow.priority).fits_one();
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
        let taken = self.taken(account);
        let mut rooms = Rooms::of(account, taken, now);
        for _ in account.ledger.under_way() + taken.messages..account.caps.connections {
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
        rooms: &Rooms,
        eligible: impl Fn(&Waiting<'_>) -> bool,
    ) -> Option<usize> {
        let candidates = || {
            waiting
                .iter()
                .enumerate()
                .filter(|(_, one)| eligible(one) && rooms.of_priority(one.flow.priority).fits_one())
        };
        let class = |one: &Waiting<'_>| one.head().map(|head| risen(one.flow.priority, head.age));
        let best = candidates().filter_map(|(_, one)| class(one)).min()?;
        let mut turns: BTreeMap<&ClientName, u32> = BTreeMap::new();
        for (_, one) in candidates().filter(|(_, one)| class(one) == Some(best)) {
            let most = account.caps.recipients_per_message.min(rooms.of_priority(one.flow.priority).recipients);
            let cost = one.head().map_or(1, |head| head.recipients.min(most));
            turns.entry(&one.flow.client).or_insert(cost);
        }
        let client = self.fairness.choose(best, &turns)?.clone();
        candidates().find(|(_, one)| one.flow.client == client && class(one) == Some(best)).map(|(index, _)| index)
    }

    fn claim(&mut self, route: &RouteName, account: &AccountState<'_>, one: &mut Waiting<'_>, rooms: &mut Rooms) {
        let Some(head) = one.head() else { return };
        let recipients = head.recipients.min(account.caps.recipients_per_message);
        rooms.take(recipients);
        let taken = self.taken.entry(account.name.clone()).or_insert(NOTHING);
        *taken = Room { messages: taken.messages + 1, recipients: taken.recipients.saturating_add(recipients) };
        one.claimed += 1;
        self.claims.push(Wanted {
            account: account.name.clone(),
            route: route.clone(),
            client: one.flow.client.clone(),
            priority: one.flow.priority,
        });
    }

    fn taken(&self, account: &AccountState<'_>) -> Room {
        self.taken.get(account.name).copied().unwrap_or(NOTHING)
    }

    /// Notes that caps keep what waits, and wakes when the first of it may go.
    fn note_cap(&mut self, account: &AccountState<'_>, rooms: &Rooms, waiting: &[Waiting<'_>]) {
        let kept = |one: &&Waiting<'_>| one.head().is_some() && !rooms.of_priority(one.flow.priority).fits_one();
        let mut free_at = None;
        let mut any = false;
        for one in waiting.iter().filter(kept) {
            any = true;
            if let Some(at) = rooms.free_at(one.flow.priority) {
                free_at = Some(free_at.map_or(at, |known: Timestamp| known.min(at)));
            }
        }
        if any {
            free_at.into_iter().for_each(|at| self.wake_at(at));
            self.capped.push((account.name.clone(), free_at));
        }
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// The room that is left for high priority and for the rest, while a plan is made.
struct Rooms {
    high: (Room, Option<Timestamp>),
    rest: (Room, Option<Timestamp>),
}

impl Rooms {
    /// What the ledger leaves, less what the plan has taken for other routes.
    fn of(account: &AccountState<'_>, taken: Room, now: Timestamp) -> Self {
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

    fn of_priority(&self, priority: Priority) -> Room {
        self.side(priority).0
    }

    fn free_at(&self, priority: Priority) -> Option<Timestamp> {
        self.side(priority).1
    }

    fn side(&self, priority: Priority) -> (Room, Option<Timestamp>) {
        if priority == Priority::High { self.high } else { self.rest }
    }

    fn take(&mut self, recipients: u32) {
        self.high.0 = self.high.0.less(recipients);
        self.rest.0 = self.rest.0.less(recipients);
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

const NOTHING: Room = Room { messages: 0, recipients: 0 };
const RISES_AFTER: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::refusal::{Pace, Rate};
    use crate::provider::{Cap, Counted};
    use crate::schedule::lane::{Cause, CauseKind, Event};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn caps(count: u32, window: u64, connections: u32) -> Caps {
        let window = Duration::from_secs(window);
        let windows = vec![Cap { counted: Counted::Messages, count, window }];
        Caps { windows, connections, recipients_per_message: 500, message_size: 1 << 20 }
    }

    fn flow(client: &str, priority: Priority, waited: u64, heads: usize) -> Flow {
        let head = Head { recipients: 1, age: Duration::from_secs(waited) };
        Flow { route: "default".into(), client: client.into(), priority, heads: vec![head; heads] }
    }

    struct Setup {
        caps: Caps,
        lanes: Vec<Lane>,
        ledger: Ledger,
        flows: Vec<Flow>,
    }

    impl Setup {
        fn new(caps: Caps, flows: Vec<Flow>) -> Self {
            Self { caps, lanes: vec![Lane::default()], ledger: Ledger::default(), flows }
        }

        fn plan(&self, now: Timestamp) -> Plan {
            let route = "default".into();
            let names: Vec<AccountName> = (0..self.lanes.len()).map(|n| format!("a{n}").into()).collect();
            let accounts = self.lanes.iter().zip(&names).map(|(lane, name)| AccountState {
                name,
                lane,
                caps: &self.caps,
                ledger: &self.ledger,
            });
            let routes = vec![RouteState { name: &route, accounts: accounts.collect() }];
            plan(&State { routes, flows: &self.flows, next_due: None, fairness: &Fairness::default() }, now)
        }

        fn clients(&self, now: Timestamp) -> Vec<String> {
            self.plan(now).claims.iter().map(|wanted| wanted.client.to_string()).collect()
        }
    }

    #[test]
    fn high_goes_first_and_clients_take_turns() {
        use Priority::{High, Low, Normal};
        let flows = vec![
            flow("camera", Low, 0, 9),
            flow("form", Normal, 0, 9),
            flow("shop", Normal, 0, 1),
            flow("fire", High, 0, 2),
        ];
        let setup = Setup::new(caps(30, 60, 7), flows);
        assert_eq!(setup.clients(at(0)), ["fire", "fire", "form", "shop", "form", "form", "form"]);
    }

    #[test]
    fn what_has_waited_a_quarter_of_an_hour_rises() {
        use Priority::{Low, Normal};
        let setup = Setup::new(caps(30, 60, 2), vec![flow("camera", Low, 900, 9), flow("form", Normal, 0, 9)]);
        assert_eq!(setup.clients(at(0)), ["camera", "form"]);
    }

    #[test]
    fn a_client_pays_for_what_goes_now_not_for_its_whole_message() {
        let mut caps = caps(30, 60, 6);
        caps.recipients_per_message = 1;
        let mut list = flow("list", Priority::Normal, 0, 6);
        list.heads.iter_mut().for_each(|head| head.recipients = 100);
        let setup = Setup::new(caps, vec![flow("form", Priority::Normal, 0, 6), list]);
        assert_eq!(setup.clients(at(0)), ["form", "list", "form", "list", "form", "list"]);
    }

    #[test]
    fn a_risen_message_does_not_touch_the_reserved_tenth() {
        let mut setup = Setup::new(caps(10, 3600, 10), vec![flow("camera", Priority::Normal, 5000, 20)]);
        assert_eq!(setup.plan(at(0)).claims.len(), 9);
        setup.flows.push(flow("fire", Priority::High, 0, 20));
        assert_eq!(setup.plan(at(0)).claims.iter().filter(|wanted| wanted.priority == Priority::High).count(), 5);
    }

    #[test]
    fn no_more_than_connections_and_caps_allow_and_it_wakes_when_they_do() {
        let mut setup = Setup::new(caps(4, 60, 3), vec![flow("a", Priority::Normal, 0, 20)]);
        assert_eq!(setup.plan(at(0)).claims.len(), 3);
        setup.ledger.book(at(10), 1);
        setup.ledger.book(at(11), 1);
        assert_eq!(setup.plan(at(12)).claims.len(), 2);
        setup.ledger.book(at(12), 1);
        setup.ledger.book(at(12), 1);
        let plan = setup.plan(at(13));
        assert!(plan.claims.is_empty());
        assert_eq!(plan.wake, Some(at(70).after(Duration::from_micros(1))));
        assert_eq!(plan.capped.len(), 1);
    }

    #[test]
    fn a_lane_that_was_told_to_slow_down_sends_less_until_it_has_recovered() {
        for (limits, most) in [(Pace::Connections, 10), (Pace::Messages, 15)] {
            let mut setup = Setup::new(caps(30, 60, 20), vec![flow("a", Priority::Normal, 0, 40)]);
            let cause = Cause { kind: CauseKind::Rate, sentence: String::new(), reply: None };
            let rate = Rate { limits, rest: None };
            setup.lanes[0].note(Event::Slowed { cause, rate }, at(0), at(0));
            setup.lanes[0].note(Event::Delivered, at(1), at(1));
            let plan = setup.plan(at(1));
            assert_eq!((plan.claims.len(), plan.wake), (most, Some(at(8))), "{limits:?}");
            assert_eq!(setup.plan(at(60)).claims.len(), 20);
        }
    }

    #[test]
    fn a_stopped_lane_is_probed_once_and_another_one_carries_on() {
        let mut setup =
            Setup::new(caps(30, 60, 3), vec![flow("a", Priority::Normal, 0, 20), flow("b", Priority::Normal, 0, 20)]);
        let cause = Cause { kind: CauseKind::Account, sentence: String::new(), reply: None };
        setup.lanes[0].note(Event::Stopped(cause), at(0), at(0));
        let plan = setup.plan(at(1));
        assert!(plan.claims.is_empty());
        assert_eq!(plan.wake, Some(at(60)));
        assert_eq!(setup.plan(at(60)).claims.len(), 1);
        setup.lanes[0].last_probe = Some("a".into());
        assert_eq!(setup.clients(at(60)), ["b"], "the probe takes another client's message");
        setup.lanes.push(Lane::default());
        let plan = setup.plan(at(1));
        assert_eq!(plan.claims.len(), 3);
        assert!(plan.claims.iter().all(|wanted| wanted.account.as_str() == "a1"));
    }

    /// What the claims for one route take is not there for the next one: neither connections, nor caps, nor the probe.
    #[test]
    fn routes_share_what_an_account_has() {
        let caps = caps(30, 60, 3);
        let names: [AccountName; 2] = ["a".into(), "b".into()];
        let routes: [RouteName; 2] = ["avoiding:a".into(), "default".into()];
        let mut stopped = Lane::default();
        let cause = Cause { kind: CauseKind::Account, sentence: String::new(), reply: None };
        stopped.note(Event::Stopped(cause), at(0), at(0));
        let (open, ledger, fairness) = (Lane::default(), Ledger::default(), Fairness::default());
        let flows: Vec<Flow> =
            routes.iter().map(|route| Flow { route: route.clone(), ..flow("x", Priority::Normal, 0, 9) }).collect();
        let planned = |lanes: [&Lane; 2]| {
            let account = |n: usize| AccountState { name: &names[n], lane: lanes[n], caps: &caps, ledger: &ledger };
            let routes = [(&routes[0], [1, 0]), (&routes[1], [0, 1])];
            let routes =
                routes.map(|(name, order)| RouteState { name, accounts: order.into_iter().map(account).collect() });
            let state = State { routes: routes.into(), flows: &flows, next_due: None, fairness: &fairness };
            let claims = plan(&state, at(900)).claims;
            claims.iter().map(|wanted| format!("{} {}", wanted.route, wanted.account)).collect::<Vec<_>>()
        };
        assert_eq!(planned([&open, &open])[..3], ["avoiding:a b", "avoiding:a b", "avoiding:a b"]);
        assert_eq!(planned([&open, &open])[3..], ["default a", "default a", "default a"]);
        assert_eq!(planned([&stopped, &stopped]), ["avoiding:a b", "avoiding:a a"], "one probe for each lane");
        assert_eq!(planned([&stopped, &open]), ["avoiding:a a", "avoiding:a b", "avoiding:a b", "avoiding:a b"]);
    }

    #[test]
    fn a_probe_takes_the_same_client_s_message_where_no_other_has_room() {
        let mut setup = Setup::new(
            caps(10, 3600, 3),
            vec![flow("camera", Priority::Normal, 0, 5), flow("fire", Priority::High, 0, 5)],
        );
        (0..9).for_each(|_| setup.ledger.book(at(0), 1));
        let cause = Cause { kind: CauseKind::Connect, sentence: String::new(), reply: None };
        setup.lanes[0].note(Event::Stopped(cause), at(0), at(0));
        setup.lanes[0].last_probe = Some("fire".into());
        assert_eq!(setup.clients(at(30)), ["fire"]);
    }
}
