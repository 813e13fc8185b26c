//! Promises 1, 2, 6 and 8: what is durable, what is whole, how long it is kept and for how much there is room.

use mailsluice::ids::{LoginKey, MessageId};
use mailsluice::queue::record::{Fate, Operation};
use mailsluice::queue::{Full, StoreError};
use mailsluice::schedule::cap::Ledger;
use mailsluice::schedule::verdict::Outcome;
use mailsluice::time::Timestamp;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

pub(crate) fn what_was_committed_is_there_after_a_crash(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a", "b"]));
    queue.enqueue(&mail(2, &["c"]));
    queue.attempt(Outcome::Delivered);
    queue.crash();
    assert_eq!(queue.fates(1), [Fate::Delivered, Fate::Delivered]);
    assert_eq!(queue.fates(2), [Fate::Waiting]);
    assert_eq!(queue.content(2), Some(mail(2, &["c"]).head));
    assert_eq!(queue.claim(&By::default()).unwrap().message, MessageId(2));
}

pub(crate) fn what_was_undone_or_cut_off_never_was(new: &Factory) {
    for crashes in [false, true] {
        let mut queue = new();
        queue.enqueue(&mail(1, &["a"]));
        let (before, now) = (queue.stats(), queue.now);
        let store = queue.store();
        store.begin().unwrap();
        store.append(MessageId(3), 1, b"part").unwrap();
        store.enqueue(&mail(2, &["b"]), now).unwrap();
        By::default().request(|request| store.claim(request, now)).unwrap().unwrap();
        if crashes {
            queue.crash();
        } else {
            store.roll_back().unwrap();
        }
        assert_eq!(queue.stats(), before);
        assert_eq!(queue.fates(2), []);
        assert_eq!(queue.used("user@host", Counted::Messages), 0);
        assert_eq!(queue.store().ledger(&LoginKey("user@host".into())).map_or(0, Ledger::under_way), 0);
        // Its numbers are free again, and there is room for what it would have held.
        queue.enqueue(&mail(2, &["b"]));
        assert_eq!(queue.attempt(Outcome::Delivered).message, MessageId(1));
        assert_eq!(queue.attempt(Outcome::Delivered).message, MessageId(2));
        assert_eq!(queue.stats().live_bytes, 0);
    }
}

