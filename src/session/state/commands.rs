//! Command lines: which command is legal when, and what each does.

use secrecy::zeroize::Zeroize;

use super::{Data, Opening, Purpose, Session, State};
use crate::session::content::{Content, Ends};
use crate::session::contract::{Action, AuthRule, Event, Manners, Step, Tls};
use crate::session::foreign::Foreign;
use crate::session::greeting::{Greeting, Kind, Standing};
use crate::session::lines::{LINE_OCTETS, Line, LineEnd, Lines};
use crate::session::quirk::Quirk;
use crate::session::transaction::Transaction;
use crate::session::{extensions, replies};
use crate::smtp::command::{Command, CommandError, ForwardPath, Lapse, Parameter, Parsed, PathError};
use crate::smtp::{Reply, ReversePath};
use crate::time::Timestamp;

impl Session {
    /// A line has come while a command was expected.
    pub(super) fn command_line(&mut self, state: State, line: Line, now: Timestamp) -> State {
        let (Line::Whole(start, _) | Line::TooLong(start)) = &line;
        if let Some(foreign) = Foreign::of(start) {
            return self.turn_away(&state, foreign);
        }
        match line {
            Line::Whole(mut line, end) => {
                let parsed = Command::parse(&line, &self.policy.default_domain);
                // It may have held a password.
                line.zeroize();
                self.parsed(state, parsed, end, now)
            }
            Line::TooLong(start) => {
                self.purpose = self.purpose.at_least_earnest();
                if self.data == Data::Refused {
                    return self.refuse_content(&state);
                }
                self.fault(state, step_of_start(&start), replies::line_too_long(LINE_OCTETS))
            }
        }
    }

    /// Forgives what is beside the rules, or does not.
    fn parsed(&mut self, state: State, parsed: Parsed, end: LineEnd, now: Timestamp) -> State {
        let Parsed { command, lapses } = parsed;
        if !is_small_talk(&command) {
            self.purpose = self.purpose.at_least_earnest();
        }
        let is_early = std::mem::replace(&mut self.opening, Opening::InOrder) == Opening::Early;
        if self.policy.manners == Manners::Strict {
            if is_early {
                return self.refuse_and_close(&state, Step::Command, replies::early());
            }
            let refusal = match lapses.into_iter().find(|lapse| !is_allowed(*lapse)) {
                _ if end == LineEnd::Lf => Some(replies::bare_lf()),
                lapse => lapse.map(|lapse| replies::lapse(lapse, &command)),
            };
            if let Some(reply) = refusal {
                let step = step_of(&command);
                return self.fault(state, step, reply);
            }
            return self.command(state, command, now);
        }
        if is_early {
            self.out.note(Quirk::EarlyCommand);
        }
        if command.is_ok() {
            if end == LineEnd::Lf {
                self.out.note(Quirk::BareLfCommand);
            }
            for lapse in lapses {
                self.out.note(lapse.into());
            }
        }
        self.command(state, command, now)
    }

