//! The session: its states, and which command is legal in which.

use super::content::{CHUNK_OCTETS, Chunk, Complete, Content, Dropped, Progress};
use super::contract::{Action, Answer, Event, Handover, Policy, Question, Refused, Step, Stop, Tls};
use super::lines::{LINE_OCTETS, Line, Lines};
use super::reports::Reports;
use super::transaction::Transaction;
use super::{extensions, replies};
use crate::smtp::command::{Command, CommandError, ForwardPath, Parameter};
use crate::smtp::{Address, Reply, ReversePath};
use crate::time::Timestamp;

/// One client's conversation.
///
/// The driver passes in what comes ([`handle`](Self::handle)), the answers to questions ([`answer`](Self::answer)) and
/// the time when [`deadline`](Self::deadline) has come ([`timeout`](Self::timeout)), and does what each of them returns.
/// The deadline may change with every call.
#[derive(Debug)]
pub struct Session {
    policy: Policy,
    greeting: Greeting,
    state: State,
    lines: Lines,
    /// What came behind the octet that led to a question; no longer than the input of one call unless the driver reads
    /// on before it answers.
    pending: Vec<u8>,
    deadline: Timestamp,
    term: Term,
    reports: Reports,
}

/// What the client said at HELO or EHLO.
#[derive(Debug)]
struct Greeting {
    name: String,
    protocol: &'static str,
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
    /// Until the transaction that is in its content has been answered.
    ThisContent,
}

impl Session {
    /// A session with a client that has just connected, and the banner.
    pub fn new(policy: Policy, now: Timestamp) -> (Self, Vec<Action>) {
        let banner = Action::Send(replies::banner(&policy.hostname).to_bytes());
        let session = Self {
            deadline: now.after(policy.timeout),
            policy,
            greeting: Greeting { name: String::new(), protocol: "SMTP" },
            state: State::Idle,
            lines: Lines::new(),
            pending: Vec::new(),
            term: Term::Open,
            reports: Reports::default(),
        };
        (session, vec![banner])
    }

    /// The client has spoken before the banner was sent: to be called before [`handle`](Self::handle).
    pub fn early(&mut self) {}

    /// Reads what the client sent. While a question is open, what comes is kept for later.
    pub fn handle(&mut self, input: &[u8], now: Timestamp) -> Vec<Action> {
        let mut output = self.output();
        if self.pending.is_empty() {
            self.read(input, now, &mut output);
        } else {
            self.pending.extend_from_slice(input);
            self.read_pending(now, &mut output);
        }
        self.done(output)
    }

    /// Takes the answer to the open question; one that nobody asked for changes nothing.
    pub fn answer(&mut self, answer: Answer, now: Timestamp) -> Vec<Action> {
        let mut output = self.output();
        self.deadline = now.after(self.policy.timeout);
        self.state = match (std::mem::replace(&mut self.state, State::Closed), answer) {
            (State::Storing(transaction, content, Then::ReadOn), Answer::Stored) => {
                State::Content(transaction, content)
            }
            (State::Storing(transaction, content, Then::HandOver), Answer::Stored) => {
                self.hand_over(transaction, content, &mut output)
            }
            (State::Storing(transaction, mut content, then), Answer::Refused(refusal)) => {
                output.abandon(content.drop_for(Dropped::NotStored(refusal)));
                match then {
                    Then::ReadOn => State::Content(transaction, content),
                    Then::HandOver => self.hand_over(transaction, content, &mut output),
                }
            }
            (State::Enqueuing { .. }, Answer::Enqueued(id)) => {
                output.say(&replies::queued(id));
                output.reports = Reports::default();
                self.after_content(&mut output)
            }
            (State::Enqueuing { from, chunks }, Answer::Refused(refusal)) => {
                output.abandon(chunks);
                output.refuse(Step::Content, replies::refused(&refusal), Some(&from), None);
                self.after_content(&mut output)
            }
            (state, _) => state,
        };
        self.read_pending(now, &mut output);
        self.done(output)
    }

