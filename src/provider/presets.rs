//! The presets as data: what an account of each kind of provider has where its configuration does not say otherwise.
//! Sources are named at each; what no provider publishes is a cautious choice, and said so.

use std::fmt;
use std::time::Duration;

use super::{Cap, Caps, Provider, caps::Counted};
use crate::message::sender::SenderMode;

/// When TLS begins on a connection to a smarthost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// After STARTTLS, which the server must offer.
    StartTls,
    /// At once (port 465, RFC 8314).
    Implicit,
    /// Never; refuses credentials unless the host is loopback.
    None,
}

/// A login mechanism that we speak (RFC 4954).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// A bearer token of OAuth 2.0 (developers.google.com, *OAuth 2.0 Mechanism*; Microsoft takes the same).
    Xoauth2,
    /// RFC 4616: everything in one line.
    Plain,
    /// User name and password, each behind a challenge; never standardised, and all that Microsoft 365 has for
    /// passwords.
    Login,
}

/// What an account has where its configuration is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    /// How its mail leaves.
    pub way: Way,
    /// What it lets through.
    pub caps: Caps,
    /// What happens to senders that are not the account's own.
    pub sender: SenderMode,
    /// Header fields by which its clients would command the provider; names, or beginnings of names that end in `*`.
    pub removed_fields: &'static [&'static str],
    /// What happens to a field that may occur once and occurs twice.
    pub repeated_fields: RepeatedFields,
}

/// What happens to a header field that may occur once (RFC 5322 §3.6) and occurs twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepeatedFields {
    /// It stays as it is.
    Kept,
    /// One is made of them.
    Folded,
}

/// How the mail of an account leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To a smarthost.
    Smarthost(Smarthost),
    /// Into files.
    Directory,
}

/// Where a smarthost is and how it is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smarthost {
    /// Its name.
    pub host: Host,
    /// When TLS begins.
    pub tls: TlsMode,
    /// Where it listens with STARTTLS or without TLS; the first is the one to use.
    pub ports: &'static [u16],
    /// Where it listens with TLS from the first octet; empty where it does not.
    pub tls_ports: &'static [u16],
    /// Whether it lets anybody in without a login.
    pub login: LoginNeed,
    /// The mechanisms it may be asked for, the preferred first.
    pub mechanisms: &'static [Mechanism],
    /// How long a connection is kept.
    pub keep: Keep,
}

/// The name of a smarthost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Always the same.
    Fixed(&'static str),
    /// One for each region of the provider, whose name stands between these two.
    OfRegion(&'static str, &'static str),
    /// The configuration has to say.
    Named,
}

/// How long a connection is kept for further messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Messages that it carries at most.
    pub messages: u32,
    /// Its age at most.
    pub age: Duration,
    /// How long it may wait for the next message.
    pub idle: Duration,
}

impl Default for Keep {
    /// What suits every smarthost that we know.
    fn default() -> Self {
        KEEP
    }
}

/// Whether a smarthost lets anybody in without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginNeed {
    /// It never does.
    Required,
    /// It may know us by our address.
    Optional,
    /// It takes none: it knows us by our address or our certificate.
    Absent,
}

impl Provider {
    /// Every kind, by the word that the configuration uses.
    pub const WORDS: [(&'static str, Self); 7] = [
        ("microsoft365", Self::Microsoft365),
        ("microsoft365-hve", Self::Microsoft365Hve),
        ("microsoft365-connector", Self::Microsoft365Connector),
        ("ses", Self::Ses),
        ("mailjet", Self::Mailjet),
        ("smtp", Self::Smtp),
        ("directory", Self::Directory),
    ];

    /// What an account of this kind has where its configuration is silent.
    pub fn preset(self) -> Preset {
        match self {
            Self::Microsoft365 => microsoft365(),
            Self::Microsoft365Hve => microsoft365_hve(),
            Self::Microsoft365Connector => microsoft365_connector(),
            Self::Ses => ses(),
            Self::Mailjet => mailjet(),
            Self::Smtp => smtp(),
            Self::Directory => Preset {
                way: Way::Directory,
                caps: Caps { windows: vec![], connections: 5, recipients_per_message: 1000, message_size: 1024 * MIB },
                sender: SenderMode::Keep,
                removed_fields: &[],
                repeated_fields: RepeatedFields::Kept,
            },
        }
    }
}

impl Smarthost {
    /// The port to use for TLS that begins so: of those where it listens, or where any server usually does.
    pub fn port(&self, tls: TlsMode) -> u16 {
        let known = if tls == TlsMode::Implicit { self.tls_ports } else { self.ports };
        known.first().copied().unwrap_or(tls.usual_port())
    }
}

impl TlsMode {
    /// The port where a server usually speaks so: submission 587 (RFC 6409), submissions 465 (RFC 8314 §3.3), smtp 25.
    pub fn usual_port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Implicit => 465,
            Self::None => 25,
        }
    }
}

