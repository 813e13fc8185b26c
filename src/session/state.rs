//! The session: its states, its time limits, and what comes in and goes out.

mod arrival;
mod commands;
mod ending;
mod login;

use std::fmt;

use super::content::Content;
use super::contract::{Action, Answer, Policy, Step, Stop, Tls};
use super::foreign::Foreign;
use super::greeting::{Greeting, Standing};
use super::lines::{LINE_OCTETS, Lines, RESPONSE_OCTETS};
use super::output::{Output, Patience};
use super::transaction::Transaction;
use super::{auth, replies};
use crate::smtp::{Reply, ReversePath};
use crate::time::Timestamp;

/// One client's conversation.
///
/// The driver passes in what comes ([`handle`](Self::handle)), the answers to questions ([`answer`](Self::answer)) and
/// the time when [`deadline`](Self::deadline) has come ([`timeout`](Self::timeout)), and does what each of them returns.
/// The deadline may change with every call.
pub struct Session {
    policy: Policy,
    opening: Opening,
    greeting: Greeting,
    standing: Standing,
    /// Logins that were denied.
    denied: u32,
    state: State,
    data: Data,
    lines: Lines,
    /// What came behind the octet that led to a question; no longer than the input of one call unless the driver reads
    /// on before it answers.
    pending: Vec<u8>,
    /// When the client must have done its next step.
    step_ends: Timestamp,
    /// When it must have begun a transaction, and not only say that it is there.
    stay_ends: Timestamp,
    term: Term,
    purpose: Purpose,
    out: Output,
}

/// Whether the client let us speak first (RFC 5321 §4.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    InOrder,
    /// It spoke before the banner, and nothing was made of that yet.
    Early,
}

/// Whether the last command was DATA, in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Data {
    /// It was not.
    Open,
    /// It was refused: what is no command behind it is the content.
    Refused,
}

/// Where the conversation stands.
#[derive(Debug)]
enum State {
    /// No transaction is open; waits for MAIL.
    Idle,
    /// MAIL was accepted; waits for RCPT and DATA.
    Mail(Transaction),
    /// Content is arriving.
    Content(Transaction, Content),
    /// A chunk is being stored.
    Storing(Transaction, Content, Then),
    /// The message is being handed over; of it remains what a refusal has to name.
    Enqueuing { from: ReversePath, chunks: u32 },
    /// AUTH is under way; waits for the client's response.
    LoggingIn(auth::Exchange),
    /// The password is being looked at.
    Verifying { username: String },
    /// STARTTLS was accepted; nothing is read before TLS is active.
    Securing,
    /// Nothing more is read or said.
    Closed,
}

/// What follows when a chunk is stored.
#[derive(Clone, Copy, Debug)]
enum Then {
    ReadOn,
    HandOver,
}

/// How long the session goes on.
#[derive(Clone, Copy, Debug)]
enum Term {
    Open,
    /// Until its message has been answered: it has handed in none, and a login may come before.
    ThisMessage,
    /// Until what is arriving or being asked has been answered.
    ThisAnswer,
}

/// What the client came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It has said nothing, or nothing but who it is.
    Unknown,
    /// It has said more.
    Earnest,
    /// It has sent a message that was taken.
    Fulfilled,
}

impl Session {
    /// A session with a client that has just connected, and the banner.
    pub fn new(policy: Policy, now: Timestamp) -> (Self, Vec<Action>) {
        let banner = Action::Send(replies::banner(&policy.hostname).to_bytes());
        let session = Self {
            step_ends: now.after(policy.timeout),
            stay_ends: now.after(policy.transaction_timeout),
            policy,
            opening: Opening::InOrder,
            greeting: Greeting::default(),
            standing: Standing::default(),
            denied: 0,
            state: State::Idle,
            data: Data::Open,
            lines: Lines::new(),
            pending: Vec::new(),
            term: Term::Open,
            purpose: Purpose::Unknown,
            out: Output::default(),
        };
        (session, vec![banner])
    }

