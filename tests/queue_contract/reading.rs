//! What readers and the scheduler see.

use mailsluice::queue::record::{Fate, ShownAttempt};
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
    assert_eq!((attempt.step.as_deref(), attempt.times, attempt.recipients), (Some("end of data"), 1, 2));
    assert_eq!(
        (attempt.time.as_str(), &attempt.first),
        ("2030-03-17T17:46:40.000Z", &attempt.time),
        "by the wall clock"
    );
    assert_eq!(attempt.to, ["a@example.org", "b@example.org"]);
    assert_eq!(queue.reader().show(MessageId(2), now), Ok(None));
}

fn history(queue: &mut Harness, id: i64) -> Vec<ShownAttempt> {
    let now = queue.now;
    queue.reader().show(MessageId(id), now).unwrap().unwrap().history
}

pub(crate) fn history_tells_who_heard_what(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b", "c", "d", "e", "f", "g", "h"]));
    let claim = queue.claim(&By::default()).unwrap();
    let said = vec![
        heard(Step::Rcpt, "550 5.1.1 no such user", vec![2]),
        heard(Step::FinalReply, "250 2.0.0 OK", vec![0, 1, 3, 4, 5, 6, 7]),
    ];
    let mut outcomes = vec![Outcome::Delivered; 8];
    outcomes[2] = Outcome::Failed;
    let _ = queue.settle(&claim, &Settlement { heard: said, ..settlement(outcomes) });
    queue.crash();
    let history = history(&mut queue, 1);
    let told: Vec<_> = history
        .iter()
        .map(|one| (one.step.as_deref().unwrap(), one.reply.as_str(), one.recipients, one.to.len(), one.to[0].as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("RCPT", "550 5.1.1 no such user", 1, 1, "c@example.org"),
            ("end of data", "250 2.0.0 OK", 7, 5, "a@example.org")
        ]
    );
}

pub(crate) fn what_is_said_again_is_counted(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b"]));
    let attempts = |queue: &mut Harness, by: &By, said: &[(Step, &str, Vec<usize>)]| {
        let claim = queue.claim(by).unwrap();
        let heard = said.iter().map(|(step, reply, to)| heard(*step, reply, to.clone())).collect();
        let wall = queue.now.after(Duration::from_secs(1000));
        let _ = queue.settle(&claim, &Settlement { heard, wall, ..settlement(vec![Outcome::Untried; 2]) });
        queue.pass(30);
    };
    let by = By::default();
    let start = queue.now.after(Duration::from_secs(1000));
    for number in 0..100 {
        let busy = format!("421 4.3.2 Service not available [HOST {number}]");
        attempts(&mut queue, &by, &[(Step::Greeting, &busy, vec![0, 1])]);
    }
    let [one] = &history(&mut queue, 1)[..] else { panic!("{:?}", history(&mut queue, 1)) };
    assert_eq!((one.times, one.ago_seconds), (100, 30));
    assert_eq!((&one.first, &one.time), (&start.to_string(), &start.after(Duration::from_secs(99 * 30)).to_string()));
    assert_eq!(one.reply, "421 4.3.2 Service not available [HOST 99]", "as it was said last");

    // Another step, account, reply or recipient is another thing, and so is the same after something else.
    let busy = (Step::Greeting, "421 4.3.2 Service not available", vec![0, 1]);
    attempts(&mut queue, &by, &[(Step::Mail, busy.1, busy.2.clone())]);
    attempts(&mut queue, &by, std::slice::from_ref(&busy));
    attempts(&mut queue, &By { account: "other", ..by.clone() }, std::slice::from_ref(&busy));
    attempts(&mut queue, &by, &[busy]);
    let mixed = [(Step::Rcpt, "450 4.2.1 busy", vec![1]), (Step::FinalReply, "451 4.3.0 later", vec![0])];
    attempts(&mut queue, &by, &mixed);
    attempts(&mut queue, &by, &mixed);
    let other = [(Step::Rcpt, "450 4.2.1 busy", vec![0]), mixed[1].clone()];
    attempts(&mut queue, &by, &other);
    let times: Vec<u32> = history(&mut queue, 1).iter().map(|one| one.times).collect();
    assert_eq!(times, [100, 1, 1, 1, 1, 2, 3, 1]);
}

pub(crate) fn what_was_not_heard_is_no_history(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    let claim = queue.claim(&By::default()).unwrap();
    let unheard = Settlement { heard: vec![], ..settlement(vec![Outcome::Untried]) };
    assert_eq!(queue.settle(&claim, &unheard), Settled::Written { waiting: 1, attempts: 0 });
    assert_eq!(history(&mut queue, 1), []);
    for number in 0..1200 {
        let claim = queue.claim(&By::default()).unwrap();
        let heard = vec![heard(Step::Greeting, &format!("421 {}", number % 2), vec![0])];
        let _ = queue.settle(&claim, &Settlement { heard, ..settlement(vec![Outcome::Untried]) });
        queue.pass(30);
    }
    let history = history(&mut queue, 1);
    assert!(history.len() <= 1000, "it does not grow for ever: {}", history.len());
    assert_eq!(history.last().map(|one| one.reply.as_str()), Some("421 1"), "the newest is kept");
    assert_eq!(queue.list(None, 1, None)[0].attempts, 0, "a session that could not be had is no attempt");
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
