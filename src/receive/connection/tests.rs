use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::provider::{Cap, Counted};
use crate::queue::record::{ListRequest, Listed};
use crate::queue::sqlite::{Options, SqliteStore};
use crate::queue::{Queue, QueueReader};
use crate::receive::Stopper;
use crate::route::{self, Priority};
use crate::session::AuthRule;

/// Shows the time of the paused runtime.
struct RuntimeClock(Instant);

impl Clock for RuntimeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(1_795_362_588).after(self.0.elapsed())
    }
}

/// What the intake has stored.
struct Kept {
    queue: Queue,
    _folder: tempfile::TempDir,
}

impl Kept {
    fn behind_an_intake(clock: Arc<dyn Clock>) -> (Self, Intake) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let options = Options { path, max_bytes: 1 << 30, min_free: 0, ephemeral: true };
        let store = SqliteStore::open(options).unwrap();
        let reader = store.reader().unwrap();
        let queue = Queue::start(Box::new(store), vec![Box::new(reader)], clock);
        let (_, config) = tokio::sync::watch::channel(Arc::default());
        let intake = Intake::new(queue.clone(), Arc::default(), config, Arc::default(), MessageId(0));
        (Self { queue, _folder: folder }, intake)
    }

    async fn read<T: Send + 'static>(&self, read: fn(&mut dyn QueueReader, Timestamp) -> T) -> T {
        self.queue.read(move |reader, now| Ok(read(reader, now))).await.unwrap()
    }

    async fn live_bytes(&self) -> u64 {
        self.read(|reader, now| reader.stats(now).unwrap().live_bytes).await
    }

    /// The messages with their contents.
    async fn messages(&self) -> Vec<(Listed, Vec<u8>)> {
        self.read(|reader, now| {
            let list = reader.list(&ListRequest { after: None, limit: 100, fate: None }, now).unwrap();
            list.into_iter().map(|one| (one.clone(), reader.content(one.queue_id).unwrap().unwrap())).collect()
        })
        .await
    }
}