impl Mechanism {
    /// As AUTH names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Xoauth2 => "XOAUTH2",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Client submission with SMTP AUTH: 30 messages a minute, 10,000 recipients in any 24 hours and three connections a
/// mailbox (learn.microsoft.com, *Exchange Online limits*, sending limits). A mailbox may send to 1,000 recipients at
/// once and 150 MB; tenants start at 500 and 35 MB.
fn microsoft365() -> Preset {
    let minute = cap(Counted::Messages, 30, 60);
    let day = cap(Counted::Recipients, 10_000, DAY);
    Preset {
        way: Way::Smarthost(Smarthost { ports: &[587, 25], ..microsoft("smtp.office365.com") }),
        caps: Caps { windows: vec![minute, day], connections: 3, recipients_per_message: 500, message_size: 35 * MIB },
        sender: SenderMode::Rewrite,
        removed_fields: &[],
        repeated_fields: RepeatedFields::Kept,
    }
}

/// High Volume Email, to recipients of the tenant alone (learn.microsoft.com, *High Volume Email*). Its limits are not
/// published: connections, recipients and size are those of a mailbox.
fn microsoft365_hve() -> Preset {
    let caps = Caps { windows: vec![], connections: 3, recipients_per_message: 500, message_size: 35 * MIB };
    Preset { way: Way::Smarthost(microsoft("smtp.hve.mx.microsoft")), caps, ..microsoft365() }
}

/// An inbound connector that knows us by our address or certificate (techcommunity.microsoft.com, *Updated requirements
/// for SMTP relay through Exchange Online*). At most 200 recipients of one domain in a transaction; the connections are
/// a cautious choice.
fn microsoft365_connector() -> Preset {
    let smarthost = Smarthost {
        host: Host::Named,
        ports: &[25],
        login: LoginNeed::Absent,
        mechanisms: &[],
        ..microsoft("TENANT.mail.protection.outlook.com")
    };
    Preset {
        way: Way::Smarthost(smarthost),
        caps: Caps { windows: vec![], connections: 5, recipients_per_message: 200, message_size: 150 * MIB },
        sender: SenderMode::Keep,
        ..microsoft365()
    }
}

fn microsoft(host: &'static str) -> Smarthost {
    Smarthost {
        host: Host::Fixed(host),
        tls: TlsMode::StartTls,
        ports: &[587],
        tls_ports: &[],
        login: LoginNeed::Required,
        mechanisms: &[Mechanism::Xoauth2, Mechanism::Login],
        keep: KEEP,
    }
}

/// Amazon SES (docs.aws.amazon.com/ses, *Service quotas*): quotas count recipients. Those of a new account, its sandbox,
/// are the only ones that are the same for all; others have to be written. 50 recipients and 40 MB a message. Idle
/// connections are cut after 10 s; how many there may be is not published.
fn ses() -> Preset {
    let windows = vec![cap(Counted::Recipients, 1, 1), cap(Counted::Recipients, 200, DAY)];
    let smarthost = Smarthost {
        host: Host::OfRegion("email-smtp.", ".amazonaws.com"),
        tls: TlsMode::StartTls,
        ports: &[587, 2587, 25],
        tls_ports: &[465, 2465],
        login: LoginNeed::Required,
        mechanisms: &[Mechanism::Plain, Mechanism::Login],
        keep: KEEP,
    };
    Preset {
        way: Way::Smarthost(smarthost),
        caps: Caps { windows, connections: 5, recipients_per_message: 50, message_size: 40_000_000 },
        sender: SenderMode::Rewrite,
        removed_fields: &["X-SES-*"],
        repeated_fields: RepeatedFields::Folded,
    }
}

/// Mailjet (mailjet.com, *Which SMTP port*; github.com/mailjet/api-documentation): 15 MiB, 50 recipients. Its rates
/// depend on the plan; the connections are a cautious choice.
fn mailjet() -> Preset {
    let smarthost = Smarthost {
        host: Host::Fixed("in-v3.mailjet.com"),
        tls: TlsMode::StartTls,
        ports: &[587, 588, 2525, 25, 80],
        tls_ports: &[465],
        login: LoginNeed::Required,
        mechanisms: &[Mechanism::Plain, Mechanism::Login],
        keep: KEEP,
    };
    Preset {
        way: Way::Smarthost(smarthost),
        caps: Caps { windows: vec![], connections: 5, recipients_per_message: 50, message_size: 15 * MIB },
        sender: SenderMode::Rewrite,
        removed_fields: &["X-MJ-*", "X-Mailjet-*"],
        repeated_fields: RepeatedFields::Kept,
    }
}

/// Any smarthost. A server must take 100 recipients (RFC 5321 §4.5.3.1.8); the rest is what nearly every one bears. The
/// fields are those by which SendGrid, Mailgun, Postmark, SES and Mailjet are commanded.
fn smtp() -> Preset {
    let smarthost = Smarthost {
        host: Host::Named,
        tls: TlsMode::StartTls,
        ports: &[],
        tls_ports: &[],
        login: LoginNeed::Optional,
        mechanisms: &[Mechanism::Xoauth2, Mechanism::Plain, Mechanism::Login],
        keep: KEEP,
    };
    Preset {
        way: Way::Smarthost(smarthost),
        caps: Caps { windows: vec![], connections: 5, recipients_per_message: 100, message_size: 35 * MIB },
        sender: SenderMode::Keep,
        removed_fields: &["X-SMTPAPI", "X-Mailgun-*", "X-PM-*", "X-SES-*", "X-MJ-*", "X-Mailjet-*"],
        repeated_fields: RepeatedFields::Kept,
    }
}

fn cap(counted: Counted, count: u32, seconds: u64) -> Cap {
    Cap { counted, count, window: Duration::from_secs(seconds) }
}

/// Amazon cuts connections idle for ten seconds, Microsoft after minutes: mail in a burst finds them open all the same.
/// Microsoft's hosts drop sessions at about twenty minutes, in whatever they are doing. A hundred messages are fewer than
/// any smarthost's own limit.
const KEEP: Keep = Keep { messages: 100, age: Duration::from_secs(5 * 60), idle: Duration::from_secs(8) };
const MIB: u64 = 1 << 20;
const DAY: u64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_kinds() {
        for (word, provider) in Provider::WORDS {
            assert_eq!(provider.as_str(), word);
        }
    }

    #[test]
    fn the_caps_are_those_published() {
        let windows = |provider: Provider| {
            provider
                .preset()
                .caps
                .windows
                .iter()
                .map(|cap| format!("{cap} {}", cap.counted.as_str()))
                .collect::<Vec<_>>()
        };
        assert_eq!(windows(Provider::Microsoft365), ["30/min messages", "10000/24h recipients"]);
        assert_eq!(windows(Provider::Ses), ["1/s recipients", "200/24h recipients"]);
        assert!(windows(Provider::Mailjet).is_empty() && windows(Provider::Microsoft365Hve).is_empty());
    }

    #[test]
    fn ports_follow_from_tls() {
        let port = |provider: Provider, tls| match provider.preset().way {
            Way::Smarthost(smarthost) => smarthost.port(tls),
            Way::Directory => 0,
        };
        assert_eq!(port(Provider::Ses, TlsMode::Implicit), 465);
        assert_eq!(port(Provider::Microsoft365Connector, TlsMode::StartTls), 25);
        assert_eq!(port(Provider::Smtp, TlsMode::None), 25);
        assert_eq!(port(Provider::Smtp, TlsMode::StartTls), 587);
    }
}
