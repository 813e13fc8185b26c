//! Many clients at once, most of them bad: a good one is served within a second, and memory stays bounded.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::support::daemon::Site;
use crate::support::relay::HEAD;

/// Connections at once, beside those that come and go.
const CONNECTIONS: usize = 500;
/// Of these, those that send an octet every [`DRIP`].
const SLOW: usize = 200;
const DRIP: Duration = Duration::from_secs(2);
/// Sessions of garbage, [`GARBAGE_AT_ONCE`] at a time.
const GARBAGE: u64 = 2_000;
const GARBAGE_AT_ONCE: usize = 100;
const RSETS: usize = 10_000;
/// What a good client may wait, from connecting to 250 for its message.
const SERVED: Duration = Duration::from_secs(1);
/// Resident memory in KiB: of the process, and more for each open session.
const MEMORY: u64 = 64 << 10;
const MEMORY_OF_A_SESSION: u64 = 256;
const ACCOUNT: &str = "\n[[account]]\nname = \"staging\"\nprovider = \"directory\"\npath = \"SITE/out\"\n\
    sender = \"keep\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_good_client_is_served_within_a_second_whatever_the_others_do() {
    let site = Site::new(&format!("{HEAD}{ACCOUNT}"), "");
    std::fs::create_dir(site.path().join("out")).unwrap();
    let daemon = site.serve();
    let load = Load { relay: daemon.address(), open: Arc::default() };

    let mut held = JoinSet::new();
    for number in 0..CONNECTIONS {
        let stream = load.connect(client(1, number)).await;
        match number {
            0..SLOW => held.spawn(drip(stream, number)),
            _ => held.spawn(async move { drop(stay(stream).await) }),
        };
    }
    assert_eq!(load.open.load(Ordering::Relaxed), CONNECTIONS);

    let mut attack = JoinSet::new();
    attack.spawn(load.clone().pipelined());
    attack.spawn(load.clone().long_line());
    let room = Arc::new(Semaphore::new(GARBAGE_AT_ONCE));
    for seed in 0..GARBAGE {
        attack.spawn(load.clone().garbage(seed, room.clone()));
    }

    // For as long as the attack goes on, and until the slow ones have sent some octets.
    let begun = Instant::now();
    let (mut served, mut slowest, mut most) = (0, Duration::ZERO, 0);
    while served < 20 || !attack.is_empty() || begun.elapsed() < DRIP * 3 {
        let took = timeout(SERVED * 60, load.good(served)).await.expect("a good client is served at all");
        assert!(
            took < SERVED,
            "good client {served} was served in {took:?} only, {:?} after the start",
            begun.elapsed()
        );
        (served, slowest) = (served + 1, slowest.max(took));
        let open = load.open.load(Ordering::Relaxed);
        let resident = daemon.resident();
        assert!(resident < bound(open), "{resident} KiB with {open} sessions");
        most = most.max(resident);
        while let Some(done) = attack.try_join_next() {
            done.unwrap();
        }
    }
    println!(
        "{served} good clients in {:?}, the slowest in {slowest:?}; {most} KiB resident at most, {} in all",
        begun.elapsed(),
        daemon.peak()
    );
    assert!(held.try_join_next().is_none(), "the slow and the silent stay as long as they may");
    held.shutdown().await;
    assert!(load.good(served).await < SERVED);
    let left = daemon.resident();
    println!("{left} KiB are left resident");
    assert!(left < bound(1), "{left} KiB are left");
    let accepted = daemon.wait_for_count("good messages", served + 1, |line| {
        line["event"] == "accepted" && line["from"].as_str().is_some_and(|from| from.starts_with("good"))
    });
    assert_eq!(accepted.len(), served + 1);
    assert_eq!(daemon.stop(), 0);
}

fn bound(open: usize) -> u64 {
    MEMORY + MEMORY_OF_A_SESSION * open as u64
}

/// Another address of the loopback network for each ten clients of a group, as they might have in a network.
fn client(group: u8, number: usize) -> IpAddr {
    let host = u8::try_from(1 + number / 10 % 250).unwrap();
    Ipv4Addr::new(127, 0, group, host).into()
}

/// The relay under load.
#[derive(Clone)]
struct Load {
    relay: SocketAddr,
    /// Sessions that we have open.
    open: Arc<AtomicUsize>,
}