    /// The one place that decides which command is legal when. Tolerant manners do not ask for HELO: a device that forgets
    /// it would lose its mail, and its name proves nothing.
    fn command(&mut self, state: State, command: Result<Command, CommandError>, now: Timestamp) -> State {
        if command.is_ok() {
            self.data = Data::Open;
        }
        match (state, command) {
            (_, Ok(Command::Helo(name))) => self.greet(name, Kind::Helo),
            (_, Ok(Command::Ehlo(name))) => self.greet(name, Kind::Ehlo),
            (State::Idle, Ok(Command::Mail { from, parameters })) => self.mail(&from, &parameters, now),
            (state, Ok(Command::Mail { from, .. })) => {
                self.out.refuse(Step::Mail, replies::nested_mail(), Some(&from), None);
                state
            }
            (State::Mail(transaction), Ok(Command::Rcpt { to, parameters })) => self.rcpt(transaction, to, &parameters),
            (state, Ok(Command::Rcpt { .. })) => self.refuse_in(state, Step::Rcpt, replies::needs_mail()),
            (State::Mail(transaction), Ok(Command::Data)) if !transaction.envelope.recipients.is_empty() => {
                self.out.say(&replies::send_content());
                let ends = if self.policy.lf_end { Ends::LfToo } else { Ends::CrLfOnly };
                State::Content(transaction, Content::new(self.policy.max_message_size, ends))
            }
            (state @ State::Mail(_), Ok(Command::Data)) => self.refuse_data(state, replies::no_recipients()),
            (state, Ok(Command::Data)) => self.refuse_data(state, replies::needs_mail()),
            (_, Ok(Command::Rset)) => {
                self.out.begin();
                self.say_in(State::Idle, &replies::ok())
            }
            (state, Ok(Command::Noop)) => self.say_in(state, &replies::ok()),
            (state, Ok(Command::Vrfy)) => self.say_in(state, &replies::cannot_verify()),
            (state, Ok(Command::Help)) => self.say_in(state, &replies::help()),
            (state, Ok(Command::StartTls)) => self.start_tls(state),
            (State::Idle, Ok(Command::Auth { mechanism, initial })) => self.log_in(&mechanism, initial),
            // RFC 4954 §4.
            (state, Ok(Command::Auth { .. })) => self.refuse_in(state, Step::Auth, replies::auth_in_transaction()),
            (_, Ok(Command::Quit)) => {
                self.out.say(&replies::bye(&self.policy.hostname));
                if self.purpose == Purpose::Unknown {
                    self.out.report(Event::Probe);
                }
                self.out.push(Action::Close);
                State::Closed
            }
            (state, Err(CommandError::Unknown(_))) if self.data == Data::Refused => self.refuse_content(&state),
            (state, Err(CommandError::NotImplemented(verb))) => self.say_in(state, &replies::not_implemented(verb)),
            (state, Err(error)) => {
                let (step, is_a_fault) = (step_of_error(&error), is_fault(&error));
                let reply = replies::bad_command(error);
                match step {
                    // It has the form of a command; only the address is none.
                    Some(step) if !is_a_fault => self.refuse_in(state, step, reply),
                    step => self.fault(state, step, reply),
                }
            }
        }
    }

    fn refuse_data(&mut self, state: State, reply: Reply) -> State {
        self.data = Data::Refused;
        self.refuse_in(state, Step::Data, reply)
    }

    /// A client that has not waited for the reply to DATA goes on with its content. Whoever wrote that could have put
    /// commands into it, so nothing more is read.
    fn refuse_content(&mut self, state: &State) -> State {
        let reply = replies::content_after_refusal(&self.policy.hostname);
        self.refuse_and_close(state, Step::Command, reply)
    }

    fn say_in(&mut self, state: State, reply: &Reply) -> State {
        self.out.say(reply);
        state
    }

    /// HELO or EHLO. To tolerant manners HELO takes nothing back that EHLO gave: cameras say EHLO, HELO, AUTH.
    fn greet(&mut self, name: String, kind: Kind) -> State {
        self.out.begin();
        let hostname = &self.policy.hostname;
        match kind {
            Kind::Ehlo => self.out.say(&replies::ehlo(hostname, extensions::offered(&self.policy))),
            Kind::Helo | Kind::Nothing => self.out.say(&replies::helo(hostname)),
        }
        let kind = match (self.policy.manners, self.greeting.kind, kind) {
            (Manners::Tolerant, Kind::Ehlo, Kind::Helo) => {
                self.out.note(Quirk::HeloAfterEhlo);
                Kind::Ehlo
            }
            (Manners::Tolerant | Manners::Strict, _, kind) => kind,
        };
        self.greeting = Greeting { name, kind };
        State::Idle
    }

    fn start_tls(&mut self, state: State) -> State {
        if self.policy.tls == Tls::Active {
            return self.refuse_in(state, Step::StartTls, replies::tls_is_active());
        }
        if !extensions::offers_tls(&self.policy) {
            return self.refuse_in(state, Step::StartTls, replies::tls_not_offered(self.policy.tls));
        }
        self.out.say(&replies::begin_tls());
        self.out.push(Action::StartTls);
        self.lines = Lines::new();
        State::Securing
    }

