//! A full disk: new mail is refused, what is stored still goes out, and all is well again once there is room.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mailsluice::ids::{LoginKey, MessageId};
use mailsluice::provider::Caps;
use mailsluice::queue::record::{Claim, ClaimRequest, NewMessage, Settled};
use mailsluice::queue::sqlite::{Machine, Options, SqliteStore};
use mailsluice::queue::{Full, Queue, QueueStore, StoreError, Urgency};
use mailsluice::route::Priority;
use mailsluice::schedule::verdict::Outcome;
use mailsluice::time::{MonotonicClock, Timestamp};
use rusqlite::Connection;

use crate::queue_contract::{LEASE, mail, settlement};
use crate::support::mounts;
use crate::support::relay::within;

/// Names the small file system to the process that runs in it.
const SMALL: &str = "MAILSLUICE_TEST_SMALL_FILE_SYSTEM";

/// Runs the test once more in a process that has a tmpfs of 32 MiB to itself, and returns nothing; in that process, where
/// the tmpfs is. It goes with the process.
fn small_file_system(test: &str) -> Option<PathBuf> {
    if let Some(path) = std::env::var_os(SMALL) {
        return Some(path.into());
    }
    let mount = tempfile::tempdir().unwrap();
    let status = mounts::unshared()
        .args(["sh", "-ec", "mount -t tmpfs -o size=32m none \"$0\"; exec \"$@\""])
        .arg(mount.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(SMALL, mount.path())
        .status()
        .unwrap();
    assert!(status.success(), "{test} in a small file system");
    None
}

fn open(folder: &Path, min_free: u64) -> SqliteStore {
    let path = folder.join("queue.db");
    let mut store = SqliteStore::open(Options { path, max_bytes: 1 << 30, min_free, ephemeral: true }).unwrap();
    store.take_up(Timestamp::from_secs(1_800_000_000), &Machine::now()).unwrap();
    store
}

fn start(store: SqliteStore) -> Queue {
    let reader = store.reader().unwrap();
    Queue::start(Box::new(store), vec![Box::new(reader)], Arc::new(MonotonicClock::starting_after(Timestamp::EPOCH)))
}

fn large(id: i64) -> NewMessage {
    let mut message = mail(id, &["a"]);
    message.head.resize(50_000, b'x');
    message.size = 50_000;
    message
}

/// Stores a message without asking for room first, so that the disk itself says whether there is any.
async fn enqueue(queue: &Queue, id: i64) -> Result<(), StoreError> {
    let message = large(id);
    queue.write(Urgency::Intake, move |store, now| store.enqueue(&message, now)).await
}

/// Tries again, as the dispatcher does each second: a checkpoint beside may take the room of the ballast for the database, and
/// once that has ended there is room in the log.
async fn persistently<T: Send + 'static>(
    queue: &Queue,
    work: impl FnMut(&mut dyn QueueStore, Timestamp) -> Result<T, StoreError> + Clone + Send + 'static,
) -> Result<T, StoreError> {
    let trying = async {
        loop {
            match queue.write(Urgency::Work, work.clone()).await {
                Err(StoreError::Full(_)) => tokio::task::yield_now().await,
                done => return done,
            }
        }
    };
    within("room for what is sent", trying).await
}

async fn deliver(queue: &Queue) -> Result<Option<Claim>, StoreError> {
    let claim = persistently(queue, |store, now| {
        let request = ClaimRequest {
            account: &"office".into(),
            login: &LoginKey("user@host".into()),
            caps: &Caps { windows: vec![], connections: 9, recipients_per_message: 9, message_size: 1 << 20 },
            route: &"default".into(),
            client: &"shop".into(),
            priority: Priority::Normal,
            share: None,
            lease: LEASE,
        };
        store.claim(&request, now)
    })
    .await?;
    let Some(claim) = claim else { return Ok(None) };
    let settled = claim.clone();
    let settlement = settlement(vec![Outcome::Delivered]);
    let settled = persistently(queue, move |store, now| store.settle(&settled, &settlement, now)).await?;
    assert!(matches!(settled, Settled::Written { waiting: 0, .. }));
    Ok(Some(claim))
}

