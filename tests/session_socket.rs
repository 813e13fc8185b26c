//! The scripts of `tests/data/session/` over a real socket: the replies are the same, and what is stored is what the script
//! says, apart from what the intake adds.
//!
//! Passed over are scripts in which time passes, the daemon stops, or the queue refuses, and those of a strict listener to
//! whom a client speaks too early, which it cannot be sure to do: they need a session of which the test is the driver.

use std::net::SocketAddr;
use std::slice::Chunks;
use std::sync::Arc;
use std::time::Duration;

use mailsluice::config::secret::Secret;
use mailsluice::config::users::{self, Users};
use mailsluice::config::{Auth, ListenAddress, ListenerConfig, OwnCertificate, ServerTls, ServerTlsMode};
use mailsluice::ids::MessageId;
use mailsluice::message::header::{Field, HeaderBlock};
use mailsluice::queue::record::{Listed, Shown};
use mailsluice::receive::{Commons, Inherited, Listener, Settings, Stopper};
use mailsluice::route::Client;
use mailsluice::session::{Answer, AuthRule, Manners, Policy, Tls};
use mailsluice::time::{MonotonicClock, Timestamp};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::session_scripts::script::{self, Directive, Script, Step, matches};
use crate::support::TempQueue;
use crate::support::tls::{make_certificate, shake};

#[tokio::test(flavor = "multi_thread")]
async fn every_script_goes_as_written_over_a_socket() {
    let (site, room) = (Arc::new(Site::new()), Arc::new(Semaphore::new(AT_ONCE)));
    let (passed_over, played): (Vec<Script>, Vec<Script>) = script::all().into_iter().partition(needs_its_own_driver);
    assert!(played.len() >= 60, "{} scripts are played", played.len());
    let passed_over = passed_over.into_iter().map(|script| script.name).filter(|name| name.starts_with("quirk_"));
    let passed_over: Vec<String> = passed_over.collect();
    assert_eq!(passed_over, ["quirk_24_stays_for_ever", "quirk_26_does_not_retry", "quirk_27_slow_scanner"]);

    let mut playing = JoinSet::new();
    for script in played {
        let (site, room) = (site.clone(), room.clone());
        playing.spawn(async move {
            let _place = room.acquire().await.unwrap();
            let relay = Relay::start(&script.policy, &site).await;
            play(&script, &relay, Pieces::Whole, &site).await;
            if goes_in_small_pieces(&script) {
                play(&script, &relay, Pieces::Small, &site).await;
            }
            relay.stopper.stop(Duration::ZERO);
        });
    }
    while let Some(done) = playing.join_next().await {
        done.unwrap();
    }
}

/// What comes behind STARTTLS is thrown away as far as it has come, so that pieces matter; and a wrong password is answered
/// later each time.
fn goes_in_small_pieces(script: &Script) -> bool {
    let wrong = |step: &Step| step.directive == Directive::Answer(Some(Answer::Denied));
    script.policy.tls != Tls::Offered && !script.steps.iter().any(wrong)
}

fn needs_its_own_driver(script: &Script) -> bool {
    let early = matches!(script.steps.first(), Some(Step { directive: Directive::Send(_), .. }));
    let refused = |directive: &Directive| matches!(directive, Directive::Answer(Some(Answer::Refused(_))));
    let needs =
        |step: &Step| matches!(step.directive, Directive::Pass(_) | Directive::Stop) || refused(&step.directive);
    early && script.policy.manners == Manners::Strict || script.steps.iter().any(needs)
}

/// What belongs to all relays of this test: a certificate, and users of whom `user` has the password `secret`.
struct Site {
    folder: TempDir,
    pem: String,
    users: Arc<Users>,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pem = make_certificate(folder.path());
        let line = users::line("user", &"secret".into(), &[7; 16]).unwrap();
        Self { folder, pem, users: Arc::new(Users::parse(&line).unwrap()) }
    }
}

/// A relay that goes by the policy of a script.
struct Relay {
    address: SocketAddr,
    kept: TempQueue,
    stopper: Stopper,
}

