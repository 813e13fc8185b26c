//! How a lane that is not open finds out that it may be again: soon, and never by hammering on a login.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use mailsluice::provider::Counted::Messages;
use mailsluice::queue::record::Fate;
use mailsluice::route::Priority::Normal;
use mailsluice::schedule::attempt::Step;
use mailsluice::schedule::lane::Standing;
use mailsluice::time::Timestamp;
use proptest::prelude::*;

use super::manners::{ANSWERS_IN, Ending, LATER, QUOTA, RATE, UNLISTED, always, traps};
use super::simulation::{Arrival, Manners, Simulation, account};
use super::{HOUR, MINUTE, WALL, mailbox};

const REFUSED: Ending = Ending::NoLogin(535, "5.7.3 Authentication unsuccessful");

#[test]
fn mail_flows_at_full_pace_within_a_minute_of_the_probe_that_passes() {
    for (ending, _) in traps() {
        let mut relay = mailbox();
        relay.config.accounts[0].caps.windows[0].count = 100; // so that 50 fit into the minute after the fault
        relay.backlog("form", Normal, 25);
        relay.backlog("shop", Normal, 25);
        relay.provider = always(ending);
        relay.run(2 * HOUR);
        relay.provider = always(Ending::Accepted);
        let probed_within = (0..61).find(|_| {
            relay.run(MINUTE);
            relay.lane().standing == Standing::Open
        });
        assert!(probed_within.is_some(), "{ending:?}: it finds out by itself");
        relay.run(MINUTE);
        assert_eq!(relay.count(Fate::Delivered), 50, "{ending:?}");
    }
}

#[test]
fn a_changed_secret_lets_mail_flow_at_once() {
    let mut relay = mailbox();
    relay.provider = always(REFUSED);
    relay.backlog("form", Normal, 20);
    relay.run(2 * HOUR);
    relay.provider = always(Ending::Accepted);
    relay.hasten();
    relay.run(Duration::from_secs(10));
    assert_eq!(relay.count(Fate::Delivered), 20);
}

#[test]
fn a_fault_of_one_account_does_not_keep_its_mail_from_the_next() {
    let caps = [(Messages, 100, 60)];
    let accounts = vec![account("first", "a", &caps, 3), account("second", "b", &caps, 3)];
    let mut relay = Simulation::new(accounts, WALL, always(Ending::Accepted));
    relay.provider = Box::new(move |claim| {
        let ending = if claim.account.as_str() == "first" { FULL } else { Ending::Accepted };
        ending.after(claim, ANSWERS_IN, ANSWERS_IN)
    });
    relay.backlog("form", Normal, 20);
    relay.run(Duration::from_secs(10));
    assert_eq!(relay.count(Fate::Delivered), 20);
}

#[test]
fn refusals_of_the_account_behind_a_login_that_passes_do_not_close_the_lane_for_an_hour() {
    let mut relay = mailbox();
    relay.provider = Box::new(|claim| {
        let ending = if claim.client.as_str() == "camera" { FULL } else { Ending::Accepted };
        ending.after(claim, ANSWERS_IN, ANSWERS_IN)
    });
    for minute in 0..30 {
        let at = relay.truth.after(minute * MINUTE);
        for client in ["camera", "form"] {
            relay.arrivals.push_back(Arrival { at, client, priority: Normal, recipients: 1 });
        }
    }
    relay.run(35 * MINUTE);
    assert_eq!(relay.count(Fate::Delivered), 30, "{:?}", relay.lane());
}

#[test]
fn one_message_that_the_account_is_always_refused_for_does_not_hold_back_the_others() {
    let denied = Ending::Refused(Step::FinalReply, 550, "5.7.64 TenantAttribution; Relay Access Denied");
    let mut relay = mailbox();
    relay.provider = Box::new(move |claim| {
        let ending = if claim.client.as_str() == "camera" { denied } else { Ending::Accepted };
        ending.after(claim, ANSWERS_IN, ANSWERS_IN)
    });
    relay.backlog("camera", Normal, 1);
    relay.backlog("form", Normal, 300);
    relay.run(20 * MINUTE);
    assert_eq!(relay.count(Fate::Delivered), 300, "{:?}", relay.lane());
    relay.run(6 * 24 * HOUR);
    assert_eq!(relay.count(Fate::Waiting), 0, "{:?}", relay.fates().first());
}

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        4 => Just(REFUSED),
        2 => Just(Ending::NoLogin(454, "4.7.0 Temporary authentication failure")),
        2 => Just(FULL),
        4 => Just(Ending::NoSession),
        1 => Just(QUOTA),
        1 => Just(RATE),
        1 => Just(LATER),
        1 => Just(UNLISTED),
        1 => Just(Ending::Accepted),
    ]
}

const FULL: Ending = Ending::Refused(Step::FinalReply, 554, "5.2.2 mailbox full");

/// One ending after another, over and over; notes by the claim's clock when a login was refused.
fn refusing(endings: Vec<Ending>, refused: Rc<RefCell<Vec<Timestamp>>>) -> Manners {
    let mut endings = endings.into_iter().cycle();
    Box::new(move |claim| {
        let ending = endings.next().unwrap_or(REFUSED);
        if matches!(ending, Ending::NoLogin(..)) {
            refused.borrow_mut().push(claim.claimed.after(ANSWERS_IN));
        }
        ending.after(claim, ANSWERS_IN, ANSWERS_IN)
    })
}

proptest! {
    #![proptest_config(super::courses())]

    #[test]
    fn no_hour_holds_more_than_ten_refused_logins(endings in prop::collection::vec(endings(), 1..40)) {
        let refused = Rc::new(RefCell::new(Vec::new()));
        // With one connection, whatever is refused is a probe or what stopped the lane.
        let accounts = vec![account("m365", "smtp.example.com", &[(Messages, 30, 60)], 1)];
        let mut relay = Simulation::new(accounts, WALL, refusing(endings, Rc::clone(&refused)));
        for client in ["form", "shop"] {
            relay.backlog(client, Normal, 12);
        }
        for _ in 0..4 {
            relay.run(90 * MINUTE);
            // A refusal that nobody lived to hear is not counted.
            while relay.is_sending() {
                relay.run(ANSWERS_IN);
            }
            relay.crash(Duration::from_secs(1), None, relay.now());
        }
        let refused = refused.borrow();
        for (first, eleventh) in refused.iter().zip(refused.iter().skip(10)) {
            prop_assert!(eleventh.since(*first) > HOUR, "{first} to {eleventh}");
        }
    }
}
