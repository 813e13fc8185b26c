//! The configuration: TOML in, checked settings out. What stands in these types has been checked; nothing downstream
//! looks at it again. The file is read by [`file`], judged by the modules of its tables, secrets are read by [`secret`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::ids::AccountName;
use crate::message::sender::SenderRule;
use crate::provider::{Caps, Provider};
use crate::route::Client;
use secret::Secret;

pub mod secret;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[queue]`.
    pub queue: QueueConfig,
    /// `[[listener]]`, at least one.
    pub listeners: Vec<ListenerConfig>,
    /// `[[client]]`.
    pub clients: Vec<Client>,
    /// `[[account]]`, at least one: the accounts of the one route, the preferred first.
    pub accounts: Vec<AccountConfig>,
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
    /// TCP addresses.
    pub addresses: Vec<SocketAddr>,
    /// Who may connect.
    pub networks: Vec<IpNet>,
    /// Octets of content, before repairs; already the smaller of the key and what the accounts carry.
    pub max_message_size: u64,
    /// Recipients of one transaction.
    pub max_recipients: usize,
    /// Connections at a time; beyond, the backlog waits.
    pub max_connections: usize,
    /// Connections of one client address at a time.
    pub max_connections_per_client: usize,
    /// In the banner, in `Received:`, and the EHLO name upstream.
    pub hostname: String,
}

/// `[[account]]`: one login at one smarthost.
#[derive(Clone, Debug)]
pub struct AccountConfig {
    /// Its name in commands and logs.
    pub name: AccountName,
    /// The preset it was made from: `microsoft365`, `smtp` or `directory`.
    pub provider: Provider,
    /// Where its mail goes.
    pub destination: Destination,
    /// What the provider lets through.
    pub caps: Caps,
    /// Which senders the provider lets it use.
    pub sender: SenderRule,
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
    /// User name and password; none where the smarthost knows us by our address.
    pub login: Option<Login>,
    /// The name that EHLO gives.
    pub ehlo: String,
}

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

/// A password login.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user name.
    pub username: String,
    /// Where the password lies.
    pub password: Secret,
}

/// What to do with a message of which nobody knows whether it was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    /// Send it again, with the same Message-ID: a duplicate rather than a loss.
    Resend,
    /// Keep it until a person settles it.
    Hold,
}
