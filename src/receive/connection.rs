//! Drives one session over one connection.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::shutdown::Shutdown;
use super::stream::Stream;
use super::tls::HandshakeFailed;
use crate::ids::MessageId;
use crate::intake::{Intake, Submission, Trace};
use crate::observe::{Observer, fate};
use crate::route::{Client, Origin};
use crate::session::{Action, Answer, Event, Handover, Policy, Question, Refused, Session, Stop};
use crate::smtp::Reply;
use crate::time::{Clock, Timestamp};

/// Octets read at a time.
const INPUT_OCTETS: usize = 16 * 1024;
/// Octets given to the session at a time: a short command can have a long reply, and the replies to these have to fit
/// in memory. Also the most that the session keeps while a question is open.
const PIECE_OCTETS: usize = 1024;
/// Octets of replies that are gathered before they are sent, where the client sends commands without end.
const OUTPUT_OCTETS: usize = 16 * 1024;
/// How long a client may take to read its replies.
const WRITE_LIMIT: Duration = Duration::from_secs(300);
/// How long we listen to a client that has been told goodbye.
const LINGER: Duration = Duration::from_secs(2);

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) origin: Origin,
}

/// Speaks with a client until either side ends it. Of a message that did not come whole nothing remains.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: Stream<S>,
    peer: Peer,
    policy: Policy,
    intake: &Intake,
    observer: &Observer,
    clock: &dyn Clock,
    shutdown: Shutdown,
) -> Ended {
    let hostname = policy.hostname.clone();
    let (session, banner) = Session::new(policy, clock.now());
    let mut connection = Connection {
        stream,
        session,
        hostname,
        peer,
        intake,
        observer,
        clock,
        arriving: None,
        output: Vec::new(),
        flow: Flow::On,
    };
    // A client that is gone is no news: after its 250 it may go as it likes, and before that it knows.
    let ended = connection.run(banner, shutdown).await.unwrap_or(Ended::Usual);
    connection.abandon().await;
    ended
}

/// Says one thing to a client that is not let in, and closes.
pub(super) async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, reply: &Reply) {
    if let Ok(Ok(())) = timeout(LINGER, stream.write_all(&reply.to_bytes())).await {
        part(&mut stream).await;
    }
}

/// Logs and counts a refusal.
pub(super) fn report(observer: &Observer, peer: &Peer, refused: &Refused) {
    observer.refused(&fate::Refused {
        client: &peer.client.name,
        origin: peer.origin,
        step: refused.step.as_str(),
        reply: &refused.reply,
        from: refused.from.as_ref(),
        recipient: refused.recipient.as_ref(),
    });
}

