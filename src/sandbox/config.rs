//! What the sandbox plays: the profile of a smarthost, its mailbox, its caps, and where things are kept.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::fault::FaultRule;
use crate::smtp::{Address, AddressPattern};

/// How a sandbox is set up. The default is smtp.office365.com on a free port of 127.0.0.1, with an authority that lives
/// in memory and mail that is only recorded.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The directory of `ca.pem`, `ca.key`, `server.pem` and `server.key`, made at the first start; none: in memory.
    pub authority: Option<PathBuf>,
    /// The directory of the delivered messages, one `.eml` file each; none: no files.
    pub mail: Option<PathBuf>,
    /// Whether the record of a delivery holds the content itself.
    pub content: KeepContent,
    /// The user of the mailbox.
    pub user: String,
    /// The password of the mailbox, for LOGIN and PLAIN.
    pub password: SecretString,
    /// The bearer token of the mailbox, for XOAUTH2; none: every token is refused.
    pub token: Option<SecretString>,
    /// What the smarthost offers and how it answers.
    pub profile: Profile,
    /// What the mailbox may send.
    pub caps: Caps,
    /// The fault from the start.
    pub fault: Option<FaultRule>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            authority: None,
            mail: None,
            content: KeepContent::Drop,
            user: "webmaster@example.com".to_owned(),
            password: SecretString::from("open-sesame"),
            token: None,
            profile: Profile::default(),
            caps: Caps::default(),
            fault: None,
        }
    }
}

/// Whether deliveries are recorded with their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepContent {
    /// Size and digest are enough.
    Drop,
    /// The bytes too.
    Keep,
}

/// What the smarthost offers and how it answers. The default is smtp.office365.com, but for CHUNKING and BINARYMIME.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The name in the banner, in the answer to EHLO and in the bracket of replies.
    pub host_name: String,
    /// When the connection is encrypted.
    pub tls: TlsMode,
    /// The login mechanisms offered, in order. None: mail is taken without a login.
    pub mechanisms: Vec<Mechanism>,
    /// The other extensions offered, in order.
    pub extensions: Vec<Extension>,
    /// How long the smarthost takes before it answers a command, or a pipelined group of commands.
    pub reply_delay: Duration,
    /// How long a silent client is borne; the banner, EHLO and TLS included.
    pub idle_timeout: Duration,
    /// Connections at a time; one more hears 421 4.3.2.
    pub connections: usize,
    /// What happens to a message with a line feed that follows no carriage return.
    pub bare_linefeed: BareLinefeed,
}

impl Default for Profile {
    fn default() -> Self {
        use Extension::{Dsn, EightBitMime, EnhancedStatusCodes, Pipelining, Size, SmtpUtf8};
        Self {
            host_name: "sandbox.outlook.office365.com".to_owned(),
            tls: TlsMode::StartTls,
            mechanisms: vec![Mechanism::Login, Mechanism::Xoauth2],
            extensions: vec![Size, Pipelining, Dsn, EnhancedStatusCodes, EightBitMime, SmtpUtf8],
            reply_delay: Duration::ZERO,
            idle_timeout: Duration::from_secs(300),
            connections: 1_000,
            bare_linefeed: BareLinefeed::Refuse,
        }
    }
}

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// By STARTTLS (RFC 3207), without which neither AUTH nor MAIL is taken.
    StartTls,
    /// From the first byte (RFC 8314 §3).
    Implicit,
    /// Never.
    None,
}

/// A login mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// LOGIN: user and password asked for one after the other, or the user given with the command.
    Login,
    /// PLAIN (RFC 4616).
    Plain,
    /// XOAUTH2: a bearer token.
    Xoauth2,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "LOGIN",
            Self::Plain => "PLAIN",
            Self::Xoauth2 => "XOAUTH2",
        })
    }
}

/// An extension that the answer to EHLO may name. One that is not named is refused when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension {
    /// SIZE (RFC 1870), with the cap on the size.
    Size,
    /// PIPELINING (RFC 2920).
    Pipelining,
    /// DSN (RFC 3461); its parameters are read over.
    Dsn,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    EnhancedStatusCodes,
    /// 8BITMIME (RFC 6152).
    EightBitMime,
    /// SMTPUTF8 (RFC 6531).
    SmtpUtf8,
}

/// What happens to a message with a line feed that follows no carriage return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareLinefeed {
    /// 554 5.6.0 at the end of data, as the store driver of Microsoft 365 has it.
    Refuse,
    /// It is content like any other.
    Keep,
}

/// What the mailbox may send. The default is that of a mailbox of Microsoft 365.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Messages in any window.
    pub messages: Option<Limit>,
    /// What becomes of a message beyond that.
    pub excess: Excess,
    /// Recipients in any window.
    pub recipients: Option<Limit>,
    /// Messages at a time, from DATA to the final reply.
    pub concurrent: usize,
    /// Recipients of one message.
    pub recipients_per_message: usize,
    /// Octets of one message.
    pub size: usize,
    /// Whom the mailbox may send as.
    pub senders: Senders,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            messages: Some(Limit { count: 30, window: Duration::from_secs(60) }),
            excess: Excess::Refuse,
            recipients: Some(Limit { count: 10_000, window: Duration::from_secs(86_400) }),
            concurrent: 3,
            recipients_per_message: 500,
            size: 157_286_400,
            senders: Senders::Mailbox,
        }
    }
}

impl Caps {
    /// No caps but those on the size and on the recipients of a message, and any sender.
    pub fn unlimited() -> Self {
        Self { messages: None, recipients: None, concurrent: usize::MAX, senders: Senders::Any, ..Self::default() }
    }
}

/// No window of this length, wherever it starts, holds more than `count`. A window holds its first moment, not its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many.
    pub count: usize,
    /// In how long.
    pub window: Duration,
}

/// What becomes of a message beyond the cap on messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It hears 421 4.4.2 at the end of data.
    Refuse,
    /// It is taken, and counted as a violation.
    Record,
}

/// Whom the mailbox may send as, in MAIL and in the header's From.
#[derive(Clone, Debug)]
pub enum Senders {
    /// Only as its user.
    Mailbox,
    /// As its user and as these.
    Granted(Vec<AddressPattern>),
    /// As anybody, or with no From at all.
    Any,
}

impl Senders {
    /// Whether the mailbox of `user` may send as `sender`.
    pub(super) fn allow(&self, user: &str, sender: &str) -> bool {
        let own = sender.eq_ignore_ascii_case(user);
        match self {
            Self::Any => true,
            Self::Mailbox => own,
            Self::Granted(patterns) => {
                let address = sender.parse::<Address>();
                own || address.is_ok_and(|address| patterns.iter().any(|pattern| pattern.matches(&address)))
            }
        }
    }
}
