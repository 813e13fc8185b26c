//! Pacing and fairness in virtual time: no cap is exceeded in any window, none is left unused, nobody is starved, and
//! nothing is lost, whatever the provider answers, the process suffers and the wall clock shows.

mod detour;
mod manners;
mod probes;
mod shares;
mod simulation;
mod storms;
mod windows;

use std::time::Duration;

use mailsluice::provider::Counted::{Messages, Recipients};
use mailsluice::queue::record::Fate;
use mailsluice::route::Priority::{High, Low, Normal};
use mailsluice::schedule::attempt::Obstacle;
use mailsluice::schedule::lane::Standing;
use mailsluice::time::Timestamp;
use proptest::prelude::ProptestConfig;
use proptest::test_runner::FileFailurePersistence;

use manners::{ANSWERS_IN, Ending, LATER, UNLISTED, always, traps};
use simulation::{Simulation, account};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The wall clock of a machine that knows the time.
const WALL: Timestamp = Timestamp::from_secs(1_800_000_000);
/// The wall clock of one that has just booted and does not.
const BOOT: Timestamp = Timestamp::from_secs(20);

/// For properties of whole courses, each of which takes a while.
fn courses() -> ProptestConfig {
    ProptestConfig {
        cases: 32,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/proptest-regressions/pacing.txt"))),
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    }
}

fn permanent(obstacle: &Obstacle) -> u32 {
    u32::from(matches!(obstacle, Obstacle::Refused { reply, .. } if reply.is_permanent()))
}

/// One mailbox of Microsoft 365.
fn mailbox() -> Simulation {
    let caps = [(Messages, 30, 60), (Recipients, 10_000, 86_400)];
    Simulation::new(vec![account("m365", "smtp.example.com", &caps, 3)], WALL, always(Ending::Accepted))
}

#[test]
fn ninety_messages_go_out_in_three_batches_as_fast_as_the_cap_allows() {
    let mut relay = mailbox();
    relay.backlog("shop", Normal, 90);
    relay.run_out();
    assert_eq!(relay.violation(), None);
    let ends: Vec<Timestamp> = relay.settled.iter().map(|(at, _)| *at).collect();
    assert_eq!(ends.len(), 90);
    let third_after_first = ends[89].since(ends[29]);
    assert!(third_after_first <= Duration::from_secs(121), "{third_after_first:?}");
}

#[test]
fn a_backlog_uses_all_that_each_window_allows() {
    let mut relay = mailbox();
    relay.backlog("shop", Normal, 300);
    relay.run_out();
    let ends: Vec<Timestamp> = relay.settled.iter().map(|(at, _)| *at).collect();
    for (earlier, later) in ends.iter().zip(&ends[30..]) {
        let cycle = later.since(*earlier);
        assert!(cycle <= MINUTE + ANSWERS_IN + Duration::from_millis(1), "{cycle:?}");
    }
}

#[test]
fn clients_of_a_class_get_as_many_recipients_as_each_other() {
    let mut relay = mailbox();
    relay.config.accounts[0].caps.recipients_per_message = 4;
    for _ in 0..60 {
        relay.accept("bulk", Normal, 10);
        relay.backlog("form", Normal, 5);
        relay.accept("shop", Normal, 3);
        relay.accept("shop", Normal, 1);
    }
    relay.run(6 * MINUTE);
    let mut served = [0_u32; 3];
    for claim in &relay.claims {
        let client = ["bulk", "form", "shop"].iter().position(|name| *name == claim.client.as_str()).unwrap();
        served[client] += claim.recipients;
        let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
        assert!(most - least <= 4, "{served:?}");
    }
    assert!(served.iter().sum::<u32>() > 200, "{served:?}");
}

#[test]
fn clients_take_turns_though_mail_of_a_higher_class_comes_in_between() {
    for urgent in ["alarm", "lock", "zone"] {
        let mut relay = mailbox();
        relay.config.accounts[0].caps.connections = 1;
        relay.backlog("camera", Normal, 100);
        relay.backlog("shop", Normal, 100);
        for _ in 0..100 {
            relay.accept(urgent, High, 1);
            relay.run(4 * Duration::from_secs(1));
        }
        let served = |client| relay.claims.iter().filter(|claim| claim.client.as_str() == client).count();
        assert!(served(urgent) >= 90, "but for those of the last window");
        assert!(served("camera") >= 40 && served("camera").abs_diff(served("shop")) <= 1);
    }
}

#[test]
fn an_urgent_message_goes_out_with_the_next_free_slot() {
    let mut relay = mailbox();
    relay.backlog("camera", Normal, 500);
    relay.run(5 * MINUTE);
    let before = relay.claims.len();
    let urgent = relay.accept("fire", High, 1);
    relay.run(MINUTE + ANSWERS_IN);
    assert_eq!(relay.claims[before].message, urgent);
}

#[test]
fn the_last_tenth_of_a_day_is_for_urgent_mail() {
    let caps = [(Recipients, 200, 86_400)];
    let mut relay =
        Simulation::new(vec![account("m365", "smtp.example.com", &caps, 3)], WALL, always(Ending::Accepted));
    relay.backlog("camera", Normal, 150);
    relay.backlog("scanner", Low, 150);
    relay.run(12 * HOUR);
    assert_eq!(relay.count(Fate::Delivered), 180, "what has risen by waiting does not touch it");
    relay.backlog("fire", High, 30);
    relay.run(HOUR);
    assert_eq!(relay.count(Fate::Delivered), 200);
    relay.run(2 * DAY);
    assert_eq!(relay.count(Fate::Delivered), 330);
    assert_eq!(relay.violation(), None);
}

