//! `[[listener]]`: where clients connect, and who may. Holds the invariant that nothing is open by accident: other
//! addresses than loopback need `networks`, and networks that would make an open relay are refused.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use toml::de::DeValue;

use super::identity::IdentityError;
use super::login::read_certificate;
use super::problem::Report;
use super::table::{At, Emptiness, Table, Wanted};
use super::users::{Users, Wrong};
use super::{Auth, ListenAddress, ListenerConfig, OwnCertificate, ServerTls, ServerTlsMode, Surroundings, value};
use crate::route::Client;
use crate::session::Manners;
use crate::smtp::AddressPattern;

pub(super) const KEYS: &[&str] = &[
    "address",
    "networks",
    "public",
    "tolerant",
    "max_message_size",
    "max_recipients",
    "max_connections",
    "max_connections_per_client",
    "hostname",
    "default_domain",
    "timeout",
    "transaction_timeout",
    "socket_mode",
    "tls",
    "auth",
    "users",
    "auth_without_tls",
];
pub(super) const TLS_KEYS: &[&str] = &["certificate", "key", "mode"];

/// Reads all `[[listener]]`. What they offer as SIZE is still to be bounded by what the accounts carry.
pub(super) fn read(
    document: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    clients: &[Client],
) -> Vec<ListenerConfig> {
    let mut taken = Vec::new();
    let tables = document.tables(report, "listener", KEYS, Emptiness::Refused);
    tables.iter().map(|table| read_one(table, report, around, clients, &mut taken)).collect()
}

fn read_one(
    table: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    clients: &[Client],
    taken: &mut Vec<At<ListenAddress>>,
) -> ListenerConfig {
    let addresses = addresses(table, report, around, taken);
    let public = table.read_or(report, "public", false, value::truth);
    let tolerant = table.read_or(report, "tolerant", !public, value::truth);
    let tls = tls(table, report, around);
    let by_unix = addresses.iter().all(|at| matches!(at.value, ListenAddress::Unix(_)));
    let auth = auth(table, report, around, tls.is_some() || by_unix);
    let hostname = table.read_or(report, "hostname", around.hostname.clone(), value::own_name);
    let networks = networks(table, report, &addresses, &Openness { public, auth: &auth, clients });
    let usual = ListenerConfig::new(addresses.into_iter().map(|at| at.value).collect(), &hostname);
    let mut count = |key, usual, most| table.read_or(report, key, usual, |v| value::count(v, most));
    ListenerConfig {
        networks,
        manners: if tolerant { Manners::Tolerant } else { Manners::Strict },
        max_recipients: count("max_recipients", usual.max_recipients, 100_000),
        max_connections: count("max_connections", usual.max_connections, 65_535),
        max_connections_per_client: count("max_connections_per_client", usual.max_connections_per_client, 65_535),
        max_message_size: table
            .read_or(report, "max_message_size", usual.max_message_size, |v| value::size(v, "64KiB"..="1GiB")),
        default_domain: table.read(report, "default_domain", value::own_name).map(|at| at.value),
        timeout: timeout(table, report).unwrap_or(usual.timeout),
        transaction_timeout: transaction_timeout(table, report).unwrap_or(usual.transaction_timeout),
        socket_mode: table.read_or(report, "socket_mode", usual.socket_mode, value::mode),
        tls,
        auth,
        ..usual
    }
}

/// How long a client may take for a step, as listeners and clients have it.
pub(super) fn timeout(table: &Table<'_>, report: &mut Report<'_>) -> Option<Duration> {
    table.read(report, "timeout", |v| value::duration(v, "10s"..="1h")).map(|at| at.value)
}

/// How long it may take for a transaction.
pub(super) fn transaction_timeout(table: &Table<'_>, report: &mut Report<'_>) -> Option<Duration> {
    table.read(report, "transaction_timeout", |v| value::duration(v, "1min"..="24h")).map(|at| at.value)
}

