//! A lane, step by step, and its budget of logins in any course of events.

use proptest::prelude::*;

use super::*;
use crate::provider::{Cap, Counted};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn cause(kind: CauseKind) -> Cause {
    Cause { kind, sentence: format!("{kind}"), reply: None }
}

fn suspected(client: &str, delivery: i64) -> Event {
    let suspicion = Suspicion { client: client.into(), delivery: DeliveryId(delivery) };
    Event::Suspected { suspicion, reply: "554 no".into() }
}

fn probe_secs(lane: &Lane) -> i64 {
    lane.stop().and_then(|stop| stop.probe_at).expect("a probe is due").as_micros() / 1_000_000
}

#[test]
fn connecting_is_probed_at_least_every_30_s() {
    let mut lane = Lane::default();
    let mut now = at(1000);
    assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Connect)), now, now), Change::Stopped);
    for _ in 0..20 {
        let next = at(probe_secs(&lane));
        assert!(next > now && next.since(now) <= Duration::from_secs(30));
        now = next;
        assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Connect)), now, now), Change::None, "told once");
    }
    assert_eq!(lane.note(Event::Answered, now, now), Change::Resumed);
}

#[test]
fn a_refused_login_is_probed_more_and_more_rarely() {
    for kind in [CauseKind::Login, CauseKind::Account] {
        let mut lane = Lane::default();
        let mut now = at(0);
        for minutes in [1, 2, 5, 10, 15, 15, 15] {
            lane.note(Event::Stopped(cause(kind)), now, now);
            let next = at(probe_secs(&lane));
            assert_eq!(next.since(now).as_secs(), minutes * 60, "{kind}");
            now = next;
        }
    }
}

#[test]
fn a_changed_secret_is_tried_at_once() {
    let mut lane = Lane::default();
    assert_eq!(lane.hasten(at(0)), Change::None, "an open lane needs no probe");
    for secs in [0, 60, 180, 480] {
        lane.note(Event::Stopped(cause(CauseKind::Login)), at(secs), at(secs));
    }
    assert_eq!(lane.hasten(at(500)), Change::Hastened);
    assert_eq!((probe_secs(&lane), lane.refused_logins.len()), (500, 0));
    lane.note(Event::Stopped(cause(CauseKind::Login)), at(499), at(501));
    assert_eq!(probe_secs(&lane), 500, "with the old secret, which says nothing");
    lane.note(Event::Stopped(cause(CauseKind::Login)), at(502), at(502));
    assert_eq!(probe_secs(&lane), 502 + 120, "the first probe has failed");
    lane.pause(at(510));
    let paused = lane.clone();
    assert_eq!((lane.hasten(at(511)), lane), (Change::None, paused), "an operator's pause stands");
}

#[test]
fn every_refused_login_counts_towards_the_budget() {
    let note = |lane: &mut Lane, refused, kind, now| {
        let event = Event::Stopped(cause(kind));
        lane.note_refused_logins(refused, Some(&event), now);
        lane.note(event, now, now);
    };
    let mut lane = Lane::default();
    // Three connections at once, each with a token, a fresh one and the password.
    (0..3).for_each(|_| note(&mut lane, 3, CauseKind::Login, at(0)));
    assert_eq!(lane.refused_logins.len(), 9);
    note(&mut lane, 1, CauseKind::Login, at(180));
    assert_eq!((lane.refused_logins.len(), probe_secs(&lane) >= 3600), (10, true));
    lane.note_refused_logins(0, None, at(181));
    assert_eq!(lane.refused_logins.len(), 10);

    // Whatever it is refused for.
    let mut lane = Lane::default();
    (0..10).for_each(|probe| note(&mut lane, 1, CauseKind::Account, at(probe)));
    assert!(probe_secs(&lane) >= 3600);
}

