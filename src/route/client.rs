//! Clients: named senders of mail, their standing, and what they may send.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ids::ClientName;
use crate::provider::Cap;
use crate::smtp::AddressPattern;

/// The class in which a client's mail is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// First, and alone in the last tenth of every long cap.
    High,
    /// What a client has when nobody says otherwise.
    Normal,
    /// Last.
    Low,
}

impl Priority {
    /// The word that configuration and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// Where a client connects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// From this address; an IPv4 address is written as one, not mapped into IPv6.
    Ip(IpAddr),
    /// From this machine, over a Unix socket: the user with this id.
    Local(u32),
}

impl Origin {
    /// Where a TCP connection comes from.
    pub fn of(address: IpAddr) -> Self {
        Self::Ip(address.to_canonical())
    }

    /// The address, where it has one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address),
            Self::Local(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Local(user) => write!(f, "uid {user}"),
        }
    }
}

/// A user of this machine, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LocalUser {
    /// Whoever has this name when it connects.
    Name(String),
    /// Whoever has this id.
    Id(u32),
}

impl fmt::Display for LocalUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => id.fmt(f),
        }
    }
}

/// What EHLO can leave out for a client that trips over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hidden {
    /// STARTTLS (RFC 3207): devices with old TLS try it first and fail.
    StartTls,
    /// AUTH (RFC 4954).
    Auth,
    /// SIZE (RFC 1870).
    Size,
}

impl Hidden {
    /// The keyword of EHLO, as the configuration has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StartTls => "STARTTLS",
            Self::Auth => "AUTH",
            Self::Size => "SIZE",
        }
    }
}

/// A named sender: mail that comes from `networks`, or from `users` of this machine, is its mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name in logs and lists.
    pub name: ClientName,
    /// Where it connects from by TCP.
    pub networks: Vec<IpNet>,
    /// As whom it connects by a Unix socket.
    pub users: Vec<LocalUser>,
    /// How its mail stands against that of others.
    pub priority: Priority,
    /// Which reverse paths it may use; none listed: all.
    pub senders: Vec<AddressPattern>,
    /// To whom it may send; none listed: to all.
    pub recipients: Vec<AddressPattern>,
    /// Octets of content, where that is less than the listener's.
    pub max_message_size: Option<u64>,
    /// So many messages at once after a pause, then one whenever its part of the window has passed. Above it the client is
    /// read later.
    pub rate: Option<Cap>,
    /// Its part of each cap at most, in percent.
    pub share: Option<u32>,
    /// What EHLO does not show it.
    pub hidden: Vec<Hidden>,
    /// How long it may take for a step, where that is not the listener's.
    pub timeout: Option<Duration>,
    /// How long it may take for a transaction, where that is not the listener's.
    pub transaction_timeout: Option<Duration>,
    /// Whether LF.LF ends its content beside CRLF.CRLF.
    pub lf_end: bool,
}

impl Client {
    /// A client of which only the name is known: it may do what everybody may.
    pub fn named(name: ClientName) -> Self {
        Self {
            name,
            networks: Vec::new(),
            users: Vec::new(),
            priority: Priority::Normal,
            senders: Vec::new(),
            recipients: Vec::new(),
            max_message_size: None,
            rate: None,
            share: None,
            hidden: Vec::new(),
            timeout: None,
            transaction_timeout: None,
            lf_end: false,
        }
    }

    /// Whether the configuration names it, so that there are few of its kind.
    pub fn is_configured(&self) -> bool {
        !self.networks.is_empty() || !self.users.is_empty()
    }
}

/// Who a connection from `origin` is: of the clients whose networks hold its address the one with the narrowest network,
/// the first in the file where two are equal; of a local user, called `user` where it has a name, the client that has its id,
/// else the one that has its name. Whom no client has is one of its own, named by the address, or as `local:www-data`.
pub fn identify(origin: Origin, user: Option<&str>, clients: &[Client]) -> Client {
    let (named, own) = match origin {
        Origin::Ip(address) => (by_address(address, clients), unnamed(address)),
        Origin::Local(id) => (by_user(id, user, clients), unnamed_user(id, user)),
    };
    named.cloned().unwrap_or_else(|| Client::named(own))
}