fn addresses(
    table: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    taken: &mut Vec<At<ListenAddress>>,
) -> Vec<At<ListenAddress>> {
    table.require(report, "address", "an IP address and a port, such as \"127.0.0.1:25\"");
    let parse = |value: &DeValue<'_>| listen_address(value, around);
    let addresses = table.list(report, "address", Emptiness::Refused, parse).unwrap_or_default();
    for address in &addresses {
        if let Some(other) = taken.iter().find(|other| collide(&other.value, &address.value)) {
            let found = format!("\"{}\", taken by \"{}\" on line {}", address.value, other.value, other.line);
            report.add(address.line, &table.path("address"), found, "an address of its own");
        }
        taken.push(address.clone());
    }
    addresses
}

fn listen_address(value: &DeValue<'_>, around: &Surroundings) -> Result<ListenAddress, Wanted> {
    let text = value.as_str().unwrap_or_default();
    if let Some(path) = text.strip_prefix(super::UNIX).filter(|path| !path.is_empty() && !path.contains('\0')) {
        return Ok(ListenAddress::Unix(around.folder.join(path)));
    }
    match text.strip_prefix(super::INHERITED) {
        Some("") => Ok(ListenAddress::Inherited(None)),
        Some(name) if is_descriptor_name(name) => Ok(ListenAddress::Inherited(Some(name[1..].to_owned()))),
        _ => value::socket_address(value).map(ListenAddress::Tcp).map_err(|wanted| {
            format!("{wanted}; or \"unix:/path\", \"systemd\" or \"systemd:NAME\" for a socket that is handed over")
        }),
    }
}

/// A colon and what systemd takes for FileDescriptorName=.
fn is_descriptor_name(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or_default();
    (1..=255).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':')
}