#[test]
fn many_connections_that_meet_one_blip_do_not_close_the_lane_for_an_hour() {
    for (kind, then) in [(CauseKind::LoginLater, 300), (CauseKind::Account, 120)] {
        let mut lane = Lane::default();
        for _ in 0..20 {
            lane.note(Event::Stopped(cause(kind)), at(0), at(1));
        }
        assert_eq!(probe_secs(&lane), 61, "{kind}");
        lane.note(Event::Stopped(cause(kind)), at(61), at(61));
        assert_eq!(probe_secs(&lane), 61 + then, "{kind}");
    }
}

#[test]
fn a_message_is_to_blame_where_another_one_has_passed_since() {
    let mut lane = Lane::default();
    lane.note(Event::Delivered, at(5), at(5));
    (1..=100).for_each(|delivery| lane.blame(DeliveryId(delivery), at(10)));
    assert!(!lane.is_alone_refused(DeliveryId(100)), "nothing has passed since");
    lane.note(Event::Delivered, at(20), at(20));
    lane.blame(DeliveryId(100), at(30));
    assert!(lane.is_alone_refused(DeliveryId(100)), "the first time counts");
    assert!(!lane.is_alone_refused(DeliveryId(1)) && !lane.is_alone_refused(DeliveryId(101)), "only so many are kept");
    lane.resume(at(40));
    assert!(!lane.is_alone_refused(DeliveryId(100)), "an operator knows better");
}

#[test]
fn a_restart_probes_at_once_within_the_budget() {
    let mut lane = Lane::default();
    assert_eq!(lane.probe_now(at(0)), Change::None);
    for begun in (0..90).step_by(10) {
        lane.note(Event::Stopped(cause(CauseKind::Login)), at(begun), at(begun));
        assert!(probe_secs(&lane) > begun + 5);
        assert_eq!((lane.probe_now(at(begun + 5)), probe_secs(&lane)), (Change::Hastened, begun + 5));
    }
    lane.note(Event::Stopped(cause(CauseKind::Login)), at(90), at(90));
    assert_eq!(lane.probe_now(at(95)), Change::None);
    assert!(probe_secs(&lane) >= 3600, "an hour after the first of ten");
    assert_eq!(lane.refused_logins.len(), 10);
    lane.pause(at(100));
    assert_eq!(lane.probe_now(at(101)), Change::None, "an operator's pause stands");
}

#[test]
fn a_rest_is_as_long_as_the_provider_says() {
    let rested = |rest: Option<u64>| {
        let rate = Rate { limits: Pace::Messages, rest: rest.map(Duration::from_secs) };
        let mut lane = Lane::default();
        for secs in [0, 5000] {
            lane.note(Event::Slowed { cause: cause(CauseKind::Rate), rate }, at(secs), at(secs));
        }
        probe_secs(&lane) - 5000
    };
    assert_eq!([rested(Some(5)), rested(Some(300)), rested(Some(90_000)), rested(None)], [5, 300, 3600, 20]);
}

#[test]
fn what_was_under_way_when_the_lane_stopped_does_not_open_it() {
    let mut lane = Lane::default();
    lane.note(Event::Stopped(cause(CauseKind::Rate)), at(9), at(10));
    assert_eq!(lane.note(Event::Delivered, at(8), at(11)), Change::None);
    assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Rate)), at(9), at(12)), Change::None);
    assert_eq!(lane.stop().unwrap().failed_probes, 0);
    assert_eq!(lane.note(Event::Delivered, at(20), at(21)), Change::Resumed);
}

#[test]
fn a_quota_is_not_proved_free_by_an_answer_alone() {
    let mut lane = Lane::default();
    lane.note(Event::Stopped(cause(CauseKind::Quota)), at(0), at(0));
    assert_eq!(lane.note(Event::Answered, at(900), at(901)), Change::None);
    assert_eq!(probe_secs(&lane), 906, "another message may try");
    lane.note(Event::Stopped(cause(CauseKind::Quota)), at(906), at(902));
    assert_eq!(probe_secs(&lane), 902 + 1800);
}

