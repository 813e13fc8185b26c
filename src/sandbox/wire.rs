//! The bytes of one connection: lines and contents in, replies out, in clear or under TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Why a conversation ends.
#[derive(Debug)]
pub(super) enum Leave {
    /// The client has gone, or its bytes make no sense to TLS.
    Gone,
    /// The client was silent for too long.
    Idle,
    /// A fault closes the connection.
    Cut,
    /// Everything is said: send what is waiting and close.
    Bye,
    /// STARTTLS was granted: send what is waiting, then forget everything and speak TLS (RFC 3207 §4.2).
    Secure,
}

impl From<io::Error> for Leave {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Reads with a buffer; writes when there is nothing left to read, so that a pipelined group of commands is answered at
/// once (RFC 2920 §3.2).
pub(super) struct Wire {
    stream: Stream,
    input: Vec<u8>,
    output: Vec<u8>,
    idle: Duration,
    delay: Duration,
}

/// What came after DATA.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Unstuffed (RFC 5321 §4.5.2); empty where it was too long.
    pub(super) bytes: Vec<u8>,
    /// Octets, those that were not kept included.
    pub(super) size: usize,
    /// Line feeds that followed no carriage return.
    pub(super) bare_linefeeds: usize,
}

/// A command line with its end. RFC 4954 §4 wants 12,288 octets for an AUTH exchange.
const LINE_OCTETS: usize = 12_288;
/// How long a client may take to hear the last reply and close its side.
const LINGER: Duration = Duration::from_secs(5);
/// So much of an unfinished content line is worked off at a time.
const CHUNK_OCTETS: usize = 65_536;

impl Wire {
    pub(super) fn new(stream: TcpStream, idle: Duration, delay: Duration) -> Self {
        Self { stream: Stream::Plain(stream), input: Vec::new(), output: Vec::new(), idle, delay }
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Plain(stream) => stream.peer_addr().ok(),
            Stream::Tls(stream) => stream.get_ref().0.peer_addr().ok(),
        }
    }

    /// The same connection under TLS. Whatever was waiting in either direction is forgotten.
    pub(super) async fn secured(self, acceptor: &TlsAcceptor) -> Result<Self, Leave> {
        let Stream::Plain(stream) = self.stream else { return Err(Leave::Gone) };
        let stream = timeout(self.idle, acceptor.accept(stream)).await.map_err(|_| Leave::Idle)??;
        let stream = Stream::Tls(Box::new(stream));
        Ok(Self { stream, input: Vec::new(), output: Vec::new(), idle: self.idle, delay: self.delay })
    }

    /// Appends to what is sent next.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends what is waiting.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        if !self.delay.is_zero() {
            sleep(self.delay).await;
        }
        let output = std::mem::take(&mut self.output);
        let writing = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        timeout(self.idle, writing).await.map_err(io::Error::other)?
    }

    /// Sends what is waiting and closes in order: bytes of the client that nobody has read would make the system reset
    /// the connection, and take the last reply with it.
    pub(super) async fn close(mut self) {
        // The client may have gone already, which is as good; here and below.
        let _ = self.flush().await;
        let closing = async {
            self.stream.shutdown().await?;
            let mut unread = [0; 4_096];
            while self.stream.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(LINGER, closing).await;
    }

    /// The next line without its end; none where it is too long.
    pub(super) async fn line(&mut self) -> Result<Option<Vec<u8>>, Leave> {
        let mut searched = 0;
        loop {
            if let Some(found) = self.input[searched..].iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.input.drain(..=searched + found).collect();
                line.pop();
                line.pop_if(|byte| *byte == b'\r');
                return Ok(Some(line));
            }
            searched = self.input.len();
            if searched > LINE_OCTETS {
                return Ok(None);
            }
            self.fill().await?;
        }
    }

    /// Sends what is waiting and reads more, at least one byte.
    pub(super) async fn fill(&mut self) -> Result<(), Leave> {
        self.flush().await?;
        self.input.reserve(16_384);
        match timeout(self.idle, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0)) => Err(Leave::Gone),
            Ok(read) => Ok(read.map(|_| ())?),
            Err(_) => Err(Leave::Idle),
        }
    }

    /// The content up to the line with a single dot; only CRLF ends a line here. Of more than `limit` octets nothing is
    /// kept.
    pub(super) async fn content(&mut self, limit: usize) -> Result<Content, Leave> {
        let mut content = Content::default();
        let mut at_line_start = true;
        let (mut start, mut searched) = (0, 0);
        loop {
            let found = self.input[searched..].iter().position(|byte| *byte == b'\n');
            let end = match found {
                Some(found) => searched + found + 1,
                // A long line: all but its last byte, which may be the first half of its end.
                None if self.input.len() - start > CHUNK_OCTETS => self.input.len() - 1,
                None => {
                    self.input.drain(..start);
                    (start, searched) = (0, self.input.len());
                    self.fill().await?;
                    continue;
                }
            };
            let segment = &self.input[start..end];
            if at_line_start && segment == b".\r\n" {
                self.input.drain(..end);
                return Ok(content);
            }
            let ends_line = segment.ends_with(b"\r\n");
            content.bare_linefeeds += usize::from(found.is_some() && !ends_line);
            let stuffed = at_line_start && segment.first() == Some(&b'.');
            content.append(&segment[usize::from(stuffed)..], limit);
            at_line_start = ends_line;
            (start, searched) = (end, end);
        }
    }
}

