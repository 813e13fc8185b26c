//! What a session and its driver say to each other.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::quirk::Quirk;
use crate::ids::MessageId;
use crate::message::sender::SenderRefused;
use crate::route::{Hidden, LocalMail};
use crate::smtp::{Address, AddressPattern, Envelope, Reply, ReversePath};

/// What the session has to know of the listener and the client. It holds for the whole session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The name in the banner, and the domain of `<postmaster>`.
    pub hostname: String,
    /// What completes a local part without a domain.
    pub default_domain: String,
    /// How the client may write.
    pub manners: Manners,
    /// Octets of content.
    pub max_message_size: u64,
    /// Recipients of one transaction.
    pub max_recipients: usize,
    /// How long a client may take for a command, and between two pieces of content.
    pub timeout: Duration,
    /// How long it may take from MAIL to the end of data, and how long it may stay without sending mail.
    pub transaction_timeout: Duration,
    /// Which reverse paths it may use; none listed: all. A null reverse path is always allowed.
    pub senders: Vec<AddressPattern>,
    /// To whom it may send; none listed: to all.
    pub recipients: Vec<AddressPattern>,
    /// Whom mail for users of this machine goes to.
    pub local: Arc<LocalMail>,
    /// What EHLO does not show it.
    pub hidden: Vec<Hidden>,
    /// Whether there is TLS.
    pub tls: Tls,
    /// Whether it logs in.
    pub auth: AuthRule,
    /// Whether LF.LF ends content beside CRLF.CRLF.
    pub lf_end: bool,
}

/// How a client may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// What can be understood is taken, and told as a [`Quirk`].
    Tolerant,
    /// As RFC 5321 has it, or refused.
    Strict,
}

/// The TLS of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// There is none, and none can be had.
    Absent,
    /// STARTTLS is offered.
    Offered,
    /// The connection is encrypted.
    Active,
}

/// Who has to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthRule {
    /// Nobody; AUTH is not offered.
    None,
    /// Nobody, but whoever wants to may, with any credentials. They are neither kept nor looked at.
    AcceptAny,
    /// Everybody, before MAIL.
    Required {
        /// Whether AUTH is offered before TLS is active.
        in_plain_text: bool,
    },
}

impl Policy {
    /// What holds where the configuration says nothing: everybody may send to all, in any manner, without TLS and AUTH.
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.to_owned(),
            default_domain: hostname.to_owned(),
            manners: Manners::Tolerant,
            max_message_size: 35 << 20,
            max_recipients: 1000,
            timeout: STEP_LIMIT,
            transaction_timeout: TRANSACTION_LIMIT,
            senders: Vec::new(),
            recipients: Vec::new(),
            local: Arc::default(),
            hidden: Vec::new(),
            tls: Tls::Absent,
            auth: AuthRule::None,
            lf_end: false,
        }
    }
}

/// How long a client may take for a step, by default. RFC 5321 §4.5.3.2.7 asks for 5 minutes; radio links and scanners that
/// page are slower.
pub const STEP_LIMIT: Duration = Duration::from_secs(600);

/// How long it may take for a transaction, by default: an octet now and then must not hold a place for ever.
pub const TRANSACTION_LIMIT: Duration = Duration::from_secs(1800);

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
    /// Send what is to be sent, throw away what was read behind it, begin TLS and call [`super::Session::secured`]. Always
    /// the last action.
    StartTls,
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
    /// Whether this user has this password. Answered by [`Answer::Authenticated`], [`Answer::Denied`] or
    /// [`Answer::Refused`].
    Authenticate(Credentials),
}

/// Who a client says that it is.
#[derive(Debug)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: SecretString,
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        self.username == other.username && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl Eq for Credentials {}

/// The answer to the one open [`Question`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The chunk is kept.
    Stored,
    /// The message is on disk.
    Enqueued(MessageId),
    /// The user has this password.
    Authenticated,
    /// There is no such user, or it has another password.
    Denied,
    /// The chunk is not kept, the message is not taken, or passwords cannot be looked at now.
    Refused(Refusal),
}

/// A whole message as the client sent it.
#[derive(Debug, PartialEq, Eq)]
pub struct Handover {
    /// What the client said at HELO or EHLO; empty where it said nothing.
    pub helo: String,
    /// `SMTP`, `ESMTP`, `ESMTPS`, `ESMTPA`, `ESMTPSA`, or `UTF8SMTP` and its like (RFC 3848, RFC 6531 §4.3).
    pub protocol: &'static str,
    /// Who has logged in, where a login is required.
    pub user: Option<String>,
    /// From MAIL and RCPT; of a recipient that has an alias, the addresses that it stands for.
    pub envelope: Envelope,
    /// The recipients that have one, as the client wrote them.
    pub aliased: Vec<String>,
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
    /// The client did this, and was let do it. Told once a session.
    Quirk(Quirk),
    /// The client ended its content with a lone dot behind or before a bare LF, waited for a reply and left: its message is
    /// lost.
    Unterminated {
        /// From whom the mail was.
        from: ReversePath,
        /// Where the dot stood.
        dot: LoneDot,
    },
    /// The client is gone, or the connection broke, before its content had an end: its message is lost.
    CutOff {
        /// From whom the mail was.
        from: ReversePath,
    },
    /// The session is over and was no attempt to send mail: nothing, HELO, EHLO, NOOP, RSET or QUIT was said.
    Probe,
}

/// Where a dot stands that is alone on its line and ends no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoneDot {
    /// Between bare LFs: `lf_end` would take it for the end.
    BetweenLfs,
    /// With CRLF on one side of it and a bare LF on the other: nothing would.
    BesideCrLf,
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
    /// At STARTTLS, or in the TLS handshake.
    StartTls,
    /// At AUTH.
    Auth,
    /// At a command that is none.
    Command,
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
            Self::StartTls => "starttls",
            Self::Auth => "auth",
            Self::Command => "command",
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
    /// When its message has been answered. It may still begin one where it has handed in none: it came for that, and hears 421
    /// as a refusal.
    AfterMessage,
    /// When the message that it has begun has been answered; without one at once.
    AfterTransaction,
    /// At once.
    Now,
}
