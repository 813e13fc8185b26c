//! What operators do to messages.

use mailsluice::queue::record::Fate;
use mailsluice::schedule::verdict::Outcome;

use super::*;

fn done(operated: Operated, to: &[&str]) {
    let Operated::Done { client, recipients } = operated else { panic!("{operated:?}") };
    assert_eq!(client.as_str(), "shop");
    assert_eq!(recipients.iter().map(|one| one.local_part()).collect::<Vec<_>>(), to);
}

pub(crate) fn hold_and_release(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b"]));
    let claim = queue.claim(&By::default()).unwrap();
    let outcomes = vec![deferred(&queue, 600), Outcome::Delivered];
    let _ = queue.settle(&claim, &settlement(outcomes));
    done(queue.operate(1, Operation::Hold), &["a"]);
    assert_eq!(queue.fates(1), [Fate::Held, Fate::Delivered]);
    queue.pass(600);
    queue.crash();
    assert!(queue.claim(&By::default()).is_none());
    done(queue.operate(1, Operation::Release), &["a"]);
    assert_eq!(queue.claim(&By::default()).unwrap().recipients[0].address.local_part(), "a");
}

pub(crate) fn retry_tries_at_once_and_once_more_what_failed(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c", "d"]));
    let claim = queue.claim(&By::default()).unwrap();
    let outcomes = vec![deferred(&queue, 600), Outcome::Failed, Outcome::Delivered, Outcome::Expired];
    let _ = queue.settle(&claim, &settlement(outcomes));
    done(queue.operate(1, Operation::Retry), &["a", "b", "d"]);
    let claim = queue.claim(&By::default()).unwrap();
    assert_eq!(claim.recipients.iter().map(|one| one.address.local_part()).collect::<String>(), "abd");
    let _ = queue.settle(&claim, &settlement(vec![Outcome::Failed; 3]));
    assert_eq!(queue.list(None, 10, Some(Fate::Failed)).len(), 1);
    done(queue.operate(1, Operation::Retry), &["a", "b", "d"]);
    queue.attempt(Outcome::Delivered);
    assert_eq!(queue.fates(1), [Fate::Delivered; 4]);
}

pub(crate) fn delete_gives_up_what_is_not_delivered(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c"]));
    let claim = queue.claim(&By::default()).unwrap();
    let _ = queue.settle(&claim, &settlement(vec![Outcome::Delivered, Outcome::Uncertain, Outcome::Untried]));
    queue.operate(1, Operation::Hold);
    done(queue.operate(1, Operation::Delete), &["b", "c"]);
    assert_eq!(queue.fates(1), [Fate::Delivered, Fate::Deleted, Fate::Deleted]);
    assert!(queue.claim(&By::default()).is_none());
    assert_eq!(queue.content(1), None);
    assert_eq!(queue.stats().done, 1);
}

pub(crate) fn a_person_settles_what_is_uncertain(new: &Factory) {
    for (operation, fate) in [(Operation::SettleDelivered, Fate::Delivered), (Operation::SettleFailed, Fate::Failed)] {
        let mut queue = new();
        queue.enqueue(&mail(1, &["a", "b"]));
        queue.enqueue(&mail(2, &["c"]));
        let claim = queue.claim(&By::default()).unwrap();
        let _ = queue.settle(&claim, &settlement(vec![Outcome::Uncertain, Outcome::Untried]));
        // The other recipient of the message is on hold, and stays there.
        queue.operate(1, Operation::Hold);
        done(queue.operate(1, operation), &["a"]);
        assert_eq!(queue.fates(1), [fate, Fate::Held]);
        queue.attempt(Outcome::Uncertain);
        done(queue.operate(2, operation), &["c"]);
        assert_eq!(queue.fates(2), [fate]);
        assert_eq!(queue.content(2).is_some(), fate == Fate::Failed);
        queue.operate(1, Operation::Release);
        assert_eq!(queue.claim(&By::default()).unwrap().recipients[0].address.local_part(), "b");
    }
}

const ALL: [Operation; 6] = [
    Operation::Retry,
    Operation::Hold,
    Operation::Release,
    Operation::Delete,
    Operation::SettleDelivered,
    Operation::SettleFailed,
];

pub(crate) fn nothing_is_done_to_what_is_being_sent(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    let claim = queue.claim(&By::default()).unwrap();
    for operation in ALL {
        assert_eq!(queue.operate(1, operation), Operated::Busy, "{operation:?}");
        assert_eq!(queue.operate(2, operation), Operated::Unknown, "{operation:?}");
    }
    assert!(matches!(queue.settle(&claim, &settlement(vec![Outcome::Delivered])), Settled::Written { .. }));
}

pub(crate) fn what_cannot_be_done_is_refused(new: &Factory) {
    use Operation::{Delete, Hold, Release, Retry, SettleDelivered, SettleFailed};
    let later = |queue: &Harness| deferred(queue, 600);
    type Prepare<'a> = &'a dyn Fn(&mut Harness);
    let cases: [(&str, Prepare<'_>, &[Operation]); 7] = [
        ("ready", &|_| (), &[Release, SettleDelivered, SettleFailed]),
        ("put off", &|queue| drop(queue.attempt(later(queue))), &[Release, SettleDelivered, SettleFailed]),
        ("held", &|queue| drop(queue.operate(1, Hold)), &[Retry, Hold, SettleDelivered, SettleFailed]),
        ("uncertain", &|queue| drop(queue.attempt(Outcome::Uncertain)), &[Retry, Hold, Release]),
        ("failed", &|queue| drop(queue.attempt(Outcome::Failed)), &[Hold, Release, SettleDelivered, SettleFailed]),
        ("delivered", &|queue| drop(queue.attempt(Outcome::Delivered)), &ALL),
        ("deleted", &|queue| drop(queue.operate(1, Delete)), &ALL),
    ];
    for (name, prepare, refused) in cases {
        for operation in ALL {
            let mut queue = new();
            queue.enqueue(&mail(1, &["a"]));
            prepare(&mut queue);
            let before = (queue.fates(1), queue.stats());
            match queue.operate(1, operation) {
                Operated::Nothing(why) => {
                    assert!(refused.contains(&operation) && !why.is_empty(), "{name}: {operation:?}");
                    assert_eq!((queue.fates(1), queue.stats()), before, "{name}: {operation:?}");
                }
                Operated::Done { recipients, .. } => {
                    assert!(!refused.contains(&operation) && recipients.len() == 1, "{name}: {operation:?}");
                }
                other => panic!("{name}: {operation:?}: {other:?}"),
            }
        }
    }
}
