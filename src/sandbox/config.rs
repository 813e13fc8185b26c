//! What the sandbox plays: the profile of a smarthost, its mailbox, its caps, and where things are kept.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::fault::FaultRule;
use super::profile::{Profile, Service};
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
    /// A bearer token that opens the mailbox by XOAUTH2 for ever, beside those that are issued.
    pub token: Option<SecretString>,
    /// Who issues the others.
    pub tokens: TokenConfig,
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
            tokens: TokenConfig::default(),
            profile: Profile::default(),
            caps: Caps::default(),
            fault: None,
        }
    }
}

impl SandboxConfig {
    /// A mailbox at this service, with a login and caps of its kind: at SES that of an account in Amazon's own sandbox
    /// (a recipient a second, 200 in 24 hours), whose password is derived from the secret key that Amazon's
    /// documentation uses as an example.
    pub fn of(service: Service) -> Self {
        let config = Self { profile: Profile::of(service), ..Self::default() };
        let verified = || Senders::Granted("*@example.com".parse().into_iter().collect());
        match service {
            Service::Microsoft365 => config,
            Service::Ses => Self {
                user: "AKIAIOSFODNN7EXAMPLE".to_owned(),
                password: SecretString::from("BLBM/9hSUELfq8Gw+rU1YcBjkOxGbhT2XG763xVLGWL9"),
                caps: Caps {
                    messages: None,
                    recipients_at_once: Some(Limit { count: 1, window: Duration::from_secs(1) }),
                    recipients: Some(Limit { count: 200, window: DAY }),
                    concurrent: 10,
                    recipients_per_message: 50,
                    size: 10_485_760,
                    senders: verified(),
                    ..Caps::default()
                },
                ..config
            },
            Service::Mailjet => Self {
                user: "d0a1c5e8f2b34967a0c1d2e3f4a5b6c7".to_owned(),
                password: SecretString::from("0f1e2d3c4b5a69788796a5b4c3d2e1f0"),
                caps: Caps {
                    messages: None,
                    recipients: None,
                    concurrent: 20,
                    recipients_per_message: 50,
                    size: 15_728_640,
                    senders: verified(),
                    ..Caps::default()
                },
                ..config
            },
            Service::Google => Self {
                caps: Caps {
                    messages: None,
                    recipients: Some(Limit { count: 2_000, window: DAY }),
                    concurrent: 10,
                    recipients_per_message: 100,
                    size: 35_882_577,
                    senders: Senders::Any,
                    ..Caps::default()
                },
                ..config
            },
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Whether deliveries are recorded with their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepContent {
    /// Size and digest are enough.
    Drop,
    /// The bytes too.
    Keep,
}

/// How the identity provider is set up that gives out tokens for the mailbox, as login.microsoftonline.com does for one
/// application of one tenant.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Where it listens, in plain HTTP; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The tenant in its addresses.
    pub tenant: String,
    /// The application.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: SecretString,
    /// The application's certificate with an RSA key, in PEM; none: no assertion is taken.
    pub certificate: Option<String>,
    /// How long an access token opens the mailbox.
    pub lifetime: Duration,
    /// What becomes of a refresh token that was used.
    pub used: UsedTokens,
    /// How long a person has to enter a device code.
    pub code_lifetime: Duration,
    /// How long a device must wait between its polls.
    pub code_interval: Duration,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tenant: "contoso.onmicrosoft.com".to_owned(),
            client_id: "5a2d80b0-6f3c-4c34-9d0e-1b7c2f6d8e11".to_owned(),
            client_secret: SecretString::from("abra~cadabra"),
            certificate: None,
            lifetime: Duration::from_secs(75 * 60),
            used: UsedTokens::Kept,
            code_lifetime: Duration::from_secs(900),
            code_interval: Duration::from_secs(5),
        }
    }
}

/// What becomes of a refresh token that was used; a new one comes with each answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedTokens {
    /// It goes on working, as with Microsoft.
    Kept,
    /// It is over.
    Void,
}

/// What the mailbox may send. The default is that of a mailbox of Microsoft 365.
#[derive(Clone, Debug)]
pub struct Caps {
    /// Messages in any window.
    pub messages: Option<Limit>,
    /// What becomes of a message beyond that.
    pub excess: Excess,
    /// Recipients in any long window: the quota.
    pub recipients: Option<Limit>,
    /// Recipients in any short window: the rate, where recipients are counted and not messages.
    pub recipients_at_once: Option<Limit>,
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
            recipients: Some(Limit { count: 10_000, window: DAY }),
            recipients_at_once: None,
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
        Self {
            messages: None,
            recipients: None,
            recipients_at_once: None,
            concurrent: usize::MAX,
            senders: Senders::Any,
            ..Self::default()
        }
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
    /// It is refused at the end of data.
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
