//! A million waiting messages cost disk, not memory.

use std::time::{Duration, Instant};

use mailsluice::ids::MessageId;
use mailsluice::queue::QueueStore;
use mailsluice::queue::record::NewMessage;
use mailsluice::queue::sqlite::{Options, SqliteStore};
use mailsluice::route::{self, Priority};
use mailsluice::schedule::lane::Lane;
use mailsluice::smtp::{Envelope, ReversePath};
use mailsluice::time::wall_clock;

use crate::support::client::{Numbered, RECIPIENT, SENDER};
use crate::support::scene::{Scene, Script};

const MESSAGES: u32 = 1_000_000;
/// Resident memory of the daemon, in KiB.
const MEMORY: u64 = 64 * 1024;
const CLIENTS: u32 = 20;

#[test]
#[ignore = "takes minutes and 2 GB of disk"]
fn a_million_waiting_messages_cost_disk_and_not_memory() {
    let scene = Scene::set(Script { queue: "max_bytes = \"8GiB\"", ..Script::default() });
    let begun = Instant::now();
    fill(&scene);
    println!("filled in {:?}, {} MiB on disk", begun.elapsed(), on_disk(&scene) >> 20);

    let begun = Instant::now();
    let daemon = scene.serve();
    let started = begun.elapsed();
    let first = daemon.resident();
    let waiting = daemon.wait_for("start", |line| line["event"] == "started")["waiting"].clone();
    let begun = Instant::now();
    let list = scene.site.json(&["queue", "list", "--json", "--limit", "1000"]);
    let listed = begun.elapsed();
    let stats = scene.site.json(&["queue", "stats", "--json"]);

    // Mail still comes in beside all that, and with the lane open it flows.
    scene.offer(MESSAGES..MESSAGES + 100);
    scene.command(&["account", "resume", "m365"]);
    let begun = Instant::now();
    scene.wait_for(1000);
    let sent = begun.elapsed();
    let last = daemon.resident();
    println!(
        "started in {started:?}, 1000 listed in {listed:?}, 1000 sent in {sent:?}; resident {first} KiB, then {last} KiB"
    );
    assert_eq!(waiting, MESSAGES);
    assert_eq!(stats["queue"]["ready"], MESSAGES);
    assert_eq!(list.as_array().unwrap().len(), 1000);
    assert!(started < Duration::from_secs(10), "{started:?}");
    assert!(listed < Duration::from_secs(5), "{listed:?}");
    assert!(first < MEMORY && last < MEMORY, "{first} KiB, then {last} KiB");
    assert_eq!(daemon.stop(), 0);
}

/// Writes the messages straight into the queue, with the account paused.
fn fill(scene: &Scene) {
    let path = scene.site.path().join("queue.db");
    let mut store = SqliteStore::open(Options { path, max_bytes: u64::MAX, min_free: 0, ephemeral: true }).unwrap();
    let envelope = Envelope {
        reverse_path: ReversePath::Address(SENDER.parse().unwrap()),
        recipients: vec![RECIPIENT.parse().unwrap()],
    };
    let mut lane = Lane::default();
    lane.pause(wall_clock());
    store.begin().unwrap();
    store.set_lane(&"m365".into(), &lane).unwrap();
    store.commit(wall_clock()).unwrap();
    for batch in 0..MESSAGES / BATCH {
        store.begin().unwrap();
        for number in batch * BATCH..(batch + 1) * BATCH {
            let head = Numbered(number).content().into_bytes();
            let message = NewMessage {
                id: MessageId(i64::from(number) + 1),
                client: format!("client-{}", number % CLIENTS).into(),
                address: "127.0.0.1".into(),
                priority: Priority::Normal,
                envelope: envelope.clone(),
                route: route::DEFAULT.into(),
                header_id: format!("<{number}@client.example>"),
                received: wall_clock(),
                size: head.len() as u64,
                head,
                chunks: 0,
            };
            store.enqueue(&message, wall_clock()).unwrap();
        }
        store.commit(wall_clock()).unwrap();
    }
}

fn on_disk(scene: &Scene) -> u64 {
    let files = std::fs::read_dir(scene.site.path()).unwrap().map(Result::unwrap);
    files.map(|file| file.metadata().unwrap().len()).sum()
}

const BATCH: u32 = 10_000;