fn by_address(address: IpAddr, clients: &[Client]) -> Option<&Client> {
    let holding = clients.iter().filter_map(|client| {
        let narrowest = client.networks.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()?;
        Some((narrowest, client))
    });
    holding.rev().max_by_key(|(narrowest, _)| *narrowest).map(|(_, client)| client)
}

fn by_user<'a>(id: u32, name: Option<&str>, clients: &'a [Client]) -> Option<&'a Client> {
    let has = |wanted: LocalUser| clients.iter().find(|client| client.users.contains(&wanted));
    has(LocalUser::Id(id)).or_else(|| has(LocalUser::Name(name?.to_owned())))
}

/// What names of local users without a `[[client]]` begin with.
pub const LOCAL: &str = "local";

/// A colon is in no name that the configuration gives.
fn unnamed_user(id: u32, name: Option<&str>) -> ClientName {
    let name = name.map(|name| name.replace(char::is_control, "?"));
    format!("{LOCAL}:{}", name.unwrap_or_else(|| id.to_string())).into()
}

/// One device is one IPv4 address, or one /64 network of IPv6, in which it may change addresses at will (RFC 8981).
fn unnamed(address: IpAddr) -> ClientName {
    match address {
        IpAddr::V4(v4) => v4.to_string().into(),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => "::1".into(),
        IpAddr::V6(v6) => {
            let network = Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64);
            format!("{network}/64").into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, networks: &[&str], priority: Priority) -> Client {
        let networks = networks.iter().map(|net| net.parse().unwrap()).collect();
        Client { networks, priority, ..Client::named(name.into()) }
    }

    #[test]
    fn the_narrowest_network_wins_and_strangers_are_themselves() {
        let clients = [
            client("lan", &["10.0.0.0/8"], Priority::Low),
            client("shop", &["10.0.0.5/32", "192.168.0.0/16"], Priority::High),
            client("twin", &["10.0.0.5/32"], Priority::Low),
        ];
        let who = |address: &str| {
            let client = identify(Origin::of(address.parse().unwrap()), None, &clients);
            format!("{} {}", client.name, client.priority.as_str())
        };
        assert_eq!(who("10.0.0.5"), "shop high");
        assert_eq!(who("::ffff:10.0.0.5"), "shop high");
        assert_eq!(who("10.0.0.6"), "lan low");
        assert_eq!(who("172.16.0.1"), "172.16.0.1 normal");
        assert_eq!(who("2001:db8::1:2:3:4"), "2001:db8::/64 normal");
        assert_eq!(who("::1"), "::1 normal");
    }

    #[test]
    fn a_local_user_is_known_by_its_id_then_by_its_name_and_else_is_itself() {
        let of = |name: &str, users: Vec<LocalUser>| Client { users, ..Client::named(name.into()) };
        let www = || LocalUser::Name("www-data".into());
        let clients = [
            client("lan", &["0.0.0.0/0"], Priority::Low),
            of("web", vec![LocalUser::Name("nginx".into()), www()]),
            of("root", vec![LocalUser::Id(0)]),
        ];
        let who = |id, name| identify(Origin::Local(id), name, &clients).name.to_string();
        assert_eq!(who(33, Some("www-data")), "web");
        assert_eq!(who(33, None), "local:33", "without its name it is not known, and its mail is taken");
        assert_eq!(who(0, Some("www-data")), "root");
        assert_eq!(who(1000, Some("jane")), "local:jane");
        assert_eq!(who(1000, Some("EXAMPLE\\jane\n")), "local:EXAMPLE\\jane?");
        assert_eq!(Origin::Local(33).to_string(), "uid 33");
    }
}
