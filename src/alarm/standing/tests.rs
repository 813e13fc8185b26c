use proptest::prelude::*;

use super::*;

const CALM: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn paused(since: i64, patience: u64) -> Condition {
    Condition {
        kind: Kind::LanePaused,
        subject: "m365".into(),
        nature: Nature::Lasts,
        sentence: "Account m365 is paused.".into(),
        since: at(since),
        patience: Duration::from_secs(patience),
        stage: 1,
        account: Some("m365".into()),
    }
}

/// What is told where the condition holds as `is_there` says, looked at every ten seconds.
fn told(from: i64, to: i64, is_there: impl Fn(i64) -> Option<Condition>) -> Vec<(i64, News)> {
    let (mut alarms, mut told) = (Alarms::default(), Vec::new());
    for now in (from..=to).step_by(10) {
        let news = alarms.update(is_there(now).into_iter().collect(), CALM, at(now));
        told.extend(news.into_iter().map(|telling| (now, telling.news)));
    }
    told
}

#[test]
fn it_is_told_at_once_repeated_daily_and_told_to_be_over() {
    let there = |now| (100..3 * DAY + 200).contains(&now).then(|| paused(100, 0));
    assert_eq!(
        told(0, 5 * DAY, there),
        [
            (100, News::Raised),
            (100 + DAY, News::Repeated),
            (100 + 2 * DAY, News::Repeated),
            (100 + 3 * DAY, News::Repeated),
            (3 * DAY + 260, News::Over)
        ]
    );
}

#[test]
fn a_cause_that_changes_back_and_forth_is_news_once() {
    let there = |now: i64| Some(Condition { stage: u32::from(now % 60 < 30), ..paused(0, 0) });
    assert_eq!(told(0, 600, there), [(0, News::Raised), (30, News::Raised)]);
}

#[test]
fn what_passes_within_its_patience_is_never_told() {
    let there = |now: i64| (now % 400 < 290).then(|| paused(now / 400 * 400, 300));
    assert_eq!(told(0, DAY, there), []);
    assert_eq!(told(0, 600, |_| Some(paused(0, 300))), [(300, News::Raised)]);
}

#[test]
fn what_comes_back_before_its_calm_has_ended_was_never_gone() {
    // Down for five minutes, up for half a minute, and so on.
    let flapping = |now: i64| (now % 330 < 300).then(|| paused(now / 330 * 330, 0));
    assert_eq!(told(0, 3 * 3600, flapping), [(0, News::Raised)]);
    let once = |now: i64| (now < 3600).then(|| flapping(now)).flatten();
    // It is up from 3600 on: 3300 to 3600 was its last time.
    assert_eq!(told(0, 2 * 3600, once), [(0, News::Raised), (3660, News::Over)]);
}

#[test]
fn a_nearer_end_is_told_at_once_and_a_later_one_is_not() {
    let ends_in = |days: u32| Condition { stage: days, ..paused(0, 0) };
    let mut alarms = Alarms::default();
    let mut news = |days, now: i64| {
        let told = alarms.update(vec![ends_in(days)], CALM, at(now));
        told.into_iter().map(|telling| telling.news).collect::<Vec<_>>()
    };
    assert_eq!(news(30, 0), [News::Raised]);
    assert_eq!(news(30, 100), []);
    assert_eq!(news(7, 200), [News::Raised]);
    assert_eq!(news(1, 300), [News::Raised]);
    assert_eq!(news(30, 400), []);
    assert_eq!(news(30, 300 + DAY), [News::Repeated]);
}

#[test]
fn what_hovers_around_a_limit_takes_longer_to_be_over() {
    let old = Condition { kind: Kind::QueueOld, subject: String::new(), ..paused(0, 0) };
    let there = |now| (now < 100).then(|| old.clone());
    assert_eq!(told(0, 1000, there), [(0, News::Raised), (700, News::Over)]);
}

#[test]
fn what_stands_survives_a_restart() {
    let mut alarms = Alarms::default();
    assert_eq!(alarms.update(vec![paused(0, 0)], CALM, at(0)).len(), 1);
    let json = serde_json::to_string(&alarms).unwrap();
    let mut alarms: Alarms = serde_json::from_str(&json).unwrap();
    assert_eq!(alarms.update(vec![paused(0, 0)], CALM, at(50)), []);
    assert_eq!(alarms.next(CALM), Some(at(DAY)));
    assert_eq!(alarms.update(vec![], CALM, at(60)), []);
    assert_eq!(alarms.next(CALM), Some(at(120)));
    let over = alarms.update(vec![], CALM, at(120));
    assert_eq!(over[0].sentence, "Over, after 60 s: Account m365 is paused.");
    assert_eq!(alarms, Alarms::default());
}

proptest! {
    /// Whatever comes and goes: an alarm is raised, perhaps repeated a day apart, and over once; then it may be raised anew.
    #[test]
    fn news_come_in_their_order(steps in prop::collection::vec((0_u64..4000, any::<[bool; 3]>(), 1_u32..3), 1..200), patience in 0_u64..600) {
        let mut alarms = Alarms::default();
        let mut last: [Option<(News, i64, u32)>; 3] = [None; 3];
        let mut now = 0;
        for (pass, there, stage) in steps {
            now += i64::try_from(pass).unwrap();
            let conditions = (0..3).filter(|index| there[*index]).map(|index| Condition {
                subject: index.to_string(),
                stage,
                ..paused(now, patience)
            });
            for telling in alarms.update(conditions.collect(), CALM, at(now)) {
                let index: usize = telling.subject.parse().unwrap();
                match (last[index], telling.news) {
                    (None | Some((News::Over, _, _)), News::Raised) => {}
                    // Only because it has become more urgent.
                    (Some((News::Raised | News::Repeated, _, before)), News::Raised) => prop_assert!(stage < before),
                    (Some((News::Raised | News::Repeated, at, _)), News::Repeated) => prop_assert!(now - at >= DAY),
                    (Some((News::Raised | News::Repeated, _, _)), News::Over) => prop_assert!(!there[index]),
                    (before, news) => prop_assert!(false, "{news:?} after {before:?}"),
                }
                last[index] = Some((telling.news, now, stage));
            }
            for (index, last) in last.iter_mut().enumerate() {
                // A later end is no news, but the next nearer one is again.
                if let Some((_, _, before)) = last && there[index] { *before = stage; }
            }
        }
        // Left alone, all of them are over, once.
        let mut over = 0;
        for _ in 0..3 {
            now += 3600;
            over += alarms.update(vec![], CALM, at(now)).len();
        }
        let open = last.iter().filter(|last| matches!(last, Some((News::Raised | News::Repeated, _, _)))).count();
        prop_assert_eq!((over, alarms), (open, Alarms::default()));
    }
}
