use super::*;
use crate::ids::MessageId;
use crate::queue::record::NewMessage;
use crate::queue::sqlite::{Options, SqliteStore};
use crate::route::{self, Priority};
use crate::smtp::{Envelope, ReversePath};
use crate::time::{MonotonicClock, Timestamp};

fn message(id: i64) -> NewMessage {
    let head = b"Subject: x\r\n\r\nGood day.\r\n".to_vec();
    NewMessage {
        id: MessageId(id),
        client: "shop".into(),
        address: "192.0.2.1".into(),
        priority: Priority::Normal,
        envelope: Envelope { reverse_path: ReversePath::Null, recipients: vec!["a@example.org".parse().unwrap()] },
        route: route::DEFAULT.into(),
        header_id: format!("{id}@example.com"),
        received: Timestamp::EPOCH,
        size: head.len() as u64,
        head,
        chunks: 0,
    }
}

/// A dispatcher over 60 messages, which go into a folder, 20 at a time.
async fn dispatcher(folder: &std::path::Path) -> Dispatcher {
    std::fs::create_dir(folder.join("delivered")).unwrap();
    let path = folder.join("queue.db");
    let options = Options { path: path.clone(), max_bytes: u64::MAX, min_free: 0, ephemeral: true };
    let store = SqliteStore::open(options).unwrap();
    let clock = Arc::new(MonotonicClock::starting_after(Timestamp::EPOCH));
    let readers = vec![Box::new(store.reader().unwrap()) as Box<dyn crate::queue::QueueReader>];
    let queue = Queue::start(Box::new(store), readers, Arc::clone(&clock) as Arc<dyn crate::time::Clock>);
    let enqueue =
        |store: &mut dyn crate::queue::QueueStore, now| (1..=60).try_for_each(|id| store.enqueue(&message(id), now));
    queue.write(Urgency::Intake, enqueue).await.unwrap();
    let text = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[[account]]\nname = \"files\"\nprovider = \"directory\"\npath = \"{}\"\n\
         caps.connections = 20\n",
        folder.join("delivered").display()
    );
    let file = folder.join("config.toml");
    std::fs::write(&file, text).unwrap();
    let config = Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    let (_, config) = watch::channel(Arc::new(config));
    let observer = Arc::new(Observer::default());
    let logins = Arc::new(Logins::beside(&path, clock, Arc::clone(&observer)));
    Dispatcher::new(queue, observer, config, Arc::default(), logins)
}

fn delivered(folder: &std::path::Path) -> usize {
    let files = std::fs::read_dir(folder.join("delivered")).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|end| end == "eml")).count()
}

#[tokio::test]
async fn what_comes_next_is_claimed_with_the_settlement_and_needs_no_look() {
    let folder = tempfile::tempdir().unwrap();
    let mut dispatcher = dispatcher(folder.path()).await;
    dispatcher.look().await.unwrap();
    assert_eq!(dispatcher.workers.len(), 20);
    while let Some(ended) = dispatcher.workers.join_next_with_id().await {
        dispatcher.see_off(ended);
        let planned = dispatcher.planned.recv().await.unwrap();
        dispatcher.serve(planned);
        assert!(dispatcher.workers.len() <= 20);
    }
    assert_eq!((delivered(folder.path()), dispatcher.claims.len()), (60, 0));
}

#[tokio::test]
async fn nothing_is_claimed_any_more_once_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let mut dispatcher = dispatcher(folder.path()).await;
    dispatcher.look().await.unwrap();
    dispatcher.shared.planner.close();
    while let Some(ended) = dispatcher.workers.join_next_with_id().await {
        dispatcher.see_off(ended);
    }
    assert!(dispatcher.planned.try_recv().is_err());
    assert_eq!(delivered(folder.path()), 20);
    dispatcher.look().await.unwrap();
    assert_eq!(dispatcher.workers.len(), 0);
}

#[tokio::test]
async fn a_round_that_is_heard_of_late_tells_nothing_of_how_things_stand() {
    let folder = tempfile::tempdir().unwrap();
    let mut dispatcher = dispatcher(folder.path()).await;
    let round = async |dispatcher: &Dispatcher| {
        let shared = Arc::clone(&dispatcher.shared);
        let work = move |store: &mut dyn QueueStore, now| shared.planner.round(store, now);
        dispatcher.shared.queue.write(Urgency::Work, work).await.unwrap().unwrap()
    };
    let early = round(&dispatcher).await;
    let pause = |store: &mut dyn QueueStore, now| {
        let mut lane = store.lane(&"files".into())?;
        lane.pause(now);
        store.set_lane(&"files".into(), &lane)
    };
    dispatcher.shared.queue.write(Urgency::Work, pause).await.unwrap();
    let late = round(&dispatcher).await;
    dispatcher.serve(late);
    dispatcher.serve(early);
    assert_eq!(dispatcher.turns().borrow().lanes[0].standing, "paused");
    assert_eq!(dispatcher.workers.len(), 20, "what it has claimed is sent all the same");
}
