//! Clients: named senders of mail and their standing.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ids::ClientName;

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

/// A named sender: mail that comes from `networks` is its mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its name in logs and lists.
    pub name: ClientName,
    /// Where it connects from.
    pub networks: Vec<IpNet>,
    /// How its mail stands against that of others.
    pub priority: Priority,
}

/// Who a connection from `address` is: of the clients whose networks hold it the one with the narrowest network, the
/// first in the file where two are equal; else a client of its own, named by the address.
pub fn identify(address: IpAddr, clients: &[Client]) -> (ClientName, Priority) {
    let address = address.to_canonical();
    let named = clients
        .iter()
        .filter_map(|client| {
            let narrowest = client.networks.iter().filter(|net| net.contains(&address)).map(IpNet::prefix_len).max()?;
            Some((narrowest, client))
        })
        .rev()
        .max_by_key(|(narrowest, _)| *narrowest);
    match named {
        Some((_, client)) => (client.name.clone(), client.priority),
        None => (unnamed(address), Priority::Normal),
    }
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
        Client { name: name.into(), networks: networks.iter().map(|net| net.parse().unwrap()).collect(), priority }
    }

    #[test]
    fn the_narrowest_network_wins_and_strangers_are_themselves() {
        let clients = [
            client("lan", &["10.0.0.0/8"], Priority::Low),
            client("shop", &["10.0.0.5/32", "192.168.0.0/16"], Priority::High),
            client("twin", &["10.0.0.5/32"], Priority::Low),
        ];
        let who = |address: &str| {
            let (name, priority) = identify(address.parse().unwrap(), &clients);
            format!("{name} {}", priority.as_str())
        };
        assert_eq!(who("10.0.0.5"), "shop high");
        assert_eq!(who("::ffff:10.0.0.5"), "shop high");
        assert_eq!(who("10.0.0.6"), "lan low");
        assert_eq!(who("172.16.0.1"), "172.16.0.1 normal");
        assert_eq!(who("2001:db8::1:2:3:4"), "2001:db8::/64 normal");
        assert_eq!(who("::1"), "::1 normal");
    }
}
