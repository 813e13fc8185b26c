use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60;

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

#[test]
fn five_go_one_by_one_and_the_rest_together_at_the_end_of_the_window() {
    let mut storm = Storm::default();
    for second in 0..5 {
        assert_eq!(storm.next(1, at(second)), Say::One);
        storm.told(1, at(second));
    }
    assert_eq!(storm.next(0, at(6)), Say::Nothing);
    assert_eq!(storm.next(1, at(10)), Say::Wait(at(15 * MINUTE)));
    assert_eq!(storm.next(195, at(14 * MINUTE)), Say::Wait(at(15 * MINUTE)));
    assert_eq!(storm.next(195, at(15 * MINUTE)), Say::Together);
    storm.told(195, at(15 * MINUTE));
    // While it goes on there is one mail in a quarter of an hour.
    assert_eq!(storm.next(1, at(16 * MINUTE)), Say::Wait(at(30 * MINUTE)));
    assert_eq!(storm.next(0, at(31 * MINUTE)), Say::Nothing);
    assert_eq!(storm.next(1, at(32 * MINUTE)), Say::One);
}

#[test]
fn one_that_was_collected_alone_goes_by_itself() {
    let mut storm = Storm::default();
    storm.told(5, at(0));
    assert_eq!(storm.next(1, at(1)), Say::Wait(at(15 * MINUTE)));
    assert_eq!(storm.next(1, at(15 * MINUTE)), Say::One);
}

proptest! {
    /// In any quarter of an hour at most five go one by one; every message is told once, at most a quarter of an hour late.
    #[test]
    fn no_window_has_more_than_five(steps in prop::collection::vec((0_u64..600, 0_usize..8, any::<bool>()), 1..200)) {
        let (mut storm, mut now) = (Storm::default(), at(0));
        let mut due: Vec<Timestamp> = Vec::new();
        let mut alone: Vec<Timestamp> = Vec::new();
        for (pass, fail, restarts) in steps {
            let mut wake = now.after(Duration::from_secs(pass));
            std::mem::swap(&mut wake, &mut now);
            due.extend(std::iter::repeat_n(now, fail));
            if restarts {
                storm = serde_json::from_str(&serde_json::to_string(&storm).unwrap()).unwrap();
            }
            loop {
                let told = match storm.next(due.len(), now) {
                    Say::Nothing => { prop_assert!(due.is_empty()); break }
                    Say::Wait(until) => { prop_assert!(until > now && until.since(due[0]) <= WINDOW); break }
                    Say::One => { alone.push(now); 1 }
                    Say::Together => { prop_assert!(due.len() > 1); due.len() }
                };
                storm.told(told, now);
                // A driver that looks when it said it would tells in time; this one may look up to ten minutes later.
                for failed in due.drain(..told) {
                    prop_assert!(now.since(failed) <= WINDOW + Duration::from_secs(600));
                }
            }
        }
        for six in alone.windows(6) {
            prop_assert!(six[5].since(six[0]) >= WINDOW, "{six:?}");
        }
    }
}