impl Relay {
    async fn start(policy: &Policy, site: &Site) -> Self {
        let wanted = [ListenAddress::Tcp("127.0.0.1:0".parse().unwrap())];
        let listener = Listener::bind(&wanted, 0o660, &Inherited::default()).unwrap();
        let address = listener.tcp_addresses()[0];
        let loopback = vec!["127.0.0.0/8".parse().unwrap()];
        let table = ListenerConfig {
            manners: policy.manners,
            max_message_size: policy.max_message_size,
            max_recipients: policy.max_recipients,
            default_domain: Some(policy.default_domain.clone()),
            local: Arc::clone(&policy.local),
            tls: tls(policy, site),
            auth: match policy.auth {
                AuthRule::None => Auth::None,
                AuthRule::AcceptAny => Auth::AcceptAny,
                AuthRule::Required { in_plain_text } => Auth::Required {
                    users: site.users.clone(),
                    plain_text: if in_plain_text { loopback.clone() } else { vec![] },
                },
            },
            ..ListenerConfig::new(wanted.to_vec(), &policy.hostname)
        };
        let client = Client {
            networks: loopback,
            senders: policy.senders.clone(),
            recipients: policy.recipients.clone(),
            hidden: policy.hidden.clone(),
            lf_end: policy.lf_end,
            ..Client::named("device".into())
        };
        let (_, receiver) = watch::channel(Arc::new(Settings::read(table, vec![client]).unwrap()));
        let (stopper, shutdown) = Stopper::new();
        let clock = Arc::new(MonotonicClock::starting_after(Timestamp::EPOCH));
        let kept = TempQueue::start(clock.clone());
        let (intake, commons) = (Arc::new(kept.intake()), Commons::new(clock.clone()));
        tokio::spawn(listener.serve(receiver, intake, Arc::default(), clock, commons, shutdown));
        Self { address, kept, stopper }
    }
}

fn tls(policy: &Policy, site: &Site) -> Option<ServerTls> {
    let mode = match policy.tls {
        Tls::Absent => return None,
        Tls::Offered => ServerTlsMode::StartTls,
        Tls::Active => ServerTlsMode::Implicit,
    };
    let (certificate, key) = (site.folder.path().join("relay.pem"), site.folder.path().join("relay.key"));
    Some(ServerTls { identity: OwnCertificate { certificate, key: Secret::File(key) }, mode })
}

/// Scripts that are played at a time.
const AT_ONCE: usize = 8;

/// How much a client writes at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pieces {
    /// All that it has to say.
    Whole,
    /// Seven octets, or a 500th of it where that is more.
    Small,
}

/// The client of a script.
struct Talk {
    wire: Wire,
    pieces: Pieces,
    /// What it heard and the script has not told yet.
    heard: Vec<u8>,
    place: String,
}

enum Wire {
    Plain(TcpStream),
    Secured(Box<BufReader<TlsStream<TcpStream>>>),
    /// During the handshake.
    Changing,
}

/// A message that a script tells of.
struct Told {
    place: String,
    /// As `M:` has it.
    summary: String,
    content: Vec<u8>,
}