/// Another program's file that takes what room is left, to the last octet.
fn fill(path: &Path) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    for octets in [1 << 20, 4096, 1] {
        while file.write_all(&vec![b'x'; octets]).is_ok() {}
    }
}

/// Moves all that the log holds into the database, which must have room for it. The thread that does so may not have come
/// so far, and this is in vain while it is at it.
async fn empty_the_log(folder: &Path) {
    let database = Connection::open(folder.join("queue.db")).unwrap();
    database.busy_timeout(LEASE).unwrap();
    let in_vain = || database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0)).unwrap();
    let moved = async {
        while in_vain() {
            tokio::task::yield_now().await;
        }
    };
    within("end of the checkpoint", moved).await;
}

#[tokio::test]
async fn on_a_full_disk_mail_goes_out_and_none_comes_in() {
    let Some(folder) = small_file_system("queue_room::on_a_full_disk_mail_goes_out_and_none_comes_in") else { return };
    let (ballast, other) = (folder.join("queue.db-ballast"), folder.join("other"));
    let queue = start(open(&folder, 0));
    assert!(ballast.exists());
    fs::write(&other, vec![b'x'; 18 << 20]).unwrap();
    let mut stored = 0;
    let refused = loop {
        match enqueue(&queue, stored + 1).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full(Full::Disk));
    assert!(stored > 20, "{stored}");
    assert!(ballast.exists(), "the ballast is not for new mail");
    // Nothing but what is written from here on can bring the next checkpoint about, and room with it.
    fs::remove_file(&other).unwrap();
    empty_the_log(&folder).await;
    fill(&other);
    assert_eq!(enqueue(&queue, stored + 1).await, Err(StoreError::Full(Full::Disk)));
    for id in 1..=stored / 2 {
        assert_eq!(deliver(&queue).await.unwrap().unwrap().message, MessageId(id));
    }
    assert!(!ballast.exists(), "the test did not need the ballast, so it shows nothing");
    fs::remove_file(&other).unwrap();
    assert_eq!(enqueue(&queue, stored + 1).await, Ok(()));
    for id in stored / 2 + 1..=stored + 1 {
        assert_eq!(deliver(&queue).await.unwrap().unwrap().message, MessageId(id));
    }
    assert!(deliver(&queue).await.unwrap().is_none());
    empty_the_log(&folder).await;
    queue.write(Urgency::Work, |store, now| store.sweep(LEASE, LEASE, now)).await.unwrap();
    assert!(ballast.exists(), "laid anew for the next time");
}

#[tokio::test]
async fn a_restart_on_a_full_disk_takes_up_what_waits() {
    let Some(folder) = small_file_system("queue_room::a_restart_on_a_full_disk_takes_up_what_waits") else { return };
    let queue = start(open(&folder, 0));
    enqueue(&queue, 1).await.unwrap();
    queue.closed().await;
    fill(&folder.join("other"));
    let queue = start(open(&folder, 0));
    assert!(matches!(enqueue(&queue, 2).await, Err(StoreError::Full(_)) | Ok(())));
    assert_eq!(deliver(&queue).await.unwrap().unwrap().message, MessageId(1));
}

#[tokio::test]
async fn below_the_room_that_must_stay_free_no_mail_comes_in() {
    let Some(folder) = small_file_system("queue_room::below_the_room_that_must_stay_free_no_mail_comes_in") else {
        return;
    };
    let queue = start(open(&folder, 10 << 20));
    let admit = |octets| queue.write(Urgency::Intake, move |store, _| store.room_for(octets));
    enqueue(&queue, 1).await.unwrap();
    assert_eq!(admit(50_000).await, Ok(()));
    fs::write(folder.join("other"), vec![b'x'; 18 << 20]).unwrap();
    assert_eq!(admit(50_000).await, Err(StoreError::Full(Full::MinFree)));
    assert_eq!(deliver(&queue).await.unwrap().unwrap().message, MessageId(1));
    fs::remove_file(folder.join("other")).unwrap();
    assert_eq!(admit(50_000).await, Ok(()));
}
