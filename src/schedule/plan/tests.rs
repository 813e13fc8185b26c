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
    shares: BTreeMap<ClientName, u32>,
}

impl Setup {
    fn new(caps: Caps, flows: Vec<Flow>) -> Self {
        Self { caps, lanes: vec![Lane::default()], ledger: Ledger::default(), flows, shares: BTreeMap::new() }
    }

    fn plan(&self, now: Timestamp) -> Plan {
        let routes: [RouteName; 2] = ["default".into(), "other".into()];
        let names: Vec<AccountName> = (0..self.lanes.len()).map(|n| format!("a{n}").into()).collect();
        let accounts = self.lanes.iter().zip(&names).map(|(lane, name)| AccountState {
            name,
            lane,
            caps: &self.caps,
            ledger: &self.ledger,
        });
        let accounts: Vec<AccountState<'_>> = accounts.collect();
        let routes = routes.iter().map(|name| RouteState { name, accounts: accounts.clone() }).collect();
        let (flows, shares, fairness) = (&self.flows, &self.shares, &Fairness::default());
        plan(&State { routes, flows, shares, next_due: None, fairness }, now)
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
    setup.ledger.book(at(10), None, 1);
    setup.ledger.book(at(11), None, 1);
    assert_eq!(setup.plan(at(12)).claims.len(), 2);
    setup.ledger.book(at(12), None, 1);
    setup.ledger.book(at(12), None, 1);
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
        let state = State {
            routes: routes.into(),
            flows: &flows,
            shares: &BTreeMap::new(),
            next_due: None,
            fairness: &fairness,
        };
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
    let mut setup =
        Setup::new(caps(10, 3600, 3), vec![flow("camera", Priority::Normal, 0, 5), flow("fire", Priority::High, 0, 5)]);
    (0..9).for_each(|_| setup.ledger.book(at(0), None, 1));
    let cause = Cause { kind: CauseKind::Connect, sentence: String::new(), reply: None };
    setup.lanes[0].note(Event::Stopped(cause), at(0), at(0));
    setup.lanes[0].last_probe = Some("fire".into());
    assert_eq!(setup.clients(at(30)), ["fire"]);
}

/// What both flows leave of a part is one part: a client that has had it blocks nobody and wakes nobody.
#[test]
fn a_client_takes_no_more_than_its_part_and_others_go_on() {
    let mut setup = Setup::new(
        caps(8, 60, 8),
        vec![
            flow("camera", Priority::High, 0, 9),
            flow("camera", Priority::Normal, 0, 9),
            flow("form", Priority::Low, 0, 9),
        ],
    );
    setup.shares.insert("camera".into(), 25);
    assert_eq!(setup.clients(at(0)), ["camera", "camera", "form", "form", "form", "form", "form", "form"]);
    let camera = "camera".into();
    setup.ledger.book(at(0), Some(&camera), 1);
    setup.ledger.book(at(4), Some(&camera), 1);
    setup.flows.truncate(2);
    let plan = setup.plan(at(9));
    let free_at = Some(at(60).after(Duration::from_micros(1)));
    assert_eq!((plan.claims, plan.wake), (vec![], free_at));
    assert_eq!(plan.capped, [Capped { account: "a0".into(), client: Some(camera), free_at }]);
    setup.shares.insert("camera".into(), 50);
    assert_eq!(setup.clients(at(9)), ["camera", "camera"], "a greater share counts at once");
}

/// What a plan claims on one route is missing on the other.
#[test]
fn a_part_is_one_whichever_route_it_is_used_on() {
    let other = |client, heads| Flow { route: "other".into(), ..flow(client, Priority::Normal, 0, heads) };
    let mut setup =
        Setup::new(caps(8, 60, 8), vec![flow("camera", Priority::Normal, 0, 1), other("camera", 9), other("form", 3)]);
    setup.shares.insert("camera".into(), 25);
    let mut claims = setup.clients(at(0));
    claims.sort_unstable();
    assert_eq!(claims, ["camera", "camera", "form", "form", "form"]);
}

/// What the part leaves of a message to many is all that a claim takes of the caps.
#[test]
fn a_message_to_more_than_a_part_has_room_for_keeps_no_others_waiting() {
    let mut caps = caps(8, 60, 8);
    caps.windows[0].counted = Counted::Recipients;
    let mut list = flow("list", Priority::High, 0, 1);
    list.heads[0].recipients = 100;
    let mut setup = Setup::new(caps, vec![list, flow("form", Priority::Normal, 0, 9)]);
    setup.shares.insert("list".into(), 25);
    assert_eq!(setup.clients(at(0)), ["list", "form", "form", "form", "form", "form", "form"]);
}

/// The caps themselves keep it waiting, and longer than its part does.
#[test]
fn both_the_caps_and_the_part_must_have_room() {
    let mut setup = Setup::new(caps(4, 60, 8), vec![flow("camera", Priority::Normal, 0, 9)]);
    setup.shares.insert("camera".into(), 25);
    setup.ledger.book(at(0), Some(&"camera".into()), 1);
    (0..3).for_each(|_| setup.ledger.book(at(2), None, 1));
    let free_at = |secs| Some(at(secs).after(Duration::from_micros(1)));
    let plan = setup.plan(at(9));
    assert_eq!((plan.claims.len(), plan.wake), (0, free_at(60)));
    assert_eq!(plan.capped, [Capped { account: "a0".into(), client: None, free_at: free_at(60) }]);
    setup.ledger.forget(at(1));
    setup.ledger.book(at(5), Some(&"camera".into()), 1);
    assert_eq!(setup.plan(at(61)).wake, free_at(65));
}

/// A probe is no way around a share, nor does a client that has had its part keep a lane from being probed.
#[test]
fn a_probe_takes_the_message_of_a_client_whose_part_has_room() {
    let mut setup =
        Setup::new(caps(8, 60, 3), vec![flow("camera", Priority::High, 0, 5), flow("form", Priority::Normal, 0, 5)]);
    setup.shares.insert("camera".into(), 1);
    setup.ledger.book(at(0), Some(&"camera".into()), 1);
    let cause = Cause { kind: CauseKind::Connect, sentence: String::new(), reply: None };
    setup.lanes[0].note(Event::Stopped(cause), at(0), at(0));
    setup.lanes[0].last_probe = Some("form".into());
    assert_eq!(setup.clients(at(30)), ["form"]);
    setup.flows.truncate(1);
    let plan = setup.plan(at(30));
    assert_eq!((plan.claims.len(), plan.wake), (0, Some(at(60).after(Duration::from_micros(1)))));
}