fn tls(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> Option<ServerTls> {
    let table = table.table(report, "tls", ("listener.tls", TLS_KEYS), "a table [listener.tls]")?;
    if !table.has("key") {
        table.require(report, "certificate", "a PEM file with the certificate and those between it and its root");
    }
    let modes = [("starttls", ServerTlsMode::StartTls), ("implicit", ServerTlsMode::Implicit)];
    let mode = table.read_or(report, "mode", ServerTlsMode::StartTls, |v| value::word(v, &modes));
    let identity = read_certificate(&table, report, around, ("listener.tls.certificate", "listener.tls.key"))?;
    if around.reads_secrets {
        let line = table.line_of(report, "key");
        check_identity(&identity, report, around, line);
    }
    Some(ServerTls { identity, mode })
}

/// Reports what TLS would not take, as far as reading the two files has not told it.
fn check_identity(identity: &OwnCertificate, report: &mut Report<'_>, around: &Surroundings, line: usize) {
    let certificate = identity.certificate.display();
    let (found, wanted) = match identity.read_with(around.variable) {
        Ok(_) | Err(IdentityError::Certificate(_) | IdentityError::Secret(_)) => return,
        Err(IdentityError::NoKey) => (format!("no private key in {}", identity.key), NO_KEY.into()),
        Err(IdentityError::OtherKey) => (
            format!("in {} a key that does not belong to the certificate in {certificate}", identity.key),
            "the key that the certificate was requested with; the certificate itself must come first in its file"
                .to_owned(),
        ),
        Err(IdentityError::Unusable(why)) => (
            format!("a certificate in {certificate} and a key in {} that TLS cannot use: {why}", identity.key),
            "an RSA, ECDSA (P-256, P-384) or Ed25519 key, and its certificate".into(),
        ),
    };
    report.add(line, "listener.tls.key", found, wanted);
}

/// Who has to log in; `safely` where that can be done without showing the password to a network.
fn auth(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings, safely: bool) -> Auth {
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Word {
        None,
        AcceptAny,
        Required,
    }
    let words = [("none", Word::None), ("accept-any", Word::AcceptAny), ("required", Word::Required)];
    let word = table.read_or(report, "auth", Word::None, |v| value::word(v, &words));
    let users = table.read(report, "users", |v| value::path(v, &around.folder));
    let plain_text = table.list(report, "auth_without_tls", Emptiness::Refused, value::network).unwrap_or_default();
    if word != Word::Required {
        for key in ["users", "auth_without_tls"].into_iter().filter(|key| table.has(key)) {
            let line = table.line_of(report, key);
            report.add(line, &table.path(key), "a value", "auth = \"required\" beside it, or no such key");
        }
    }
    match word {
        Word::None => Auth::None,
        Word::AcceptAny => Auth::AcceptAny,
        Word::Required => {
            table.require(report, "users", "the file with the users: `mailsluice user` writes its lines");
            if !safely && !table.has("auth_without_tls") {
                let line = table.line_of(report, "auth");
                let wanted = "[listener.tls], or the networks in `auth_without_tls`: otherwise nobody could log in";
                report.add(line, &table.path("auth"), "\"required\" without TLS", wanted);
            }
            let plain_text = plain_text.into_iter().map(|at| at.value).collect();
            let users = users.filter(|_| around.reads_secrets).map(|at| read_users(&at, report));
            Auth::Required { users: Arc::new(users.unwrap_or_default()), plain_text }
        }
    }
}

/// The users of the file; what is wrong with it is reported, its lines with it.
fn read_users(at: &At<PathBuf>, report: &mut Report<'_>) -> Users {
    let (key, shown) = ("listener.users", at.value.display());
    let mut add = |found, wanted| report.add(at.line, key, found, wanted);
    match Users::read(&at.value) {
        Ok(Ok(users)) => return users,
        Ok(Err(wrong)) => {
            let more = wrong.len().saturating_sub(SHOWN_LINES);
            for Wrong { line, found, wanted } in wrong.into_iter().take(SHOWN_LINES) {
                add(format!("{found} on {shown}:{line}"), wanted);
            }
            if more > 0 {
                add(format!("{more} more such lines in {shown}"), "none".into());
            }
        }
        Err(error) => add(error.found, error.wanted),
    }
    Users::default()
}

/// What keeps a listener for wide networks from being an open relay.
struct Openness<'a> {
    public: bool,
    auth: &'a Auth,
    clients: &'a [Client],
}

fn networks(
    table: &Table<'_>,
    report: &mut Report<'_>,
    addresses: &[At<ListenAddress>],
    openness: &Openness<'_>,
) -> Vec<IpNet> {
    let Some(networks) = table.list(report, "networks", Emptiness::Refused, value::network) else {
        let is_open =
            |at: &&At<ListenAddress>| at.value.tcp().is_some_and(|tcp| !tcp.ip().to_canonical().is_loopback());
        if let Some(open) = addresses.iter().find(is_open) {
            let wanted = format!("the networks that may connect, because \"{}\" is not loopback", open.value);
            report.add(table.line, &table.path("networks"), "nothing", wanted);
        }
        return loopback();
    };
    for network in networks.iter().filter(|network| is_too_wide(network.value)) {
        if let Some((found, wanted)) = openness.objection(network.value) {
            report.add(network.line, &table.path("networks"), found, wanted);
        }
    }
    networks.into_iter().map(|at| at.value).collect()
}

impl Openness<'_> {
    /// What is wrong with letting such a wide network in; nothing where strangers cannot send to all the world.
    fn objection(&self, network: IpNet) -> Option<(String, String)> {
        if matches!(self.auth, Auth::Required { .. }) {
            return None;
        }
        let found = format!("\"{network}\", which would make an open relay");
        if !self.public {
            let wanted = format!(
                "the networks of your own machines: private ones, or public ones no wider than /{PUBLIC_V4} (IPv6: \
                 /{PUBLIC_V6}); or auth = \"required\"; or public = true and a [[client]] with `recipients`"
            );
            return Some((found, wanted));
        }
        let overlap = |net: &&IpNet| is_too_wide(**net) && (net.contains(&network) || network.contains(*net));
        let wide = |client: &&Client| client.networks.iter().any(|net| overlap(&net));
        let covers = self.clients.iter().any(|client| client.networks.iter().any(|net| net.contains(&network)));
        let open = self.clients.iter().filter(wide).find(|client| !is_restricted(client));
        match open {
            Some(client) => {
                let wanted =
                    format!("`recipients` of [[client]] {:?} that do not mean everybody", client.name.as_str());
                Some((found, wanted))
            }
            None if covers => None,
            None => Some((found, format!("a [[client]] with networks = \"{network}\" and `recipients`"))),
        }
    }
}

