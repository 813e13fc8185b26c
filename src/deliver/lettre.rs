//! The door to the `lettre` crate, which writes commands and content. Replies are read here and `lettre` hears only
//! whether they are positive: its own reader hides lines of a refusal and stumbles over replies that are not to the
//! letter, and to stumble behind the final dot means a duplicate.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::lettre::transport::smtp::Error;
use ::lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use ::lettre::transport::smtp::commands::{Mail, Rcpt};
use ::lettre::transport::smtp::extension::{ClientId, MailBodyParameter, MailParameter};
use ::lettre::transport::smtp::response::Response;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::connect::Stream;
use super::extensions::Extensions;
use super::replies::ReplyReader;
use super::timeouts::{BLOCK, Timeouts};
use super::trouble::{broken, protocol, timed_out};
use crate::schedule::attempt::{Obstacle, Step, Trouble};
use crate::smtp::{Address, Reply, ReversePath};

/// A greeted connection, ready for commands.
pub(super) struct Connection {
    lettre: AsyncSmtpConnection,
    replies: Arc<Mutex<ReplyReader>>,
    peer: String,
    ended: bool,
}

/// The parameters of MAIL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    /// `BODY=8BITMIME` (RFC 6152).
    EightBitMime,
    /// `SMTPUTF8` (RFC 6531).
    SmtpUtf8,
    /// `SIZE=` the octets of the content (RFC 1870).
    Size(usize),
}

/// A MAIL command with its line end.
pub(super) fn mail(path: &ReversePath, parameters: &[Parameter]) -> String {
    let parameters = parameters.iter().map(|parameter| match parameter {
        Parameter::EightBitMime => MailParameter::Body(MailBodyParameter::EightBitMime),
        Parameter::SmtpUtf8 => MailParameter::SmtpUtfEight,
        Parameter::Size(octets) => MailParameter::Size(*octets),
    });
    Mail::new(path.address().map(parsed), parameters.collect()).to_string()
}

/// A RCPT command with its line end.
pub(super) fn rcpt(recipient: &Address) -> String {
    Rcpt::new(parsed(recipient), Vec::new()).to_string()
}

/// Not dangerous: our own parser has seen it, and `lettre`'s refuses addresses that exist.
fn parsed(address: &Address) -> ::lettre::Address {
    ::lettre::Address::new_dangerous(address.local_part(), address.domain())
}

impl Connection {
    /// Says EHLO on a stream whose greeting has been read.
    pub(super) async fn hello(
        stream: impl Stream,
        name: &str,
        peer: &str,
        limit: Duration,
    ) -> Result<(Self, Extensions), Obstacle> {
        let replies = Arc::new(Mutex::new(ReplyReader::default()));
        let stream = Listening { stream, replies: Arc::clone(&replies), digests: GREETING.to_vec() };
        let name = ClientId::Domain(name.to_owned());
        let greeted = timeout(limit, AsyncSmtpConnection::connect_with_transport(Box::new(stream), &name)).await;
        let reply = lock(&replies).take();
        match (greeted, reply) {
            (Ok(Ok(lettre)), Some(reply)) => {
                let extensions = Extensions::of(&reply);
                Ok((Self { lettre, replies, peer: peer.to_owned(), ended: false }, extensions))
            }
            (_, Some(reply)) => Err(Obstacle::Refused { step: Step::Ehlo, reply }),
            (Ok(Ok(_)), None) => Err(Obstacle::Trouble(broken(Step::Ehlo, peer, &io::ErrorKind::UnexpectedEof.into()))),
            (Ok(Err(error)), None) => Err(Obstacle::Trouble(trouble(Step::Ehlo, peer, &error))),
            (Err(_), None) => Err(Obstacle::Trouble(timed_out(Step::Ehlo, peer, limit))),
        }
    }

    /// Sends one or several complete command lines and waits for the first reply.
    pub(super) async fn command(&mut self, lines: &str, step: Step, limit: Duration) -> Result<Reply, Trouble> {
        if let Some(unasked) = self.unasked(step) {
            return unasked;
        }
        let result = timeout(limit, self.lettre.command(lines)).await.ok();
        self.heard(result, step, limit).await
    }

    /// Waits for the next reply to commands that were sent together.
    pub(super) async fn next_reply(&mut self, step: Step, limit: Duration) -> Result<Reply, Trouble> {
        let result = timeout(limit, self.lettre.read_response()).await.ok();
        self.heard(result, step, limit).await
    }

    /// Sends content and its final dot and returns the final reply if it is 2xx. The content's lines end with CRLF and
    /// it holds no other CR or LF, else dots would be stuffed wrongly; what does not end with CRLF gets one. An
    /// obstacle at [`Step::Content`] came before the final dot was sent, at [`Step::FinalReply`] perhaps behind it.
    pub(super) async fn content(&mut self, content: &[u8], timeouts: &Timeouts) -> Result<Reply, Obstacle> {
        match self.unasked(Step::Data) {
            None => {}
            Some(Ok(reply)) => return Err(Obstacle::Refused { step: Step::Data, reply }),
            Some(Err(trouble)) => return Err(Obstacle::Trouble(trouble)),
        }
        let (step, reply) = if content.is_empty() {
            // `message` would send an empty line before the dot.
            (Step::FinalReply, self.command(".\r\n", Step::FinalReply, timeouts.final_reply).await)
        } else {
            let (step, limit, result) = self.message(content, timeouts).await;
            (step, self.heard(result, step, limit).await)
        };
        let reply = reply.map_err(Obstacle::Trouble)?;
        match (step, reply.code / 100) {
            (Step::FinalReply, 2) => Ok(reply),
            (step, 4 | 5) => Err(Obstacle::Refused { step, reply }),
            (step, _) => {
                Err(Obstacle::Trouble(protocol(step, format!("{} answered the message with {reply}", self.peer))))
            }
        }
    }