/// Plays a script to its end, and looks at what is stored then.
async fn play(script: &Script, relay: &Relay, pieces: Pieces, site: &Site) {
    let before = relay.kept.messages().await.len();
    let stream = TcpStream::connect(relay.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut talk = Talk { wire: Wire::Plain(stream), pieces, heard: Vec::new(), place: script.name.clone() };
    if script.policy.tls == Tls::Active {
        talk.secure(site).await;
    }
    let mut told: Vec<Told> = Vec::new();
    let mut said = Vec::new();
    for step in &script.steps {
        talk.place = format!("{}, {pieces:?}", step.place);
        if !matches!(step.directive, Directive::Send(_)) {
            talk.send(&std::mem::take(&mut said)).await;
        }
        match &step.directive {
            Directive::Send(octets) => said.extend_from_slice(octets),
            Directive::Reply(pattern) => {
                let line = talk.line().await;
                assert!(matches(pattern, &line), "{}: the server says {line}", talk.place);
            }
            Directive::Secured => talk.secure(site).await,
            Directive::Message(summary) => {
                told.push(Told { place: talk.place.clone(), summary: summary.clone(), content: Vec::new() });
            }
            Directive::Content(line) => told.last_mut().unwrap().content.extend_from_slice(line),
            Directive::HangUp => talk.hang_up().await,
            Directive::Closed => talk.read_to_the_end().await,
            // Whose password is whose the relay knows; and its reports are the log's.
            Directive::Answer(_) | Directive::Credentials { .. } => {}
            Directive::Refused(_)
            | Directive::Quirk(_)
            | Directive::Unterminated(_)
            | Directive::CutOff(_)
            | Directive::Probe => {}
            Directive::Pass(_) | Directive::Stop => unreachable!("such scripts are passed over"),
        }
    }
    talk.send(&said).await;
    talk.hang_up().await;
    let rest = String::from_utf8_lossy(&talk.heard);
    assert!(rest.is_empty(), "{}: unexpected at the end: {rest}", talk.place);

    let stored = relay.kept.messages().await.split_off(before);
    assert_eq!(stored.len(), told.len(), "{}: {stored:?}", talk.place);
    for (told, (listed, content)) in told.iter().zip(&stored) {
        let shown = relay.show(listed.queue_id).await;
        told.check(listed, &shown, content);
    }
}

impl Relay {
    async fn show(&self, id: MessageId) -> Shown {
        self.kept.queue.read(move |reader, now| reader.show(id, now)).await.unwrap().unwrap()
    }
}

impl Talk {
    async fn send(&mut self, octets: &[u8]) {
        let piece = match self.pieces {
            Pieces::Whole => octets.len().max(1),
            Pieces::Small => 7.max(octets.len() / 500),
        };
        match &mut self.wire {
            Wire::Plain(stream) => exchange(stream, octets.chunks(piece), &mut self.heard).await,
            Wire::Secured(stream) => exchange(stream, octets.chunks(piece), &mut self.heard).await,
            Wire::Changing => unreachable!("it is changed at once"),
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.heard.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                let line = String::from_utf8(line).unwrap();
                return line.strip_suffix("\r\n").unwrap_or_else(|| panic!("{}: {line:?}", self.place)).to_owned();
            }
            assert_ne!(self.read().await, 0, "{}: the server has closed", self.place);
        }
    }

    async fn read_to_the_end(&mut self) {
        while self.read().await > 0 {}
    }

    /// Closes our side, and hears what the server still says.
    async fn hang_up(&mut self) {
        // It may be closed already.
        let _ = match &mut self.wire {
            Wire::Plain(stream) => stream.shutdown().await,
            Wire::Secured(stream) => stream.shutdown().await,
            Wire::Changing => unreachable!("it is changed at once"),
        };
        self.read_to_the_end().await;
    }

    /// How much more there is; a reset is an end as well.
    async fn read(&mut self) -> usize {
        let reading = async {
            match &mut self.wire {
                Wire::Plain(stream) => stream.read_buf(&mut self.heard).await,
                Wire::Secured(stream) => stream.read_buf(&mut self.heard).await,
                Wire::Changing => unreachable!("it is changed at once"),
            }
        };
        let read = timeout(Duration::from_secs(30), reading).await;
        read.unwrap_or_else(|_| panic!("{}: nothing within 30 s", self.place)).unwrap_or(0)
    }

    async fn secure(&mut self, site: &Site) {
        assert!(self.heard.is_empty(), "{}: the server talks before the handshake", self.place);
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Changing) else {
            panic!("{}: TLS in TLS", self.place);
        };
        self.wire = Wire::Secured(Box::new(shake(stream, &site.pem).await.unwrap()));
    }
}

/// Writes, and hears meanwhile what is said: a server whose replies nobody reads stops reading.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, pieces: Chunks<'_, u8>, heard: &mut Vec<u8>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut writing = std::pin::pin!(async {
        for piece in pieces {
            writer.write_all(piece).await?;
            writer.flush().await?;
        }
        std::io::Result::Ok(())
    });
    let mut more = true;
    loop {
        tokio::select! {
            // A server that has had enough reads no more.
            _ = &mut writing => return,
            read = reader.read_buf(heard), if more => more = read.is_ok_and(|read| read > 0),
        }
    }
}

impl Told {
    fn check(&self, listed: &Listed, shown: &Shown, content: &[u8]) {
        let place = &self.place;
        let recipients: Vec<&str> = shown.each.iter().map(|each| each.address.as_str()).collect();
        let mut words = self.summary.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        assert_eq!((listed.from.to_string().as_str(), recipients.join(",").as_str()), (word(), word()), "{place}");
        assert_eq!((listed.client.as_str(), shown.address.as_str()), ("device", "127.0.0.1"), "{place}");

        let (block, body) = HeaderBlock::split(content);
        let received = String::from_utf8_lossy(&block.fields()[0].value()).into_owned();
        assert!(block.fields()[0].is("Received"), "{place}: {received}");
        let (protocol, helo) = (word(), word());
        let helo = helo.split(" as ").flat_map(|word| word.split(" aliased ")).next().unwrap_or_default();
        assert!(received.contains(&format!(" with {protocol} id {}", listed.queue_id)), "{place}: {received}");
        if helo.bytes().all(|octet| octet.is_ascii_alphanumeric()) {
            let helo = if helo.is_empty() { "unknown" } else { helo };
            assert!(received.starts_with(&format!("from {helo} ")), "{place}: {received}");
        }
        if self.content.is_empty() {
            return;
        }
        let (wanted, wanted_body) = HeaderBlock::split(&self.content);
        assert_eq!(body.escape_ascii().to_string(), wanted_body.escape_ascii().to_string(), "{place}");
        let mut fields = block.fields().iter().map(Field::raw);
        for field in wanted.fields().iter().map(Field::raw) {
            let found = fields.any(|found| found == field);
            assert!(found, "{place}: {} is missing in {}", field.escape_ascii(), content.escape_ascii());
        }
    }
}