impl Content {
    fn append(&mut self, segment: &[u8], limit: usize) {
        self.size += segment.len();
        if self.size > limit {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(segment);
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// What the wire makes of these writes, each of which it reads by itself or together with its neighbours.
    async fn content_of(writes: &[&[u8]], limit: usize) -> (Content, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let mut wire = Wire::new(server, Duration::from_secs(10), Duration::ZERO);
        let write_all = async {
            for write in writes {
                client.write_all(write).await.unwrap();
                client.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let read = async { (wire.content(limit).await.unwrap(), wire.line().await.unwrap().unwrap()) };
        let ((), result) = tokio::join!(write_all, read);
        result
    }

    #[tokio::test]
    async fn dots_are_unstuffed_and_only_crlf_dot_crlf_ends() {
        let sent = b"..one\r\nt.wo\r\n...\r\n.\n.\rx\n.\r\n\r\n.\r\nQUIT\r\n";
        let (content, rest) = content_of(&[sent], 1_000).await;
        assert_eq!(content.bytes, b".one\r\nt.wo\r\n..\r\n\n.\rx\n.\r\n\r\n");
        assert_eq!((content.size, content.bare_linefeeds), (content.bytes.len(), 2));
        assert_eq!(rest, b"QUIT");
        let bytewise: Vec<&[u8]> = sent.chunks(1).collect();
        assert_eq!(content_of(&bytewise, 1_000).await, (content, rest));
    }

    #[tokio::test]
    async fn an_empty_content_is_empty() {
        assert_eq!(content_of(&[b".\r\nx\r\n"], 10).await.0, Content::default());
    }

    #[tokio::test]
    async fn a_line_longer_than_the_buffer_is_kept_whole() {
        let mut sent = b"..".to_vec();
        sent.extend(std::iter::repeat_n(b"0123456789.\r", 30_000).flatten());
        sent.extend_from_slice(b"\r\n.\r\nQUIT\r\n");
        let (content, _) = content_of(&[&sent], 1_000_000).await;
        assert_eq!(content.bytes, sent[1..sent.len() - 9]);
        assert_eq!(content.bare_linefeeds, 0);
    }

    #[tokio::test]
    async fn beyond_the_limit_nothing_is_kept_but_the_count() {
        let (content, rest) = content_of(&[b"12345678\r\nabc\r\n.\r\nQUIT\r\n"], 10).await;
        assert_eq!((content.bytes.len(), content.size, rest), (0, 15, b"QUIT".to_vec()));
    }
}