#[test]
fn mail_of_the_lowest_class_is_not_starved() {
    let mut relay = mailbox();
    let start = relay.truth;
    let low = relay.accept("scanner", Low, 1);
    relay.backlog("camera", Normal, 1200);
    for _ in 0..32 {
        relay.backlog("shop", Normal, 30);
        relay.run(MINUTE);
    }
    let at = relay.claims.iter().find(|claim| claim.message == low).expect("it went out").at;
    let waited = at.since(start);
    assert!((30 * MINUTE..=31 * MINUTE).contains(&waited), "with the highest class after two rises: {waited:?}");
}

#[test]
fn one_client_s_poisoned_mail_fails_and_stops_nobody_else() {
    let mut relay = mailbox();
    relay.provider = Box::new(|claim| {
        let ending = if claim.client.as_str() == "camera" { UNLISTED } else { Ending::Accepted };
        ending.after(claim, ANSWERS_IN, ANSWERS_IN)
    });
    relay.backlog("camera", Normal, 20);
    relay.run(10 * MINUTE);
    assert_eq!(relay.lane().standing, Standing::Open);
    assert_eq!(relay.count(Fate::Failed), 0, "alone it is not believed within a quarter of an hour");
    relay.run(10 * MINUTE);
    assert_eq!(relay.count(Fate::Failed), 20);

    relay.backlog("camera", Normal, 8);
    relay.run(MINUTE);
    relay.backlog("form", Normal, 12);
    relay.run(2 * MINUTE);
    assert_eq!(relay.lane().standing, Standing::Open);
    assert_eq!(relay.count(Fate::Delivered), 12);
    assert_eq!(relay.count(Fate::Failed), 28, "other mail has passed since");
}

#[test]
fn nothing_fails_while_everything_is_refused() {
    let mut relay = mailbox();
    relay.provider = always(UNLISTED);
    relay.backlog("camera", Normal, 30);
    relay.backlog("form", Normal, 30);
    relay.run(MINUTE);
    assert!(matches!(relay.lane().standing, Standing::Paused(_)));
    for _ in 0..5 {
        relay.run(2 * HOUR);
        assert_eq!(relay.count(Fate::Failed), 0);
        // Too early: nothing has been mended.
        relay.resume();
        relay.run(5 * MINUTE);
        assert_eq!(relay.count(Fate::Failed), 0, "nor does opening the lane make them believed");
        assert!(matches!(relay.lane().standing, Standing::Paused(_)));
    }
    relay.provider = always(Ending::Accepted);
    relay.run(HOUR);
    assert_eq!(relay.count(Fate::Delivered), 60, "without a person");
}

#[test]
fn no_trap_costs_a_message() {
    for (ending, standing) in traps() {
        let mut relay = mailbox();
        relay.config.accounts[0].caps.windows[0].count = 100; // so that 50 fit into the minute after the fault
        relay.backlog("form", Normal, 25);
        relay.backlog("shop", Normal, 25);
        relay.provider = always(ending);
        relay.run(2 * HOUR);
        assert_eq!(relay.count(Fate::Waiting), 50, "{ending:?}");
        assert_eq!(relay.lane().standing.as_str(), standing, "{ending:?}");
        relay.provider = always(Ending::Accepted);
        relay.resume();
        relay.run(MINUTE);
        assert_eq!(relay.count(Fate::Delivered), 50, "{ending:?}");
    }
}

#[test]
fn mail_that_is_put_off_expires_after_its_age_of_trying() {
    let mut relay = mailbox();
    relay.provider = always(LATER);
    relay.backlog("form", Normal, 2);
    relay.run(4 * DAY);
    assert_eq!(relay.count(Fate::Waiting), 2);
    // Neither a fault of the account nor a daemon that is down lets it age.
    relay.provider = always(manners::QUOTA);
    relay.run(10 * DAY);
    relay.crash(30 * DAY, None, relay.now().after(30 * DAY));
    relay.provider = always(LATER);
    relay.resume();
    relay.run(20 * HOUR);
    assert_eq!(relay.count(Fate::Waiting), 2);
    relay.run(6 * HOUR);
    assert_eq!(relay.count(Fate::Expired), 2);
}

#[test]
fn a_wall_clock_that_jumps_breaks_no_cap_and_expires_and_stalls_nothing() {
    for wall in [BOOT, WALL.before(365 * DAY), WALL.after(HOUR), WALL.after(3650 * DAY)] {
        for boots in [None, Some(Duration::from_secs(9))] {
            if boots.is_some() && wall == WALL.after(HOUR) {
                continue; // Believed: a machine may have been off for an hour.
            }
            let mut relay = mailbox();
            relay.backlog("form", Normal, 70);
            relay.run(20 * ANSWERS_IN);
            relay.crash(Duration::from_secs(1), boots, wall);
            relay.provider = always(LATER);
            relay.run(2 * MINUTE);
            relay.crash(Duration::from_secs(1), boots, WALL);
            relay.provider = always(Ending::Accepted);
            relay.run(HOUR);
            assert_eq!(relay.count(Fate::Delivered), 70);
            assert_eq!(relay.violation(), None, "{wall} {boots:?}");
        }
    }
}
