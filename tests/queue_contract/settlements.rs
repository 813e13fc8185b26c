//! Promise 5, and what becomes of claims: settled, put off, reclaimed; and how lanes are kept.

use mailsluice::ids::AccountName;
use mailsluice::queue::record::Fate;
use mailsluice::schedule::lane::{Cause, CauseKind, Lane, Standing, Stop, Suspicion};
use mailsluice::schedule::pace::Slowed;
use mailsluice::schedule::verdict::{Doubt, Outcome};

use super::*;

pub(crate) fn every_recipient_has_a_fate_of_its_own(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c", "d", "e", "f"]));
    let claim = queue.claim(&By::default()).unwrap();
    let outcomes = vec![
        Outcome::Delivered,
        deferred(&queue, 60),
        Outcome::Failed,
        Outcome::Expired,
        Outcome::Uncertain,
        Outcome::Untried,
    ];
    let mut settlement = settlement(outcomes);
    settlement.outcomes[2].1 = "550 5.1.1 no such user".into();
    assert_eq!(queue.settle(&claim, &settlement), Settled::Written { waiting: 2, attempts: 1 });
    let fates = [Fate::Delivered, Fate::Waiting, Fate::Failed, Fate::Expired, Fate::Uncertain, Fate::Waiting];
    assert_eq!(queue.fates(1), fates);
    queue.crash();
    assert_eq!(queue.fates(1), fates);
    let now = queue.now;
    let shown = queue.reader().show(MessageId(1), now).unwrap().unwrap();
    let tried: Vec<u32> = shown.each.iter().map(|one| one.attempts).collect();
    assert_eq!(tried, [1, 1, 1, 1, 1, 0]);
    assert_eq!(shown.each[2].reply.as_deref(), Some("550 5.1.1 no such user"));
}

pub(crate) fn a_delivery_waits_while_one_of_its_recipients_does(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c"]));
    let claim = queue.claim(&By::default()).unwrap();
    let later = deferred(&queue, 60);
    let _ = queue.settle(&claim, &settlement(vec![Outcome::Delivered, later, Outcome::Uncertain]));
    assert_eq!(queue.list(None, 10, None)[0].fate, Fate::Waiting);
    queue.pass(60);
    let claim = queue.claim(&By::default()).unwrap();
    assert_eq!((claim.recipients[0].address.local_part(), claim.recipients.len()), ("b", 1));
    assert_eq!((claim.recipients[0].tried, claim.attempts), (1, 1));
    assert_eq!(queue.settle(&claim, &settlement(vec![Outcome::Failed])), Settled::Written { waiting: 0, attempts: 2 });
    assert_eq!(queue.list(None, 10, None)[0].fate, Fate::Uncertain);
}

pub(crate) fn recipients_are_tried_when_they_are_due(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c"]));
    let claim = queue.claim(&By::default()).unwrap();
    let outcomes = vec![deferred(&queue, 300), deferred(&queue, 60), deferred(&queue, 60)];
    let _ = queue.settle(&claim, &settlement(outcomes));
    let due = queue.now.after(Duration::from_secs(60));
    let view = queue.write(|store, now| store.view(1, now));
    assert!(view.flows.is_empty());
    assert_eq!(view.next_due, Some(due));
    queue.now = due.before(Duration::from_micros(1));
    assert!(queue.claim(&By::default()).is_none());
    queue.now = due;
    let two = queue.claim(&By::default()).unwrap();
    assert_eq!(two.recipients.iter().map(|one| one.address.local_part()).collect::<String>(), "bc");
    let _ = queue.settle(&two, &settlement(vec![Outcome::Delivered; 2]));
    assert!(queue.claim(&By::default()).is_none());
    queue.pass(240);
    assert_eq!(queue.claim(&By::default()).unwrap().recipients[0].address.local_part(), "a");
}

