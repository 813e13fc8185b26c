use super::*;
use crate::schedule::lane::{Cause, Event};

const WALL: Timestamp = Timestamp::from_secs(1_795_478_400); // 2026-11-24

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn sight() -> Sight {
    let room = Room { live: 0, max_bytes: 2 << 30, free: Some(10 << 30), min_free: 256 << 20 };
    Sight { lanes: vec![], quotas: vec![], oldest: None, room, endings: vec![] }
}

fn told(sight: &Sight, wall: Timestamp) -> Vec<Condition> {
    let thresholds = Thresholds { quota_percent: 80, queue_age: Duration::from_secs(3600) };
    conditions(sight, thresholds, at(1000), wall)
}

/// The kinds, subjects and seconds of patience.
fn brief(conditions: &[Condition]) -> Vec<(&str, &str, u64)> {
    conditions.iter().map(|one| (one.kind.as_str(), one.subject.as_str(), one.patience.as_secs())).collect()
}

fn stopped(kind: CauseKind) -> Lane {
    let mut lane = Lane::default();
    let cause = Cause { kind, sentence: "Mend it.".into(), reply: Some("535 5.7.3 No".into()) };
    let _ = lane.note(Event::Stopped(cause), at(500), at(500));
    lane
}

#[test]
fn a_lane_is_told_by_what_has_stopped_it() {
    for (kind, wanted) in [
        (CauseKind::Login, Some(("lane_paused", 0))),
        (CauseKind::Account, Some(("lane_paused", 0))),
        (CauseKind::Suspicion, Some(("lane_paused", 0))),
        (CauseKind::Connect, Some(("lane_paused", 300))),
        (CauseKind::LoginLater, Some(("lane_paused", 300))),
        (CauseKind::Quota, Some(("quota_nearly_spent", 0))),
        (CauseKind::Rate, None),
    ] {
        let told = told(&Sight { lanes: vec![("m365".into(), stopped(kind))], ..sight() }, WALL);
        let wanted: Vec<_> = wanted.into_iter().map(|(kind, patience)| (kind, "m365", patience)).collect();
        assert_eq!(brief(&told), wanted, "{kind:?}");
        for one in told {
            assert!(one.sentence.contains("Mend it.") && one.sentence.contains("535 5.7.3 No"), "{}", one.sentence);
            assert_eq!((one.since, one.account), (at(500), Some("m365".into())));
        }
    }
    let mut lane = Lane::default();
    lane.pause(at(500));
    assert_eq!(told(&Sight { lanes: vec![("m365".into(), lane)], ..sight() }, WALL), []);
}

#[test]
fn a_quota_is_nearly_spent_where_a_fifth_of_a_long_window_is_left() {
    let hour = Duration::from_secs(3600);
    let quota = |count, window, used| Quota {
        account: "m365".into(),
        cap: Cap { counted: Counted::Recipients, count, window },
        used,
    };
    let told = |quota| told(&Sight { quotas: vec![quota], ..sight() }, WALL);
    assert_eq!(told(quota(10_000, 24 * hour, 7_999)), []);
    assert_eq!(told(quota(30, hour / 60, 30)), [], "a minute's cap is spent all the time");
    let spent = told(quota(10_000, 24 * hour, 8_000));
    assert_eq!(brief(&spent), [("quota_nearly_spent", "m365", 0)]);
    assert!(spent[0].sentence.contains("8000 of the 10000 recipients"), "{}", spent[0].sentence);
    let resting = Sight {
        lanes: vec![("m365".into(), stopped(CauseKind::Quota))],
        quotas: vec![quota(10, 24 * hour, 10), quota(10, hour, 10)],
        ..sight()
    };
    assert_eq!(super::tests::told(&resting, WALL).len(), 1, "of one account it is told once");
}

#[test]
fn a_disk_is_short_before_clients_are_refused() {
    let room = sight().room;
    let told = |room| told(&Sight { room, ..sight() }, WALL);
    assert_eq!(told(Room { free: Some(512 << 20), live: (2 << 30) / 5 * 4, ..room }), []);
    assert_eq!(brief(&told(Room { free: Some((512 << 20) - 1), ..room })), [("disk_short", "", 0)]);
    let full = told(Room { live: (2 << 30) / 5 * 4 + 5, ..room });
    assert!(full[0].sentence.contains("1.6 GiB") && full[0].sentence.contains("2.0 GiB"), "{}", full[0].sentence);
    assert_eq!(told(Room { free: None, ..room }), []);
    assert_eq!(told(Room { max_bytes: u64::MAX, min_free: 0, free: Some(0), live: 0 }), []);
}

#[test]
fn mail_is_old_after_an_hour() {
    let told = |secs| told(&Sight { oldest: Some(Duration::from_secs(secs)), ..sight() }, WALL);
    assert_eq!(told(3600), []);
    assert_eq!(brief(&told(3601)), [("queue_old", "", 0)]);
}

#[test]
fn what_ends_is_told_thirty_days_a_week_and_a_day_before() {
    let ending = |kind: Kind, ends| Ending {
        kind,
        subject: "m365 password".into(),
        what: "The password of account m365".into(),
        ends,
        remedy: "make a new one",
    };
    let stages = |kind: Kind, ends: Timestamp| {
        let days = [40, 31, 30, 8, 7, 2, 1, 0];
        days.map(|days| {
            let wall = ends.before(Duration::from_secs(days * DAY));
            let sight = Sight { endings: vec![ending(kind.clone(), ends)], ..sight() };
            told(&sight, wall).first().map(|one| one.stage)
        })
    };
    let (some, ends) = (Some, Timestamp::from_secs(1_803_859_200)); // 2027-03-01
    let wanted = [None, None, some(30), some(30), some(7), some(7), some(1), some(0)];
    assert_eq!(stages(Kind::SecretExpires, ends), wanted);
    assert_eq!(stages(Kind::CertificateExpires, ends), wanted);
    // All of December 2026, and not beyond.
    let wanted = [None, some(30), some(30), some(30), some(7), some(7), some(1), None];
    assert_eq!(stages(Kind::PasswordLoginEnds, PASSWORD_LOGINS_END), wanted);
    assert_eq!(PASSWORD_LOGINS_END.to_string(), "2027-01-01T00:00:00.000Z");

    let sentence = |days: u64| {
        let sight = Sight { endings: vec![ending(Kind::SecretExpires, ends)], ..sight() };
        told(&sight, ends.before(Duration::from_secs(days * DAY)))[0].sentence.clone()
    };
    assert_eq!(sentence(6), "The password of account m365 ends in 6 days, on 2027-03-01: make a new one.");
    assert_eq!(sentence(1), "The password of account m365 ends within a day, on 2027-03-01: make a new one.");
    assert_eq!(sentence(0), "The password of account m365 has ended on 2027-03-01: make a new one.");
}
