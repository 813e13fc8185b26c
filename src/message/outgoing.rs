//! A stored message as an account and its host can take it: sender repaired, octets encoded, size checked.

use std::borrow::Cow;

use super::encoding::{CannotDowngrade, needs, to_seven_bit};
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
    /// Whether its envelope needs SMTPUTF8.
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
    Encoding(#[from] CannotDowngrade),
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
    let needs = needs(&content, &envelope);
    if needs.eight_bit_mime && !abilities.eight_bit_mime {
        content = to_seven_bit(&content)?;
    }
    let octets = content.len() as u64;
    if octets > abilities.size {
        return Err(Unsendable::Size { octets, limit: abilities.size });
    }
    let eight_bit = needs.eight_bit_mime && abilities.eight_bit_mime;
    Ok(Rendered { envelope, content, eight_bit, smtp_utf8: needs.smtp_utf8, unwritable, repairs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::sender::SenderMode;
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
