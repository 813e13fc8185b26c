//! What is done for one message costs no more steps of SQLite's machine where many wait than where few do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::StatementStatus;

use super::*;
use crate::provider::Caps;
use crate::queue::QueueReader;
use crate::queue::record::{Fate, ListRequest};
use crate::route::Priority;
use crate::schedule::verdict::{Charge, Heard, Outcome};
use crate::smtp::{Envelope, ReversePath};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    let path = folder.path().join("queue.db");
    SqliteStore::open(Options { path, max_bytes: u64::MAX, min_free: 0, ephemeral: true }).unwrap()
}

const CONTENT: &[u8] = b"Subject: x\r\n\r\nGood day.\r\n";

fn enqueue(store: &mut SqliteStore, id: i64, chunks: u32) {
    let head = CONTENT.to_vec();
    let message = NewMessage {
        id: MessageId(id),
        client: "shop".into(),
        address: "192.0.2.1".into(),
        priority: Priority::Normal,
        envelope: Envelope { reverse_path: ReversePath::Null, recipients: vec!["a@example.org".parse().unwrap()] },
        route: "default".into(),
        header_id: format!("{id}@example.com"),
        received: NOW,
        size: head.len() as u64,
        head,
        chunks,
    };
    store.enqueue(&message, NOW).unwrap();
}

fn claim(store: &mut SqliteStore) -> Claim {
    let caps = Caps { windows: vec![], connections: 5, recipients_per_message: 100, message_size: 1 };
    let request = ClaimRequest {
        account: &"office".into(),
        login: &LoginKey("office@host".into()),
        caps: &caps,
        share: None,
        route: &"default".into(),
        client: &"shop".into(),
        priority: Priority::Normal,
        lease: Duration::from_secs(600),
    };
    store.claim(&request, NOW).unwrap().unwrap()
}

fn settle(store: &mut SqliteStore, claim: &Claim) {
    let (sentence, reply) = ("It was delivered.".to_owned(), "250 2.0.0 said".to_owned());
    let settlement = Settlement {
        outcomes: vec![(Outcome::Delivered, reply.clone())],
        charge: Charge::Kept,
        doubt: None,
        wakes_doubted: true,
        heard: vec![Heard { recipients: vec![0], step: None, sentence, reply }],
        host: "smtp.example.net".into(),
        wall: NOW,
    };
    let _ = store.settle(claim, &settlement, NOW).unwrap();
}

fn counted(connection: &mut Connection) -> Arc<AtomicU64> {
    let steps = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&steps);
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    connection.progress_handler(1, Some(count)).unwrap();
    steps
}

/// The steps of each thing that is done for one message while so many wait.
fn steps(waiting: i64) -> Vec<(&'static str, u64)> {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    store.begin().unwrap();
    (1..=waiting).for_each(|id| enqueue(&mut store, id, 0));
    store.commit(NOW).unwrap();
    let mut reader = store.reader().unwrap();
    let (written, read) = (counted(&mut store.connection), counted(&mut reader.connection));
    let mut all = Vec::new();
    let mut note = |what, steps: &AtomicU64| all.push((what, steps.swap(0, Ordering::Relaxed)));
    store.begin().unwrap();
    note("begin", &written);
    enqueue(&mut store, waiting + 1, 0);
    note("enqueue", &written);
    assert_eq!(store.view(5, NOW).unwrap().flows[0].heads.len(), 5);
    note("view", &written);
    let claim = claim(&mut store);
    note("claim", &written);
    settle(&mut store, &claim);
    note("settle", &written);
    assert_eq!(store.operate(MessageId(2), Operation::Hold, NOW), Ok(held()));
    note("hold", &written);
    store.commit(NOW).unwrap();
    note("commit", &written);
    store.due_reports(10).unwrap();
    note("reports", &written);
    store.sweep(Duration::from_secs(60), Duration::from_secs(60), NOW).unwrap();
    note("sweep", &written);
    for fate in [None, Some(Fate::Waiting)] {
        let request = ListRequest { after: Some(MessageId(3)), limit: 2, fate };
        assert_eq!(reader.list(&request, NOW).unwrap().len(), 2);
        note("list", &read);
    }
    all
}

fn held() -> Operated {
    Operated::Done { client: "shop".into(), recipients: vec!["a@example.org".parse().unwrap()] }
}

#[test]
fn what_is_done_for_one_message_does_not_depend_on_how_many_wait() {
    assert_eq!(steps(10), steps(2000));
}

#[test]
fn content_comes_with_its_claim_only_where_that_is_all_of_it_and_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    store.begin().unwrap();
    enqueue(&mut store, 1, 0);
    enqueue(&mut store, 2, 1);
    assert_eq!(store.content(MessageId(1)).as_deref(), Some(CONTENT));
    assert_eq!(store.content(MessageId(2)), None, "its chunk would be missing");
    let claim = claim(&mut store);
    settle(&mut store, &claim);
    assert_eq!(store.content(MessageId(1)), None, "it was delivered");
    store.commit(NOW).unwrap();
}

#[test]
fn a_statement_is_compiled_once_whatever_its_limit_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let mut statement = store.connection.prepare("SELECT id FROM delivery ORDER BY id LIMIT ?1").unwrap();
    for limit in 1..4 {
        assert!(!statement.exists([limit]).unwrap());
    }
    assert_eq!(statement.get_status(StatementStatus::RePrepare), 0);
}
