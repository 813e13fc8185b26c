//! What only the store in SQLite promises: its files, who may open them and what they cost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use mailsluice::ids::MessageId;
use mailsluice::queue::record::{Fate, ListRequest, Operation};
use mailsluice::queue::sqlite::{Machine, Options, SqliteStore};
use mailsluice::queue::{OpenError, QueueReader, QueueStore, StoreError};
use mailsluice::time::Timestamp;
use rusqlite::Connection;

use crate::queue_contract::mail;
use crate::support::options;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn write<T>(store: &mut SqliteStore, work: impl FnOnce(&mut SqliteStore) -> Result<T, StoreError>) -> T {
    store.begin().unwrap();
    let done = work(store).unwrap();
    store.commit(NOW).unwrap();
    done
}

fn pragma<T: rusqlite::types::FromSql>(database: &Path, name: &str) -> T {
    Connection::open(database).unwrap().pragma_query_value(None, name, |row| row.get(0)).unwrap()
}

fn set_version(database: &Path, version: i64) {
    let connection = Connection::open(database).unwrap();
    connection.pragma_update(None, "user_version", version).unwrap();
    // Into the database itself: what the log holds may be moved there at any time.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
}

#[test]
fn a_queue_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let known = {
        drop(SqliteStore::open(options.clone()).unwrap());
        pragma::<i64>(&options.path, "user_version")
    };
    set_version(&options.path, known + 1);
    let before = fs::read(&options.path).unwrap();
    let error = SqliteStore::open(options.clone()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found, known: ours, .. } if found == known + 1 && ours == known));
    assert!(error.to_string().contains("newer Mailsluice"), "{error}");
    assert!(fs::read(&options.path).unwrap() == before);
    set_version(&options.path, known);
    SqliteStore::open(options).unwrap();
}

#[test]
fn a_second_opener_is_told_who_has_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteStore::open(options(&folder)).unwrap();
    let error = SqliteStore::open(options(&folder)).unwrap_err();
    assert!(matches!(error, OpenError::Locked { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("(process {})", std::process::id())), "{error}");
    drop(first);
    SqliteStore::open(options(&folder)).unwrap();
}

#[test]
fn memory_is_no_place_for_a_queue_unless_it_is_meant() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let meant = options(&folder);
    let error = SqliteStore::open(Options { ephemeral: false, ..meant.clone() }).unwrap_err();
    assert!(matches!(error, OpenError::Ephemeral { kind: "tmpfs (memory)", .. }), "{error}");
    assert!(error.to_string().contains("`queue.ephemeral = true`"), "{error}");
    assert!(!meant.path.exists());
    SqliteStore::open(meant).unwrap();
}

#[test]
fn what_is_no_queue_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let text = b"These are the minutes of the meeting. ".repeat(100);
    fs::write(&options.path, &text).unwrap();
    let error = SqliteStore::open(options.clone()).unwrap_err().to_string();
    assert!(
        error.contains("queue.db") && error.contains("the queue is damaged: the file is not a database"),
        "{error}"
    );
    assert!(fs::read(&options.path).unwrap() == text);
}

/// Of a full disk, a crash or whatever ends the first start half-way.
#[test]
fn a_first_start_that_fails_leaves_nothing_that_looks_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let (journal, half) = (options.path.with_extension("db-journal"), options.path.with_extension("db-new"));
    fs::write(&half, b"as far as it came").unwrap();
    fs::create_dir(&journal).unwrap();
    SqliteStore::open(options.clone()).unwrap_err();
    fs::remove_dir(&journal).unwrap();
    SqliteStore::open(options).unwrap();
    assert!(!half.exists());
}

#[test]
fn nobody_else_may_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/for/it/queue.db");
    let mut store = SqliteStore::open(Options { path: path.clone(), ..options(&folder) }).unwrap();
    write(&mut store, |store| store.enqueue(&mail(1, &["a"]), NOW));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["queue.db", "queue.db-ballast", "queue.db-lock", "queue.db-shm", "queue.db-wal"]);
}

/// What the power failing would leave: the files as they are while the store is open.
#[test]
fn what_was_committed_is_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(options(&folder)).unwrap();
    for id in 1..=3 {
        write(&mut store, |store| store.enqueue(&mail(id, &["a"]), NOW));
    }
    store.begin().unwrap();
    store.enqueue(&mail(4, &["a"]), NOW).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["queue.db", "queue.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let mut restarted = SqliteStore::open(options(&copy)).unwrap();
    restarted.take_up(NOW, &Machine::now()).unwrap();
    let all = ListRequest { after: None, limit: 10, fate: None };
    let list = restarted.reader().unwrap().list(&all, NOW).unwrap();
    assert_eq!(list.iter().map(|one| one.queue_id.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(list.iter().all(|one| one.fate == Fate::Waiting));
}

#[test]
fn room_that_mail_took_is_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(options(&folder)).unwrap();
    let database = folder.path().join("queue.db");
    assert_eq!(pragma::<String>(&database, "journal_mode"), "wal");
    // 2 is INCREMENTAL.
    assert_eq!(pragma::<i64>(&database, "auto_vacuum"), 2);
    let empty = pragma::<i64>(&database, "page_count");
    for id in 1..=20 {
        let mut message = mail(id, &["a"]);
        message.head.resize(100_000, b'x');
        message.size = 100_000;
        write(&mut store, |store| store.enqueue(&message, NOW));
    }
    let full = pragma::<i64>(&database, "page_count");
    assert!(full > empty + 400);
    for id in 1..=20 {
        write(&mut store, |store| store.operate(MessageId(id), Operation::Delete, NOW));
    }
    assert!(pragma::<i64>(&database, "freelist_count") > 400);
    for _ in 0..3 {
        write(&mut store, |store| store.sweep(Duration::MAX, Duration::MAX, NOW));
    }
    assert_eq!(pragma::<i64>(&database, "freelist_count"), 0);
    assert!(pragma::<i64>(&database, "page_count") < empty + 20);
}

#[test]
fn the_log_does_not_grow_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(options(&folder)).unwrap();
    let log = || fs::metadata(folder.path().join("queue.db-wal")).unwrap().len();
    let mut longest = 0;
    for id in 1..=80 {
        write(&mut store, |store| store.append(MessageId(1), id, &[b'x'; 1 << 20]));
        longest = longest.max(log());
    }
    // Twice what makes the writer wait for a checkpoint would be too much even beside a slow disk.
    assert!(longest < 128 << 20, "{longest}");
    // And it comes back down, by the time the writer itself waits for a checkpoint: or every commit would from now on.
    let shrunk = (81..500).any(|id| {
        write(&mut store, |store| store.append(MessageId(1), id, &[b'x'; 1 << 18]));
        log() < 4 << 20
    });
    assert!(shrunk, "still {} octets", log());
}
