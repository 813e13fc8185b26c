//! `[[listener]]`: where clients connect, and who may. Holds the invariant that nothing is open by accident: other
//! addresses than loopback need `networks`, and networks that would make an open relay are refused.

use std::net::SocketAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::problem::Report;
use super::table::{At, Emptiness, Table};
use super::{ListenerConfig, Surroundings, value};

pub(super) const KEYS: &[&str] = &[
    "address",
    "networks",
    "max_message_size",
    "max_recipients",
    "max_connections",
    "max_connections_per_client",
    "hostname",
];

/// Reads all `[[listener]]`. What they offer as SIZE is still to be bounded by what the accounts carry.
pub(super) fn read(document: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> Vec<ListenerConfig> {
    let mut taken = Vec::new();
    let tables = document.tables(report, "listener", KEYS, Emptiness::Refused);
    tables.iter().map(|table| read_one(table, report, around, &mut taken)).collect()
}

fn read_one(
    table: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    taken: &mut Vec<At<SocketAddr>>,
) -> ListenerConfig {
    table.require(report, "address", "an IP address and a port, such as \"127.0.0.1:25\"");
    let addresses = table.list(report, "address", Emptiness::Refused, value::socket_address).unwrap_or_default();
    for address in &addresses {
        if let Some(other) = taken.iter().find(|other| collide(other.value, address.value)) {
            let found = format!("\"{}\", taken by \"{}\" on line {}", address.value, other.value, other.line);
            report.add(address.line, &table.path("address"), found, "an address of its own");
        }
        taken.push(address.clone());
    }
    ListenerConfig {
        networks: networks(table, report, &addresses),
        addresses: addresses.into_iter().map(|at| at.value).collect(),
        max_message_size: table.read_or(report, "max_message_size", 35 << 20, |v| value::size(v, "64KiB"..="1GiB")),
        max_recipients: count(table, report, "max_recipients", 1000, 100_000),
        max_connections: count(table, report, "max_connections", 1000, 65_535),
        max_connections_per_client: count(table, report, "max_connections_per_client", 100, 65_535),
        hostname: table.read_or(report, "hostname", around.hostname.clone(), value::own_name),
    }
}

fn networks(table: &Table<'_>, report: &mut Report<'_>, addresses: &[At<SocketAddr>]) -> Vec<IpNet> {
    let Some(networks) = table.list(report, "networks", Emptiness::Refused, value::network) else {
        if let Some(open) = addresses.iter().find(|at| !at.value.ip().to_canonical().is_loopback()) {
            let wanted = format!("the networks that may connect, because \"{}\" is not loopback", open.value);
            report.add(table.line, &table.path("networks"), "nothing", wanted);
        }
        return loopback();
    };
    for network in networks.iter().filter(|network| is_too_wide(network.value)) {
        let found = format!("\"{}\", which would make an open relay", network.value);
        let wanted = format!(
            "the networks of your own machines: private ones, or public ones no wider than /{PUBLIC_V4} (IPv6: /{PUBLIC_V6})"
        );
        report.add(network.line, &table.path("networks"), found, wanted);
    }
    networks.into_iter().map(|at| at.value).collect()
}

fn loopback() -> Vec<IpNet> {
    vec![
        Ipv4Net::new_assert([127, 0, 0, 0].into(), 8).into(),
        Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128).into(),
    ]
}

/// Whether the network reaches so far beyond private ranges that strangers are in it.
fn is_too_wide(network: IpNet) -> bool {
    let private = PRIVATE.iter().filter_map(|range| range.parse::<IpNet>().ok()).any(|range| range.contains(&network));
    let widest = match network {
        IpNet::V4(_) => PUBLIC_V4,
        IpNet::V6(_) => PUBLIC_V6,
    };
    !private && network.prefix_len() < widest
}

/// Whether the system would let only one of the two be bound.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && one.is_ipv4() == other.is_ipv4() && same
}

fn count(table: &Table<'_>, report: &mut Report<'_>, key: &str, default: u32, most: u32) -> usize {
    table.read_or(report, key, default, |v| value::number(v, 1..=most)) as usize
}

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
/// The widest public networks that are still one organisation's: what the registries give to a large one.
const PUBLIC_V4: u8 = 16;
const PUBLIC_V6: u8 = 32;

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
            ("198.51.0.0/16", false),
            ("198.50.0.0/15", true),
            ("198.51.100.7/32", false),
            ("fc00::/7", false),
            ("2000::/3", true),
            ("2001:db8::/32", false),
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
            assert_eq!(collide(one.parse().unwrap(), other.parse().unwrap()), wanted, "{one} {other}");
        }
    }
}
