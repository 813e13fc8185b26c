//! A stored message as an account and its host can take it: sender repaired, lines and octets encoded, size checked.

use std::borrow::Cow;

use super::dkim::Signatures;
use super::encoding::{CannotFit, Carries, fit};
use super::fields::FieldRule;
use super::header::HeaderBlock;
use super::repair::Repair;
use super::sender::{SenderRefused, SenderRule, repair};
use crate::smtp::{Address, Envelope};

/// A stored message and its envelope.
#[derive(Debug)]
pub struct Letter {
    /// As it lies in the queue.
    pub content: Vec<u8>,
    /// Of the transaction.
    pub envelope: Envelope,
}

/// What a host takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// It offers 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// It offers SMTPUTF8 (RFC 6531).
    pub smtp_utf8: bool,
    /// Octets of a message at most.
    pub size: u64,
}

/// A message ready to be sent.
#[derive(Debug)]
pub struct Rendered {
    /// For MAIL and RCPT, without the recipients of `unwritable`.
    pub envelope: Envelope,
    /// For DATA.
    pub content: Vec<u8>,
    /// Whether it holds octets beyond ASCII.
    pub eight_bit: bool,
    /// Whether its envelope needs SMTPUTF8, or an address in its header that the host can take.
    pub smtp_utf8: bool,
    /// Recipients whose addresses this host cannot be told.
    pub unwritable: Vec<Address>,
    /// What was changed, for the log.
    pub repairs: Vec<Repair>,
}

/// Why a message cannot go out by an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    /// The account does not send for others.
    #[error("The account refuses this sender: {0}.")]
    Sender(#[from] SenderRefused),
    /// It cannot become plain ASCII.
    #[error("The provider takes no 8-bit mail and the message cannot be re-encoded: {0}.")]
    Encoding(#[from] CannotFit),
    /// It is too large.
    #[error(
        "The message has {octets} octets, the account carries {limit} (`caps.message_size`, or what its host says)."
    )]
    Size {
        /// Of the message as it would be sent.
        octets: u64,
        /// What the host or the account takes.
        limit: u64,
    },
    /// The sender's address cannot be written.
    #[error("The sender's address is not ASCII and the provider lacks SMTPUTF8.")]
    SenderAddress,
}

/// Makes a message ready for an account.
///
/// # Errors
/// Where it cannot go out by this account whatever the provider says.
pub fn render(
    letter: Letter,
    rule: &SenderRule,
    fields: &FieldRule,
    abilities: Abilities,
) -> Result<Rendered, Unsendable> {
    let Letter { content, mut envelope } = letter;
    let signatures = Signatures::of(&HeaderBlock::split(&content).0);
    let repaired = repair(&content, &envelope.reverse_path, rule)?;
    envelope.reverse_path = repaired.reverse_path;
    let mut repairs = repaired.repairs;
    let mut content = match repaired.content {
        Cow::Borrowed(_) => None,
        Cow::Owned(changed) => Some(changed),
    }
    .unwrap_or(content);
    let (mut block, body) = HeaderBlock::split(&content);
    let changed = fields.apply(&mut block);
    if !changed.is_empty() {
        content = block.join(body);
        repairs.extend(changed);
    }
    let mut unwritable = Vec::new();
    if !abilities.smtp_utf8 {
        if envelope.reverse_path.address().is_some_and(|address| !address.is_ascii()) {
            return Err(Unsendable::SenderAddress);
        }
        (envelope.recipients, unwritable) = envelope.recipients.into_iter().partition(Address::is_ascii);
    }
    let fitted = fit(&content, abilities.carries(), abilities.size).map_err(|error| match error {
        CannotFit::TooLarge { octets } => Unsendable::Size { octets, limit: abilities.size },
        error => error.into(),
    })?;
    content = fitted.content.unwrap_or(content);
    repairs.extend(fitted.repairs);
    repairs.extend(signatures.broken(&HeaderBlock::split(&content).0, fitted.body));
    let octets = content.len() as u64;
    if octets > abilities.size {
        return Err(Unsendable::Size { octets, limit: abilities.size });
    }
    let mut addresses = envelope.reverse_path.address().into_iter().chain(&envelope.recipients);
    let smtp_utf8 = fitted.smtp_utf8 || addresses.any(|address| !address.is_ascii());
    let eight_bit = abilities.eight_bit_mime && !content.is_ascii();
    Ok(Rendered { envelope, content, eight_bit, smtp_utf8, unwritable, repairs })
}

