//! Mail about an account in trouble, on the route that avoids it.

use std::collections::HashSet;
use std::time::Duration;

use mailsluice::ids::{AccountName, MessageId, RouteName};
use mailsluice::queue::record::{Claim, Fate};
use mailsluice::route::Priority::{High, Normal};
use mailsluice::route::avoiding;
use mailsluice::schedule::lane::Standing;

use super::manners::{ANSWERS_IN, Ending, LATER};
use super::simulation::{Conduct, Simulation, account};
use super::{HOUR, MINUTE, WALL};

/// `m365` and then `backup`, of which those named refuse every login.
fn relay(refusing: &'static [&'static str]) -> Simulation {
    let accounts = ["m365", "backup"].map(|name| account(name, name, &[], 2)).to_vec();
    Simulation::new(accounts, WALL, refusing_logins(refusing))
}

fn refusing_logins(refusing: &'static [&'static str]) -> Box<dyn FnMut(&Claim) -> Conduct> {
    Box::new(move |claim| {
        let refused = Ending::NoLogin(535, "5.7.3 Authentication unsuccessful");
        let ending = if refusing.contains(&claim.account.as_str()) { refused } else { Ending::Accepted };
        ending.after(claim, ANSWERS_IN, ANSWERS_IN)
    })
}

fn around(name: &str) -> RouteName {
    avoiding(&AccountName::from(name))
}

/// By which accounts a message was tried.
fn tried(relay: &Simulation, message: MessageId) -> Vec<&str> {
    let claims = relay.claims.iter().filter(|claim| claim.message == message);
    claims.map(|claim| claim.account.as_str()).collect()
}

#[test]
fn an_alarm_about_the_preferred_account_leaves_by_the_other_one_and_is_no_probe() {
    let mut relay = relay(&["m365"]);
    relay.accept("shop", Normal, 1);
    relay.run(MINUTE);
    assert!(matches!(relay.lane().standing, Standing::Paused(_)));
    // By now its next probe is due, and nothing else waits that could be it.
    relay.run(HOUR);
    let alarm = relay.accept_on(around("m365"), "mailsluice", High, 1);
    relay.run(Duration::from_secs(5));
    assert_eq!(tried(&relay, alarm), ["backup"]);
    assert_eq!(relay.count(Fate::Delivered), 2);
}

#[test]
fn an_alarm_does_not_wait_behind_a_backlog() {
    let mut relay = relay(&[]);
    relay.backlog("shop", Normal, 500);
    let alarm = relay.accept_on(around("backup"), "mailsluice", Normal, 1);
    relay.run(Duration::from_secs(5));
    assert_eq!(tried(&relay, alarm), ["m365"]);
    assert_eq!(relay.claims[0].message, alarm);
}

#[test]
fn with_a_single_account_an_alarm_about_it_waits_and_leaves_once_it_is_open_again() {
    let accounts = vec![account("m365", "m365", &[], 2)];
    let mut relay = Simulation::new(accounts, WALL, refusing_logins(&["m365"]));
    relay.config.queue.max_age = HOUR;
    relay.accept("shop", Normal, 1);
    relay.run(MINUTE);
    let alarm = relay.accept_on(around("m365"), "mailsluice", High, 1);
    // Longer than anything may be put off: time in which its route is stopped does not age it.
    relay.run(8 * HOUR);
    assert_eq!(relay.count(Fate::Waiting), 2);
    let mut first_of = HashSet::new();
    relay.provider = Box::new(move |claim| {
        let ending = if first_of.insert(claim.message) { LATER } else { Ending::Accepted };
        ending.after(claim, ANSWERS_IN, ANSWERS_IN)
    });
    relay.resume();
    relay.run(5 * MINUTE);
    assert_eq!(relay.count(Fate::Delivered), 2);
    assert_eq!(tried(&relay, alarm).last(), Some(&"m365"));
}

#[test]
fn where_the_account_is_gone_its_route_is_the_order_of_the_file() {
    let mut relay = relay(&[]);
    let alarm = relay.accept_on(around("gone"), "mailsluice", High, 1);
    relay.run(MINUTE);
    assert_eq!(tried(&relay, alarm), ["m365"]);
    assert_eq!(relay.count(Fate::Delivered), 1);
}