pub(crate) fn a_message_is_kept_whole(new: &Factory) {
    let mut queue = new();
    let to: Vec<String> = (0..100).map(|number| format!("r{number}")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let message = in_parts(1, &to, &[b"one", b"two", b"three"]);
    queue.write(|store, _| {
        // Parts arrive in order, but among those of others.
        store.append(MessageId(1), 1, b"one")?;
        store.append(MessageId(9), 1, b"other")?;
        store.append(MessageId(1), 2, b"two")
    });
    queue.write(|store, now| {
        store.append(MessageId(1), 3, b"three")?;
        store.enqueue(&message, now)
    });
    queue.crash();
    assert_eq!(queue.content(1).unwrap(), [&message.head[..], b"onetwothree"].concat());
    assert_eq!(queue.reader().head(MessageId(1)).unwrap().unwrap(), message.head);
    assert_eq!(queue.reader().head(MessageId(9)).unwrap(), None);
    let claim = queue.claim(&By::default()).unwrap();
    let claimed: Vec<&str> = claim.recipients.iter().map(|one| one.address.local_part()).collect();
    assert_eq!(claimed, to);
    assert_eq!((claim.reverse_path, claim.size), (message.envelope.reverse_path, message.size));
}

pub(crate) fn parts_without_a_message_are_swept_at_opening(new: &Factory) {
    let mut queue = new();
    let message = in_parts(2, &["a"], &[b"kept"]);
    queue.write(|store, now| {
        store.append(MessageId(1), 1, b"orphan")?;
        store.append(MessageId(2), 1, b"kept")?;
        store.enqueue(&message, now)
    });
    queue.crash();
    assert_eq!(queue.stats().live_bytes, message.size);
    queue.enqueue(&mail(1, &["a"]));
    assert_eq!(queue.content(1), Some(mail(1, &["a"]).head));
    assert_eq!(queue.content(2).unwrap().len() as u64, message.size);
}

pub(crate) fn parts_of_a_message_that_never_came_are_forgotten(new: &Factory) {
    let mut queue = new();
    queue.write(|store, _| store.append(MessageId(1), 1, b"part"));
    assert_eq!(queue.stats().live_bytes, 4);
    queue.write(|store, _| store.abandon(MessageId(1)));
    assert_eq!(queue.stats().live_bytes, 0);
    // But not those of one that did.
    let message = in_parts(2, &["a"], &[b"part"]);
    queue.write(|store, now| {
        store.append(MessageId(2), 1, b"part")?;
        store.enqueue(&message, now)
    });
    queue.write(|store, _| store.abandon(MessageId(2)));
    assert_eq!(queue.content(2).unwrap().len() as u64, message.size);
}

pub(crate) fn content_is_kept_until_everybody_has_it_or_nobody_is_to(new: &Factory) {
    let mut queue = new();
    let message = in_parts(1, &["a", "b", "c"], &[b"part"]);
    queue.write(|store, now| {
        store.append(MessageId(1), 1, b"part")?;
        store.enqueue(&message, now)
    });
    let claim = queue.claim(&By::default()).unwrap();
    let _ = queue.settle(&claim, &settlement(vec![Outcome::Delivered, Outcome::Failed, Outcome::Untried]));
    assert!(queue.content(1).is_some());
    queue.attempt(Outcome::Delivered);
    // One has failed: a person may want to try once more.
    assert!(queue.content(1).is_some());
    assert_eq!(queue.stats().live_bytes, message.size);
    queue.operate(1, Operation::Delete);
    assert_eq!((queue.content(1), queue.stats().live_bytes), (None, 0));
    assert_eq!(queue.fates(1), [Fate::Delivered, Fate::Deleted, Fate::Delivered]);
}

pub(crate) fn history_and_failed_messages_are_kept_for_thirty_days(new: &Factory) {
    let mut queue = new();
    for id in 1..=3 {
        queue.enqueue(&mail(id, &["a"]));
    }
    queue.attempt(Outcome::Delivered);
    queue.attempt(Outcome::Failed);
    let sweep = |queue: &mut Harness| queue.write(|store, now| store.sweep(30 * DAY, DAY, now));
    queue.pass(30 * 86_400);
    // What went are the two charges.
    assert_eq!(sweep(&mut queue), 2);
    assert_eq!((queue.fates(1), queue.fates(2)), (vec![Fate::Delivered], vec![Fate::Failed]));
    assert!(queue.content(2).is_some());
    queue.pass(1);
    assert_eq!(sweep(&mut queue), 2);
    assert_eq!((queue.fates(1), queue.fates(2), queue.content(2)), (vec![], vec![], None));
    assert_eq!(queue.fates(3), [Fate::Waiting]);
    assert_eq!(queue.stats().live_bytes, mail(3, &["a"]).size);
}

pub(crate) fn there_is_room_for_max_bytes_of_live_mail(new: &Factory) {
    let mut queue = new();
    let mut message = mail(1, &["a"]);
    message.head.resize(300_000, b'x');
    message.size = 300_000 + 400_000;
    queue.write(|store, now| {
        store.append(MessageId(1), 1, &[b'x'; 400_000])?;
        store.enqueue(&message, now)
    });
    queue.write(|store, _| store.append(MessageId(2), 1, &[b'x'; 200_000]));
    let left = MAX_BYTES - 900_000;
    assert_eq!(queue.store().room_for(left), Ok(()));
    assert_eq!(queue.store().room_for(left + 1), Err(StoreError::Full(Full::MaxBytes)));
    queue.crash();
    assert_eq!(queue.store().room_for(left + 200_000), Ok(()));
    queue.attempt(Outcome::Delivered);
    assert_eq!(queue.store().room_for(MAX_BYTES), Ok(()));
    assert_eq!(queue.store().room_for(MAX_BYTES + 1), Err(StoreError::Full(Full::MaxBytes)));
}

pub(crate) fn the_time_of_the_newest_commit_never_runs_backwards(new: &Factory) {
    let mut queue = new();
    queue.enqueue(&mail(1, &["a"]));
    queue.pass(100);
    queue.write(|_, _| Ok(()));
    // A clock that steps back makes mail neither older nor younger than it is.
    queue.now = Timestamp::from_secs(1_800_000_000);
    queue.write(|_, _| Ok(()));
    queue.pass(100);
    queue.crash();
    assert_eq!(queue.claim(&By::default()).unwrap().age, Duration::from_secs(100));
}

fn in_parts(id: i64, to: &[&str], parts: &[&[u8]]) -> NewMessage {
    let mut message = mail(id, to);
    message.chunks = u32::try_from(parts.len()).unwrap();
    message.size += parts.concat().len() as u64;
    message
}

pub(crate) fn what_is_kept_by_name_is_there_after_a_crash(new: &Factory) {
    let mut queue = new();
    assert_eq!(queue.write(|store, _| store.kept("alarms")), None);
    queue.write(|store, _| store.keep("alarms", "{\"one\":1}"));
    queue.write(|store, _| store.keep("reports", "[]"));
    queue.write(|store, _| store.keep("alarms", "{\"two\":2}"));
    queue.crash();
    assert_eq!(queue.write(|store, _| store.kept("alarms")).as_deref(), Some("{\"two\":2}"));
    assert_eq!(queue.write(|store, _| store.kept("reports")).as_deref(), Some("[]"));
}
