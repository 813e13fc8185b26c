//! 20,000 messages from 50 sessions while the relay is killed three times: nothing acknowledged is lost.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mailsluice::sandbox::{Delivery, TlsMode};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::client::{Numbered, Session};
use crate::support::scene::{Scene, Script};

const MESSAGES: usize = 20_000;
const SESSIONS: usize = 50;
const CONNECTIONS: usize = 20;
const KILLS: usize = 3;

#[test]
fn nothing_acknowledged_is_lost_in_three_crashes() {
    let seed = std::env::var("MAILSLUICE_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("MAILSLUICE_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut moments: Vec<usize> = (0..KILLS).map(|_| random.usize(1..MESSAGES)).collect();
    moments.sort_unstable();

    let caps = format!("messages = [], recipients = [], connections = {CONNECTIONS}");
    let mut script = Script { caps: &caps, account: "tls = \"none\"", ..Script::default() };
    script.sandbox.profile.tls = TlsMode::None; // which costs a debug build more than all the rest
    let scene = Scene::set(script);
    let mut daemon = scene.serve();
    let begun = Instant::now();
    let fleet = scene.runtime.block_on(Fleet::start(scene.relay));
    let mut uncertain = 0;
    for moment in &moments {
        scene.runtime.block_on(fleet.wait_for(*moment));
        daemon.kill();
        daemon = scene.serve();
        uncertain += daemon.events("uncertain").len();
    }
    let acknowledged = scene.runtime.block_on(fleet.ended());
    let accepted_in = begun.elapsed();
    let deliveries = scene.runtime.block_on(all_delivered(&scene, &acknowledged));
    let delivered_in = begun.elapsed();
    assert_eq!(daemon.stop(), 0);

    let mut copies: HashMap<Numbered, Vec<&Delivery>> = HashMap::new();
    for delivery in &deliveries {
        copies.entry(Numbered::intact(delivery)).or_default().push(delivery);
    }
    let duplicates = deliveries.len() - copies.len();
    println!(
        "killed after {moments:?} acknowledgements; {} acknowledged, {} delivered, {duplicates} of them again \
         ({uncertain} were under way); {:.0} accepted/s, {:.0} delivered/s",
        acknowledged.len(),
        deliveries.len(),
        acknowledged.len() as f64 / accepted_in.as_secs_f64(),
        deliveries.len() as f64 / delivered_in.as_secs_f64(),
    );
    assert!(acknowledged.iter().all(|number| copies.contains_key(number)));
    assert!(copies.len() <= acknowledged.len() + KILLS * SESSIONS, "no more than was offered");
    assert!(duplicates <= uncertain, "{duplicates} came again, but only {uncertain} were in flight");
    assert!(uncertain <= KILLS * CONNECTIONS, "{uncertain} were in flight");
    for (number, copies) in &copies {
        assert!(copies[0].message_id.is_some());
        assert!(copies.iter().all(|copy| copy.message_id == copies[0].message_id), "{number:?} has two Message-IDs");
    }
}

/// Waits until each of these was delivered, and returns all deliveries.
async fn all_delivered(scene: &Scene, acknowledged: &HashSet<Numbered>) -> Vec<Arc<Delivery>> {
    let mut deliveries = scene.sandbox.deliveries();
    loop {
        let arrived: HashSet<Numbered> = deliveries.iter().map(|delivery| Numbered::intact(delivery)).collect();
        let missing = acknowledged.difference(&arrived).count();
        if missing == 0 {
            return deliveries;
        }
        // So many must come at least before another look is worth it; no more than a slow disk can have settled meanwhile.
        let waiting = scene.sandbox.wait_for(deliveries.len() + missing.min(MESSAGES / 4));
        deliveries = tokio::time::timeout(Duration::from_secs(120), waiting)
            .await
            .unwrap_or_else(|_| panic!("{missing} acknowledged messages were lost"));
    }
}

/// Sessions that send one message after the other until enough were acknowledged.
struct Fleet {
    sessions: JoinSet<()>,
    progress: watch::Receiver<usize>,
    acknowledged: Arc<Mutex<HashSet<Numbered>>>,
}

impl Fleet {
    async fn start(relay: SocketAddr) -> Self {
        let (done, progress) = watch::channel(0);
        let (done, acknowledged, next) = (Arc::new(done), Arc::default(), Arc::new(AtomicU32::new(0)));
        let mut sessions = JoinSet::new();
        for _ in 0..SESSIONS {
            sessions.spawn(client(relay, Arc::clone(&next), Arc::clone(&acknowledged), Arc::clone(&done)));
        }
        Self { sessions, progress, acknowledged }
    }

    async fn wait_for(&self, acknowledged: usize) {
        self.progress.clone().wait_for(|progress| *progress >= acknowledged).await.unwrap();
    }

    async fn ended(mut self) -> HashSet<Numbered> {
        while let Some(session) = self.sessions.join_next().await {
            session.unwrap();
        }
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

/// Where the relay cannot be reached the same message is tried again, as nothing was said of it. Where the session breaks
/// later nobody knows what became of the message, and the next one follows.
async fn client(
    relay: SocketAddr,
    next: Arc<AtomicU32>,
    acknowledged: Arc<Mutex<HashSet<Numbered>>>,
    progress: Arc<watch::Sender<usize>>,
) {
    let mut session = None;
    while *progress.borrow() < MESSAGES {
        let mut open = match session.take() {
            Some(open) => open,
            None => match Session::open(relay, Ipv4Addr::LOCALHOST).await {
                Ok(open) => open,
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let message = Numbered(next.fetch_add(1, Ordering::Relaxed));
        let Ok(reply) = open.send(&message).await else { continue };
        assert!(reply.starts_with("250"), "{reply}");
        acknowledged.lock().unwrap().insert(message);
        progress.send_modify(|acknowledged| *acknowledged += 1);
        session = Some(open);
    }
}
