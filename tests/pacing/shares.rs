//! A client's part of a cap: never more of it in any window, nothing taken from others, nobody starved.

use std::time::Duration;

use mailsluice::ids::RouteName;
use mailsluice::provider::Counted::Messages;
use mailsluice::queue::record::Fate;
use mailsluice::route::Client;
use mailsluice::route::Priority::{High, Low, Normal};
use mailsluice::time::Timestamp;

use super::manners::{ANSWERS_IN, Ending, always};
use super::simulation::{Simulation, account};
use super::{HOUR, MINUTE, WALL, mailbox};

/// A client that may have so many percent.
fn sharing(name: &str, percent: u32) -> Client {
    Client { share: Some(percent), ..Client::named(name.into()) }
}

/// The camera's part of 30 a minute is 7, whether others send or not; the form does not wait for it.
#[test]
fn a_storm_of_alerts_leaves_the_rest_of_the_cap_to_others() {
    let mut relay = mailbox();
    relay.config.clients = vec![sharing("camera", 25)];
    relay.backlog("camera", Normal, 500);
    relay.run(10 * MINUTE);
    let alone = relay.taken_of("camera");
    assert!((63..=70).contains(&alone), "seven a minute, and the rest of the cap stays unused: {alone}");
    for _ in 0..20 {
        let before = relay.claims.len();
        let asked = relay.truth;
        let form = relay.accept("form", Normal, 1);
        relay.run(20 * Duration::from_secs(1));
        let claimed = relay.claims[before..].iter().find(|claim| claim.message == form).expect("it went out");
        assert!(claimed.at.since(asked) <= ANSWERS_IN, "with the next free connection: {:?}", claimed.at.since(asked));
    }
    // Beside a backlog of the others each gets what it may have, to the last.
    relay.backlog("shop", Normal, 300);
    let (camera, shop) = (relay.taken_of("camera"), relay.taken_of("shop"));
    relay.run(10 * MINUTE);
    let (camera, shop) = (relay.taken_of("camera") - camera, relay.taken_of("shop") - shop);
    assert!((63..=70).contains(&camera) && (207..=230).contains(&shop), "{camera} and {shop}");
    relay.run(2 * HOUR);
    assert_eq!(relay.count(Fate::Delivered), 820, "what is above the share waits, and does not fail");
    assert_eq!(relay.violation(), None);
}

/// However urgent, and however long it has waited.
#[test]
fn the_share_of_urgent_mail_is_kept_too() {
    let mut relay = mailbox();
    relay.config.clients = vec![sharing("panel", 10)];
    relay.backlog("panel", High, 60);
    relay.backlog("panel", Low, 30);
    relay.backlog("form", Low, 300);
    relay.run(10 * MINUTE);
    assert!((27..=30).contains(&relay.taken_of("panel")));
    relay.run_out();
    assert_eq!(relay.count(Fate::Delivered), 390);
    assert_eq!(relay.violation(), None);
}

/// A client at its share is not looked at again before there is room: one look for each claim, end and wake.
#[test]
fn a_client_at_its_share_wakes_nobody_in_vain() {
    let mut relay = mailbox();
    relay.config.clients = vec![sharing("camera", 25)];
    relay.backlog("camera", Normal, 70);
    let before = relay.looks();
    relay.run(20 * MINUTE);
    assert_eq!(relay.count(Fate::Delivered), 70);
    let looks = relay.looks() - before;
    assert!(looks <= 3 * 70, "{looks}");
}

#[test]
fn another_share_counts_from_the_next_look() {
    let mut relay = mailbox();
    relay.backlog("camera", Normal, 200);
    relay.run(MINUTE / 2);
    assert_eq!(relay.taken_of("camera"), 30);
    relay.config.clients = vec![sharing("camera", 50)];
    relay.run(MINUTE + MINUTE / 2);
    assert_eq!(relay.taken_of("camera"), 45, "what it had before counts");
    relay.config.clients = Vec::new();
    relay.run(MINUTE / 4);
    assert_eq!(relay.taken_of("camera"), 75);
}

/// Whatever its part, others have all the rest, in each window: a share is a limit for one, not a promise of it to another.
#[test]
fn others_use_all_that_a_share_leaves() {
    for percent in [1, 25, 50, 99, 100] {
        let mut relay = mailbox();
        relay.config.clients = vec![sharing("camera", percent)];
        relay.backlog("camera", Normal, 300);
        relay.backlog("shop", Low, 300);
        relay.run(8 * MINUTE);
        let ends: Vec<Timestamp> = relay.settled.iter().map(|(at, _)| *at).collect();
        for (earlier, later) in ends.iter().zip(&ends[30..]) {
            let cycle = later.since(*earlier);
            assert!(cycle <= MINUTE + ANSWERS_IN + Duration::from_millis(1), "{percent}: {cycle:?}");
        }
        assert_eq!(relay.violation(), None);
    }
}

/// Two shares that are more than the whole together, and less: each is kept by itself, and the cap.
#[test]
fn shares_need_not_make_up_the_whole() {
    for (one, two, all) in [(80, 80, 30), (20, 30, 15)] {
        let mut relay = mailbox();
        relay.config.clients = vec![sharing("camera", one), sharing("scanner", two)];
        relay.backlog("camera", Normal, 100);
        relay.backlog("scanner", Normal, 100);
        relay.run(Duration::from_secs(50));
        assert_eq!(relay.taken_of("camera") + relay.taken_of("scanner"), all);
        relay.run_out();
        assert_eq!((relay.count(Fate::Delivered), relay.violation()), (200, None));
    }
}

/// Accounts with one login have one ledger, and so one part of it.
#[test]
fn a_share_is_of_the_login_s_caps_and_a_restart_changes_nothing() {
    let caps = [(Messages, 20, 60)];
    let accounts = ["first", "second"].map(|name| account(name, "smtp.example.com", &caps, 2));
    let mut relay = Simulation::new(accounts.into(), WALL, always(Ending::Accepted));
    relay.config.clients = vec![sharing("camera", 50)];
    for route in [RouteName::from("avoiding:first"), RouteName::from("avoiding:second")] {
        for _ in 0..30 {
            relay.accept_on(route.clone(), "camera", High, 1);
        }
    }
    relay.run(MINUTE / 2);
    assert_eq!(relay.taken_of("camera"), 10);
    let wall = relay.now().after(Duration::from_secs(1));
    relay.crash(Duration::from_secs(1), None, wall);
    relay.run(MINUTE / 4);
    assert_eq!(relay.taken_of("camera"), 10);
    relay.run_out();
    assert_eq!((relay.count(Fate::Delivered), relay.violation()), (60, None));
}