impl Abilities {
    fn carries(self) -> Carries {
        match self {
            Self { eight_bit_mime: false, .. } => Carries::SevenBit,
            Self { smtp_utf8: false, .. } => Carries::EightBit,
            // SMTPUTF8 is nothing without 8BITMIME (RFC 6531 §3.1).
            _ => Carries::Utf8Header,
        }
    }
}

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;

    use super::*;
    use crate::message::header::Field;
    use crate::message::sender::SenderMode;
    use crate::message::submission::{Additions, prepare};
    use crate::smtp::ReversePath;

    const ALL: Abilities = Abilities { eight_bit_mime: true, smtp_utf8: true, size: 1000 };

    fn letter(content: &str, recipients: &[&str]) -> Letter {
        let reverse_path = ReversePath::Address("jane@visitor.example".parse().unwrap());
        let recipients = recipients.iter().map(|address| address.parse().unwrap()).collect();
        Letter { content: content.as_bytes().to_vec(), envelope: Envelope { reverse_path, recipients } }
    }

    fn rule(mode: SenderMode) -> SenderRule {
        SenderRule { mode, from: Some("webmaster@example.com".parse().unwrap()), allowed: Vec::new() }
    }

    #[test]
    fn a_message_that_needs_nothing_stays_as_it_is() {
        let text = "From: jane@visitor.example\r\n\r\nHi\r\n";
        let rendered =
            render(letter(text, &["a@example.com"]), &rule(SenderMode::Keep), &FieldRule::default(), ALL).unwrap();
        assert_eq!(rendered.content, text.as_bytes());
        assert!(!rendered.eight_bit && !rendered.smtp_utf8 && rendered.repairs.is_empty());
    }

    #[test]
    fn octets_beyond_ascii_are_declared_or_encoded() {
        let text = "From: jane@visitor.example\r\n\r\nGrüße\r\n";
        assert!(render(letter(text, &["a@b"]), &rule(SenderMode::Keep), &FieldRule::default(), ALL).unwrap().eight_bit);
        let abilities = Abilities { eight_bit_mime: false, ..ALL };
        let rendered =
            render(letter(text, &["a@b"]), &rule(SenderMode::Keep), &FieldRule::default(), abilities).unwrap();
        assert!(rendered.content.is_ascii() && !rendered.eight_bit);
    }

    fn told(rendered: &Rendered) -> Vec<String> {
        rendered.repairs.iter().map(Repair::to_string).collect()
    }

    #[test]
    fn a_signature_that_a_repair_breaks_is_told() {
        let signature = "DKIM-Signature: v=1; d=visitor.example; c=relaxed/relaxed; h=from:to; b=YWJj\r\n";
        let text = format!("{signature}From: Jane <jane@visitor.example>\r\nSubject: \u{fc}\r\n\r\nx\r\n");
        let large = Abilities { size: 10_000, ..ALL };
        let render =
            |text: &str, mode| render(letter(text, &["a@b"]), &rule(mode), &FieldRule::default(), large).unwrap();
        assert_eq!(told(&render(&text, SenderMode::Keep)), ["8-bit text of Subject encoded"]);
        let rewritten = told(&render(&text, SenderMode::Rewrite));
        assert_eq!(rewritten.last().unwrap(), "DKIM signature of visitor.example broken by a change of from");
        let long = text.replace("\r\nx", &format!("\r\n{}", "x".repeat(999)));
        let rendered = render(&long, SenderMode::Keep);
        assert_eq!(rendered.repairs.last().unwrap().kind(), "signature_broken");
        assert_eq!(told(&rendered).last().unwrap(), "DKIM signature of visitor.example broken by a change of the body");
    }

    #[test]
    fn an_address_beyond_ascii_in_the_header_is_declared() {
        let text = "From: jane@visitor.example\r\nTo: j\u{fc}rgen@x\r\n\r\nx\r\n";
        let render =
            |abilities| render(letter(text, &["a@b"]), &rule(SenderMode::Keep), &FieldRule::default(), abilities);
        let rendered = render(ALL).unwrap();
        assert!(rendered.smtp_utf8 && rendered.eight_bit);
        assert_eq!(rendered.content, text.as_bytes());
        let rendered = render(Abilities { smtp_utf8: false, ..ALL }).unwrap();
        assert!(!rendered.smtp_utf8 && rendered.eight_bit);
        assert_eq!(told(&rendered), ["octets beyond ASCII in To left as they are"]);
        let seven_bit = render(Abilities { smtp_utf8: false, eight_bit_mime: false, ..ALL });
        assert!(matches!(seven_bit, Err(Unsendable::Encoding(_))));
    }

    #[test]
    fn what_begins_without_a_header_is_a_message_with_a_body() {
        let from: ReversePath = ReversePath::Address("jane@visitor.example".parse().unwrap());
        for (content, body) in [
            ("Disk full on nas-2\r\n", "Disk full on nas-2\r\n"),
            ("\r\nDisk: full\r\n", "Disk: full\r\n"),
            ("Subject: disk\r\nIt is full\r\n", "It is full\r\n"),
            (" Disk: full\r\n", " Disk: full\r\n"),
            ("B\u{fc}ro\r\n", "B\u{fc}ro\r\n"),
            ("", ""),
        ] {
            let received = Field::folded("Received", b"from nas");
            let additions = Additions {
                received,
                date: "DATE",
                message_id: "1@relay.example",
                reverse_path: &from,
                hostname: "relay",
            };
            let head = prepare(content.as_bytes(), &additions).head;
            let head = String::from_utf8(head).unwrap();
            let rendered =
                render(letter(&head, &["a@b"]), &rule(SenderMode::Rewrite), &FieldRule::default(), ALL).unwrap();
            let parsed = MessageParser::default().parse(&rendered.content).unwrap();
            assert_eq!(parsed.body_text(0).unwrap_or_default(), body);
            assert!(parsed.from().is_some() && parsed.date().is_none() && parsed.message_id().is_some(), "{content}");
        }
    }

    #[test]
    fn rendering_again_changes_nothing() {
        let text = format!(
            "From: J\u{fc}rgen <jane@visitor.example>\r\nSubject: {}\r\n\r\n{}\0\r\n",
            "s".repeat(2000),
            "x".repeat(2000)
        );
        for eight_bit_mime in [true, false] {
            let abilities = Abilities { eight_bit_mime, size: 10_000, ..ALL };
            let render = |text: &str| {
                render(letter(text, &["a@b"]), &rule(SenderMode::Rewrite), &FieldRule::default(), abilities).unwrap()
            };
            let once = String::from_utf8(render(&text).content).unwrap();
            let twice = render(&once);
            assert_eq!(twice.content, once.as_bytes());
            // The reverse path of the envelope is not part of the content.
            assert_eq!(told(&twice), ["reverse path was jane@visitor.example"]);
        }
    }

    #[test]
    fn recipients_that_cannot_be_written_are_left_out_alone() {
        let abilities = Abilities { smtp_utf8: false, ..ALL };
        let rendered =
            render(letter("\r\n", &["jürgen@b", "a@b"]), &rule(SenderMode::Keep), &FieldRule::default(), abilities)
                .unwrap();
        assert_eq!(rendered.envelope.recipients.len(), 1);
        assert_eq!(rendered.unwritable.len(), 1);
    }

    #[test]
    fn what_is_too_large_or_not_allowed_is_said_so() {
        let large = "x".repeat(2000);
        assert!(matches!(
            render(letter(&large, &["a@b"]), &rule(SenderMode::Keep), &FieldRule::default(), ALL),
            Err(Unsendable::Size { .. })
        ));
        let refused =
            render(letter("From: x@y\r\n\r\n", &["a@b"]), &rule(SenderMode::Refuse), &FieldRule::default(), ALL);
        assert!(matches!(refused, Err(Unsendable::Sender(_))));
    }
}
