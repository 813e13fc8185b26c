//! The trace of a message: our `Received:` field (RFC 5321 §4.4), and how a loop shows in those of others.

use std::net::IpAddr;

use super::header::{Field, HeaderBlock};
use crate::ids::{ClientName, MessageId};
use crate::route::Origin;
use crate::smtp::Address;

/// The most `Received:` fields that a message may bring; with more it is going round in circles (RFC 5321 §6.3) and the
/// intake refuses it with 554 5.4.6.
pub const MAX_RECEIVED: usize = 30;

/// What a `Received:` field tells.
#[derive(Clone, Debug)]
pub struct Hop<'a> {
    /// What the client said at HELO or EHLO, whatever it is; may be empty.
    pub helo: &'a str,
    /// Where the client connects from.
    pub origin: Origin,
    /// The client's name in the configuration.
    pub client: &'a ClientName,
    /// Our name.
    pub hostname: &'a str,
    /// `SMTP`, `ESMTP` or another of RFC 3848.
    pub protocol: &'a str,
    /// The queue id.
    pub id: MessageId,
    /// The recipients of the envelope: one is named; of several none is, since each would read of the others.
    pub recipients: &'a [Address],
    /// Date and time as RFC 5322 §3.3 writes them.
    pub date: &'a str,
}

impl Hop<'_> {
    /// The field, one clause to a line, each line far below 998 octets.
    pub fn received(&self) -> Field<'static> {
        let helo = if self.helo.is_empty() { "unknown".to_owned() } else { harmless(self.helo) };
        let address = match self.origin {
            Origin::Ip(IpAddr::V4(address)) => format!("[{address}]"),
            Origin::Ip(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
            Origin::Local(_) => self.origin.to_string(),
        };
        let client = harmless(self.client.as_str());
        let (hostname, protocol) = (harmless(self.hostname), harmless(self.protocol));
        let mut lines = vec![
            format!("from {helo} ({address}) (client {client})"),
            format!("by {hostname} (Mailsluice) with {protocol} id {}", self.id),
        ];
        match self.recipients {
            // An address beyond ASCII would make the whole message need SMTPUTF8 or 8BITMIME.
            [one] if one.is_ascii() => lines.push(format!("for <{one}>; {}", self.date)),
            _ => lines.iter_mut().skip(1).for_each(|line| line.push_str(&format!("; {}", self.date))),
        }
        Field::from_lines("Received", &lines)
    }
}

/// How many times the message has been received before.
pub fn received_count(block: &HeaderBlock<'_>) -> usize {
    block.count("Received")
}

/// Words of a client inside a structured field: nothing that ends a comment, a clause or a line, and not too long.
fn harmless(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '(' | ')' | '<' | '>' | ';' | ',' | '"' | '\\');
    text.chars().map(|c| if plain(c) { c } else { '?' }).take(WORD_OCTETS).collect()
}

/// RFC 1035 §2.3.4 ends a name at 255 octets; nothing longer is one.
const WORD_OCTETS: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    fn hop<'a>(helo: &'a str, address: &str, client: &'a ClientName, recipients: &'a [Address]) -> Hop<'a> {
        Hop {
            helo,
            origin: Origin::of(address.parse().unwrap()),
            client,
            hostname: "relay.example.com",
            protocol: "ESMTP",
            id: MessageId(1_795_362_588_000_000),
            recipients,
            date: "Sun, 22 Nov 2026 16:19:40 +0000",
        }
    }

    #[test]
    fn one_recipient_is_named() {
        let (client, to) = (ClientName::from("shop"), ["office@example.com".parse().unwrap()]);
        assert_eq!(
            String::from_utf8_lossy(hop("www", "10.0.0.5", &client, &to).received().raw()),
            format!(
                "Received: from www ([10.0.0.5]) (client shop)\r\n by relay.example.com (Mailsluice) with ESMTP id {}\r\n \
                 for <office@example.com>; Sun, 22 Nov 2026 16:19:40 +0000\r\n",
                MessageId(1_795_362_588_000_000)
            )
        );
    }

    #[test]
    fn of_several_recipients_none_is_named() {
        let (client, to) = (ClientName::from("shop"), ["a@x", "b@y"].map(|to| to.parse().unwrap()));
        for recipients in [&to[..], &[]] {
            let field = hop("", "2001:db8::7", &client, recipients).received();
            let text = String::from_utf8_lossy(field.raw()).into_owned();
            assert!(text.starts_with("Received: from unknown ([IPv6:2001:db8::7])"), "{text}");
            assert!(!text.contains(" for "), "{text}");
            assert!(text.ends_with("; Sun, 22 Nov 2026 16:19:40 +0000\r\n"), "{text}");
        }
        let mapped = hop("x", "::ffff:10.0.0.5", &client, &to).received();
        assert!(mapped.value().starts_with(b"from x ([10.0.0.5])"));
    }

    #[test]
    fn a_hostile_greeting_stays_inside_its_word() {
        let client = ClientName::from("shop");
        let helo = "a) by evil;\r\nBcc: x@y\u{1f600}";
        let field = hop(helo, "10.0.0.5", &client, &[]).received();
        assert!(field.value().starts_with(b"from a??by?evil???Bcc:?x@y? ([10.0.0.5])"), "{field:?}");
    }

    #[test]
    fn fields_of_others_are_counted_in_the_top_block_only() {
        let content = b"Received: a\r\nRECEIVED : b\r\nX-Received: c\r\n\r\nReceived: d\r\n";
        assert_eq!(received_count(&HeaderBlock::split(content).0), 2);
    }

    proptest! {
        #[test]
        fn whatever_the_client_says_it_is_one_field_of_short_lines(helo in "\\PC{0,600}|[ -~\r\n\t]{0,600}", name in "\\PC{0,300}") {
            let client = ClientName::from(name);
            let to = [format!("{}@example.com", "x".repeat(250)).parse().unwrap()];
            let field = hop(&helo, "10.0.0.5", &client, &to).received();
            let raw = field.raw();
            prop_assert!(raw.is_ascii() && raw.split(|byte| *byte == b'\n').all(|line| line.len() < 998));
            let (block, body) = HeaderBlock::split(raw);
            prop_assert_eq!((block.fields().len(), body.len()), (1, 0));
            let parsed = MessageParser::default().parse_headers(raw).unwrap();
            prop_assert!(parsed.received().is_some());
        }
    }
}
