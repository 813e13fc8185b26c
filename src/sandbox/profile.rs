//! What a smarthost offers and how it answers: four that are known by their words, and any mixture for tests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::replies::{self, Wording};

/// Whose submission service is played, and so whose words are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// smtp.office365.com.
    Microsoft365,
    /// email-smtp.REGION.amazonaws.com.
    Ses,
    /// in-v3.mailjet.com.
    Mailjet,
    /// smtp.gmail.com.
    Google,
}

impl Service {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Microsoft365, Self::Ses, Self::Mailjet, Self::Google];

    /// The word by which commands know it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Microsoft365 => "microsoft365",
            Self::Ses => "ses",
            Self::Mailjet => "mailjet",
            Self::Google => "google",
        }
    }

    /// The host that is played, as people know it.
    pub const fn host(self) -> &'static str {
        match self {
            Self::Microsoft365 => "smtp.office365.com",
            Self::Ses => "email-smtp.us-east-1.amazonaws.com",
            Self::Mailjet => "in-v3.mailjet.com",
            Self::Google => "smtp.gmail.com",
        }
    }

    pub(super) const fn wording(self) -> &'static Wording {
        match self {
            Self::Microsoft365 => &replies::microsoft365::WORDING,
            Self::Ses => &replies::ses::WORDING,
            Self::Mailjet => &replies::mailjet::WORDING,
            Self::Google => &replies::google::WORDING,
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no service that can be played.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be played; wanted microsoft365, ses, mailjet or google")]
pub struct NotAService(String);

impl FromStr for Service {
    type Err = NotAService;

    fn from_str(name: &str) -> Result<Self, NotAService> {
        Self::ALL.into_iter().find(|service| service.name() == name).ok_or_else(|| NotAService(name.to_owned()))
    }
}

/// What the smarthost offers and how it answers. The default is smtp.office365.com.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Whose words it speaks.
    pub service: Service,
    /// The name in the banner, in the answer to EHLO and in the bracket of replies.
    pub host_name: String,
    /// When the connection is encrypted.
    pub tls: TlsMode,
    /// What becomes of a login before TLS.
    pub clear_logins: ClearLogins,
    /// The login mechanisms offered, in order. None: mail is taken without a login.
    pub mechanisms: Vec<Mechanism>,
    /// What the answer to EHLO names, in order.
    pub extensions: Vec<Extension>,
    /// How long the smarthost takes before it answers a command, or a pipelined group of commands.
    pub reply_delay: Duration,
    /// How long a silent client is borne; the banner, EHLO and TLS included.
    pub idle_timeout: Duration,
    /// Connections at a time; one more is turned away by the banner.
    pub connections: usize,
    /// What happens to a message with a line feed that follows no carriage return.
    pub bare_linefeed: BareLinefeed,
    /// What happens to a message that has a header field twice which may be there once.
    pub repeated_fields: RepeatedFields,
}

impl Default for Profile {
    fn default() -> Self {
        Self::microsoft365()
    }
}

impl Profile {
    /// The profile of a service.
    pub fn of(service: Service) -> Self {
        match service {
            Service::Microsoft365 => Self::microsoft365(),
            Service::Ses => Self::ses(),
            Service::Mailjet => Self::mailjet(),
            Service::Google => Self::google(),
        }
    }

    /// smtp.office365.com, as it answered in 2025.
    pub fn microsoft365() -> Self {
        use Extension::{Auth, Dsn, EightBitMime, EnhancedStatusCodes, Named, Pipelining, Size, SmtpUtf8, StartTls};
        Self {
            service: Service::Microsoft365,
            host_name: "sandbox.outlook.office365.com".to_owned(),
            tls: TlsMode::StartTls,
            clear_logins: ClearLogins::Hidden,
            mechanisms: vec![Mechanism::Login, Mechanism::Xoauth2],
            extensions: vec![
                Size,
                Pipelining,
                Dsn,
                EnhancedStatusCodes,
                StartTls,
                Auth,
                EightBitMime,
                Named("BINARYMIME"),
                Named("CHUNKING"),
                SmtpUtf8,
            ],
            reply_delay: Duration::ZERO,
            idle_timeout: Duration::from_secs(300),
            connections: 1_000,
            bare_linefeed: BareLinefeed::Refuse,
            repeated_fields: RepeatedFields::Take,
        }
    }

