use proptest::prelude::*;

use super::*;
use crate::alarm::{Kind, News};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn telling(number: usize) -> Telling {
    Telling {
        kind: Kind::QueueOld,
        subject: number.to_string(),
        sentence: String::new(),
        since: at(0),
        news: News::Raised,
        account: None,
    }
}

#[test]
fn four_go_at_once_and_the_rest_together_after_an_hour() {
    let mut mails = Mails::default();
    for number in 0..4 {
        mails.add([telling(number)]);
        assert!(mails.may_write(at(10)));
        mails.written(MessageId(1));
        mails.left(at(10));
    }
    mails.add([telling(4)]);
    mails.add([telling(5)]);
    assert!(!mails.may_write(at(3610)), "an hour has both its ends");
    assert!(mails.may_write(at(3611)));
    assert_eq!(mails.pending().0.len(), 2);
}

#[test]
fn one_that_waits_for_an_account_keeps_the_others_back() {
    let mut mails = Mails::default();
    mails.add([telling(0)]);
    mails.written(MessageId(1));
    mails.add([telling(1)]);
    assert!(!mails.may_write(at(86_400)));
    mails.left(at(86_400));
    assert!(mails.may_write(at(86_400)));
}

#[test]
fn what_is_too_much_for_a_mail_is_counted() {
    let mut mails = Mails::default();
    mails.add((0..PENDING + 7).map(telling));
    let (pending, more) = mails.pending();
    assert_eq!((pending.len(), more, pending[0].subject.as_str()), (PENDING, 7, "7"));
    mails.written(MessageId(1));
    assert_eq!(mails.pending(), (&[][..], 0));
}

proptest! {
    /// Whatever happens, however long mails wait and whenever the relay is started anew: no hour has more than four, and
    /// everything is told in exactly one of them.
    #[test]
    fn never_more_than_four_in_any_hour_and_nothing_is_lost(
        steps in prop::collection::vec((0_u64..1500, 0_usize..3, any::<bool>(), any::<bool>()), 1..300),
    ) {
        let (mut mails, mut now, mut number) = (Mails::default(), at(0), 0);
        let (mut delivered, mut told) = (Vec::new(), Vec::new());
        let mut turn = |pass: u64, news: usize, leaves: bool, restarts: bool, now: &mut Timestamp| {
            *now = now.after(Duration::from_secs(pass));
            mails.add((number..number + news).map(telling));
            number += news;
            if restarts {
                mails = serde_json::from_str(&serde_json::to_string(&mails).unwrap()).unwrap();
            }
            if leaves && mails.waiting().is_some() {
                // It was delivered at some moment up to the one at which that is seen.
                delivered.push(*now);
                mails.left(*now);
            }
            if mails.may_write(*now) {
                told.extend(mails.pending().0.iter().map(|telling| telling.subject.parse::<usize>().unwrap()));
                mails.written(MessageId(1));
            }
        };
        for (pass, news, leaves, restarts) in steps {
            turn(pass, news, leaves, restarts, &mut now);
        }
        for _ in 0..20 {
            turn(1801, 0, true, false, &mut now);
        }
        prop_assert_eq!(told, (0..number).collect::<Vec<_>>());
        for five in delivered.windows(5) {
            prop_assert!(five[4].since(five[0]) > Duration::from_secs(3600), "{five:?}");
        }
    }
}
