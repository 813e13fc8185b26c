//! AUTH (RFC 4954).

use super::{Session, State, Term};
use crate::session::auth::{Exchange, Progress, is_cancelled};
use crate::session::contract::{Action, Answer, AuthRule, Manners, Question, Step, Tls};
use crate::session::greeting::{Kind, Standing};
use crate::session::lines::{Line, LineEnd, RESPONSE_OCTETS};
use crate::session::quirk::Quirk;
use crate::session::replies;
use crate::smtp::command::Response;

impl Session {
    /// AUTH, outside of a transaction.
    pub(super) fn log_in(&mut self, mechanism: &str, initial: Option<Response>) -> State {
        let is_strict = self.policy.manners == Manners::Strict;
        let refusal = match self.policy.auth {
            AuthRule::None => Some(replies::auth_not_offered()),
            AuthRule::Required { in_plain_text: false } if self.policy.tls != Tls::Active => {
                Some(replies::auth_needs_tls())
            }
            _ if is_strict && self.standing != Standing::Anonymous => Some(replies::logged_in_already()),
            _ if is_strict && self.greeting.kind != Kind::Ehlo => Some(replies::auth_needs_ehlo()),
            AuthRule::AcceptAny | AuthRule::Required { .. } => None,
        };
        if let Some(reply) = refusal {
            return self.refuse_in(State::Idle, Step::Auth, reply);
        }
        match (Exchange::of(mechanism), initial) {
            (Some(exchange), Some(response)) => self.respond(exchange, &response),
            (Some(exchange), None) => self.prompt(exchange),
            (None, _) => self.fault(State::Idle, Some(Step::Auth), replies::unknown_mechanism(mechanism)),
        }
    }

    /// The client's line of an exchange.
    pub(super) fn response_line(&mut self, exchange: Exchange, line: Line) -> State {
        match line {
            Line::TooLong(_) => self.fault(State::Idle, Some(Step::Auth), replies::line_too_long(RESPONSE_OCTETS)),
            Line::Whole(_, LineEnd::Lf) if self.policy.manners == Manners::Strict => {
                self.fault(State::Idle, Some(Step::Auth), replies::bare_lf())
            }
            Line::Whole(line, end) => {
                if end == LineEnd::Lf {
                    self.out.note(Quirk::BareLfCommand);
                }
                self.respond(exchange, &Response::new(line))
            }
        }
    }

    fn prompt(&mut self, exchange: Exchange) -> State {
        self.out.say(&replies::challenge(exchange.prompt()));
        State::LoggingIn(exchange)
    }

    fn respond(&mut self, exchange: Exchange, response: &Response) -> State {
        if is_cancelled(response) {
            self.out.say(&replies::auth_cancelled());
            return State::Idle;
        }
        // Nobody asks who it is, or it has said so: the exchange runs to its end, and nothing of it is looked at.
        if self.policy.auth == AuthRule::AcceptAny || matches!(self.standing, Standing::User(_)) {
            return match exchange.pass_over() {
                Some(next) => self.prompt(next),
                None => self.wave_through(),
            };
        }
        match exchange.respond(response) {
            Ok(Progress::Asks(next)) => self.prompt(next),
            Ok(Progress::Said(credentials)) => {
                let username = credentials.username.clone();
                self.out.ask(Question::Authenticate(credentials));
                State::Verifying { username }
            }
            Err(_) => self.fault(State::Idle, Some(Step::Auth), replies::malformed_response()),
        }
    }

    fn wave_through(&mut self) -> State {
        self.out.note(Quirk::NeedlessAuth);
        if self.standing == Standing::Anonymous {
            self.standing = Standing::Waved;
        }
        self.logged_in()
    }

    fn logged_in(&mut self) -> State {
        if self.greeting.kind != Kind::Ehlo {
            self.out.note(Quirk::AuthAfterHelo);
        }
        self.out.say(&replies::logged_in());
        State::Idle
    }

    /// The password is the right one, or not, or nobody can tell.
    pub(super) fn login_answered(&mut self, username: String, answer: Answer) -> State {
        let state = match answer {
            Answer::Authenticated => {
                self.standing = Standing::User(username);
                self.logged_in()
            }
            Answer::Denied => {
                self.denied += 1;
                if self.denied >= MOST_DENIED {
                    let reply = replies::too_many_logins(&self.policy.hostname);
                    self.out.refuse(Step::Auth, reply, None, None);
                    self.out.push(Action::Close);
                    return State::Closed;
                }
                self.refuse_in(State::Idle, Step::Auth, replies::login_denied())
            }
            Answer::Refused(_) => self.refuse_in(State::Idle, Step::Auth, replies::login_unavailable()),
            Answer::Stored | Answer::Enqueued(_) => State::Idle,
        };
        match self.term {
            Term::ThisMessage => state,
            Term::Open | Term::ThisAnswer => self.go_on(state),
        }
    }
}

/// A client that is denied so often in one session is guessing, or has the wrong password.
const MOST_DENIED: u32 = 3;