    fn mail(&mut self, from: &ReversePath, parameters: &[Parameter], now: Timestamp) -> State {
        let is_user = matches!(self.standing, Standing::User(_));
        let has_greeted = self.greeting.kind != Kind::Nothing;
        let refusal = match (self.policy.auth, self.policy.manners) {
            (AuthRule::Required { in_plain_text }, _) if !is_user => {
                let needs_tls = !in_plain_text && self.policy.tls != Tls::Active;
                Some(if needs_tls { replies::needs_tls_and_login() } else { replies::needs_login() })
            }
            (_, Manners::Strict) if !has_greeted => Some(replies::needs_helo()),
            _ => None,
        };
        let mut quirks = Vec::new();
        let begun = match refusal {
            Some(reply) => Err(reply),
            None => Transaction::begin(from, parameters, &self.policy, now, &mut quirks),
        };
        match begun {
            Ok(transaction) => {
                self.out.begin();
                if !has_greeted {
                    self.out.note(Quirk::NoHelo);
                }
                self.note_all(quirks);
                self.say_in(State::Mail(transaction), &replies::sender_ok())
            }
            Err(reply) => {
                self.out.refuse(Step::Mail, reply, Some(from), None);
                State::Idle
            }
        }
    }

    fn rcpt(&mut self, mut transaction: Transaction, to: Vec<ForwardPath>, parameters: &[Parameter]) -> State {
        let (several, mut quirks) = (to.len() > 1, Vec::new());
        match transaction.add(to, parameters, &self.policy, &mut quirks) {
            Ok(()) => {
                self.note_all(quirks);
                self.out.say(&replies::recipient_ok());
            }
            Err((reply, recipient)) => {
                let reply = if several { replies::none_of_several(reply) } else { reply };
                self.out.refuse(Step::Rcpt, reply, Some(&transaction.envelope.reverse_path), recipient);
            }
        }
        State::Mail(transaction)
    }

    fn note_all(&mut self, quirks: Vec<Quirk>) {
        for quirk in quirks {
            self.out.note(quirk);
        }
    }
}

impl Purpose {
    fn at_least_earnest(self) -> Self {
        match self {
            Self::Unknown | Self::Earnest => Self::Earnest,
            Self::Fulfilled => Self::Fulfilled,
        }
    }
}

/// Whether monitors say this too.
fn is_small_talk(command: &Result<Command, CommandError>) -> bool {
    matches!(command, Ok(Command::Helo(_) | Command::Ehlo(_) | Command::Noop | Command::Rset | Command::Quit))
}

/// Whether the RFC asks servers to bear this lapse, so that strict manners do too.
fn is_allowed(lapse: Lapse) -> bool {
    matches!(lapse, Lapse::SpaceBehind | Lapse::SourceRoute)
}

/// The step of a transaction that a command is, or should have been: mail may be lost with it.
fn step_of(command: &Result<Command, CommandError>) -> Option<Step> {
    match command {
        Ok(Command::Mail { .. }) => Some(Step::Mail),
        Ok(Command::Rcpt { .. }) => Some(Step::Rcpt),
        Ok(Command::Data) => Some(Step::Data),
        Ok(Command::Auth { .. }) => Some(Step::Auth),
        Ok(Command::StartTls) => Some(Step::StartTls),
        Err(error) => step_of_error(error),
        Ok(_) => None,
    }
}

/// The same of a line of which only the start is known: a list of recipients can be too long.
fn step_of_start(start: &[u8]) -> Option<Step> {
    let start = start.trim_ascii_start();
    let step_of_verb = [("MAIL", Step::Mail), ("RCPT", Step::Rcpt), ("DATA", Step::Data), ("AUTH", Step::Auth)];
    let begins = |verb: &str| start.get(..verb.len()).is_some_and(|word| word.eq_ignore_ascii_case(verb.as_bytes()));
    step_of_verb.into_iter().find(|(verb, _)| begins(verb)).map(|(_, step)| step)
}

fn step_of_error(error: &CommandError) -> Option<Step> {
    match error {
        CommandError::Mail(_) => Some(Step::Mail),
        CommandError::Rcpt(_) => Some(Step::Rcpt),
        CommandError::Argument("STARTTLS") => Some(Step::StartTls),
        CommandError::Unknown(_) | CommandError::NotImplemented(_) | CommandError::Argument(_) => None,
    }
}

/// Whether what came is no command at all, or an ill-formed one, and not only one with an address that is none: a list of
/// recipients may have many of those.
fn is_fault(error: &CommandError) -> bool {
    match error {
        CommandError::Mail(error) | CommandError::Rcpt(error) => {
            matches!(error, PathError::Form | PathError::Parameter(_))
        }
        CommandError::Unknown(_) | CommandError::Argument(_) => true,
        CommandError::NotImplemented(_) => false,
    }
}
