//! The configuration: TOML in, checked settings out. What stands in these types has been checked; nothing downstream
//! looks at it again. The file, or the `environment` where there is none, is read in `file`, its tables are walked by `table`, each is judged by its own module, and
//! secrets are read by [`secret`]. `mailsluice check` and `serve` read it with the same [`Config::load`].

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::ids::{AccountName, LoginKey};
use crate::message::fields::FieldRule;
use crate::message::sender::SenderRule;
use crate::provider::presets::Keep;
use crate::provider::{Caps, Mechanism, Provider};
use crate::route::{Client, LocalMail};
use crate::session::{Manners, STEP_LIMIT, TRANSACTION_LIMIT};
use crate::smtp::Address;
use crate::time::Timestamp;
use problem::Report;
use secret::Secret;
use table::{At, Table};
use users::Users;

pub use crate::provider::presets::TlsMode;
pub use crate::schedule::verdict::OnUncertain;
pub use alarms::Webhook;
pub use environment::variables;
pub use file::{Provenance, Surroundings, names_an_account, queue_path, users_files};
pub use problem::{ConfigErrors, Problem};

mod account;
mod agreement;
mod alarms;
mod aliases_file;
pub mod certificate;
mod client;
mod environment;
mod file;
mod headers;
pub mod identity;
mod listener;
mod local;
mod login;
mod oauth;
mod problem;
mod queue;
mod reports;
pub mod secret;
mod table;
pub mod users;
mod value;

/// The whole configuration. One that was read has listeners and accounts; the default has none.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `[queue]`.
    pub queue: QueueConfig,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[[client]]`.
    pub clients: Vec<Client>,
    /// `[aliases]` and `[local]`.
    pub local: Arc<LocalMail>,
    /// `[[account]]`, at least one: the accounts of the one route, the preferred first.
    pub accounts: Vec<AccountConfig>,
    /// `[alarms]`.
    pub alarms: AlarmsConfig,
    /// `[reports]`.
    pub reports: ReportsConfig,
    /// What is odd about files of others, and keeps nothing from running: a sentence each.
    pub remarks: Vec<String>,
    /// The `aliases_file`, where it is not there.
    pub missing_aliases: Option<PathBuf>,
}

/// `[alarms]`: whom to tell of trouble beside the log, and from when on it is trouble.
#[derive(Clone, Debug)]
pub struct AlarmsConfig {
    /// Where alarms are posted to.
    pub webhook: Option<Webhook>,
    /// Who gets them by mail.
    pub to: Vec<Address>,
    /// How much of a cap of an hour or more may be used before its account is said to be nearly spent.
    pub quota_percent: u32,
    /// How long a message may wait.
    pub queue_age: Duration,
    /// How long it must have been over before that is told.
    pub calm: Duration,
}

/// `[reports]`: whom to tell of messages that have failed for good.
#[derive(Clone, Debug, Default)]
pub struct ReportsConfig {
    /// Who gets the reports; nobody: none are written.
    pub to: Vec<Address>,
}

/// `[queue]`: where mail waits, and how much of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// The database file; the control socket and the ballast lie beside it.
    pub path: PathBuf,
    /// Live bytes beyond which clients get 452 4.3.1.
    pub max_bytes: u64,
    /// Free bytes of the file system below which clients get 452 4.3.1.
    pub min_free: u64,
    /// The age at which a message that a provider keeps putting off has failed.
    pub max_age: Duration,
    /// Whether a file system that forgets (tmpfs, a container's overlay) is allowed.
    pub ephemeral: bool,
}

/// `[[listener]]`: where clients connect, and who may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where it listens.
    pub addresses: Vec<ListenAddress>,
    /// Who may connect by TCP.
    pub networks: Vec<IpNet>,
    /// How clients may write.
    pub manners: Manners,
    /// Octets of content, before repairs; already the smaller of the key and what each account carries.
    pub max_message_size: u64,
    /// Recipients of one transaction.
    pub max_recipients: usize,
    /// Connections at a time; beyond, the backlog waits.
    pub max_connections: usize,
    /// Connections of one client address at a time.
    pub max_connections_per_client: usize,
    /// In the banner, in `Received:`, and the EHLO name upstream.
    pub hostname: String,
    /// What completes an address without a domain, where that is not the hostname.
    pub default_domain: Option<String>,
    /// Whom mail for users of this machine goes to: the same at all listeners.
    pub local: Arc<LocalMail>,
    /// How long a client may take for a step.
    pub timeout: Duration,
    /// How long a client may take for a transaction.
    pub transaction_timeout: Duration,
    /// The permissions of a Unix socket.
    pub socket_mode: u32,
    /// What it shows of itself where clients want TLS; none: there is no TLS.
    pub tls: Option<ServerTls>,
    /// Who has to log in.
    pub auth: Auth,
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddress {
    /// On a TCP address; port 0 lets the system choose one.
    Tcp(SocketAddr),
    /// On a Unix socket at this path.
    Unix(PathBuf),
    /// On the sockets that the service manager hands over (sd_listen_fds(3)): those of this name, or all that no other
    /// listener names.
    Inherited(Option<String>),
}

/// `[listener.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// What it shows. Both files are read at the start and when the configuration is read again.
    pub identity: OwnCertificate,
    /// When TLS begins.
    pub mode: ServerTlsMode,
}

