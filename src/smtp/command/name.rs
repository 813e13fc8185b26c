//! What a client calls itself at HELO or EHLO (RFC 5321 §4.1.1.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Lapse, Lapses, printable};

/// What is kept of a name.
pub(super) const NAME_OCTETS: usize = 512;

/// Any text is a name: what devices say here (an address without brackets, a product's name, a URL) tells nothing, and
/// refusing it would lose their mail.
pub(super) fn read(argument: &[u8], lapses: &mut Lapses) -> String {
    let mut name = printable(&argument[..argument.len().min(NAME_OCTETS)]);
    // What is not UTF-8 has become longer.
    while name.len() > NAME_OCTETS {
        name.pop();
    }
    if name.as_bytes() != argument || !(is_domain(&name) || is_address_literal(&name)) {
        lapses.note(Lapse::OddName);
    }
    name
}

/// RFC 5321 §4.1.2, and RFC 6531 §3.3 for letters beyond ASCII. An address without brackets is none, though its digits
/// would pass for labels.
fn is_domain(name: &str) -> bool {
    let is_label = |label: &str| {
        let edge = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        edge(label.chars().next())
            && edge(label.chars().next_back())
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    name.len() <= 255 && name.split('.').all(is_label) && name.parse::<IpAddr>().is_err()
}

/// RFC 5321 §4.1.3.
fn is_address_literal(name: &str) -> bool {
    let Some(inside) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    match inside.split_at_checked(5) {
        Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6:") => address.parse::<Ipv6Addr>().is_ok(),
        _ => inside.parse::<Ipv4Addr>().is_ok(),
    }
}