#[test]
fn five_suspicions_of_two_clients_stop_a_lane() {
    let mut lane = Lane::default();
    for delivery in 0..20 {
        assert_eq!(lane.note(suspected("camera", delivery), at(0), at(0)), Change::None, "one broken camera");
    }
    assert_eq!(lane.note(suspected("form", 20), at(0), at(0)), Change::Stopped);
    assert!(matches!(lane.standing, Standing::Paused(_)));
    let mut lane = Lane::default();
    for delivery in 0..4 {
        lane.note(suspected(if delivery % 2 == 0 { "a" } else { "b" }, delivery), at(0), at(0));
        lane.note(suspected("a", 0), at(0), at(0));
    }
    assert_eq!(lane.standing, Standing::Open, "four different ones are not five");
    lane.note(Event::Delivered, at(1), at(1));
    assert_eq!(lane.note(suspected("b", 9), at(2), at(2)), Change::None, "a delivery clears the slate");
}

#[test]
fn a_flood_of_one_client_does_not_hide_the_others() {
    let mut lane = Lane::default();
    for delivery in 0..200 {
        lane.note(suspected("camera", delivery), at(0), at(0));
    }
    assert_eq!(lane.suspicions.len(), SUSPICIONS_KEPT);
    assert_eq!(lane.note(suspected("form", 900), at(0), at(0)), Change::Stopped);
}

#[test]
fn a_doubtful_message_neither_prolongs_an_outage_nor_ends_a_rest() {
    let mut lane = Lane::default();
    lane.note(Event::Stopped(cause(CauseKind::Connect)), at(0), at(0));
    assert_eq!(lane.note(suspected("form", 1), at(5), at(5)), Change::Resumed, "there was a session");
    lane.note(Event::Stopped(cause(CauseKind::Quota)), at(10), at(10));
    assert_eq!(lane.note(suspected("form", 1), at(1000), at(1000)), Change::None);
    assert!(matches!(&lane.standing, Standing::Resting(stop) if stop.cause.kind == CauseKind::Quota));
    assert_eq!(probe_secs(&lane), 1005);
}

#[test]
fn another_kind_of_fault_begins_its_own_count() {
    let mut lane = Lane::default();
    for _ in 0..20 {
        lane.note(Event::Stopped(cause(CauseKind::Connect)), at(0), at(0));
    }
    lane.note(Event::Stopped(cause(CauseKind::Rate)), at(100), at(100));
    assert_eq!(probe_secs(&lane), 110);
}

#[test]
fn a_lane_that_was_told_to_slow_down_does_and_recovers_within_a_minute() {
    let cap = |secs| Cap { counted: Counted::Messages, count: 30, window: Duration::from_secs(secs) };
    let mut caps = Caps {
        windows: vec![cap(60), cap(86_400)],
        connections: 3,
        recipients_per_message: 500,
        message_size: 1 << 20,
    };
    let refused = |lane: &mut Lane, limits, secs| {
        let rate = Rate { limits, rest: None };
        lane.note(Event::Slowed { cause: cause(CauseKind::Rate), rate }, at(secs), at(secs));
    };
    let pace = |lane: &Lane, caps: &Caps, secs| {
        let caps = lane.paced(caps, at(secs));
        (caps.windows.iter().map(|cap| cap.count).collect::<Vec<_>>(), caps.connections)
    };
    let mut lane = Lane::default();
    assert_eq!((pace(&lane, &caps, 0), lane.faster_at(at(0))), ((vec![30, 30], 3), None));
    refused(&mut lane, Pace::Messages, 0);
    assert_eq!((pace(&lane, &caps, 0), lane.faster_at(at(0))), ((vec![15, 30], 3), Some(at(8))));
    assert_eq!((pace(&lane, &caps, 9), lane.faster_at(at(9))), ((vec![18, 30], 3), Some(at(16))));
    (10..13).for_each(|secs| refused(&mut lane, Pace::Messages, secs));
    assert_eq!(pace(&lane, &caps, 12), (vec![3, 30], 3));
    refused(&mut lane, Pace::Connections, 14);
    assert_eq!(pace(&lane, &caps, 14), (vec![3, 30], 1), "one of the two does not change the other");
    assert_eq!((lane.full_pace_at(at(14)), lane.faster_at(at(14))), (Some(at(68)), Some(at(20))));
    assert_eq!((pace(&lane, &caps, 70), lane.full_pace_at(at(70))), ((vec![30, 30], 3), None));
    lane.resume(at(15));
    assert_eq!(pace(&lane, &caps, 15), (vec![30, 30], 3), "an operator knows better");
    caps.windows.remove(0);
    refused(&mut lane, Pace::Messages, 16);
    assert_eq!(pace(&lane, &caps, 16), (vec![30], 1), "without a brief window, connections are what can be slowed");
}