/// A client's end of a conversation.
struct Client {
    stream: DuplexStream,
    kept: Kept,
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Client {
    async fn connect() -> Self {
        let client = route::Client { priority: Priority::Low, ..route::Client::named("camera".into()) };
        let mut client = Self::begin_as(client);
        assert_eq!(client.hear().await, "220 relay.example ESMTP ready\r\n");
        client
    }

    /// A connection of this client, which was not greeted yet.
    fn begin_as(client: route::Client) -> Self {
        let clock = Arc::new(RuntimeClock(Instant::now()));
        let commons = Commons::new(clock.clone());
        commons.know(std::slice::from_ref(&client));
        Self::begin_with(client, clock, commons)
    }

    fn begin_with(client: route::Client, clock: Arc<RuntimeClock>, commons: Arc<Commons>) -> Self {
        Self::begin_under(AuthRule::None, None, client, clock, commons)
    }

    fn begin_under(
        auth: AuthRule,
        users: Option<Arc<Users>>,
        client: route::Client,
        clock: Arc<RuntimeClock>,
        commons: Arc<Commons>,
    ) -> Self {
        let (stream, server) = tokio::io::duplex(1 << 20);
        let ((kept, intake), (stopper, shutdown)) = (Kept::behind_an_intake(clock.clone()), Stopper::new());
        let peer = Peer { client, origin: Origin::Ip([10, 0, 0, 5].into()) };
        let policy = Policy { max_message_size: 1 << 22, max_recipients: 10, auth, ..Policy::new("relay.example") };
        let task = tokio::spawn(async move {
            let observer = Observer::default();
            let (intake, clock, commons) = (&intake, clock.as_ref(), commons.as_ref());
            let services = Services { intake, observer: &observer, clock, commons, users: users.as_ref() };
            let server = Stream::plain(server, None, policy.timeout);
            converse(server, Opening::InOrder, peer, policy, services, shutdown).await;
        });
        Self { stream, kept, stopper, task }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// What came in one write.
    async fn hear(&mut self) -> String {
        let mut heard = vec![0; 1 << 16];
        let read = self.stream.read(&mut heard).await.unwrap();
        String::from_utf8_lossy(&heard[..read]).into_owned()
    }

    /// Sends a whole message; returns what is heard of it.
    async fn send(&mut self) -> String {
        self.begin().await;
        self.say(b"Subject: x\r\n\r\nx\r\n.\r\n").await;
        self.hear().await
    }

    async fn begin(&mut self) {
        self.say(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n").await;
        let heard = self.hear().await;
        assert!(heard.starts_with("250 ") && heard.contains("\r\n250 ") && heard.contains("\r\n354 "), "{heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn pipelined_commands_are_answered_in_one_write_and_the_message_is_handed_over() {
    let mut client = Client::connect().await;
    client.begin().await;
    client.say(b"Subject: x\r\n\r\n..y\r\n.\r\nQUIT\r\n").await;
    let heard = client.hear().await;
    assert!(heard.starts_with("250 2.0.0 Ok: queued as ") && heard.contains("\r\n221 "), "{heard}");
    assert_eq!(client.hear().await, "");
    drop(client.stream);
    client.task.await.unwrap();
    let (listed, content) = &client.kept.messages().await[0];
    let text = String::from_utf8_lossy(content);
    assert!(text.contains("by relay.example (Mailsluice)") && text.ends_with("\r\n\r\n.y\r\n"), "{text}");
    assert_eq!((listed.client.as_str(), listed.priority), ("camera", Priority::Low));
    assert!(heard.contains(&listed.queue_id.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drops_in_the_middle_of_a_long_message_leaves_nothing() {
    let mut client = Client::connect().await;
    client.begin().await;
    client.say(b"Subject: x\r\n\r\n").await;
    client.say(&b"0123456789abcdef\r\n".repeat(20_000)).await;
    while client.kept.live_bytes().await == 0 {}
    drop(client.stream);
    client.task.await.unwrap();
    assert_eq!((client.kept.live_bytes().await, client.kept.messages().await), (0, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_long_message_comes_out_whole() {
    let mut client = Client::connect().await;
    client.begin().await;
    let body = b"0123456789abcdef\r\n".repeat(60_000);
    client.say(b"Subject: x\r\n\r\n").await;
    client.say(&body).await;
    client.say(b".\r\n").await;
    assert!(client.hear().await.starts_with("250 2.0.0 "));
    let (listed, content) = &client.kept.messages().await[0];
    let (header, kept) = content.split_at(content.len() - body.len());
    assert!(kept == body && header.ends_with(b"\r\n\r\n"));
    assert_eq!(listed.size, content.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_is_told_and_let_go() {
    let mut client = Client::connect().await;
    assert!(client.hear().await.starts_with("421 4.4.2 "));
    client.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn content_may_end_within_the_grace_of_a_stop() {
    let mut client = Client::connect().await;
    client.begin().await;
    client.stopper.stop(Duration::from_secs(30));
    client.say(b"x\r\n").await;
    tokio::time::advance(Duration::from_secs(29)).await;
    client.say(b".\r\n").await;
    let heard = client.hear().await;
    assert!(heard.starts_with("250 2.0.0 ") && heard.contains("\r\n421 4.3.2 "), "{heard}");
}

#[tokio::test(start_paused = true)]
async fn who_has_begun_no_message_is_let_go_soon_after_a_stop() {
    for begun in [&b""[..], b"EHLO x\r\n", b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRSET\r\n"] {
        let mut client = Client::connect().await;
        client.say(begun).await;
        tokio::task::yield_now().await;
        client.stopper.stop(Duration::from_secs(30));
        let before = Instant::now();
        let mut heard = String::new();
        client.stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("421 4.3.2 "), "{heard}");
        assert!((2..4).contains(&before.elapsed().as_secs()), "{:?}", before.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_may_end_within_the_grace_of_a_stop_and_no_later() {
    for (late, codes) in [(false, &["354 ", "250 ", "421 "][..]), (true, &["421 "])] {
        let mut client = Client::connect().await;
        client.say(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\n").await;
        assert_eq!(client.hear().await.matches("250 ").count(), 2);
        client.stopper.stop(Duration::from_secs(30));
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_secs(if late { 31 } else { 25 })).await;
        if !late {
            client.say(b"DATA\r\nx\r\n.\r\n").await;
        }
        let mut heard = String::new();
        client.stream.read_to_string(&mut heard).await.unwrap();
        let heard: Vec<&str> = heard.lines().filter_map(|line| line.get(..4)).collect();
        assert!(heard.ends_with(codes), "{heard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn content_that_goes_on_beyond_the_grace_is_cut_off() {
    let mut client = Client::connect().await;
    client.begin().await;
    client.stopper.stop(Duration::from_secs(30));
    let before = Instant::now();
    assert!(client.hear().await.starts_with("421 4.3.2 "));
    assert!((30..32).contains(&before.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_commands_is_answered_command_by_command() {
    let client = Client::connect().await;
    let flood = tokio::spawn(async move {
        let (mut reader, mut writer) = tokio::io::split(client.stream);
        let flood = async {
            writer.write_all(&b"RSET\r\n".repeat(10_000)).await.unwrap();
            writer.write_all(b"QUIT\r\n").await.unwrap();
        };
        let mut heard = String::new();
        let (_, read) = tokio::join!(flood, reader.read_to_string(&mut heard));
        read.unwrap();
        heard
    });
    let heard = flood.await.unwrap();
    assert_eq!(heard.matches("250 2.0.0 Ok\r\n").count(), 10_000);
    assert!(heard.contains("221 2.0.0 "));
}

/// A client that may send so many messages a minute.
fn rated(count: u32) -> route::Client {
    let rate = Cap { counted: Counted::Messages, count, window: Duration::from_secs(60) };
    route::Client { rate: Some(rate), ..route::Client::named("camera".into()) }
}

#[tokio::test(start_paused = true)]
async fn who_sends_more_than_its_rate_is_read_later_and_never_refused() {
    let mut client = Client::begin_as(rated(2));
    client.hear().await;
    let begun = Instant::now();
    let mut taken = Vec::new();
    for _ in 0..5 {
        assert!(client.send().await.starts_with("250 2.0.0 Ok: queued as "));
        taken.push(begun.elapsed().as_secs());
    }
    assert_eq!(taken, [0, 0, 30, 60, 90]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_in_one_piece_is_slowed_as_well() {
    let mut client = Client::begin_as(rated(2));
    client.hear().await;
    let message =
        [&b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"[..], &[b'x'; 1000], b"\r\n.\r\n"];
    client.say(&message.concat().repeat(5)).await;
    let begun = Instant::now();
    let mut taken = Vec::new();
    while taken.len() < 5 {
        let heard = client.hear().await;
        taken.extend(std::iter::repeat_n(begun.elapsed().as_secs(), heard.matches("queued as").count()));
    }
    assert_eq!(taken, [0, 0, 30, 60, 90]);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_pause_does_not_run_against_the_client() {
    let rate = Cap { counted: Counted::Messages, count: 1, window: Duration::from_secs(7200) };
    let mut client = Client::begin_as(route::Client { rate: Some(rate), ..rated(1) });
    client.hear().await;
    let begun = Instant::now();
    client.send().await;
    client.say(b"NOOP\r\n").await;
    assert_eq!(client.hear().await, "250 2.0.0 Ok\r\n");
    assert_eq!(begun.elapsed().as_secs(), 7200);
    assert!(client.hear().await.starts_with("421 4.4.2 "), "then it runs as before");
    assert!((7200 + 600..7200 + 602).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_of_a_client_that_owes_is_greeted_and_read_later() {
    let (clock, camera) = (Arc::new(RuntimeClock(Instant::now())), rated(1));
    let commons = Commons::new(clock.clone());
    commons.know(std::slice::from_ref(&camera));
    let connect = || Client::begin_with(camera.clone(), clock.clone(), commons.clone());
    let mut first = connect();
    first.hear().await;
    first.send().await;
    // While it is there, the runtime's time would run on to its timers whenever the queue is waited for.
    drop(first.stream);
    first.task.await.unwrap();
    let begun = Instant::now();
    let mut second = connect();
    assert!(second.hear().await.starts_with("220 "));
    second.say(b"NOOP\r\n").await;
    second.hear().await;
    assert_eq!(begun.elapsed().as_secs(), 60);
    // What is changed counts at once.
    second.send().await;
    second.say(b"NOOP\r\n").await;
    tokio::task::yield_now().await;
    commons.know(&[rated(100)]);
    second.hear().await;
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_wants_to_go_or_is_gone_need_not_wait() {
    for (said, parting) in [("quit\r\n", "221 "), ("MAIL FROM:<a@example.com>\r\n", ""), ("", "")] {
        let mut client = Client::begin_as(rated(1));
        client.hear().await;
        let begun = Instant::now();
        client.send().await;
        client.say(said.as_bytes()).await;
        tokio::task::yield_now().await;
        if !parting.is_empty() {
            assert!(client.hear().await.starts_with(parting));
        }
        drop(client.stream);
        client.task.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_client_that_is_gone_is_taken_in_its_turn() {
    let mut client = Client::begin_as(rated(1));
    client.hear().await;
    let begun = Instant::now();
    client.send().await;
    client.say(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n.\r\n").await;
    drop(client.stream);
    client.task.await.unwrap();
    assert_eq!((client.kept.messages().await.len(), begun.elapsed().as_secs()), (2, 60));
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_pause() {
    let mut client = Client::begin_as(rated(1));
    client.hear().await;
    let begun = Instant::now();
    client.send().await;
    client.stopper.stop(Duration::from_secs(30));
    assert!(client.hear().await.starts_with("421 4.3.2 "));
    client.task.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_the_answer_to_a_wrong_password() {
    let clock = Arc::new(RuntimeClock(Instant::now()));
    let (commons, camera) = (Commons::new(clock.clone()), route::Client::named("camera".into()));
    let auth = AuthRule::Required { in_plain_text: true };
    let mut client = Client::begin_under(auth, Some(Arc::default()), camera, clock, commons);
    client.hear().await;
    let begun = Instant::now();
    client.say(b"AUTH PLAIN AHUAcA==\r\n").await;
    tokio::task::yield_now().await;
    client.stopper.stop(Duration::from_secs(30));
    let mut heard = String::new();
    client.stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("454 4.7.0 ") || heard.starts_with("535 "), "{heard}");
    assert!(heard.contains("\r\n421 4.3.2 "), "{heard}");
    // As any client that has handed in nothing, and may still come with another one.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
