//! A client as a test needs it: small, asynchronous, pipelining; and mail whose bytes follow from its number.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mailsluice::sandbox::Delivery;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// An open session with a relay.
pub(crate) struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    /// Connects from this address of the loopback network, by which the relay tells its clients apart.
    pub(crate) async fn open(relay: SocketAddr, from: Ipv4Addr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
        let stream = socket.connect(relay).await?;
        stream.set_nodelay(true)?;
        let mut session = Self { stream: BufReader::new(stream) };
        session.reply().await?;
        session.write("EHLO client.example\r\n").await?;
        session.reply().await?;
        Ok(session)
    }

    /// Sends one message; the reply that decided. An error means that the session broke and nobody knows.
    pub(crate) async fn send(&mut self, message: &Numbered) -> io::Result<String> {
        self.write(&format!("MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n")).await?;
        let replies = [self.reply().await?, self.reply().await?, self.reply().await?];
        if let Some(refusal) = replies.iter().find(|reply| !reply.starts_with(['2', '3'])) {
            return Ok(refusal.clone());
        }
        self.write(&format!("{}\r\n.\r\n", message.content().trim_end().replace("\r\n.", "\r\n.."))).await?;
        self.reply().await
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes()).await
    }

    /// The last line of the next reply.
    async fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.stream.read_line(&mut line)).await;
            if read.map_err(|_| io::Error::from(ErrorKind::TimedOut))?? == 0 || !line.ends_with('\n') {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }
}

/// A message of about a kilobyte, no two of which are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Numbered(pub(crate) u32);

impl Numbered {
    pub(crate) fn content(self) -> String {
        format!("From: {SENDER}\r\nTo: {RECIPIENT}\r\nSubject: Number {}\r\n\r\n{}", self.0, self.body())
    }

    /// Lines of which one in four begins with a dot.
    pub(crate) fn body(self) -> String {
        let mut random = fastrand::Rng::with_seed(u64::from(self.0));
        let line = |_| {
            let dot = if random.u8(..4) == 0 { "." } else { "" };
            let text: String = std::iter::repeat_with(|| random.alphanumeric()).take(72).collect();
            format!("{dot}{text}\r\n")
        };
        (0..13).map(line).collect()
    }

    /// Which message this is, by its subject; panics where its body is not the one that was sent.
    pub(crate) fn intact(delivery: &Delivery) -> Self {
        let subject = delivery.subject.as_deref().unwrap_or_default();
        let number = subject.strip_prefix("Number ").and_then(|digits| digits.parse().ok());
        let number = Self(number.unwrap_or_else(|| panic!("a subject that nobody sent: {subject:?}")));
        let content = delivery.content.as_deref().expect("the sandbox keeps contents");
        let content = std::str::from_utf8(content).expect("ASCII was sent");
        let (_, body) = content.split_once("\r\n\r\n").expect("a header and a body");
        assert_eq!(body, number.body(), "the body of {number:?} was changed");
        number
    }
}

/// Offers messages at once from this many clients, one session each; panics unless all are accepted.
pub(crate) async fn offer(relay: SocketAddr, clients: u8, messages: impl IntoIterator<Item = Numbered>) {
    let mut shares = vec![Vec::new(); usize::from(clients)];
    messages.into_iter().enumerate().for_each(|(index, message)| shares[index % usize::from(clients)].push(message));
    let mut sessions = tokio::task::JoinSet::new();
    for (index, share) in (1..).zip(shares) {
        sessions.spawn(async move {
            let mut session = Session::open(relay, Ipv4Addr::new(127, 0, 0, index)).await.unwrap();
            for message in share {
                let reply = session.send(&message).await.unwrap();
                assert!(reply.starts_with("250"), "{message:?}: {reply}");
            }
        });
    }
    while let Some(session) = sessions.join_next().await {
        session.unwrap();
    }
}

pub(crate) const SENDER: &str = "shop@example.org";
pub(crate) const RECIPIENT: &str = "you@example.com";
/// So that a relay that hangs fails the test.
const PATIENCE: Duration = Duration::from_secs(60);
