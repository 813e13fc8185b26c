//! The listener over loopback sockets: what the session's scripts cannot show.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mailsluice::config::{ListenAddress, ListenerConfig};
use mailsluice::receive::{BindError, Commons, Inherited, Listener, Settings, Stopper};
use mailsluice::route::{Client, Priority};
use mailsluice::session::Manners;
use mailsluice::time::{MonotonicClock, Timestamp};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::TempQueue;

/// A listener that serves on free ports of 127.0.0.1 and ::1.
struct Relay {
    addresses: Vec<SocketAddr>,
    kept: TempQueue,
    settings: watch::Sender<Arc<Settings>>,
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl Relay {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let wanted = ["127.0.0.1:0", "[::1]:0"].map(|address| ListenAddress::Tcp(address.parse().unwrap()));
        let listener = bind(&wanted).unwrap();
        let addresses = listener.tcp_addresses();
        let table = ListenerConfig {
            max_message_size: 1 << 22,
            max_recipients: 10,
            max_connections: 100,
            ..ListenerConfig::new(wanted.to_vec(), "relay.example")
        };
        let mut settings = Settings::read(table, vec![]).unwrap();
        change(&mut settings);
        let (settings, receiver) = watch::channel(Arc::new(settings));
        let (stopper, shutdown) = Stopper::new();
        let clock = Arc::new(MonotonicClock::starting_after(Timestamp::EPOCH));
        let kept = TempQueue::start(clock.clone());
        let (intake, commons) = (Arc::new(kept.intake()), Commons::new(clock.clone()));
        commons.know(&settings.borrow().clients);
        let task = tokio::spawn(listener.serve(receiver, intake, Arc::default(), clock, commons, shutdown));
        Self { addresses, kept, settings, stopper, task }
    }

    async fn connect(&self) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(self.addresses[0]).await.unwrap())
    }
}

fn bind(addresses: &[ListenAddress]) -> Result<Listener, BindError> {
    Listener::bind(addresses, 0o660, &Inherited::default())
}

async fn line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    let read = timeout(Duration::from_secs(30), stream.read_line(&mut line)).await;
    read.expect("a line within 30 s").unwrap();
    line
}

const MESSAGE: &[u8] =
    b"EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n";

#[tokio::test]
async fn messages_come_in_over_both_families_from_whom_they_come() {
    let relay = Relay::start(|settings| {
        let networks = vec!["::1/128".parse().unwrap()];
        settings.clients.push(Client { networks, priority: Priority::High, ..Client::named("shop".into()) });
    })
    .await;
    for address in &relay.addresses {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(MESSAGE).await.unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).await.unwrap();
        assert!(heard.contains("250 2.0.0 Ok: queued as ") && heard.contains("221 2.0.0"), "{heard}");
    }
    let kept = relay.kept.messages().await;
    let from: Vec<_> = kept.iter().map(|(listed, _)| (listed.client.as_str(), listed.priority)).collect();
    assert_eq!(from, [("127.0.0.1", Priority::Normal), ("shop", Priority::High)]);
    assert!(kept.iter().all(|(_, content)| content.ends_with(b"\r\n\r\ny\r\n")));
}

#[tokio::test]
async fn a_stranger_is_told_which_key_to_change_even_when_it_talks_first() {
    let relay = Relay::start(|settings| settings.listener.networks = vec!["192.0.2.0/24".parse().unwrap()]).await;
    let mut stream = TcpStream::connect(relay.addresses[0]).await.unwrap();
    stream.write_all(MESSAGE).await.unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).await.unwrap();
    assert!(heard.starts_with("554 5.7.1 127.0.0.1 ") && heard.contains("`networks`"), "{heard}");
    assert!(relay.kept.messages().await.is_empty());
}

