//! How a session ends: by a client that is gone, a time limit or a stop; and what is told of the mail that is lost with it.

use super::{Purpose, Session, State, Then};
use crate::session::content::Content;
use crate::session::contract::{Action, Event, Step};
use crate::session::quirk::Quirk;
use crate::session::replies;
use crate::session::transaction::Transaction;
use crate::smtp::Reply;
use crate::time::Timestamp;

impl Session {
    /// The client is gone, or the connection broke: what remains to be told.
    pub fn hung_up(&mut self) -> Vec<Action> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Content(transaction, content) => {
                self.out.abandon(content.stored());
                self.tell_lost(transaction, &content);
            }
            State::Storing(transaction, content, then) => {
                self.out.abandon(content.stored());
                // Content that is whole was answered, were there still somebody to hear it.
                if matches!(then, Then::ReadOn) {
                    self.tell_lost(transaction, &content);
                }
            }
            State::Enqueuing { chunks, .. } => self.out.abandon(chunks),
            State::Idle if self.purpose == Purpose::Fulfilled => self.out.note(Quirk::NoQuit),
            State::Idle => self.tell_probe(),
            State::Mail(_) | State::LoggingIn(_) | State::Verifying { .. } | State::Securing | State::Closed => {}
        }
        self.out.take()
    }

    /// Ends the session because a time limit has passed, and says which.
    pub(super) fn run_out(&mut self, now: Timestamp) {
        let hostname = &self.policy.hostname;
        let reply = match &self.state {
            _ if self.step_ends <= now => replies::timed_out(hostname),
            State::Mail(_) | State::Content(..) => replies::transaction_timed_out(hostname),
            _ => replies::stayed_too_long(hostname),
        };
        if matches!(self.state, State::Idle) {
            self.tell_probe();
        }
        self.end(reply);
    }

    /// Ends the session from our side (RFC 5321 §3.8). An open transaction is lost with it.
    pub(super) fn end(&mut self, reply: Reply) {
        match std::mem::replace(&mut self.state, State::Closed) {
            state @ State::Mail(_) => drop(self.refuse_in(state, Step::Data, reply)),
            State::Content(transaction, content) => {
                self.out.abandon(content.stored());
                let from = transaction.envelope.reverse_path;
                // One loss is told once.
                match content.unterminated() {
                    Some(dot) => {
                        self.out.say(&reply);
                        self.out.report(Event::Unterminated { from, dot });
                    }
                    None => self.out.refuse(Step::Content, reply, Some(&from), None),
                }
            }
            // In the middle of a handshake nothing can be said.
            State::Securing | State::Closed => {}
            State::Idle
            | State::LoggingIn(_)
            | State::Storing(..)
            | State::Enqueuing { .. }
            | State::Verifying { .. } => self.out.say(&reply),
        }
        self.out.push(Action::Close);
    }

    /// The client has left in the middle of content.
    fn tell_lost(&mut self, transaction: Transaction, content: &Content) {
        let from = transaction.envelope.reverse_path;
        self.out.report(match content.unterminated() {
            Some(dot) => Event::Unterminated { from, dot },
            None => Event::CutOff { from },
        });
    }

    fn tell_probe(&mut self) {
        if self.purpose == Purpose::Unknown && self.lines.start().is_empty() {
            self.out.report(Event::Probe);
        }
    }
}