    /// Sends content that is not empty; returns how far it came, the limit that held there, and `None` if it was
    /// reached.
    async fn message(
        &mut self,
        content: &[u8],
        timeouts: &Timeouts,
    ) -> (Step, Duration, Option<Result<Response, Error>>) {
        // `message_iter` ends what it sends with CRLF.CRLF, whatever it is.
        let content = content.strip_suffix(b"\r\n").unwrap_or(content);
        // It asks for a block when the one before has gone out, and is told that there is none just before it sends the
        // dot.
        let (moved, all_out) = (Notify::new(), AtomicBool::new(false));
        let mut blocks = content.chunks(BLOCK);
        let watched = std::iter::from_fn(|| {
            let block = blocks.next();
            all_out.store(block.is_none(), Ordering::Relaxed);
            moved.notify_one();
            block
        });
        let came_to = || if all_out.load(Ordering::Relaxed) { Step::FinalReply } else { Step::Content };
        let mut sending = pin!(self.lettre.message_iter(watched));
        let whole = timeouts.content(content.len());
        let mut too_slow = pin!(sleep(whole));
        loop {
            let limit = if came_to() == Step::FinalReply { timeouts.final_reply } else { timeouts.block };
            tokio::select! {
                biased;
                result = &mut sending => return (came_to(), limit, Some(result)),
                () = moved.notified() => {}
                () = sleep(limit) => return (came_to(), limit, None),
                () = &mut too_slow, if came_to() == Step::Content => return (Step::Content, whole, None),
            }
        }
    }

    /// Whether commands and replies are in step: there was no trouble, the peer did not announce that it closes (421,
    /// RFC 5321 §3.8), and it said nothing that it was not asked.
    pub(super) fn is_sound(&self) -> bool {
        !self.ended && lock(&self.replies).is_quiet()
    }

    /// What the peer said before it was asked: that it closes, or what would be taken for the reply to come.
    fn unasked(&mut self, step: Step) -> Option<Result<Reply, Trouble>> {
        let mut replies = lock(&self.replies);
        if replies.is_quiet() {
            return None;
        }
        self.ended = true;
        match replies.take() {
            Some(reply) if reply.code == CLOSING => Some(Ok(reply)),
            _ => Some(Err(protocol(step, format!("{} sent more replies than it was sent commands", self.peer)))),
        }
    }

    async fn heard(
        &mut self,
        result: Option<Result<Response, Error>>,
        step: Step,
        limit: Duration,
    ) -> Result<Reply, Trouble> {
        let heard = self.reply_or_trouble(result, step, limit).await;
        self.ended |= !matches!(&heard, Ok(reply) if reply.code != CLOSING);
        heard
    }

    /// The exact reply behind what `lettre` made of it; `None` if the step's limit was reached.
    async fn reply_or_trouble(
        &mut self,
        result: Option<Result<Response, Error>>,
        step: Step,
        limit: Duration,
    ) -> Result<Reply, Trouble> {
        if let Some(reply) = lock(&self.replies).take() {
            return Ok(reply);
        }
        let Some(result) = result else {
            return Err(timed_out(step, &self.peer, limit));
        };
        // Where writing failed, the peer may have said why before it closed.
        let _ = timeout(LAST_WORDS, self.lettre.read_response()).await;
        if let Some(reply) = lock(&self.replies).take() {
            return Ok(reply);
        }
        Err(match result {
            Err(error) => trouble(step, &self.peer, &error),
            Ok(_) => broken(step, &self.peer, &io::ErrorKind::UnexpectedEof.into()),
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.peer)
    }
}

/// "Service not available, closing transmission channel", at any step.
pub(super) const CLOSING: u16 = 421;

/// How long a peer that broke the connection is listened to.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// `lettre` reads the greeting itself; it gets this one again, of which nobody asks.
const GREETING: &[u8] = b"220 .\r\n";

/// What `lettre` needs to know of a reply.
fn digest(reply: &Reply) -> &'static [u8] {
    match reply.code / 100 {
        2 => b"250 .\r\n",
        3 => b"350 .\r\n",
        4 => b"450 .\r\n",
        _ => b"550 .\r\n",
    }
}

fn trouble(step: Step, peer: &str, error: &Error) -> Trouble {
    match std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(error) => broken(step, peer, error),
        // An end of file in place of a reply has no source of that kind.
        None => broken(step, peer, &io::ErrorKind::UnexpectedEof.into()),
    }
}

fn lock(replies: &Mutex<ReplyReader>) -> MutexGuard<'_, ReplyReader> {
    replies.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes writes through; keeps each reply as it came and lets `lettre` read its digest.
#[derive(Debug)]
struct Listening<S> {
    stream: S,
    replies: Arc<Mutex<ReplyReader>>,
    digests: Vec<u8>,
}

impl<S: Stream> AsyncRead for Listening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        wanted: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.digests.is_empty() {
            if let Some(fault) = lock(&this.replies).fault() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.clone())));
            }
            let mut octets = [0; 4096];
            let mut octets = ReadBuf::new(&mut octets);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut octets))?;
            if octets.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            for reply in lock(&this.replies).push(octets.filled()) {
                this.digests.extend_from_slice(digest(reply));
            }
        }
        let length = wanted.remaining().min(this.digests.len());
        wanted.put_slice(&this.digests[..length]);
        this.digests.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> AsyncWrite for Listening<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl<S: Stream> AsyncTokioStream for Listening<S> {
    /// Nobody asks.
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
