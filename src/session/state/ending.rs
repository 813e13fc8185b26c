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
                // One loss is told once.
                if content.unterminated().is_some() {
                    self.out.say(&reply);
                    self.tell_unterminated(&transaction, &content);
                } else {
                    self.out.refuse(Step::Content, reply, Some(&transaction.envelope.reverse_path), None);
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
        if content.unterminated().is_some() {
            self.tell_unterminated(&transaction, content);
        } else {
            self.out.report(Event::CutOff { from: transaction.envelope.reverse_path });
        }
    }

    fn tell_unterminated(&mut self, transaction: &Transaction, content: &Content) {
        if let Some(dot) = content.unterminated() {
            let from = transaction.envelope.reverse_path.clone();
            self.out.report(Event::Unterminated { from, dot });
        }
    }

    fn tell_probe(&mut self) {
        if self.purpose == Purpose::Unknown && self.lines.start().is_empty() {
            self.out.report(Event::Probe);
        }
    }
}