    /// When [`timeout`](Self::timeout) has to be called; never while a question is open, nor when the session is closed.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self.state {
            State::Idle | State::Mail(_) | State::Content(..) => Some(self.deadline),
            State::Storing(..) | State::Enqueuing { .. } | State::Closed => None,
        }
    }

    /// Ends the session where its deadline has come.
    pub fn timeout(&mut self, now: Timestamp) -> Vec<Action> {
        match self.deadline() {
            Some(deadline) if deadline <= now => self.end(replies::timed_out(&self.policy.hostname)),
            _ => Vec::new(),
        }
    }

    /// Ends the session because the daemon stops. While a question is open, it ends with the answer.
    pub fn stop(&mut self, stop: Stop) -> Vec<Action> {
        match (&self.state, stop) {
            (State::Closed, _) => Vec::new(),
            (State::Content(..), Stop::AfterContent) | (State::Storing(..) | State::Enqueuing { .. }, _) => {
                self.term = Term::ThisContent;
                Vec::new()
            }
            (State::Idle | State::Mail(_), _) | (State::Content(..), Stop::Now) => {
                self.end(replies::shutting_down(&self.policy.hostname))
            }
        }
    }

    /// TLS has begun: what was said before is forgotten (RFC 3207 §4.2).
    pub fn secured(&mut self, now: Timestamp) -> Vec<Action> {
        self.policy.tls = Tls::Active;
        self.pending.clear();
        self.deadline = now.after(self.policy.timeout);
        Vec::new()
    }

    /// The client is gone: what remains to be told.
    pub fn hung_up(&mut self) -> Vec<Action> {
        Vec::new()
    }

    fn output(&mut self) -> Output {
        Output { actions: Vec::new(), reports: std::mem::take(&mut self.reports) }
    }

    fn done(&mut self, output: Output) -> Vec<Action> {
        self.reports = output.reports;
        output.actions
    }

    fn read_pending(&mut self, now: Timestamp, output: &mut Output) {
        let pending = std::mem::take(&mut self.pending);
        self.read(&pending, now, output);
    }

    /// Reads commands and content until a question is open or the input ends.
    fn read(&mut self, input: &[u8], now: Timestamp, output: &mut Output) {
        let mut rest = input;
        while !rest.is_empty() {
            let used = match std::mem::replace(&mut self.state, State::Closed) {
                State::Closed => return,
                State::Content(transaction, content) => {
                    self.deadline = now.after(self.policy.timeout);
                    self.content(transaction, content, rest, output)
                }
                state @ (State::Storing(..) | State::Enqueuing { .. }) => {
                    self.state = state;
                    self.pending = rest.to_vec();
                    return;
                }
                state @ (State::Idle | State::Mail(_)) => {
                    let (used, line) = self.lines.read(rest);
                    // Only whole lines move the deadline: a client that sends an octet now and then must not stay.
                    self.state = match line {
                        Some(line) => {
                            self.deadline = now.after(self.policy.timeout);
                            self.line(state, line, output)
                        }
                        None => state,
                    };
                    used
                }
            };
            rest = &rest[used..];
        }
    }

    fn line(&mut self, state: State, line: Line, output: &mut Output) -> State {
        match line {
            Line::Whole(line) => self.command(state, Command::parse(&line), output),
            Line::TooLong => output.say_in(state, &replies::line_too_long(LINE_OCTETS)),
        }
    }

    /// The one place that decides which command is legal when. HELO is not asked for: a device that forgets it would
    /// lose its mail, and its name proves nothing.
    fn command(&mut self, state: State, command: Result<Command, CommandError>, output: &mut Output) -> State {
        let hostname = self.policy.hostname.as_str();
        match (state, command) {
            (_, Ok(Command::Helo(name))) => {
                output.reports.begin();
                output.say(&replies::helo(hostname));
                self.greeting = Greeting { name, protocol: "SMTP" };
                State::Idle
            }
            (_, Ok(Command::Ehlo(name))) => {
                output.reports.begin();
                output.say(&replies::ehlo(hostname, extensions::offered(&self.policy)));
                self.greeting = Greeting { name, protocol: "ESMTP" };
                State::Idle
            }
            (State::Idle, Ok(Command::Mail { from, parameters })) => self.mail(from, &parameters, output),
            (state, Ok(Command::Mail { from, .. })) => {
                output.refuse(Step::Mail, replies::nested_mail(), Some(&from), None);
                state
            }
            (State::Mail(transaction), Ok(Command::Rcpt { to, parameters })) => {
                self.rcpt(transaction, to, &parameters, output)
            }
            (state, Ok(Command::Rcpt { .. })) => output.refuse_in(state, Step::Rcpt, replies::needs_mail()),
            (State::Mail(transaction), Ok(Command::Data)) if !transaction.envelope.recipients.is_empty() => {
                output.say(&replies::send_content());
                State::Content(transaction, Content::new(self.policy.max_message_size))
            }
            (state @ State::Mail(_), Ok(Command::Data)) => {
                output.refuse_in(state, Step::Data, replies::no_recipients())
            }
            (state, Ok(Command::Data)) => output.refuse_in(state, Step::Data, replies::needs_mail()),
            (_, Ok(Command::Rset)) => {
                output.reports.begin();
                output.say_in(State::Idle, &replies::ok())
            }
            (state, Ok(Command::Noop)) => output.say_in(state, &replies::ok()),
            (state, Ok(Command::Vrfy)) => output.say_in(state, &replies::cannot_verify()),
            (state, Ok(Command::Help)) => output.say_in(state, &replies::help()),
            (_, Ok(Command::Quit)) => output.close(&replies::bye(hostname)),
            (state, Err(error)) => match step_of(&error) {
                Some(step) => output.refuse_in(state, step, replies::bad_command(error)),
                None => output.say_in(state, &replies::bad_command(error)),
            },
        }
    }

    fn mail(&self, from: ReversePath, parameters: &[Parameter], output: &mut Output) -> State {
        match Transaction::begin(&from, parameters, &self.policy) {
            Ok(transaction) => {
                output.reports.begin();
                output.say_in(State::Mail(transaction), &replies::sender_ok())
            }
            Err(reply) => {
                output.refuse(Step::Mail, reply, Some(&from), None);
                State::Idle
            }
        }
    }

    fn rcpt(
        &self,
        mut transaction: Transaction,
        to: ForwardPath,
        parameters: &[Parameter],
        output: &mut Output,
    ) -> State {
        match transaction.add(to, parameters, &self.policy) {
            Ok(()) => output.say(&replies::recipient_ok()),
            Err((reply, recipient)) => {
                output.refuse(Step::Rcpt, reply, Some(&transaction.envelope.reverse_path), recipient);
            }
        }
        State::Mail(transaction)
    }

    /// Reads content; returns how much of the input was used.
    fn content(&mut self, transaction: Transaction, mut content: Content, input: &[u8], output: &mut Output) -> usize {
        let (used, progress) = content.read(input);
        self.state = match progress {
            Progress::More => State::Content(transaction, content),
            Progress::Dropped { chunks } => {
                output.abandon(chunks);
                State::Content(transaction, content)
            }
            Progress::Chunk(chunk) => output.store(chunk, transaction, content, Then::ReadOn),
            Progress::End => match content.take_rest() {
                Some(chunk) => output.store(chunk, transaction, content, Then::HandOver),
                None => self.hand_over(transaction, content, output),
            },
        };
        used
    }

    /// Content has arrived whole: asks to enqueue it, or says why it was not kept.
    fn hand_over(&self, transaction: Transaction, content: Content, output: &mut Output) -> State {
        let protocol = transaction.protocol(self.greeting.protocol);
        let envelope = transaction.envelope;
        let reply = match content.complete() {
            Ok(Complete { head, chunks, size }) => {
                let (helo, from) = (self.greeting.name.clone(), envelope.reverse_path.clone());
                let handover = Handover { helo, protocol, user: None, envelope, head, chunks, size };
                output.ask(Question::Enqueue(handover));
                return State::Enqueuing { from, chunks };
            }
            Err(Dropped::TooLarge) => replies::too_large(self.policy.max_message_size),
            Err(Dropped::HeaderTooLarge) => replies::header_too_large(CHUNK_OCTETS),
            Err(Dropped::NotStored(refusal)) => replies::refused(&refusal),
        };
        output.refuse(Step::Content, reply, Some(&envelope.reverse_path), None);
        self.after_content(output)
    }

    fn after_content(&self, output: &mut Output) -> State {
        match self.term {
            Term::Open => State::Idle,
            Term::ThisContent => output.close(&replies::shutting_down(&self.policy.hostname)),
        }
    }

    /// Ends the session from our side (RFC 5321 §3.8). An open transaction is lost with it.
    fn end(&mut self, reply: Reply) -> Vec<Action> {
        let mut output = self.output();
        match std::mem::replace(&mut self.state, State::Closed) {
            state @ State::Mail(_) => drop(output.refuse_in(state, Step::Data, reply)),
            State::Content(transaction, content) => {
                output.abandon(content.stored());
                output.refuse(Step::Content, reply, Some(&transaction.envelope.reverse_path), None);
            }
            State::Idle | State::Storing(..) | State::Enqueuing { .. } | State::Closed => output.say(&reply),
        }
        output.actions.push(Action::Close);
        self.done(output)
    }
}

