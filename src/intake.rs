//! The one door into the queue: stamps a message, adds what is missing, routes it and stores it.

use std::net::IpAddr;

use crate::ids::{ClientName, MessageId};
use crate::route::Priority;
use crate::session::Refusal;
use crate::smtp::Envelope;

/// A whole message as a client handed it over, about to be stored.
#[derive(Debug)]
pub struct Submission {
    /// Its queue id, taken from [`Intake::next_id`] when its content began.
    pub id: MessageId,
    /// Who sends.
    pub client: ClientName,
    /// In which class.
    pub priority: Priority,
    /// How it came, for `Received:`.
    pub trace: Trace,
    /// From whom and to whom.
    pub envelope: Envelope,
    /// The beginning of the content with its whole header block: all of it up to 256 KiB, else what came before the
    /// first chunk handed to [`Intake::append`]. Unstuffed, line ends CRLF, no bare CR or LF.
    pub head: Vec<u8>,
    /// How many chunks were handed to [`Intake::append`], numbered from 1.
    pub chunks: u32,
    /// Octets of the whole content.
    pub size: u64,
}

/// How a message came, for its `Received:` field (RFC 5321 §4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The client's address.
    pub address: IpAddr,
    /// What it said at HELO or EHLO; empty where it said nothing.
    pub helo: String,
    /// `SMTP`, `ESMTP` or `UTF8SMTP` (RFC 3848, RFC 6531 §4.3).
    pub protocol: &'static str,
}

/// Keeps messages in memory.
#[derive(Debug, Default)]
pub struct Intake {
    ids: std::sync::atomic::AtomicI64,
    kept: std::sync::Mutex<Kept>,
}

/// What the double keeps.
#[derive(Debug, Default)]
pub struct Kept {
    /// Accepted.
    pub messages: Vec<(Submission, Vec<u8>)>,
    /// Chunks of messages to come.
    pub chunks: std::collections::HashMap<MessageId, Vec<Vec<u8>>>,
}

impl Intake {
    /// A new id.
    pub fn next_id(&self) -> MessageId {
        MessageId(1_795_362_588_000_000 + self.ids.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    /// Keeps a chunk.
    pub async fn append(&self, id: MessageId, seq: u32, bytes: Vec<u8>) -> Result<(), Refusal> {
        let mut kept = self.kept();
        let chunks = kept.chunks.entry(id).or_default();
        assert_eq!(seq as usize, chunks.len() + 1);
        chunks.push(bytes);
        Ok(())
    }

    /// Forgets chunks.
    pub async fn abandon(&self, id: MessageId) {
        self.kept().chunks.remove(&id);
    }

    /// Takes a message.
    pub async fn accept(&self, submission: Submission) -> Result<MessageId, Refusal> {
        let mut kept = self.kept();
        let id = submission.id;
        let rest = kept.chunks.remove(&id).unwrap_or_default().concat();
        let content = [submission.head.clone(), rest].concat();
        kept.messages.push((submission, content));
        Ok(id)
    }

    /// What is kept.
    pub fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