pub(crate) fn what_a_dead_holder_leaves_is_sent_again_or_held(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b"]));
    queue.enqueue(&NewMessage { client: "camera".into(), ..mail(2, &["c"]) });
    let mut by = By::default();
    by.caps.recipients_per_message = 1;
    queue.claim(&By { account: "careful", ..by.clone() }).unwrap();
    queue.claim(&By { client: "camera", ..by }).unwrap();
    queue.crash();
    let careful = |account: &AccountName| account.as_str() == "careful";
    let mut reclaimed = queue.write(|store, now| store.reclaim(true, &careful, now));
    reclaimed.sort_by_key(|one| one.message);
    let told: Vec<_> = reclaimed
        .iter()
        .map(|one| (one.message.0, one.account.as_str(), one.client.as_str(), one.recipients[0].local_part()))
        .collect();
    assert_eq!(told, [(1, "careful", "shop", "a"), (2, "office", "camera", "c")]);
    assert!(reclaimed.iter().all(|one| one.recipients.len() == 1));
    // The other recipient was not in the transaction.
    assert_eq!(queue.fates(1), [Fate::Uncertain, Fate::Waiting]);
    assert_eq!(queue.fates(2), [Fate::Waiting]);
    assert_eq!(queue.reclaim(true, false), 0);
    let claim = queue.claim(&By::default()).unwrap();
    assert_eq!((claim.recipients.len(), claim.recipients[0].address.local_part()), (1, "b"));
}

pub(crate) fn leases_that_run_are_not_reclaimed(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.enqueue(&mail(2, &["a"]));
    queue.claim(&By::default()).unwrap();
    queue.pass(30);
    queue.claim(&By::default()).unwrap();
    queue.pass(31);
    assert_eq!(queue.reclaim(false, false), 1);
    assert_eq!((queue.fates(1), queue.fates(2)), (vec![Fate::Waiting], vec![Fate::Sending]));
}

pub(crate) fn doubted_deliveries_wake_when_the_lane_delivers(new: &Factory) {
    let mut queue = new();
    for id in 1..=3 {
        queue.enqueue(&mail(id, &["a"]));
    }
    let doubt = Doubt { account: "office".into(), since: queue.now, refusal: "554 mystery".into() };
    let claim = queue.claim(&By::default()).unwrap();
    let doubted = Settlement { doubt: Some(doubt.clone()), ..settlement(vec![deferred(&queue, 900)]) };
    let _ = queue.settle(&claim, &doubted);
    let plainly = deferred(&queue, 900);
    queue.attempt(plainly);
    queue.pass(1);
    let claim = queue.claim(&By::default()).unwrap();
    assert_eq!(claim.message, MessageId(3));
    let _ = queue.settle(&claim, &Settlement { wakes_doubted: true, ..settlement(vec![Outcome::Delivered]) });
    queue.crash();
    let woken = queue.claim(&By::default()).unwrap();
    assert_eq!((woken.message, &woken.doubt), (MessageId(1), &Some(doubt)));
    assert!(queue.claim(&By::default()).is_none());
    // A settlement without a doubt ends it.
    let _ = queue.settle(&woken, &settlement(vec![Outcome::Untried]));
    assert_eq!(queue.claim(&By::default()).unwrap().doubt, None);
}

pub(crate) fn what_was_put_off_can_be_hastened(new: &Factory) {
    let mut queue = new();
    for id in 1..=3 {
        queue.enqueue(&mail(id, &["a"]));
    }
    for secs in [300, 100, 200] {
        let later = deferred(&queue, secs);
        queue.attempt(later);
    }
    assert_eq!(queue.write(|store, now| store.hasten(2, now)), 2);
    assert_eq!(queue.claim(&By::default()).unwrap().message, MessageId(2));
    assert_eq!(queue.claim(&By::default()).unwrap().message, MessageId(3));
    assert!(queue.claim(&By::default()).is_none());
    assert_eq!(queue.write(|store, now| store.hasten(2, now)), 1);
    assert_eq!(queue.write(|store, now| store.hasten(2, now)), 0);
    assert_eq!(queue.claim(&By::default()).unwrap().message, MessageId(1));
}

