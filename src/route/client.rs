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
    /// From this machine, over a Unix socket.
    Local,
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
            Self::Local => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Local => f.write_str(LOCAL),
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

/// A named sender: mail that comes from `networks` is its mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name in logs and lists.
    pub name: ClientName,
    /// Where it connects from.
    pub networks: Vec<IpNet>,
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
}

/// Who a connection from `origin` is: of the clients whose networks hold its address the one with the narrowest network,
/// the first in the file where two are equal; else a client of its own, named by the address, or `local`.
pub fn identify(origin: Origin, clients: &[Client]) -> Client {
    let Some(address) = origin.ip() else { return Client::named(LOCAL.into()) };
    let named = clients
        .iter()
        .filter_map(|client| {
            let narrowest = client.networks.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()?;
            Some((narrowest, client))
        })
        .rev()
        .max_by_key(|(narrowest, _)| *narrowest);
    match named {
        Some((_, client)) => client.clone(),
        None => Client::named(unnamed(address)),
    }
}

/// Who sends over a Unix socket.
pub const LOCAL: &str = "local";

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
            let client = identify(Origin::of(address.parse().unwrap()), &clients);
            format!("{} {}", client.name, client.priority.as_str())
        };
        assert_eq!(who("10.0.0.5"), "shop high");
        assert_eq!(who("::ffff:10.0.0.5"), "shop high");
        assert_eq!(who("10.0.0.6"), "lan low");
        assert_eq!(who("172.16.0.1"), "172.16.0.1 normal");
        assert_eq!(who("2001:db8::1:2:3:4"), "2001:db8::/64 normal");
        assert_eq!(who("::1"), "::1 normal");
        assert_eq!(identify(Origin::Local, &clients).name.as_str(), "local");
    }
}