struct Connection<'a, S> {
    stream: Stream<S>,
    session: Session,
    hostname: String,
    peer: Peer,
    intake: &'a Intake,
    observer: &'a Observer,
    clock: &'a dyn Clock,
    /// The message of which chunks are stored.
    arriving: Option<MessageId>,
    /// Replies that are not sent yet.
    output: Vec<u8>,
    flow: Flow,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    /// When what is to be sent is sent, TLS begins.
    Securing,
    Closing,
}

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// By either side. What there was to tell has been told.
    Usual,
    /// At the TLS handshake.
    WithoutTls(HandshakeFailed),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    async fn run(&mut self, banner: Vec<Action>, mut shutdown: Shutdown) -> io::Result<Ended> {
        let mut input = vec![0; INPUT_OCTETS];
        let mut end = None;
        self.perform(banner).await?;
        loop {
            self.flush().await?;
            match self.flow {
                Flow::On => {}
                Flow::Securing => {
                    tokio::select! {
                        secured = self.secure() => if let Some(failed) = secured? { return Ok(failed) },
                        _ = shutdown.requested(), if end.is_none() => return Ok(Ended::Usual),
                    }
                    continue;
                }
                Flow::Closing => {
                    part(&mut self.stream).await;
                    return Ok(Ended::Usual);
                }
            }
            let wake = self.session.deadline().into_iter().chain(end).min().unwrap_or(Timestamp::FAR_FUTURE);
            let actions = tokio::select! {
                read = self.stream.read(&mut input) => match read? {
                    0 => return Ok(Ended::Usual),
                    read => {
                        self.feed(&input[..read]).await?;
                        continue;
                    }
                },
                grace = shutdown.requested(), if end.is_none() => {
                    end = Some(self.clock.now().after(grace));
                    self.session.stop(Stop::AfterContent)
                }
                () = sleep(wake.since(self.clock.now())) => match self.clock.now() {
                    now if end.is_some_and(|end| end <= now) => self.session.stop(Stop::Now),
                    now => self.session.timeout(now),
                },
            };
            self.perform(actions).await?;
        }
    }

    /// Shakes hands, and tells the session.
    async fn secure(&mut self) -> io::Result<Option<Ended>> {
        if let Err(failed) = self.stream.secure().await {
            part(&mut self.stream).await;
            return Ok(Some(Ended::WithoutTls(failed)));
        }
        self.flow = Flow::On;
        let actions = self.session.secured(self.clock.now());
        self.perform(actions).await?;
        Ok(None)
    }

    async fn feed(&mut self, input: &[u8]) -> io::Result<()> {
        for piece in input.chunks(PIECE_OCTETS) {
            let actions = self.session.handle(piece, self.clock.now());
            self.perform(actions).await?;
            // What comes behind a goodbye is for nobody, and what comes behind STARTTLS may be an attacker's (CVE-2011-0411).
            if self.flow != Flow::On {
                break;
            }
            if self.output.len() >= OUTPUT_OCTETS {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn perform(&mut self, actions: Vec<Action>) -> io::Result<()> {
        let mut actions = actions.into_iter();
        while let Some(action) = actions.next() {
            match action {
                Action::Send(bytes) => self.output.extend_from_slice(&bytes),
                Action::Report(Event::Refused(refused)) => report(self.observer, &self.peer, &refused),
                Action::Report(Event::Quirk(_) | Event::Unterminated { .. } | Event::Probe) => {}
                Action::StartTls => self.flow = Flow::Securing,
                Action::Abandon => self.abandon().await,
                Action::Close => self.flow = Flow::Closing,
                Action::Ask(question) => {
                    let answer = self.answer(question).await;
                    actions = self.session.answer(answer, self.clock.now()).into_iter();
                }
            }
        }
        Ok(())
    }

    async fn answer(&mut self, question: Question) -> Answer {
        let id = self.arriving.unwrap_or_else(|| self.intake.next_id());
        match question {
            Question::Store { seq, bytes } => {
                self.arriving = Some(id);
                match self.intake.append(id, seq, bytes).await {
                    Ok(()) => Answer::Stored,
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
            Question::Enqueue(handover) => match self.intake.accept(self.submission(id, handover)).await {
                Ok(id) => {
                    self.arriving = None;
                    Answer::Enqueued(id)
                }
                Err(refusal) => Answer::Refused(refusal),
            },
            Question::Authenticate(_) => Answer::Denied,
        }
    }

    fn submission(&self, id: MessageId, handover: Handover) -> Submission {
        let Handover { helo, protocol, user: _, envelope, head, chunks, size } = handover;
        let Peer { client, origin } = self.peer.clone();
        let trace = Trace { origin, hostname: self.hostname.clone(), helo, protocol };
        Submission { id, client: client.name, priority: client.priority, trace, envelope, head, chunks, size }
    }

    async fn abandon(&mut self) {
        if let Some(id) = self.arriving.take() {
            self.intake.abandon(id).await;
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        let output = std::mem::take(&mut self.output);
        timeout(WRITE_LIMIT, async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        })
        .await?
    }
}

/// Closes our side, then reads what is still coming: a socket closed over unread input is reset, and takes the last reply
/// with it.
pub(super) async fn part<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let _ = timeout(LINGER, async {
        stream.shutdown().await?;
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::DuplexStream;
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;
    use crate::config::{Config, QueueConfig};
    use crate::queue::record::{ListRequest, Listed};
    use crate::queue::sqlite::{Options, SqliteStore};
    use crate::queue::{Queue, QueueReader};
    use crate::receive::Stopper;
    use crate::route::{self, Priority};

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
            let config = Config {
                queue: QueueConfig::default(),
                listeners: vec![],
                clients: vec![],
                accounts: vec![],
                alarms: Default::default(),
                reports: Default::default(),
            };
            let (_, config) = tokio::sync::watch::channel(Arc::new(config));
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
            let (stream, server) = tokio::io::duplex(1 << 20);
            let clock = Arc::new(RuntimeClock(Instant::now()));
            let ((kept, intake), (stopper, shutdown)) = (Kept::behind_an_intake(clock.clone()), Stopper::new());
            let client = route::Client { priority: Priority::Low, ..route::Client::named("camera".into()) };
            let peer = Peer { client, origin: Origin::Ip([10, 0, 0, 5].into()) };
            let policy = Policy { max_message_size: 1 << 22, max_recipients: 10, ..Policy::new("relay.example") };
            let task = tokio::spawn(async move {
                let server = Stream::plain(server, None, policy.timeout);
                converse(server, peer, policy, &intake, &Observer::default(), clock.as_ref(), shutdown).await;
            });
            let mut client = Self { stream, kept, stopper, task };
            assert_eq!(client.hear().await, "220 relay.example ESMTP ready\r\n");
            client
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
}