/// When TLS begins at a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerTlsMode {
    /// When the client asks for it (RFC 3207).
    StartTls,
    /// At once (RFC 8314 §3.3).
    Implicit,
}

/// Who has to log in at a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody, and nobody can.
    None,
    /// Nobody; any credentials are taken.
    AcceptAny,
    /// Everybody.
    Required {
        /// Who can, as their file says at the start and when the configuration is read again; nobody where secrets are not
        /// read.
        users: Arc<Users>,
        /// From where passwords may come without TLS.
        plain_text: Vec<IpNet>,
    },
}

/// `[[account]]`: one login at one smarthost.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name in commands and logs.
    pub name: AccountName,
    /// The preset it was made from.
    pub provider: Provider,
    /// Where its mail goes.
    pub destination: Destination,
    /// What the provider lets through.
    pub caps: Caps,
    /// Which senders the provider lets it use.
    pub sender: SenderRule,
    /// Which header fields of clients the provider gets to see, and which are added.
    pub fields: FieldRule,
    /// What to do with a message of which nobody knows whether it was delivered.
    pub on_uncertain: OnUncertain,
}

/// Where an account's mail goes.
#[derive(Clone, Debug)]
pub enum Destination {
    /// To a smarthost.
    Smtp(SmtpEndpoint),
    /// Into files in this directory.
    Directory(PathBuf),
}

/// A smarthost and how to get in.
#[derive(Clone, Debug)]
pub struct SmtpEndpoint {
    /// A DNS name or an IP address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// When TLS begins.
    pub tls: TlsMode,
    /// PEM file with an extra trust anchor; read when a connection is made, so that a renewed one counts.
    pub ca_file: Option<PathBuf>,
    /// What the smarthost may ask us for during the TLS handshake.
    pub certificate: Option<OwnCertificate>,
    /// How to log in; none where the smarthost knows us by our address or certificate.
    pub login: Option<Login>,
    /// The name that EHLO gives.
    pub ehlo: String,
    /// How long a connection is kept.
    pub keep: Keep,
}

/// A certificate of ours and its key. Both are read when a connection is made, so that renewed ones count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// PEM file with the certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// Where the key lies, in PEM.
    pub key: Secret,
}

/// A login. At least one of `password` and `oauth` is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// The password.
    pub password: Option<Password>,
    /// Where tokens come from.
    pub oauth: Option<OAuth>,
    /// Which of the two goes first, where there are both.
    pub prefer: Method,
    /// The mechanisms that may be used, the preferred first.
    pub mechanisms: Vec<Mechanism>,
}

/// What opens an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// A bearer token.
    OAuth,
    /// A password.
    Password,
}

/// A password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Password {
    /// Where it lies.
    pub secret: Secret,
    /// What lies there.
    pub form: PasswordForm,
    /// When it ends.
    pub expires: Option<Timestamp>,
}

/// What a password is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordForm {
    /// It is the password.
    AsItIs,
    /// It is the secret access key of an IAM user, from which the SMTP password of the region is derived
    /// (docs.aws.amazon.com/ses, *Obtaining Amazon SES SMTP credentials*).
    SesIam {
        /// Such as `eu-central-1`.
        region: String,
    },
}

