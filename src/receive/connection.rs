//! Drives one session over one connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::commons::Commons;
use super::input::Input;
use super::passwords;
use super::rates::Notice;
use super::shutdown::Shutdown;
use super::stream::Stream;
use crate::config::users::Users;
use crate::ids::MessageId;
use crate::intake::{Intake, Submission, Trace};
use crate::observe::{Observer, clients};
use crate::route::{Client, Origin};
use crate::session::{
    Action, Answer, Credentials, Event, Handover, Policy, Question, Refusal, Refused, Session, Step, Stop,
};
use crate::smtp::Reply;
use crate::time::{Clock, Timestamp};

/// Octets of replies that are gathered before they are sent, where the client sends commands without end.
const OUTPUT_OCTETS: usize = 16 * 1024;
/// How long a client may take to read its replies.
const WRITE_LIMIT: Duration = Duration::from_secs(300);
/// How long a client that has handed in nothing yet may take to begin, when the daemon stops: it is just about to.
const COURTESY: Duration = Duration::from_secs(2);
/// How long we listen to a client that has been told goodbye.
const LINGER: Duration = Duration::from_secs(2);

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) client: Client,
    pub(super) origin: Origin,
}

/// What connections are served with.
#[derive(Clone, Copy)]
pub(super) struct Services<'a> {
    pub(super) intake: &'a Intake,
    pub(super) observer: &'a Observer,
    pub(super) clock: &'a dyn Clock,
    pub(super) commons: &'a Commons,
    /// Who may log in, where a login is required.
    pub(super) users: Option<&'a Arc<Users>>,
}

/// Who speaks first (RFC 5321 §3.1: we do).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The client waits for the banner.
    InOrder,
    /// It has sent something already.
    Early,
}

/// Speaks with a client until either side ends it. Of a message that did not come whole nothing remains.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: Stream<S>,
    opening: Opening,
    peer: Peer,
    policy: Policy,
    services: Services<'_>,
    shutdown: Shutdown,
) {
    let hostname = policy.hostname.clone();
    let (mut session, banner) = Session::new(policy, services.clock.now());
    if opening == Opening::Early {
        session.early();
    }
    let mut connection = Connection {
        stream,
        session,
        hostname,
        peer,
        services,
        shutdown,
        arriving: None,
        input: Input::new(),
        output: Vec::new(),
        flow: Flow::On,
        turn: Turn::Over,
        paused: Duration::ZERO,
        username: None,
    };
    connection.serve(banner).await;
}

/// Says one thing to a client that is not let in, and closes.
pub(super) async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, reply: &Reply) {
    if let Ok(Ok(())) = timeout(LINGER, stream.write_all(&reply.to_bytes())).await {
        part(&mut stream).await;
    }
}

/// A refusal as the log tells it.
pub(super) fn refusal<'a>(peer: &'a Peer, refused: &'a Refused, user: Option<&'a str>) -> clients::Refused<'a> {
    clients::Refused {
        client: &peer.client.name,
        origin: peer.origin,
        step: refused.step.as_str(),
        reply: &refused.reply,
        user,
        from: refused.from.as_ref(),
        recipient: refused.recipient.as_ref(),
    }
}

struct Connection<'a, S> {
    stream: Stream<S>,
    session: Session,
    hostname: String,
    peer: Peer,
    services: Services<'a>,
    shutdown: Shutdown,
    /// The message of which chunks are stored.
    arriving: Option<MessageId>,
    input: Input,
    /// Replies that are not sent yet.
    output: Vec<u8>,
    flow: Flow,
    turn: Turn,
    /// How long the client was not read because of its rate. For the session this time has not passed.
    paused: Duration,
    /// As whom the client wanted to log in last.
    username: Option<String>,
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    /// When what is to be sent is sent, TLS begins.
    Securing,
    Closing,
}

