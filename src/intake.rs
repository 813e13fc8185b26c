//! The one door into the queue: stamps a message, adds what is missing, routes it and stores it.

use std::net::IpAddr;

use crate::ids::{ClientName, MessageId};
use crate::route::Priority;
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