/// `[account.oauth]`: where the tokens of an account come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// The client id of the registration.
    pub client_id: String,
    /// How the application shows who it is.
    pub proof: ClientProof,
    /// For whom the tokens are.
    pub grant: Grant,
    /// What they are good for, apart by spaces.
    pub scope: String,
    /// Where they come from.
    pub token_url: String,
    /// Where device codes come from (RFC 8628 §3.1).
    pub device_url: String,
    /// When the client secret ends.
    pub expires: Option<Timestamp>,
}

/// How an application shows the identity provider who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProof {
    /// By a secret (RFC 6749 §2.3.1).
    Secret(Secret),
    /// By a signed assertion (RFC 7523 §2.2).
    Certificate(OwnCertificate),
    /// Not at all: it is a public client.
    None,
}

/// For whom an account's tokens are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The application itself (RFC 6749 §4.4).
    Application,
    /// A user who has logged in by the device code flow (`mailsluice account login`, RFC 8628), or whose refresh token
    /// was brought along.
    User {
        /// Where that refresh token lies.
        seed: Option<Secret>,
    },
}

/// The table's `name`, which is required and no other table's of its kind.
fn unique_name(table: &Table<'_>, report: &mut Report<'_>, taken: &mut Vec<At<String>>) -> Option<String> {
    table.require(report, "name", "a name of its own");
    let name = table.read(report, "name", value::name)?;
    if let Some(other) = taken.iter().find(|other| other.value == name.value) {
        let found = format!("{:?}, which line {} has too", name.value, other.line);
        report.add(name.line, &table.path("name"), found, "a name of its own");
    }
    taken.push(name.clone());
    Some(name.value)
}

#[cfg(test)]
mod tests;

impl ListenerConfig {
    /// A listener of which only the addresses and the name are known: it takes whatever comes from this machine.
    pub fn new(addresses: Vec<ListenAddress>, hostname: &str) -> Self {
        Self {
            addresses,
            networks: listener::loopback(),
            manners: Manners::Tolerant,
            max_message_size: 35 << 20,
            max_recipients: 1000,
            max_connections: 1000,
            max_connections_per_client: 100,
            hostname: hostname.to_owned(),
            default_domain: None,
            local: Arc::default(),
            timeout: STEP_LIMIT,
            transaction_timeout: TRANSACTION_LIMIT,
            socket_mode: 0o660,
            tls: None,
            auth: Auth::None,
        }
    }
}

impl ListenAddress {
    /// The TCP address, where it is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) | Self::Inherited(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Inherited(None) => f.write_str(INHERITED),
            Self::Inherited(Some(name)) => write!(f, "{INHERITED}:{name}"),
        }
    }
}

/// Where programs of this machine hand in mail, unless somebody chose another place: a listener of the packaged
/// configuration is there, and `mailsluice sendmail` looks there.
pub const SUBMISSION_SOCKET: &str = "/run/mailsluice/submission";

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";

/// What stands for the sockets of the service manager.
const INHERITED: &str = "systemd";

impl Config {
    /// The names of the accounts, the preferred first.
    pub fn account_names(&self) -> impl Iterator<Item = &AccountName> + Clone {
        self.accounts.iter().map(|account| &account.name)
    }

    /// The account of this name.
    pub fn account(&self, name: &AccountName) -> Option<&AccountConfig> {
        self.accounts.iter().find(|account| account.name == *name)
    }
}

impl Method {
    /// The word that logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuth => "OAuth",
            Self::Password => "password",
        }
    }
}

impl AccountConfig {
    /// Where its mail goes, as logs and lists name it.
    pub fn host(&self) -> &str {
        match &self.destination {
            Destination::Smtp(endpoint) => &endpoint.host,
            Destination::Directory(path) => path.to_str().unwrap_or("a directory"),
        }
    }

    /// What its ledger is kept by: accounts that share a login share its caps.
    pub fn login_key(&self) -> LoginKey {
        match &self.destination {
            Destination::Smtp(endpoint) => {
                LoginKey::new(&endpoint.host, endpoint.login.as_ref().map(|login| login.username.as_str()))
            }
            Destination::Directory(_) => LoginKey::new(self.host(), None),
        }
    }
}
