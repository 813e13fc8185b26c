//! Anything at any time: random mail, replies, crashes and wall clocks against the caps and the promise to lose nothing.

use std::time::Duration;

use mailsluice::config::{AccountConfig, OnUncertain};
use mailsluice::provider::Counted::{Messages, Recipients};
use mailsluice::queue::record::Fate;
use mailsluice::route::{Client, Priority};
use mailsluice::schedule::attempt::Step;
use mailsluice::time::Timestamp;
use proptest::prelude::*;

use super::manners::{Ending, LATER, QUOTA, RATE, UNLISTED, always};
use super::simulation::{Dealt, Manners, Simulation, account};
use super::{BOOT, DAY, HOUR, MINUTE, WALL};

/// What a provider does with one transaction: its ending, how long it takes in milliseconds, and when it is counted, in
/// thousandths of that.
type Move = (Ending, u64, u64);

/// What happens next to the relay.
#[derive(Clone, Debug)]
enum Turn {
    Mail { client: usize, recipients: u32 },
    Pass { seconds: u64 },
    Crash { down_millis: u64, boots: Option<u64>, wall: Timestamp },
    Resume,
}

#[derive(Clone, Debug)]
struct Storm {
    accounts: Vec<AccountConfig>,
    moves: Vec<Move>,
    turns: Vec<Turn>,
    wall: Timestamp,
    /// Of the first clients, in percent; some have none.
    shares: [Option<u32>; 2],
}

const CLIENTS: [(&str, Priority); 4] =
    [("alarm", Priority::High), ("camera", Priority::Normal), ("form", Priority::Normal), ("scanner", Priority::Low)];

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        6 => Just(Ending::Accepted),
        1 => Just(Ending::FirstRefused),
        1 => Just(Ending::FirstAlone),
        1 => Just(LATER),
        1 => Just(UNLISTED),
        1 => Just(Ending::Refused(Step::Mail, 550, "5.7.1 Not today")),
        1 => Just(QUOTA),
        2 => Just(RATE),
        1 => Just(Ending::BreaksEarly),
        2 => any::<bool>().prop_map(Ending::BreaksLate),
        1 => Just(Ending::NoSession),
        1 => Just(Ending::NoLogin(454, "4.7.0 Temporary authentication failure")),
    ]
}

fn walls() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        3 => Just(WALL),
        1 => Just(BOOT),
        1 => Just(WALL.before(40 * DAY)),
        1 => Just(WALL.after(3 * HOUR)),
        1 => Just(WALL.after(3650 * DAY)),
    ]
}

fn turns() -> impl Strategy<Value = Turn> {
    prop_oneof![
        6 => (0..CLIENTS.len(), prop_oneof![3 => Just(1_u32), 1 => 2..12_u32])
            .prop_map(|(client, recipients)| Turn::Mail { client, recipients }),
        4 => prop_oneof![3 => 0..40_u64, 1 => 40..4000_u64].prop_map(|seconds| Turn::Pass { seconds }),
        1 => (0..100_000_u64, prop::option::of(0..60_u64), walls())
            .prop_map(|(down_millis, boots, wall)| Turn::Crash { down_millis, boots, wall }),
        1 => Just(Turn::Resume),
    ]
}

fn accounts() -> impl Strategy<Value = Vec<AccountConfig>> {
    let caps = (1..6_u32, 5..60_u64, 4..40_u32, 60..7200_u64);
    let hosts = prop_oneof![Just(vec!["a"]), Just(vec!["a", "a"]), Just(vec!["a", "b"])];
    (hosts, caps, 1..4_u32, 1..12_u32, any::<bool>()).prop_map(|(hosts, caps, connections, per_message, hold)| {
        let (count, window, long_count, long_window) = caps;
        let caps = [(Messages, count, window), (Recipients, long_count, long_window)];
        let accounts = hosts.iter().zip(["first", "second"]).map(|(host, name)| {
            let mut account = account(name, host, &caps, connections);
            account.caps.recipients_per_message = per_message;
            account.on_uncertain = if hold { OnUncertain::Hold } else { OnUncertain::Resend };
            account
        });
        accounts.collect()
    })
}

fn storms() -> impl Strategy<Value = Storm> {
    let moves = prop::collection::vec((endings(), 0..20_000_u64, 0..=1000_u64), 1..30);
    let turns = prop::collection::vec(turns(), 5..80);
    let shares = prop::array::uniform2(prop::option::of(1..=100_u32));
    (accounts(), moves, turns, walls(), shares).prop_map(|(accounts, moves, turns, wall, shares)| Storm {
        accounts,
        moves,
        turns,
        wall,
        shares,
    })
}

/// One move after another, over and over.
fn in_turn(moves: Vec<Move>) -> Manners {
    let mut moves = moves.into_iter().cycle();
    Box::new(move |claim| {
        let (ending, latency, part) = moves.next().unwrap_or((Ending::Accepted, 0, 0));
        ending.after(claim, Duration::from_millis(latency), Duration::from_micros(latency * part))
    })
}

fn weather(storm: Storm) -> Simulation {
    let mut relay = Simulation::new(storm.accounts, storm.wall, in_turn(storm.moves));
    let names = CLIENTS.iter().map(|(name, _)| *name);
    relay.config.clients =
        names.zip(storm.shares).map(|(name, share)| Client { share, ..Client::named(name.into()) }).collect();
    for turn in storm.turns {
        match turn {
            Turn::Mail { client, recipients } => {
                let (client, priority) = CLIENTS[client];
                relay.accept(client, priority, recipients);
            }
            Turn::Pass { seconds } => relay.run(Duration::from_secs(seconds)),
            Turn::Crash { down_millis, boots, wall } => {
                // Over a boot a wall clock is believed that is ahead by some hours: a machine may have been off.
                let wall = if boots.is_some() && wall == WALL.after(3 * HOUR) { WALL } else { wall };
                relay.crash(Duration::from_millis(down_millis), boots.map(Duration::from_secs), wall);
            }
            Turn::Resume => relay.resume(),
        }
    }
    relay
}

fn fate_is_true(fate: Fate, dealt: Dealt, hold: bool) -> Result<(), String> {
    let Dealt { taken, unsure, refused, doubtful } = dealt;
    let true_to_it = match fate {
        Fate::Delivered => taken >= 1,
        // A message that goes in several transactions may have had its first refusal with other recipients.
        Fate::Failed => taken <= unsure && (refused || doubtful >= 1),
        Fate::Uncertain => hold && unsure >= 1,
        _ => false,
    };
    if !true_to_it {
        return Err(format!("{fate:?} after {dealt:?}"));
    }
    if taken > 1 + if hold { 0 } else { unsure } {
        return Err(format!("a duplicate without need: {dealt:?}"));
    }
    Ok(())
}

proptest! {
    #![proptest_config(super::courses())]

    #[test]
    fn no_window_of_any_cap_is_exceeded_and_no_recipient_lost(storm in storms()) {
        let hold = storm.accounts[0].on_uncertain == OnUncertain::Hold;
        let mut relay = weather(storm);
        relay.provider = always(Ending::Accepted);
        relay.run(MINUTE);
        relay.resume();
        relay.run_out();
        prop_assert_eq!(relay.violation(), None);
        for (fate, dealt) in relay.fates() {
            if let Err(wrong) = fate_is_true(fate, dealt, hold) {
                prop_assert!(false, "{}", wrong);
            }
        }
    }
}