/// A session that counts as open until it is dropped.
struct Session {
    stream: BufReader<TcpStream>,
    open: Arc<AtomicUsize>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Load {
    /// Connects from this address and reads the banner.
    async fn connect(&self, from: IpAddr) -> Session {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        self.open.fetch_add(1, Ordering::Relaxed);
        let stream = BufReader::new(socket.connect(self.relay).await.unwrap());
        let mut session = Session { stream, open: self.open.clone() };
        let banner = session.line().await;
        assert!(banner.starts_with("220 "), "{from}: {banner:?}");
        session
    }

    /// What a client does that waits for each reply; how long it took until its message was taken.
    async fn good(&self, number: usize) -> Duration {
        let begun = Instant::now();
        let mut session = self.connect(Ipv4Addr::new(127, 0, 0, 100).into()).await;
        for (command, code) in [
            ("EHLO good.example\r\n", "250"),
            (&format!("MAIL FROM:<good{number}@site.example>\r\n"), "250 2.1.0"),
            ("RCPT TO:<office@example.org>\r\n", "250 2.1.5"),
            ("DATA\r\n", "354"),
            ("Subject: an alarm\r\n\r\nThe door is open.\r\n.\r\n", "250 2.0.0"),
        ] {
            session.write(command.as_bytes()).await;
            let reply = session.reply().await;
            assert!(reply.starts_with(code), "{command}{reply}");
        }
        let took = begun.elapsed();
        session.write(b"QUIT\r\n").await;
        assert!(session.reply().await.starts_with("221"));
        took
    }

    /// Sends all commands without waiting for a reply.
    async fn pipelined(self) {
        let session = self.connect(client(2, 0)).await;
        let Session { stream, .. } = &mut { session };
        let (reader, writer) = stream.get_mut().split();
        let writing = async move {
            let mut writer = writer;
            writer.write_all(&b"RSET\r\n".repeat(RSETS)).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let reading = async move {
            let mut heard = String::new();
            BufReader::new(reader).read_to_string(&mut heard).await.unwrap();
            assert_eq!(heard.lines().filter(|line| line.starts_with("250 2.0.0")).count(), RSETS);
        };
        tokio::join!(writing, reading);
    }

    async fn long_line(self) {
        let mut session = self.connect(client(2, 10)).await;
        session.write(&b"x".repeat(1 << 20)).await;
        session.write(b"\r\nNOOP\r\n").await;
        assert!(session.reply().await.starts_with("500 "));
        assert!(session.reply().await.starts_with("250 "));
    }

    /// Sends what the seed gives, in pieces, and goes in one of three ways.
    async fn garbage(self, seed: u64, room: Arc<Semaphore>) {
        let _place = room.acquire().await.unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut session = self.connect(client(3, usize::try_from(seed).unwrap())).await;
        for _ in 0..random.usize(1..12) {
            // The relay may have had enough of it.
            if session.stream.get_mut().write_all(&fragment(&mut random)).await.is_err() {
                return;
            }
        }
        match random.u8(0..3) {
            // Gone, with replies unread: the connection is reset.
            0 => {}
            1 => {
                let _ = session.stream.get_mut().shutdown().await;
                session.read_to_the_end().await;
            }
            _ => {
                let _ = session.stream.get_mut().write_all(b"\r\n.\r\nQUIT\r\n").await;
                session.read_to_the_end().await;
            }
        }
    }
}

impl Session {
    async fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(Duration::from_secs(60), self.stream.read_line(&mut line)).await.expect("a line in a minute").unwrap();
        line
    }

    /// The last line of a reply.
    async fn reply(&mut self) -> String {
        loop {
            let line = self.line().await;
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    async fn read_to_the_end(&mut self) {
        let mut heard = Vec::new();
        let read = timeout(Duration::from_secs(60), self.stream.read_to_end(&mut heard)).await;
        // A reset is an end as well.
        drop(read.expect("the relay closes within a minute"));
    }
}

/// Says nothing, and leaves when the relay does.
async fn stay(mut session: Session) -> Session {
    session.read_to_the_end().await;
    session
}

/// Sends an octet every few seconds: half of them of a command, the others of content of which the relay holds as much as
/// it ever does.
async fn drip(mut session: Session, number: usize) {
    if number.is_multiple_of(2) {
        session.write(b"EHLO slow\r\nMAIL FROM:<slow@site.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n").await;
        session.write(&[b"Subject: x\r\n\r\n".as_slice(), &b"0123456789abcdef\r\n".repeat(14_000)].concat()).await;
    }
    let mut ticks = interval(DRIP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        session.write(b"N").await;
    }
}

fn fragment(random: &mut fastrand::Rng) -> Vec<u8> {
    const KNOWN: [&str; 16] = [
        "EHLO box\r\n",
        "HELO\n",
        "MAIL FROM:<garbage@site.example>\r\n",
        "MAIL FROM: <>\r\n",
        "RCPT TO:<b@example.net>\r\n",
        "RCPT TO:a@b,c\r\n",
        "DATA\r\n",
        "AUTH LOGIN\r\n",
        "STARTTLS\r\n",
        "BDAT 100 LAST\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\x16\x03\x01\x02",
        "\r\n.\r\n",
        "\n.\n",
        "\0",
        "Subject: x\r\n\r\n",
    ];
    match random.u8(0..4) {
        0 => {
            let mut octets = vec![0; random.usize(1..4_000)];
            random.fill(&mut octets);
            octets
        }
        1 => vec![random.u8(..); random.usize(1..20_000)],
        _ => KNOWN[random.usize(..KNOWN.len())].as_bytes().to_vec(),
    }
}
