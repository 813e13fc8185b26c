//! What came of an attempt, as the driver saw it: replies, or trouble where no reply came.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::smtp::Reply;

/// A step of a delivery, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A token for the login is fetched from the identity provider.
    Token,
    /// The host's name is looked up.
    Resolve,
    /// A TCP connection is opened.
    Connect,
    /// The server's first reply is awaited.
    Greeting,
    /// EHLO, before or after TLS.
    Ehlo,
    /// STARTTLS and its reply.
    StartTls,
    /// The TLS handshake.
    Tls,
    /// AUTH and its challenges.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA up to 354.
    Data,
    /// The content on its way, before its final dot.
    Content,
    /// The final dot was sent and the reply is awaited: what breaks here leaves the message uncertain.
    FinalReply,
}

impl Step {
    /// The words that logs and lists use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Ehlo => "EHLO",
            Self::StartTls => "STARTTLS",
            Self::Tls => "TLS",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Content => "content",
            Self::FinalReply => "end of data",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No reply came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// While what was done.
    pub step: Step,
    /// What happened.
    pub kind: TroubleKind,
    /// In words, with what the system said.
    pub detail: String,
}

/// The kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The host's name has no address, or nobody could tell.
    Resolve,
    /// No address of the host took a connection.
    Connect,
    /// The TLS handshake failed or the certificate is not trusted.
    Tls,
    /// The peer took longer than the step's time limit.
    TimedOut,
    /// The peer closed or reset the connection.
    HungUp,
    /// The peer said what is not SMTP, or lacks what is required (STARTTLS, a login mechanism we know).
    Protocol,
    /// The identity provider refused a token; the detail has its reason and what a person can do.
    TokenRefused,
    /// Something on this machine stood in the way: a secret that cannot be read, a directory that cannot be written.
    Local,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.step)
    }
}

/// What stood in the way of a session or a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    /// The provider answered, and not as wished.
    Refused {
        /// To what.
        step: Step,
        /// With what.
        reply: Reply,
    },
    /// The provider did not answer.
    Trouble(Trouble),
}

/// What became of one RCPT command of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RcptResult {
    /// The provider took the recipient; what happens to it is the transaction's end.
    Accepted,
    /// The provider refused this recipient.
    Refused(Reply),
    /// The transaction ended before the command was sent or answered.
    NotAsked,
}

/// How a transaction ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The final reply was positive: the accepted recipients are delivered.
    Accepted(Reply),
    /// Every recipient was refused, so no content was sent.
    NoRecipient,
    /// MAIL, DATA or the content was refused, or no reply came.
    Stopped(Obstacle),
}

/// What became of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// One result for each recipient of the claim, in its order.
    pub recipients: Vec<RcptResult>,
    /// How it ended.
    pub end: End,
}