#[tokio::test]
async fn strangers_that_linger_leave_room_for_clients() {
    let relay = Relay::start(|settings| {
        settings.listener.networks = vec!["127.0.0.0/8".parse().unwrap()];
        settings.listener.max_connections = 1;
    })
    .await;
    let begun = std::time::Instant::now();
    let mut strangers = Vec::new();
    for _ in 0..50 {
        let mut stranger = BufReader::new(TcpStream::connect(relay.addresses[1]).await.unwrap());
        assert!(line(&mut stranger).await.starts_with("554 5.7.1 ::1 "));
        strangers.push(stranger);
    }
    assert!(line(&mut relay.connect().await).await.starts_with("220 "));
    // Were one seat theirs, each would hold it for the two seconds that it may take to close.
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_new_connection_goes_by_the_new_settings() {
    let relay = Relay::start(|_| {}).await;
    let mut old = relay.connect().await;
    assert!(line(&mut old).await.starts_with("220 relay.example "));
    let mut settings = Settings::clone(&relay.settings.borrow());
    settings.listener.hostname = "new.example".into();
    relay.settings.send_replace(Arc::new(settings));
    assert!(line(&mut relay.connect().await).await.starts_with("220 new.example "));
    old.write_all(b"HELO x\r\n").await.unwrap();
    assert_eq!(line(&mut old).await, "250 relay.example\r\n");
}

#[tokio::test]
async fn beyond_its_limits_the_listener_waits_rather_than_refuses() {
    for limit in ["total", "per client"] {
        let relay = Relay::start(|settings| match limit {
            "total" => settings.listener.max_connections = 1,
            _ => settings.listener.max_connections_per_client = 1,
        })
        .await;
        let mut first = relay.connect().await;
        assert!(line(&mut first).await.starts_with("220 "));
        let mut second = relay.connect().await;
        second.write_all(b"NOOP\r\n").await.unwrap();
        // The first is served meanwhile, the second is not.
        for _ in 0..20 {
            first.write_all(b"NOOP\r\n").await.unwrap();
            assert!(line(&mut first).await.starts_with("250 "));
        }
        assert!(second.get_ref().try_read(&mut [0; 100]).is_err(), "{limit}");
        first.write_all(b"QUIT\r\n").await.unwrap();
        assert!(line(&mut first).await.starts_with("221 "));
        drop(first);
        assert!(line(&mut second).await.starts_with("220 "), "{limit}");
        assert!(line(&mut second).await.starts_with("250 "), "{limit}");
    }
}

#[tokio::test]
async fn a_stop_lets_messages_end_and_sends_idle_clients_away() {
    let relay = Relay::start(|_| {}).await;
    let (mut idle, mut busy) = (relay.connect().await, relay.connect().await);
    assert!(line(&mut idle).await.starts_with("220 ") && line(&mut busy).await.starts_with("220 "));
    busy.write_all(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nx\r\n").await.unwrap();
    for code in ["250 ", "250 ", "354 "] {
        assert!(line(&mut busy).await.starts_with(code));
    }
    relay.stopper.stop(Duration::from_secs(60));
    assert!(line(&mut idle).await.starts_with("421 4.3.2 "));
    assert_eq!(line(&mut idle).await, "");
    busy.write_all(b".\r\n").await.unwrap();
    assert!(line(&mut busy).await.starts_with("250 2.0.0 "));
    assert!(line(&mut busy).await.starts_with("421 4.3.2 "));
    drop((idle, busy));
    relay.task.await.unwrap();
    assert_eq!(relay.kept.messages().await.len(), 1);
    assert!(TcpStream::connect(relay.addresses[0]).await.is_err());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_what_to_do() {
    let any = ListenAddress::Tcp("127.0.0.1:0".parse().unwrap());
    let holds = bind(&[any]).unwrap();
    let taken = holds.tcp_addresses()[0];
    let error = bind(&[ListenAddress::Tcp(taken)]).unwrap_err().to_string();
    assert!(error.contains(&taken.to_string()) && error.contains(&format!("(pid {})", std::process::id())), "{error}");
}

/// Quirk 20: scripts that send all they have to say at once, and listen afterwards.
#[tokio::test]
async fn what_was_said_before_the_banner_is_answered_in_order_where_that_is_tolerated() {
    for manners in [Manners::Tolerant, Manners::Strict] {
        let relay = Relay::start(|settings| {
            settings.listener.manners = manners;
            settings.listener.max_connections_per_client = 1;
        })
        .await;
        let mut first = relay.connect().await;
        assert!(line(&mut first).await.starts_with("220 "));
        // While another one is served it waits for its banner, so what it says is there before that.
        let mut early = relay.connect().await;
        early.write_all(MESSAGE).await.unwrap();
        for _ in 0..20 {
            first.write_all(b"NOOP\r\n").await.unwrap();
            assert!(line(&mut first).await.starts_with("250 "));
        }
        drop(first);
        let mut heard = String::new();
        early.read_to_string(&mut heard).await.unwrap();
        let taken = heard.contains("250 2.0.0 Ok: queued as ");
        assert!(heard.starts_with("220 ") && taken == (manners == Manners::Tolerant), "{manners:?}: {heard}");
        assert_eq!(relay.kept.messages().await.len(), usize::from(taken));
    }
}