/// The step of a transaction that an ill-formed command should have been: mail may be lost with it.
fn step_of(error: &CommandError) -> Option<Step> {
    match error {
        CommandError::Mail(_) => Some(Step::Mail),
        CommandError::Rcpt(_) => Some(Step::Rcpt),
        CommandError::Argument("DATA") => Some(Step::Data),
        CommandError::Unknown(_) | CommandError::NotImplemented(_) | CommandError::Argument(_) => None,
    }
}

/// Gathers the actions of one call.
struct Output {
    actions: Vec<Action>,
    reports: Reports,
}

impl Output {
    fn say(&mut self, reply: &Reply) {
        self.actions.push(Action::Send(reply.to_bytes()));
    }

    /// Replies, and `state` follows.
    fn say_in(&mut self, state: State, reply: &Reply) -> State {
        self.say(reply);
        state
    }

    fn refuse(&mut self, step: Step, reply: Reply, from: Option<&ReversePath>, recipient: Option<Address>) {
        self.say(&reply);
        if let Some(refused) = self.reports.admit(Refused { step, reply, from: from.cloned(), recipient }) {
            self.actions.push(Action::Report(Event::Refused(refused)));
        }
    }

    /// Refuses a command that names nobody, and `state` stays.
    fn refuse_in(&mut self, state: State, step: Step, reply: Reply) -> State {
        let from = match &state {
            State::Mail(transaction) => Some(&transaction.envelope.reverse_path),
            _ => None,
        };
        self.refuse(step, reply, from, None);
        state
    }

    fn ask(&mut self, question: Question) {
        self.actions.push(Action::Ask(question));
    }

    fn store(&mut self, chunk: Chunk, transaction: Transaction, content: Content, then: Then) -> State {
        self.ask(Question::Store { seq: chunk.seq, bytes: chunk.bytes });
        State::Storing(transaction, content, then)
    }

    fn abandon(&mut self, chunks: u32) {
        if chunks > 0 {
            self.actions.push(Action::Abandon);
        }
    }

    fn close(&mut self, reply: &Reply) -> State {
        self.say(reply);
        self.actions.push(Action::Close);
        State::Closed
    }
}
