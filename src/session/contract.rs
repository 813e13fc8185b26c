//! What a session and its driver say to each other.

use crate::ids::MessageId;
use crate::message::sender::SenderRefused;
use crate::smtp::{Address, AddressPattern, Envelope, Reply, ReversePath};

/// What the session has to know of the listener. It holds for the whole session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name in the banner, and the domain of `<postmaster>`.
    pub hostname: String,
    /// Octets of content.
    pub max_message_size: u64,
    /// Recipients of one transaction.
    pub max_recipients: usize,
}

/// What the driver does next, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send these bytes. Several in a row may go out as one write.
    Send(Vec<u8>),
    /// Find the answer and call [`super::Session::answer`]. Always the last action, and nothing is read from the client
    /// until it is answered.
    Ask(Question),
    /// Forget the chunks stored since the last message was handed over: that message will not come.
    Abandon,
    /// Log and count this.
    Report(Event),
    /// Send what is to be sent, then close the connection. Always the last action.
    Close,
}

/// What the session must know to go on.
#[derive(Debug, PartialEq, Eq)]
pub enum Question {
    /// Keep this part of the content that is arriving. Answered by [`Answer::Stored`] or [`Answer::Refused`].
    Store {
        /// From 1, without gaps.
        seq: u32,
        /// Unstuffed, line ends CRLF; a line end is never split.
        bytes: Vec<u8>,
    },
    /// Take responsibility for this message. Answered by [`Answer::Enqueued`] or [`Answer::Refused`].
    Enqueue(Handover),
}

/// The answer to the one open [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The chunk is kept.
    Stored,
    /// The message is on disk.
    Enqueued(MessageId),
    /// The chunk is not kept, or the message is not taken.
    Refused(Refusal),
}

/// A whole message as the client sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct Handover {
    /// What the client said at HELO or EHLO; empty where it said nothing.
    pub helo: String,
    /// `SMTP`, `ESMTP` or `UTF8SMTP` (RFC 3848, RFC 6531 §4.3).
    pub protocol: &'static str,
    /// From MAIL and RCPT.
    pub envelope: Envelope,
    /// The whole content up to 256 KiB; of a longer one the header block with the empty line behind it, if it has
    /// them. Unstuffed, line ends CRLF, no bare CR or LF.
    pub head: Vec<u8>,
    /// How many chunks of it were stored, numbered from 1.
    pub chunks: u32,
    /// Octets of the whole content.
    pub size: u64,
}

/// Why the intake does not take a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue or its disk is full.
    Full,
    /// It has passed so many hosts that it must be running in circles.
    TooManyHops,
    /// No account may send as this sender, and repairing it is switched off.
    SenderNotAllowed {
        /// Which of its senders.
        refused: SenderRefused,
        /// Who could send.
        allowed: Vec<AddressPattern>,
    },
    /// The store has failed, or shuts down.
    Unavailable,
}

/// What is worth a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client was refused something. Clients do not retry: mail may be lost.
    Refused(Refused),
}

/// A refusal as the client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// At which step.
    pub step: Step,
    /// What it was told; in the last of a flood that is reported, with a remark that more are not.
    pub reply: Reply,
    /// From whom the mail was, where that is known.
    pub from: Option<ReversePath>,
    /// Which recipient was refused, where it was one.
    pub recipient: Option<Address>,
}

/// The steps at which a client can be refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before the banner.
    Connect,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Rcpt,
    /// At DATA.
    Data,
    /// While content arrived, or at its end.
    Content,
}

impl Step {
    /// The word that log lines use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Content => "content",
        }
    }
}

/// How soon a session has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// When the content that is arriving has arrived; without such content at once.
    AfterContent,
    /// At once.
    Now,
}