#[test]
fn what_was_under_way_when_an_operator_opened_the_lane_does_not_stop_it_again() {
    let mut lane = Lane::default();
    lane.note(Event::Stopped(cause(CauseKind::Login)), at(0), at(0));
    lane.resume(at(10));
    assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Login)), at(9), at(11)), Change::None);
    assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Login)), at(11), at(12)), Change::Stopped);
}

#[test]
fn an_operator_s_pause_ends_by_an_operator_alone() {
    let mut lane = Lane::default();
    lane.pause(at(5));
    assert_eq!(lane.note(Event::Delivered, at(6), at(7)), Change::None);
    assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Login)), at(6), at(7)), Change::None);
    assert_eq!(lane.stop().unwrap().probe_at, None);
    assert_eq!(lane.resume(at(8)), Change::Resumed);
}

/// As the first version wrote it.
#[test]
fn a_lane_of_an_older_version_is_read() {
    let written = r#"{"standing":{"paused":{"since":5,"probe_at":9,"cause":{"kind":"login","sentence":"No.","reply":null},
        "failed_probes":2}},"last_delivered":null,"suspicions":[],"last_probe":"shop","resumed":null,
        "slowed":{"eighths":4,"since":7}}"#;
    let lane: Lane = serde_json::from_str(written).unwrap();
    assert_eq!(lane.stop().map(|stop| (stop.failed_probes, stop.hastened)), Some((2, None)));
    assert_eq!(lane.slowed, Some(Slowed { eighths: 4, since: Timestamp::from_micros(7) }));
    assert_eq!((lane.narrowed, lane.refused_logins), (None, vec![]));
}

/// What comes of one transaction after another; a lane that is not open is given one only when its probe is due.
fn events() -> impl Strategy<Value = Event> {
    let stopped = |kind| Just(Event::Stopped(cause(kind)));
    let rate = Rate { limits: Pace::Messages, rest: Some(Duration::from_secs(1)) };
    prop_oneof![
        4 => stopped(CauseKind::Login),
        2 => stopped(CauseKind::LoginLater),
        2 => stopped(CauseKind::Account),
        4 => stopped(CauseKind::Connect),
        1 => Just(Event::Slowed { cause: cause(CauseKind::Rate), rate }),
        2 => (0..9_i64).prop_map(|delivery| suspected(if delivery % 2 == 0 { "a" } else { "b" }, delivery)),
        1 => Just(Event::Answered),
        1 => Just(Event::Delivered),
    ]
}

fn refuses_login(event: &Event) -> bool {
    let kind = match event {
        Event::Stopped(cause) => cause.kind,
        _ => return false,
    };
    matches!(kind, CauseKind::Login | CauseKind::LoginLater)
}

proptest! {
    #[test]
    fn no_hour_holds_more_than_ten_refused_logins(course in prop::collection::vec((events(), 0..400_u64), 1..300)) {
        let (mut lane, mut now, mut refused) = (Lane::default(), at(0), Vec::new());
        for (event, seconds) in course {
            now = now.after(Duration::from_secs(seconds));
            now = lane.stop().and_then(|stop| stop.probe_at).map_or(now, |probe_at| probe_at.max(now));
            if refuses_login(&event) {
                refused.push(now);
            }
            lane.note(event, now, now);
        }
        for (first, eleventh) in refused.iter().zip(refused.iter().skip(10)) {
            prop_assert!(eleventh.since(*first) > Duration::from_secs(3600), "{refused:?}");
        }
    }
}
