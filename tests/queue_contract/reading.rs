//! What readers and the scheduler see.

use mailsluice::queue::record::Fate;
use mailsluice::schedule::verdict::Outcome;

use super::*;

fn ids(list: &[Listed]) -> Vec<i64> {
    list.iter().map(|one| one.queue_id.0).collect()
}

pub(crate) fn a_list_comes_in_pages(new: &Factory) {
    let mut queue = new();
    for id in 1..=6 {
        queue.enqueue(&mail(id, &["a"]));
    }
    queue.attempt(Outcome::Delivered);
    assert_eq!(ids(&queue.list(None, 2, None)), [2, 3]);
    assert_eq!(ids(&queue.list(Some(3), 2, None)), [4, 5]);
    assert_eq!(ids(&queue.list(Some(5), 2, None)), [6]);
    assert!(queue.list(Some(6), 2, None).is_empty());
}

pub(crate) fn a_list_is_filtered_by_fate(new: &Factory) {
    let mut queue = new();
    for id in 1..=16 {
        queue.enqueue(&mail(id, &["a"]));
    }
    // Two of each kind, those alike apart from each other.
    for _ in 0..2 {
        let later = deferred(&queue, 600);
        for outcome in [Outcome::Delivered, Outcome::Failed, Outcome::Expired, Outcome::Uncertain, later] {
            queue.attempt(outcome);
        }
    }
    for (id, operation) in [(11, Operation::Delete), (12, Operation::Hold), (13, Operation::Delete)] {
        queue.operate(id, operation);
    }
    queue.operate(14, Operation::Hold);
    queue.claim(&By::default()).unwrap();
    for (fate, expected) in [
        (Fate::Delivered, &[1, 6][..]),
        (Fate::Failed, &[2, 7]),
        (Fate::Expired, &[3, 8]),
        (Fate::Uncertain, &[4, 9]),
        (Fate::Waiting, &[5, 10, 16]),
        (Fate::Deleted, &[11, 13]),
        (Fate::Held, &[12, 14]),
        (Fate::Sending, &[15]),
    ] {
        let list = queue.list(None, 100, Some(fate));
        assert_eq!(ids(&list), expected, "{fate:?}");
        assert!(list.iter().all(|one| one.fate == fate));
        // A page is full while there is more.
        let mut paged = Vec::new();
        while let [one] = &queue.list(paged.last().copied(), 1, Some(fate))[..] {
            paged.push(one.queue_id.0);
        }
        assert_eq!(paged, expected, "{fate:?}");
    }
    assert_eq!(ids(&queue.list(None, 100, None)), [2, 3, 4, 5, 7, 8, 9, 10, 12, 14, 15, 16]);
}

pub(crate) fn a_message_is_shown_with_its_recipients_and_history(new: &Factory) {
    let mut queue = new();
    let message = mail(1, &["a", "b"]);
    queue.enqueue(&message);
    queue.pass(5);
    let claim = queue.claim(&By::default()).unwrap();
    let outcomes = vec![Outcome::Delivered, deferred(&queue, 60)];
    let _ = queue.settle(&claim, &settlement(outcomes));
    queue.pass(10);
    let now = queue.now;
    let shown = queue.reader().show(MessageId(1), now).unwrap().unwrap();
    assert_eq!(shown.listed, queue.list(None, 1, None)[0]);
    assert_eq!((shown.address.as_str(), shown.message_id.as_str()), ("192.0.2.1", "1@example.com"));
    assert_eq!((shown.route.as_str(), shown.received.as_str()), ("default", "2027-01-15T08:00:00.000Z"));
    let listed = &shown.listed;
    assert_eq!((&listed.from, listed.to.as_str()), (&message.envelope.reverse_path, "a@example.org"));
    assert_eq!((listed.recipients, listed.size, listed.age_seconds), (2, message.size, 15));
    assert_eq!((listed.next_attempt_in, listed.attempts), (Some(50), 1));
    assert_eq!(listed.last_reply.as_deref(), Some("250 2.0.0 said"));
    assert_eq!(shown.each[1].address, "b@example.org");
    let [attempt] = &shown.history[..] else { panic!("{:?}", shown.history) };
    assert_eq!(
        (attempt.ago_seconds, attempt.account.as_str(), attempt.host.as_str()),
        (10, "office", "smtp.example.net")
    );
    assert_eq!((attempt.sentence.as_str(), attempt.reply.as_str()), ("Something happened.", "250 2.0.0 said"));
    assert_eq!(queue.reader().show(MessageId(2), now), Ok(None));
}

pub(crate) fn stats_count_deliveries_by_state(new: &Factory) {
    let mut queue = new();
    assert_eq!(queue.stats(), Stats::default());
    for id in 1..=6 {
        queue.enqueue(&mail(id, &["a", "b"]));
    }
    let later = deferred(&queue, 600);
    for outcome in [Outcome::Delivered, Outcome::Failed, Outcome::Uncertain, later] {
        queue.attempt(outcome);
    }
    queue.pass(7);
    queue.claim(&By::default()).unwrap();
    queue.operate(6, Operation::Hold);
    queue.enqueue(&mail(7, &["a"]));
    let each =
        Stats { ready: 1, deferred: 1, sending: 1, held: 1, uncertain: 1, failed: 1, done: 1, ..Stats::default() };
    let live_bytes = 6 * mail(1, &["a"]).size;
    assert_eq!(queue.stats(), Stats { live_bytes, oldest_seconds: Some(7), ..each });
}

pub(crate) fn what_waits_is_seen_by_flow(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b"]));
    queue.pass(1);
    for id in 2..=4 {
        queue.enqueue(&mail(id, &["a"]));
    }
    queue.enqueue(&NewMessage { priority: Priority::High, ..mail(5, &["a"]) });
    queue.enqueue(&NewMessage { client: "camera".into(), ..mail(6, &["a"]) });
    queue.enqueue(&NewMessage { route: "elsewhere".into(), ..mail(7, &["a"]) });
    let view = queue.write(|store, now| store.view(2, now));
    let mut seen: Vec<_> = view
        .flows
        .iter()
        .map(|flow| {
            let heads: Vec<_> = flow.heads.iter().map(|head| (head.recipients, head.age.as_secs())).collect();
            (flow.route.as_str(), flow.client.as_str(), flow.priority, heads)
        })
        .collect();
    seen.sort_by_key(|flow| (flow.0, flow.1, flow.2 == Priority::Normal));
    assert_eq!(
        seen,
        [
            ("default", "camera", Priority::Normal, vec![(1, 0)]),
            ("default", "shop", Priority::High, vec![(1, 0)]),
            ("default", "shop", Priority::Normal, vec![(2, 1), (1, 0)]),
            ("elsewhere", "shop", Priority::Normal, vec![(1, 0)]),
        ]
    );
    assert_eq!(view.next_due, None);
}
