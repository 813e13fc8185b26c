use tokio::net::TcpSocket;

use super::*;
use crate::queue::sqlite::{Options, SqliteStore};
use crate::schedule::lane::{Cause, Event, Lane};
use crate::schedule::turn::Stance;
use crate::time::MonotonicClock;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

fn at(seconds: u64) -> Timestamp {
    Timestamp::EPOCH.after(Duration::from_secs(seconds))
}

fn cause(kind: CauseKind) -> Cause {
    Cause { kind, sentence: "no way".into(), reply: None }
}

/// A queue whose account cannot be reached, the next probe being half a minute away, and a watch that looks after it.
struct Scene {
    queue: Queue,
    turns: watch::Sender<Turn>,
    wake: Arc<Notify>,
    _folder: tempfile::TempDir,
    _config: watch::Sender<Arc<Config>>,
}

impl Scene {
    /// The scene and the host's port: bound, but not listening, so that it is nobody else's and refuses.
    async fn new() -> (Self, TcpSocket) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let options = Options { path, max_bytes: u64::MAX, min_free: 0, ephemeral: true };
        let store = SqliteStore::open(options).unwrap();
        let clock = Arc::new(MonotonicClock::starting_after(Timestamp::EPOCH));
        let queue = Queue::start(Box::new(store), Vec::new(), clock);
        let door = TcpSocket::new_v4().unwrap();
        door.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\n[[account]]\nname = \"sink\"\nprovider = \"smtp\"\nhost = \"127.0.0.1\"\n\
             port = {}\ntls = \"none\"\n",
            door.local_addr().unwrap().port()
        );
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let (_config, config) =
            watch::channel(Arc::new(Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"))));
        let (turns, seen) = watch::channel(Turn { at: queue.now(), lanes: Vec::new() });
        let wake = Arc::new(Notify::new());
        tokio::spawn(super::watch(queue.clone(), Arc::default(), config, seen, Arc::clone(&wake)));
        let scene = Self { queue, turns, wake, _folder: folder, _config };
        scene.fail(6).await;
        (scene, door)
    }

    /// The account's probe fails as often; what the next look of the dispatcher would tell.
    async fn fail(&self, times: usize) {
        let failing = move |store: &mut dyn QueueStore, now| {
            let mut lane = store.lane(&"sink".into())?;
            for _ in 0..times {
                lane.note(Event::Stopped(cause(CauseKind::Connect)), now, now);
            }
            store.set_lane(&"sink".into(), &lane)?;
            Ok(lane)
        };
        let lane = self.queue.write(Urgency::Work, failing).await.unwrap();
        self.turns.send_modify(|turn| turn.lanes = vec![Stance::of(&"sink".into(), &lane)]);
    }

    async fn is_due(&self) -> bool {
        let lane = self.queue.write(Urgency::Work, |store, _| store.lane(&"sink".into())).await.unwrap();
        lane.stop().unwrap().probe_at.unwrap() <= self.queue.now()
    }
}

#[tokio::test]
async fn mail_goes_as_soon_as_the_host_is_back() {
    let (scene, door) = Scene::new().await;
    // As long as nothing listens, the probe is not brought forward: a second knock has been in vain by then.
    tokio::time::sleep(KNOCKED_EVERY * 3 / 2).await;
    assert!(!scene.is_due().await);
    let listener = door.listen(16).unwrap();
    let (_knock, _) = tokio::time::timeout(LONG, listener.accept()).await.unwrap().unwrap();
    tokio::time::timeout(LONG, scene.wake.notified()).await.unwrap();
    assert!(scene.is_due().await);
}

#[test]
fn a_host_that_lets_us_connect_and_no_more_is_knocked_at_once_a_probe() {
    let mut door = Door::default();
    for probe in [at(10), at(20)] {
        assert!(door.is_worth_a_knock(probe));
        door.knocked_at = true;
        assert!(!door.is_worth_a_knock(probe), "one at a time");
        assert!(!door.opens(true, probe), "it was never shut");
        assert!(!door.is_worth_a_knock(probe));
    }
    assert!(!door.opens(false, at(30)) && door.is_worth_a_knock(at(30)));
    assert!(!door.opens(false, at(40)) && door.is_worth_a_knock(at(40)));
    assert!(door.opens(true, at(40)));
    assert!(!door.opens(true, at(50)), "it has been open since");
}

#[test]
fn only_hosts_that_cannot_be_reached_are_knocked_at() {
    let stance = |kind| {
        let mut lane = Lane::default();
        lane.note(Event::Stopped(cause(kind)), at(1), at(1));
        Stance::of(&"sink".into(), &lane)
    };
    let turn = |lanes| Turn { at: at(1), lanes };
    assert_eq!(unreached(&turn(vec![stance(CauseKind::Connect)])), [("sink".into(), at(2))]);
    for kind in [CauseKind::Login, CauseKind::LoginLater, CauseKind::Account, CauseKind::Suspicion, CauseKind::Quota] {
        assert_eq!(unreached(&turn(vec![stance(kind)])), []);
    }
    assert_eq!(unreached(&turn(vec![Stance::of(&"sink".into(), &Lane::default())])), []);
}