/// Whether its mail goes to listed recipients only. Senders prove nothing: anybody can give any.
fn is_restricted(client: &Client) -> bool {
    !client.recipients.is_empty() && !client.recipients.contains(&AddressPattern::Any)
}

pub(super) fn loopback() -> Vec<IpNet> {
    vec![
        Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into(),
        Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128).into(),
    ]
}

/// Whether the network reaches so far beyond private ranges that strangers are in it.
fn is_too_wide(network: IpNet) -> bool {
    let is_in = |ranges: &[&str]| {
        ranges.iter().filter_map(|range| range.parse::<IpNet>().ok()).any(|range| range.contains(&network))
    };
    let private = is_in(&PRIVATE);
    let widest = match network {
        IpNet::V4(_) => PUBLIC_V4,
        IpNet::V6(_) if is_in(&TRANSLATED) => 96 + PUBLIC_V4,
        IpNet::V6(_) => PUBLIC_V6,
    };
    !private && network.prefix_len() < widest
}

/// Whether the system would let only one of the two be bound.
fn collide(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => collide_tcp(*one, *other),
        _ => one == other,
    }
}

fn collide_tcp(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && same
}

const NO_KEY: &str = "a private key in PEM, without a pass phrase (PKCS #8, PKCS #1 or SEC 1)";
/// Addresses that are not routed on the Internet: RFC 1918, RFC 6598, RFC 3927, RFC 4193, RFC 4291 §2.5.6.
const PRIVATE: [&str; 9] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];
/// All of IPv4 as translators write it in the last 32 bits of IPv6 (RFC 6052 §2.1, RFC 8215).
const TRANSLATED: [&str; 2] = ["64:ff9b::/96", "64:ff9b:1::/48"];
/// The widest public networks that are surely one site's: the smallest that are routed on the Internet (RIPE-399, RFC
/// 6177).
const PUBLIC_V4: u8 = 24;
const PUBLIC_V6: u8 = 48;

/// Wrong lines of a file of users that are told.
const SHOWN_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_networks_may_be_wide() {
        for (network, wide) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("0.0.0.0/1", true),
            ("10.0.0.0/7", true),
            ("10.0.0.0/8", false),
            ("172.16.0.0/12", false),
            ("172.0.0.0/8", true),
            ("192.0.0.0/8", true),
            ("198.51.100.0/24", false),
            ("198.51.100.0/23", true),
            ("198.51.100.7/32", false),
            ("fc00::/7", false),
            ("2000::/3", true),
            ("2001:db8::/47", true),
            ("2001:db8::/48", false),
            ("64:ff9b::/96", true),
            ("64:ff9b:1::/48", true),
            ("64:ff9b::c633:6400/120", false),
        ] {
            assert_eq!(is_too_wide(network.parse().unwrap()), wide, "{network}");
        }
    }

    #[test]
    fn addresses_collide_where_the_system_says_so() {
        for (one, other, wanted) in [
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("127.0.0.1:25", "0.0.0.0:25", true),
            ("127.0.0.1:25", "127.0.0.1:587", false),
            ("127.0.0.1:25", "[::]:25", false),
            ("[::1]:25", "[::]:25", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(collide_tcp(one.parse().unwrap(), other.parse().unwrap()), wanted, "{one} {other}");
        }
    }
}
