//! Content that arrives, and what becomes of it.

use super::{Session, State, Then};
use crate::session::content::{CHUNK_OCTETS, Chunk, Complete, Content, Dropped, Progress};
use crate::session::contract::{Answer, Handover, Question, Step};
use crate::session::greeting::Standing;
use crate::session::quirk::Quirk;
use crate::session::replies;
use crate::session::state::Purpose;
use crate::session::transaction::Transaction;
use crate::smtp::ReversePath;
use crate::time::Timestamp;

impl Session {
    /// Reads content; returns how much of the input was used.
    pub(super) fn content(
        &mut self,
        transaction: Transaction,
        mut content: Content,
        input: &[u8],
        now: Timestamp,
    ) -> usize {
        let (used, progress) = content.read(input);
        self.state = match progress {
            Progress::More => State::Content(transaction, content),
            Progress::Dropped { chunks } => {
                self.out.abandon(chunks);
                State::Content(transaction, content)
            }
            Progress::Chunk(chunk) => self.store(chunk, transaction, content, Then::ReadOn),
            Progress::End => match content.take_rest() {
                Some(chunk) => self.store(chunk, transaction, content, Then::HandOver),
                None => self.hand_over(transaction, content, now),
            },
        };
        used
    }

    fn store(&mut self, chunk: Chunk, transaction: Transaction, content: Content, then: Then) -> State {
        self.out.ask(Question::Store { seq: chunk.seq, bytes: chunk.bytes });
        State::Storing(transaction, content, then)
    }

    /// The chunk is stored or not: reads on, or hands over.
    pub(super) fn chunk_answered(
        &mut self,
        transaction: Transaction,
        mut content: Content,
        then: Then,
        answer: Answer,
        now: Timestamp,
    ) -> State {
        if let Answer::Refused(refusal) = answer {
            self.out.abandon(content.drop_for(Dropped::NotStored(refusal)));
        }
        match then {
            Then::ReadOn => State::Content(transaction, content),
            Then::HandOver => self.hand_over(transaction, content, now),
        }
    }

    /// Content has arrived whole: asks to enqueue it, or says why it was not kept.
    fn hand_over(&mut self, transaction: Transaction, content: Content, now: Timestamp) -> State {
        let reply = match content.complete() {
            Ok(complete) => return self.ask_to_enqueue(transaction, complete),
            Err(Dropped::TooLarge) => replies::too_large(self.policy.max_message_size),
            Err(Dropped::HeaderTooLarge) => replies::header_too_large(CHUNK_OCTETS),
            Err(Dropped::NotStored(refusal)) => replies::refused(&refusal),
        };
        self.out.refuse(Step::Content, reply, Some(&transaction.envelope.reverse_path), None);
        self.after_content(now)
    }

    fn ask_to_enqueue(&mut self, transaction: Transaction, complete: Complete) -> State {
        let Complete { head, chunks, size, quirks } = complete;
        if transaction.has_wrong_size(size) {
            self.out.note(Quirk::WrongSize);
        }
        for quirk in quirks {
            self.out.note(quirk);
        }
        let protocol = self.greeting.protocol(self.policy.tls, &self.standing, transaction.repertoire());
        let user = match &self.standing {
            Standing::User(name) => Some(name.clone()),
            Standing::Anonymous | Standing::Waved => None,
        };
        let helo = self.greeting.name.clone();
        let Transaction { envelope, aliased, .. } = transaction;
        let from = envelope.reverse_path.clone();
        self.out.ask(Question::Enqueue(Handover { helo, protocol, user, envelope, aliased, head, chunks, size }));
        State::Enqueuing { from, chunks }
    }

    /// The message is taken or not.
    pub(super) fn message_answered(
        &mut self,
        from: &ReversePath,
        chunks: u32,
        answer: Answer,
        now: Timestamp,
    ) -> State {
        match answer {
            Answer::Enqueued(id) => {
                self.out.say(&replies::queued(id));
                self.out.message_taken();
                self.purpose = Purpose::Fulfilled;
            }
            Answer::Refused(refusal) => {
                self.out.abandon(chunks);
                self.out.refuse(Step::Content, replies::refused(&refusal), Some(from), None);
            }
            Answer::Stored | Answer::Authenticated | Answer::Denied => {}
        }
        self.after_content(now)
    }

    fn after_content(&mut self, now: Timestamp) -> State {
        self.stay_ends = now.after(self.policy.transaction_timeout);
        self.go_on(State::Idle)
    }
}
