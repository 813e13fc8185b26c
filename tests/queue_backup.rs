//! A copy of the queue, taken beside the daemon: it holds all that was acknowledged before, and serves as a queue.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mailsluice::ids::MessageId;
use mailsluice::queue::QueueStore;
use mailsluice::queue::sqlite::{Existing, SqliteStore, back_up};
use mailsluice::sandbox::{Fault, FaultRule};
use mailsluice::time::Timestamp;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::queue_contract::mail;
use crate::support::client::{Numbered, Session};
use crate::support::daemon::{Site, mailsluice};
use crate::support::kept::{DELIVERED, KEPT, config, ids, told};
use crate::support::options;
use crate::support::relay::within;
use crate::support::scene::{Scene, Script};

/// A copy put where another relay has its queue.
fn restored(copy: &Path, account: &str) -> Site {
    let site = Site::new(&config(account), "");
    std::fs::create_dir(site.path().join("out")).unwrap();
    std::fs::copy(copy, site.path().join("queue.db")).unwrap();
    site
}

fn backup(site: &Site, file: &Path) -> String {
    let output = site.run(&["queue", "backup", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", told(&output));
    told(&output)
}

/// Clients that send one message after the other until they are told to stop, and the ids they were given.
struct Load {
    sessions: JoinSet<()>,
    acknowledged: Arc<watch::Sender<BTreeSet<String>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn on(relay: SocketAddr, runtime: &tokio::runtime::Runtime) -> Self {
        let _entered = runtime.enter();
        let (acknowledged, stop, next) =
            (Arc::default(), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let mut load = Self { sessions: JoinSet::new(), acknowledged, stop };
        for _ in 0..8 {
            let (acknowledged, stop, next) =
                (Arc::clone(&load.acknowledged), Arc::clone(&load.stop), Arc::clone(&next));
            load.sessions.spawn(async move {
                let mut session = Session::open(relay, Ipv4Addr::LOCALHOST).await.unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let reply = session.send(&Numbered(next.fetch_add(1, Ordering::Relaxed))).await.unwrap();
                    let id = reply.strip_prefix("250 2.0.0 Ok: queued as ").unwrap_or_else(|| panic!("{reply}"));
                    acknowledged.send_modify(|all| all.extend([id.to_owned()]));
                }
            });
        }
        load
    }

    fn acknowledged(&self) -> BTreeSet<String> {
        self.acknowledged.borrow().clone()
    }

    /// Waits until so many more are acknowledged.
    async fn wait_for(&self, more: usize) {
        let (wanted, mut acknowledged) = (self.acknowledged().len() + more, self.acknowledged.subscribe());
        within(&format!("{more} more"), acknowledged.wait_for(|all| all.len() >= wanted)).await.unwrap();
    }

    async fn end(mut self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.sessions.join_next().await {
            ended.unwrap();
        }
        self.acknowledged()
    }
}

#[test]
fn a_copy_made_under_load_holds_all_that_was_acknowledged_before() {
    let site = Site::new(&config(KEPT), "");
    let daemon = site.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let load = Load::on(daemon.address(), &runtime);
    let mut copies = Vec::new();
    for number in 0..4 {
        runtime.block_on(load.wait_for(150));
        let (file, before) = (site.path().join(format!("copy{number}")), load.acknowledged());
        let said = backup(&site, &file);
        assert!(said.contains("checked") && said.contains("sends again what was sent since"), "{said}");
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        copies.push((file, before));
    }
    runtime.block_on(load.wait_for(150));
    let all = runtime.block_on(load.end());
    assert_eq!(ids(&site), all, "the queue itself is as it would be");
    assert_eq!(daemon.stop(), 0);
    let stopped = site.path().join("stopped");
    backup(&site, &stopped);
    copies.push((stopped, all));

    for (file, before) in &copies {
        let other = restored(file, DELIVERED);
        let listed = ids(&other);
        assert!(before.is_subset(&listed), "{}: {:?}", file.display(), before.difference(&listed));
        let shown = other.json(&["queue", "show", before.first().unwrap(), "--json"]);
        assert_eq!(shown["each"][0]["address"], "you@example.com", "{shown}");
    }
    let (file, before) = &copies[1];
    let other = restored(file, DELIVERED);
    let listed = ids(&other).len();
    let daemon = other.serve();
    let lines = daemon.wait_for_count("deliveries", listed, |line| line["event"] == "delivered");
    let delivered: BTreeSet<String> = lines.iter().map(|line| line["queue_id"].as_str().unwrap().to_owned()).collect();
    assert!(before.is_subset(&delivered));
    assert_eq!(daemon.stop(), 0);
}

/// The copy knows that it was being sent, and the relay that takes it up that nobody knows the rest.
#[test]
fn what_was_being_sent_when_the_copy_was_made_is_uncertain_there() {
    let mut script = Script { account: "on_uncertain = \"hold\"", ..Script::default() };
    script.sandbox.fault = Some(FaultRule::from(Fault::SlowDot).delayed(Duration::from_secs(600)));
    let scene = Scene::set(script);
    let daemon = scene.serve();
    scene.offer(0..1);
    scene.wait_for(1);
    let id = daemon.wait_for("acceptance", |line| line["event"] == "accepted")["queue_id"].clone();
    let copy = scene.site.path().join("copy");
    backup(&scene.site, &copy);

    let text = std::fs::read_to_string(scene.site.config()).unwrap();
    let other = Site::new("", "");
    let moved = text
        .replace("/queue.db", "/restored.db")
        .replace(&format!("address = \"{}\"", scene.relay), "address = \"127.0.0.1:0\"");
    std::fs::write(other.config(), moved).unwrap();
    std::fs::rename(&copy, scene.site.path().join("restored.db")).unwrap();
    let taken_up = other.serve();
    let uncertain = taken_up.wait_for("uncertainty", |line| line["event"] == "uncertain");
    assert_eq!(uncertain["queue_id"], id);
    assert_eq!(other.json(&["queue", "show", id.as_str().unwrap(), "--json"])["fate"], "uncertain");
    assert_eq!(taken_up.stop(), 0);
    daemon.kill();
}

/// The recipe of the README: what the log says was delivered since is deleted before the copy is served.
#[test]
fn what_was_delivered_since_the_copy_can_be_taken_out_of_it() {
    let site = Site::new(&config(KEPT), "");
    let daemon = site.serve();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(crate::support::client::offer(daemon.address(), 1, (0..6).map(Numbered)));
    assert_eq!(daemon.stop(), 0);
    let copy = site.path().join("copy");
    backup(&site, &copy);
    let all = ids(&site);
    let since: Vec<&str> = all.iter().take(4).map(String::as_str).collect();
    let other = restored(&copy, DELIVERED);
    let output = other.run(&[&["queue", "delete"], &since[..]].concat());
    assert!(output.status.success(), "{}", told(&output));
    let daemon = other.serve();
    let lines = daemon.wait_for_count("deliveries", 2, |line| line["event"] == "delivered");
    let delivered: BTreeSet<&str> = lines.iter().map(|line| line["queue_id"].as_str().unwrap()).collect();
    assert_eq!(daemon.stop(), 0);
    assert_eq!(delivered, all.iter().skip(4).map(String::as_str).collect());
}

#[test]
fn a_file_that_is_there_stays_and_the_queue_itself_is_no_copy() {
    let folder = tempfile::tempdir().unwrap();
    let (database, copy) = (folder.path().join("queue.db"), folder.path().join("copy"));
    let refused = |file: &Path, existing| back_up(&database, file, existing, 0).unwrap_err().to_string();
    assert!(refused(&copy, Existing::Keep).contains("there is no queue to copy"));
    drop(SqliteStore::open(options(&folder)).unwrap());
    std::fs::write(&copy, "precious").unwrap();
    assert!(refused(&copy, Existing::Keep).contains("--force"));
    assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
    std::os::unix::fs::symlink(&database, folder.path().join("link")).unwrap();
    for own in ["queue.db", "queue.db-wal", "queue.db-control", "link"] {
        let said = refused(&folder.path().join(own), Existing::Replace);
        assert!(said.contains("belongs to the queue itself"), "{own}: {said}");
    }
    assert!(refused(&folder.path().join("nowhere/copy"), Existing::Keep).contains("nowhere/copy.partial"));
    // The queue would take no more mail with less.
    let full = back_up(&database, &copy, Existing::Replace, u64::MAX).unwrap_err().to_string();
    assert!(full.contains("`queue.min_free`") && full.contains("another disk"), "{full}");
    assert_eq!(std::fs::read(&copy).unwrap(), b"precious");
    back_up(&database, &copy, Existing::Replace, 0).unwrap();
    assert!(std::fs::read(&copy).unwrap().starts_with(b"SQLite format 3\0"));
    assert!(!folder.path().join("copy.partial").exists());
}

/// Root may copy a queue, with and without its daemon, and what SQLite makes beside it stays its owner's.
#[test]
fn root_copies_a_queue_and_leaves_it_to_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can give things away
    }
    const OWNER: u32 = 54_321;
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(options(&folder)).unwrap();
    store.begin().unwrap();
    store.enqueue(&mail(1, &["a"]), Timestamp::from_secs(1_800_000_000)).unwrap();
    store.commit(Timestamp::from_secs(1_800_000_000)).unwrap();
    drop(store);
    let give = || {
        chown(folder.path(), Some(OWNER), Some(OWNER)).unwrap();
        for entry in folder.path().read_dir().unwrap() {
            chown(entry.unwrap().path(), Some(OWNER), Some(OWNER)).unwrap();
        }
    };
    give();
    let (database, elsewhere) = (folder.path().join("queue.db"), tempfile::tempdir().unwrap());
    let look = |file: &Path| {
        let copied = back_up(&database, file, Existing::Keep, 0).unwrap();
        assert_eq!((copied.waiting, copied.messages), (1, 1));
        assert_eq!(file.metadata().unwrap().uid(), 0);
        for entry in folder.path().read_dir().unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(path.metadata().unwrap().uid(), OWNER, "{}", path.display());
        }
    };
    look(&elsewhere.path().join("stopped"));
    let store = SqliteStore::open(options(&folder)).unwrap();
    give();
    look(&elsewhere.path().join("served"));
    drop(store);

    let site = Site::new(&config(KEPT).replace("SITE/queue.db", database.to_str().unwrap()), "");
    let mut command = mailsluice();
    command.arg("--config").arg(site.config()).args(["queue", "backup", "/tmp/not-to-be"]).uid(OWNER + 1);
    std::fs::set_permissions(site.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{}", told(&output));
    assert!(!Path::new("/tmp/not-to-be").exists());
}

/// While somebody reads one state of the queue, the log cannot begin anew. Nobody waits for that.
#[test]
fn a_long_copy_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(options(&folder)).unwrap();
    let database = folder.path().join("queue.db");
    let reader = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM message;").unwrap();
    let mut append = |number: u32| {
        let now = Timestamp::from_secs(1_800_000_000 + i64::from(number));
        store.begin().unwrap();
        store.append(MessageId(1), number, &[b'x'; 1 << 20]).unwrap();
        store.commit(now).unwrap();
    };
    let log = || database.with_extension("db-wal").metadata().unwrap().len();
    let begun = Instant::now();
    (1..=154).for_each(&mut append);
    // Each of the ninety commits beyond 64 MiB would wait for a second at least.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(log() > 64 << 20, "{}", log());
    drop(reader);
    let shrunk = (155..500).any(|number| {
        append(number);
        log() < 8 << 20
    });
    assert!(shrunk, "still {} octets", log());
}