    /// Amazon SES: no PIPELINING, no enhanced status codes, logins offered before TLS and refused there; idle clients are
    /// sent away after ten seconds.
    pub fn ses() -> Self {
        use Extension::{Auth, EightBitMime, Named, Size, StartTls};
        Self {
            service: Service::Ses,
            host_name: "email-smtp.amazonaws.com".to_owned(),
            clear_logins: ClearLogins::Refuse,
            mechanisms: vec![Mechanism::Plain, Mechanism::Login],
            extensions: vec![EightBitMime, Size, Auth, StartTls, Named("Ok")],
            idle_timeout: Duration::from_secs(10),
            bare_linefeed: BareLinefeed::Keep,
            repeated_fields: RepeatedFields::Refuse,
            ..Self::microsoft365()
        }
    }

    /// Mailjet, whose servers speak as Postfix does; logins are offered before TLS, and taken.
    pub fn mailjet() -> Self {
        use Extension::{Auth, EightBitMime, EnhancedStatusCodes, Named, Pipelining, Size, SmtpUtf8, StartTls};
        use Mechanism::{Login, Named as Mentioned, Plain};
        Self {
            service: Service::Mailjet,
            host_name: "smtpintls.mailjet.com".to_owned(),
            clear_logins: ClearLogins::Take,
            mechanisms: vec![Plain, Login, Mentioned("DIGEST-MD5"), Mentioned("CRAM-MD5")],
            extensions: vec![
                Pipelining,
                Size,
                Named("VRFY"),
                Named("ETRN"),
                StartTls,
                Auth,
                EnhancedStatusCodes,
                EightBitMime,
                SmtpUtf8,
                Named("CHUNKING"),
            ],
            bare_linefeed: BareLinefeed::Keep,
            ..Self::microsoft365()
        }
    }

    /// smtp.gmail.com, which explains a refused token in a challenge before it refuses the login.
    pub fn google() -> Self {
        use Extension::{Auth, EightBitMime, EnhancedStatusCodes, Named, Pipelining, Size, SmtpUtf8, StartTls};
        Self {
            service: Service::Google,
            host_name: "smtp.gmail.com".to_owned(),
            mechanisms: vec![Mechanism::Login, Mechanism::Plain, Mechanism::Xoauth2],
            extensions: vec![
                Size,
                EightBitMime,
                StartTls,
                Auth,
                EnhancedStatusCodes,
                Pipelining,
                Named("CHUNKING"),
                SmtpUtf8,
            ],
            bare_linefeed: BareLinefeed::Keep,
            ..Self::microsoft365()
        }
    }
}

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// By STARTTLS (RFC 3207).
    StartTls,
    /// From the first byte (RFC 8314 §3).
    Implicit,
    /// Never.
    None,
}

/// What becomes of AUTH before STARTTLS. Each is counted ([`super::Counters::plaintext_logins`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClearLogins {
    /// It is not offered, and refused.
    Hidden,
    /// It is offered, and refused.
    Refuse,
    /// It is offered and taken, and so is mail after it.
    Take,
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
    /// Named in the answer to EHLO, and refused when it is asked for.
    Named(&'static str),
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "LOGIN",
            Self::Plain => "PLAIN",
            Self::Xoauth2 => "XOAUTH2",
            Self::Named(name) => name,
        })
    }
}

/// A line of the answer to EHLO. An extension that is not named is refused when it is used.
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
    /// STARTTLS (RFC 3207): there until TLS is.
    StartTls,
    /// AUTH (RFC 4954) with the mechanisms: there where a login may be had.
    Auth,
    /// 8BITMIME (RFC 6152).
    EightBitMime,
    /// SMTPUTF8 (RFC 6531).
    SmtpUtf8,
    /// A line that the real server has; what it offers is refused when it is used.
    Named(&'static str),
}

/// What happens to a message with a line feed that follows no carriage return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareLinefeed {
    /// 554 5.6.0 at the end of data, as the store driver of Microsoft 365 has it.
    Refuse,
    /// It is content like any other.
    Keep,
}

/// What happens to a message that has a header field twice which may be there once (RFC 5322 §3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatedFields {
    /// It is refused at the end of data, as SES does.
    Refuse,
    /// Nobody minds.
    Take,
}