pub(crate) fn lanes_stand_as_they_stood(new: &Factory) {
    let mut queue = new();
    let cause = Cause { kind: CauseKind::Login, sentence: "No.".into(), reply: Some("535 5.7.3 no".into()) };
    let stop = Stop { since: queue.now, probe_at: Some(queue.now), cause, failed_probes: 2, hastened: Some(queue.now) };
    let lane = Lane {
        standing: Standing::Paused(stop),
        last_delivered: Some(queue.now),
        suspicions: vec![Suspicion { client: "shop".into(), delivery: mailsluice::ids::DeliveryId(7) }],
        last_probe: Some("shop".into()),
        resumed: Some(queue.now),
        slowed: Some(Slowed { eighths: 4, since: queue.now }),
        narrowed: Some(Slowed { eighths: 2, since: queue.now }),
        refused_logins: vec![queue.now],
        blamed: vec![(mailsluice::ids::DeliveryId(7), queue.now)],
    };
    queue.write(|store, _| store.set_lane(&"office".into(), &lane));
    queue.crash();
    assert_eq!(queue.write(|store, _| store.lane(&"office".into())), lane);
    assert_eq!(queue.write(|store, _| store.lane(&"other".into())), Lane::default());
}

pub(crate) fn what_has_failed_is_due_for_a_report_until_somebody_is_told(new: &Factory) {
    let mut queue = new();
    let due = |queue: &mut Harness| -> Vec<i64> {
        queue.write(|store, _| store.due_reports(10)).iter().map(|due| due.message.0).collect()
    };
    queue.enqueue(&mail(1, &["a", "b", "c"]));
    let claim = queue.claim(&By::default()).unwrap();
    let later = deferred(&queue, 60);
    let _ = queue.settle(&claim, &settlement(vec![Outcome::Delivered, Outcome::Failed, later]));
    let failed = queue.now;
    assert_eq!(due(&mut queue), [0; 0], "one of its recipients is still waiting");
    queue.pass(61);
    queue.attempt(Outcome::Expired);
    queue.enqueue(&mail(2, &["a"]));
    queue.attempt(Outcome::Delivered);
    for id in 3..=5 {
        queue.pass(1);
        queue.enqueue(&mail(id, &["a"]));
        queue.attempt(Outcome::Failed);
    }
    queue.crash();
    assert_eq!(queue.write(|store, _| store.due_reports(2)).iter().map(|due| due.failed).next(), Some(failed));
    assert_eq!(due(&mut queue), [1, 3, 4, 5]);
    queue.write(|store, _| store.reported(&[MessageId(1), MessageId(4)]));
    queue.crash();
    assert_eq!(due(&mut queue), [3, 5]);

    // What is tried again may be delivered, or fail anew.
    queue.operate(1, Operation::Retry);
    queue.operate(3, Operation::Retry);
    assert_eq!(due(&mut queue), [5]);
    queue.pass(1);
    queue.attempt(Outcome::Failed);
    queue.attempt(Outcome::Delivered);
    assert_eq!(due(&mut queue), [5, 1]);
    queue.pass(31 * 86_400);
    let month = Duration::from_secs(30 * 86_400);
    while queue.write(|store, now| store.sweep(month, month, now)) > 0 {}
    assert_eq!(due(&mut queue), [0; 0], "nothing is left to tell of");
}

pub(crate) fn what_an_operator_decides_is_not_reported(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.attempt(Outcome::Uncertain);
    queue.operate(1, Operation::SettleFailed);
    queue.enqueue(&mail(2, &["a"]));
    queue.operate(2, Operation::Delete);
    assert_eq!(queue.fates(1), [Fate::Failed]);
    assert_eq!(queue.write(|store, _| store.due_reports(10)), []);
}