    /// The client has sent something before the banner went out. To be called before [`handle`](Self::handle), which is
    /// where it shows: as a quirk, or as a refusal.
    pub fn early(&mut self) {
        self.opening = Opening::Early;
    }

    /// Reads what the client sent. While a question is open, what comes is kept for later; while a TLS handshake is, it is
    /// thrown away: it came in plain text (CVE-2011-0411).
    pub fn handle(&mut self, input: &[u8], now: Timestamp) -> Vec<Action> {
        if self.pending.is_empty() {
            self.read(input, now);
        } else {
            self.pending.extend_from_slice(input);
            self.read_pending(now);
        }
        self.out.take()
    }

    /// Takes the answer to the open question; one that nobody asked for changes nothing.
    pub fn answer(&mut self, answer: Answer, now: Timestamp) -> Vec<Action> {
        self.step_ends = now.after(self.policy.timeout);
        self.state = match (std::mem::replace(&mut self.state, State::Closed), answer) {
            (State::Storing(transaction, content, then), answer @ (Answer::Stored | Answer::Refused(_))) => {
                self.chunk_answered(transaction, content, then, answer, now)
            }
            (State::Enqueuing { from, chunks }, answer @ (Answer::Enqueued(_) | Answer::Refused(_))) => {
                self.message_answered(&from, chunks, answer, now)
            }
            (State::Verifying { username }, answer @ (Answer::Authenticated | Answer::Denied | Answer::Refused(_))) => {
                self.login_answered(username, answer)
            }
            (state, _) => state,
        };
        self.read_pending(now);
        self.out.take()
    }