/// Whether the client has had its turn, by which its rate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Goes,
    /// It has sent a message, or comes anew.
    Over,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<'_, S> {
    async fn serve(&mut self, banner: Vec<Action>) {
        if self.run(banner).await.is_err() {
            // After its 250 a client may go as it likes, and before that it knows.
            let told = self.session.hung_up();
            self.perform(told).await;
        }
        self.abandon().await;
    }

    /// Returns when the session has ended.
    ///
    /// # Errors
    /// Where the client is gone before that.
    async fn run(&mut self, banner: Vec<Action>) -> io::Result<()> {
        let (mut end, mut unbegun) = (None, None);
        self.perform(banner).await;
        loop {
            self.flush().await?;
            match self.flow {
                Flow::On => {}
                Flow::Securing => {
                    self.secure().await;
                    continue;
                }
                Flow::Closing => {
                    part(&mut self.stream).await;
                    return Ok(());
                }
            }
            if std::mem::replace(&mut self.turn, Turn::Goes) == Turn::Over {
                self.pause().await?;
            }
            if !self.input.is_empty() {
                self.feed().await?;
                continue;
            }
            let wake = self.session.deadline().map(|deadline| deadline.after(self.paused));
            let wake = wake.into_iter().chain(unbegun).chain(end).min().unwrap_or(Timestamp::FAR_FUTURE);
            let clock = self.services.clock;
            let actions = tokio::select! {
                read = self.input.fill(&mut self.stream) => match read? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    _ => continue,
                },
                grace = self.shutdown.requested(), if end.is_none() => {
                    end = Some(clock.now().after(grace));
                    unbegun = Some(clock.now().after(grace.min(COURTESY)));
                    self.session.stop(Stop::AfterMessage)
                }
                () = sleep(wake.since(clock.now())) => match clock.now() {
                    now if end.is_some_and(|end| end <= now) => self.session.stop(Stop::Now),
                    now if unbegun.is_some_and(|unbegun| unbegun <= now) => {
                        unbegun = None;
                        self.session.stop(Stop::AfterTransaction)
                    }
                    now => self.session.timeout(now.before(self.paused)),
                },
            };
            self.perform(actions).await;
        }
    }

    /// Shakes hands, and tells the session. Where that fails, or lasts too long for a daemon that stops, the session is
    /// over: what the client would say next is anybody's guess.
    async fn secure(&mut self) {
        self.flow = Flow::Closing;
        let secured = tokio::select! {
            secured = self.stream.secure() => secured,
            () = courtesy(&mut self.shutdown) => return,
        };
        match secured {
            Ok(()) => {
                self.flow = Flow::On;
                let now = self.now();
                let actions = self.session.secured(now);
                self.perform(actions).await;
            }
            Err(failed) => self.report(&Event::Refused(failed.refused())),
        }
    }

    /// Gives the session what was read, until the client has had its turn.
    async fn feed(&mut self) -> io::Result<()> {
        while !self.input.is_empty() && self.flow == Flow::On && self.turn == Turn::Goes {
            let now = self.now();
            let actions = self.session.handle(self.input.piece(), now);
            self.perform(actions).await;
            if self.output.len() >= OUTPUT_OCTETS {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Leaves the client unheard while it has sent more than its rate. What it sends meanwhile is looked at, as far as it fits:
    /// one that is gone, or wants to, need not be waited for, unless it has begun a message. A device whose QUIT is not
    /// answered sends its message again.
    async fn pause(&mut self) -> io::Result<()> {
        let Services { clock, commons, observer, .. } = self.services;
        let begun = clock.now();
        let mut changes = commons.rates.changes();
        let mut gone = false;
        while let Some(wait) = commons.rates.wait(&self.peer.client.name) {
            if wait.notice == Notice::Begins {
                observer.slowed(&self.peer.client.name, self.peer.origin, wait.whole);
            }
            tokio::select! {
                () = sleep(wait.span) => {}
                () = changes.next() => {}
                _ = self.shutdown.requested() => break,
                read = self.input.fill(&mut self.stream), if !gone && self.input.has_room() => match read {
                    Ok(1..) => {}
                    // What is whole of it is taken, and what is not is told.
                    Ok(0) | Err(_) if self.input.may_hold_content() => gone = true,
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => return Err(error),
                },
            }
            if self.input.begins_with_quit() {
                break;
            }
        }
        self.paused += clock.now().since(begun);
        Ok(())
    }

    /// The time as the session knows it.
    fn now(&self) -> Timestamp {
        self.services.clock.now().before(self.paused)
    }

    async fn perform(&mut self, actions: Vec<Action>) {
        let mut actions = actions.into_iter();
        while let Some(action) = actions.next() {
            match action {
                Action::Send(bytes) => self.output.extend_from_slice(&bytes),
                Action::Report(event) => self.report(&event),
                Action::StartTls => {
                    // It may be an attacker's, who wants it to be taken for the client's (CVE-2011-0411).
                    self.input.clear();
                    self.flow = Flow::Securing;
                }
                Action::Abandon => self.abandon().await,
                Action::Close => self.flow = Flow::Closing,
                Action::Ask(question) => {
                    let answer = self.answer(question).await;
                    let now = self.now();
                    actions = self.session.answer(answer, now).into_iter();
                }
            }
        }
    }

    fn report(&self, event: &Event) {
        let (observer, Peer { client, origin }) = (self.services.observer, &self.peer);
        match event {
            Event::Refused(refused) => {
                let user = self.username.as_deref().filter(|_| refused.step == Step::Auth);
                observer.refused(&refusal(&self.peer, refused, user));
            }
            Event::Quirk(quirk) => observer.quirk(client, *origin, *quirk),
            Event::Unterminated { from, dot } => observer.unterminated(&client.name, *origin, from, *dot),
            Event::CutOff { from } => observer.cut_off(&client.name, *origin, from),
            Event::Probe => observer.probe(&client.name, *origin),
        }
    }

    async fn answer(&mut self, question: Question) -> Answer {
        let intake = self.services.intake;
        let id = self.arriving.unwrap_or_else(|| intake.next_id());
        match question {
            Question::Store { seq, bytes } => {
                self.arriving = Some(id);
                match intake.append(id, seq, bytes).await {
                    Ok(()) => Answer::Stored,
                    Err(refusal) => Answer::Refused(refusal),
                }
            }
            Question::Enqueue(handover) => match intake.accept(self.submission(id, handover)).await {
                Ok(id) => {
                    self.arriving = None;
                    self.turn = Turn::Over;
                    self.services.commons.rates.charge(&self.peer.client.name);
                    Answer::Enqueued(id)
                }
                Err(refusal) => Answer::Refused(refusal),
            },
            Question::Authenticate(credentials) => self.authenticate(credentials).await,
        }
    }

    async fn authenticate(&mut self, credentials: Credentials) -> Answer {
        self.username = Some(passwords::harmless(&credentials.username));
        let Some(users) = self.services.users else { return Answer::Denied };
        tokio::select! {
            answer = self.services.commons.passwords.judge(users, credentials, self.peer.origin) => answer,
            // A right one is known by then, and a wrong password must not keep the daemon from stopping.
            () = courtesy(&mut self.shutdown) => Answer::Refused(Refusal::Unavailable),
        }
    }

    fn submission(&self, id: MessageId, handover: Handover) -> Submission {
        let Handover { helo, protocol, user, envelope, aliased, head, chunks, size } = handover;
        let Peer { client, origin } = self.peer.clone();
        let trace = Trace { origin, hostname: self.hostname.clone(), helo, protocol };
        let (client, priority) = (client.name, client.priority);
        Submission { id, client, priority, user, trace, envelope, aliased, head, chunks, size }
    }

    async fn abandon(&mut self) {
        if let Some(id) = self.arriving.take() {
            self.services.intake.abandon(id).await;
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

/// Ends when the daemon stops and who has just come has had the time to begin.
pub(super) async fn courtesy(shutdown: &mut Shutdown) {
    let grace = shutdown.requested().await;
    sleep(grace.min(COURTESY)).await;
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
mod tests;