    /// When [`timeout`](Self::timeout) has to be called; never while a question is open, nor when the session is closed.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.limit().map(|limit| limit.min(self.step_ends))
    }

    /// Ends the session where its deadline has come.
    pub fn timeout(&mut self, now: Timestamp) -> Vec<Action> {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.run_out(now);
        }
        self.out.take()
    }

    /// Ends the session because the daemon stops. While a question is open, it ends with the answer.
    pub fn stop(&mut self, stop: Stop) -> Vec<Action> {
        match (&self.state, stop) {
            (State::Closed, _) => {}
            (State::Content(..) | State::Mail(_), Stop::AfterMessage | Stop::AfterTransaction)
            | (State::Storing(..) | State::Enqueuing { .. } | State::Verifying { .. }, _) => {
                self.term = Term::ThisAnswer;
            }
            (State::Idle | State::LoggingIn(_), Stop::AfterMessage) if self.purpose != Purpose::Fulfilled => {
                self.term = Term::ThisMessage;
            }
            (State::Content(..) | State::Mail(_), Stop::Now)
            | (State::Idle | State::LoggingIn(_) | State::Securing, _) => {
                self.end(replies::shutting_down(&self.policy.hostname));
            }
        }
        self.out.take()
    }

    /// TLS is active: what was said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, now: Timestamp) -> Vec<Action> {
        if !matches!(self.state, State::Closed) {
            self.policy.tls = Tls::Active;
            self.greeting = Greeting::default();
            self.standing = Standing::default();
            self.state = State::Idle;
            self.lines = Lines::new();
            self.pending.clear();
            self.step_ends = now.after(self.policy.timeout);
        }
        self.out.take()
    }

    fn read_pending(&mut self, now: Timestamp) {
        let pending = std::mem::take(&mut self.pending);
        self.read(&pending, now);
    }

    /// Reads commands and content until a question is open or the input ends.
    fn read(&mut self, input: &[u8], now: Timestamp) {
        let mut rest = input;
        while !rest.is_empty() {
            if self.limit().is_some_and(|limit| limit <= now) {
                return self.run_out(now);
            }
            let used = match std::mem::replace(&mut self.state, State::Closed) {
                State::Closed => return,
                State::Content(transaction, content) => {
                    self.step_ends = now.after(self.policy.timeout);
                    self.content(transaction, content, rest, now)
                }
                state @ (State::Storing(..) | State::Enqueuing { .. } | State::Verifying { .. }) => {
                    self.state = state;
                    self.pending = rest.to_vec();
                    return;
                }
                State::Securing => {
                    self.state = State::Securing;
                    return;
                }
                state @ (State::Idle | State::Mail(_) | State::LoggingIn(_)) => self.line_octets(state, rest, now),
            };
            rest = &rest[used..];
        }
    }

    /// Reads a line, or a part of one; returns how much of the input was used.
    fn line_octets(&mut self, state: State, input: &[u8], now: Timestamp) -> usize {
        let most = if matches!(state, State::LoggingIn(_)) { RESPONSE_OCTETS } else { LINE_OCTETS };
        let (used, line) = self.lines.read(input, most);
        self.state = match (line, state) {
            // Only whole lines move the deadline: a client that sends an octet now and then must not stay.
            (Some(line), state) => {
                self.step_ends = now.after(self.policy.timeout);
                match state {
                    State::LoggingIn(exchange) => self.response_line(exchange, line),
                    state => self.command_line(state, line, now),
                }
            }
            (None, state @ State::LoggingIn(_)) => state,
            (None, state) => match Foreign::beginning(self.lines.start()) {
                Some(foreign) => self.turn_away(&state, foreign),
                None => state,
            },
        };
        used
    }

    /// When the session has to be further than it is, however busy it is: from MAIL to the end of data, or without mail.
    fn limit(&self) -> Option<Timestamp> {
        match &self.state {
            State::Mail(transaction) | State::Content(transaction, _) => Some(transaction.until),
            State::Idle | State::LoggingIn(_) | State::Securing => Some(self.stay_ends),
            State::Storing(..) | State::Enqueuing { .. } | State::Verifying { .. } | State::Closed => None,
        }
    }

    /// Refuses a command that names nobody, and `state` stays.
    fn refuse_in(&mut self, state: State, step: Step, reply: Reply) -> State {
        self.out.refuse(step, reply, sender(&state), None);
        state
    }

    /// Answers what is no command, or an ill-formed one: a refusal where mail may be lost with it. After many of them the
    /// session ends.
    fn fault(&mut self, state: State, step: Option<Step>, reply: Reply) -> State {
        match (self.out.count_fault(), step) {
            (Patience::Over, _) => {
                let reply = replies::too_many_faults(&self.policy.hostname);
                self.refuse_and_close(&state, Step::Command, reply)
            }
            (Patience::Left, Some(step)) => self.refuse_in(state, step, reply),
            (Patience::Left, None) => {
                self.out.say(&reply);
                state
            }
        }
    }

    /// Ends a session in which another protocol is spoken.
    fn turn_away(&mut self, state: &State, foreign: Foreign) -> State {
        let reply = match foreign {
            Foreign::Http => replies::is_http(&self.policy.hostname),
            Foreign::Tls => replies::is_tls(&self.policy),
        };
        self.refuse_and_close(state, Step::Command, reply)
    }

    fn refuse_and_close(&mut self, state: &State, step: Step, reply: Reply) -> State {
        self.out.refuse(step, reply, sender(state), None);
        self.out.push(Action::Close);
        State::Closed
    }

    /// What follows an answered question: no more, where the daemon stops.
    fn go_on(&mut self, state: State) -> State {
        match self.term {
            Term::Open => state,
            Term::ThisMessage | Term::ThisAnswer => {
                self.out.say(&replies::shutting_down(&self.policy.hostname));
                self.out.push(Action::Close);
                State::Closed
            }
        }
    }
}

/// From whom the mail of an open transaction is.
fn sender(state: &State) -> Option<&ReversePath> {
    match state {
        State::Mail(transaction) => Some(&transaction.envelope.reverse_path),
        _ => None,
    }
}

impl fmt::Debug for Session {
    /// Without what came from the client and was not read yet: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("greeting", &self.greeting)
            .field("state", &self.state)
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}
