//! What a submission server adds to a message and takes from it (RFC 6409 §8): the trace on top, the fields that RFC 5322
//! §3.6 demands and devices forget, and away with those that are nobody else's business. `To:` is never invented.

use super::dkim::Signatures;
use super::encoded_word::to_text;
use super::encoding::Body;
use super::header::{Field, HeaderBlock};
use super::mailbox::addressees::completed;
use super::repair::Repair;
use crate::smtp::ReversePath;

/// What the intake has to add.
#[derive(Clone, Debug)]
pub struct Additions<'a> {
    /// The trace field, from [`super::trace::Hop::received`].
    pub received: Field<'static>,
    /// For a missing `Date:`, as RFC 5322 §3.3 writes it.
    pub date: &'a str,
    /// For a missing `Message-ID:`, with or without its angle brackets.
    pub message_id: &'a str,
    /// For a missing `From:`.
    pub reverse_path: &'a ReversePath,
    /// Our name, for the `From:` of a message without one and without a reverse path.
    pub hostname: &'a str,
}

/// A message ready to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// What replaces the `head` that was handed in.
    pub head: Vec<u8>,
    /// The `Message-ID:` that it has now, with its brackets where it has them, for logs and terminals: controls are `?`,
    /// and what is beyond a line is cut off.
    pub message_id: String,
    /// Names of the fields added beside the trace; an empty one counts as missing.
    pub added: Vec<&'static str>,
    /// Names of the fields that named a local part alone, and have its domain now: local programs write such.
    pub completed: Vec<&'static str>,
    /// Names of the fields removed, each once.
    pub removed: Vec<&'static str>,
    /// The signatures that this breaks.
    pub broken: Vec<Repair>,
}

/// Prepares content, of which `head` is the beginning with at least the whole header block. What is behind the header
/// block comes back byte for byte.
pub fn prepare(head: &[u8], additions: &Additions<'_>) -> Prepared {
    let (mut block, rest) = HeaderBlock::split(head);
    let signatures = Signatures::of(&block);
    let mut removed = PRIVATE.to_vec();
    removed.retain(|name| block.remove_where(|field| field.is(name)) > 0);

    let bare_id = additions.message_id.trim_matches(['<', '>']);
    let from = match additions.reverse_path {
        ReversePath::Null => format!("<{DAEMON}@{}>", additions.hostname),
        ReversePath::Address(address) => format!("<{address}>"),
    };
    let mut added = Vec::new();
    for (name, value) in [("Date", additions.date), ("Message-ID", &format!("<{bare_id}>")), ("From", &from)] {
        block.remove_where(|field| field.is(name) && is_void(&field.value()));
        if block.find(name).is_none() {
            block.append(Field::folded(name, value.as_bytes()));
            added.push(name);
        }
    }
    let mut completions = Vec::new();
    if let ReversePath::Address(sender) = additions.reverse_path
        && let [author] = block.all("From").collect::<Vec<_>>()[..]
        && let Some(whole) = completed(author, sender)
    {
        block.set(whole);
        completions.push("From");
    }
    block.prepend(additions.received.clone());
    let message_id = block.find("Message-ID").map(|field| harmless(&to_text(&field.value()))).unwrap_or_default();
    let broken = signatures.broken(&block, Body::Kept);
    Prepared { head: block.join(rest), message_id, added, completed: completions, removed, broken }
}

/// Blind recipients are the envelope's; the return path is for the last hop to write (RFC 5321 §4.4).
const PRIVATE: [&str; 3] = ["Bcc", "Resent-Bcc", "Return-Path"];

/// The local part of the author that a message without one and without a reverse path gets, as bounces have it.
pub(super) const DAEMON: &str = "MAILER-DAEMON";

/// RFC 5322 §2.1.1: what a line may have.
const LINE_OCTETS: usize = 998;

fn harmless(id: &str) -> String {
    let mut shown = String::new();
    for c in id.chars().map(|c| if c.is_control() { '?' } else { c }) {
        if shown.len() + c.len_utf8() > LINE_OCTETS {
            break;
        }
        shown.push(c);
    }
    shown
}

fn is_void(value: &[u8]) -> bool {
    matches!(value, b"" | b"<>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepared(head: &[u8], reverse_path: &str) -> Prepared {
        let reverse_path = reverse_path.parse().map_or(ReversePath::Null, ReversePath::Address);
        let received = Field::folded("Received", b"from camera");
        let (message_id, hostname) = ("1@relay.example", "relay.example");
        prepare(head, &Additions { received, date: "DATE", message_id, reverse_path: &reverse_path, hostname })
    }

    fn head(content: &str, reverse_path: &str) -> String {
        String::from_utf8(prepared(content.as_bytes(), reverse_path).head).unwrap()
    }

    #[test]
    fn a_complete_message_gets_its_trace_alone() {
        let content = "Date:x\r\nmessage-id :<a@b>\r\nFROM:\r\n Jane <jane@x.org>\r\nTo:b@c\r\n\r\nBcc: body\r\n";
        let got = prepared(content.as_bytes(), "shop@x.org");
        assert_eq!(String::from_utf8(got.head).unwrap(), format!("Received: from camera\r\n{content}"));
        assert_eq!((got.message_id.as_str(), got.added, got.removed), ("<a@b>", vec![], vec![]));
    }

    #[test]
    fn what_is_missing_or_empty_is_added_below() {
        let added = "Date: DATE\r\nMessage-ID: <1@relay.example>\r\nFrom: <nas@x.org>\r\n\r\n";
        for (content, expected) in [
            ("Subject: disk\r\n\r\nfull", format!("Subject: disk\r\n{added}full")),
            ("Date:\r\nFrom: <>\r\nMessage-ID:  \r\nSubject: a\r\n\r\n", format!("Subject: a\r\n{added}")),
            ("Disk full\r\n", format!("{added}Disk full\r\n")),
            ("", added.to_owned()),
        ] {
            assert_eq!(head(content, "nas@x.org"), format!("Received: from camera\r\n{expected}"), "{content:?}");
            assert_eq!(prepared(content.as_bytes(), "nas@x.org").added, ["Date", "Message-ID", "From"]);
        }
        assert!(head("Subject: a\r\n\r\n", "<>").contains("\r\nFrom: <MAILER-DAEMON@relay.example>\r\n"));
        assert!(!head("", "nas@x.org").contains("To:"));
        assert_eq!(prepared(b"", "").message_id, "<1@relay.example>");
    }

    #[test]
    fn an_author_without_a_domain_gets_the_senders() {
        let from =
            |from: &str| head(&format!("From: {from}\r\nDate: x\r\nMessage-ID: <a>\r\n\r\n"), "root@shop.example");
        assert!(from("root (Cron Daemon)").contains("\r\nFrom: Cron Daemon <root@shop.example>\r\n"));
        assert!(from("nobody").contains("\r\nFrom: nobody\r\n"));
        let got = prepared(b"From: root\r\n\r\n", "root@shop.example");
        assert_eq!((got.added, got.completed), (vec!["Date", "Message-ID"], vec!["From"]));
    }

    #[test]
    fn what_is_private_goes_from_the_top_block_only() {
        let content = "Return-Path: <a@b>\r\nDate: x\r\nBcc: a@b,\r\n c@d\r\nResent-Bcc: e@f\r\nbcc: g@h\r\nFrom: a@b\r\n\
                       Message-ID: <a>\r\n\r\nBcc: z\r\n";
        let got = prepared(content.as_bytes(), "");
        assert_eq!(got.removed, ["Bcc", "Resent-Bcc", "Return-Path"]);
        assert_eq!(
            String::from_utf8(got.head).unwrap(),
            "Received: from camera\r\nDate: x\r\nFrom: a@b\r\nMessage-ID: <a>\r\n\r\nBcc: z\r\n"
        );
    }

    #[test]
    fn a_signature_over_what_is_added_or_removed_is_told() {
        let signed =
            |names: &str| format!("DKIM-Signature: d=x.org; h={names}; b=YWJj\r\nFrom: a@b\r\nBcc: c@d\r\n\r\n");
        let told = |names: &str| {
            prepared(signed(names).as_bytes(), "").broken.iter().map(Repair::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told("From:Subject"), [""; 0]);
        assert_eq!(told("From:Date:Bcc"), ["DKIM signature of x.org broken by a change of Date, Bcc"]);
    }

    #[test]
    fn the_id_of_a_message_is_harmless_wherever_it_is_shown() {
        let id = prepared(b"Message-ID: <a\x1b[2J\x00\x07\xc2\x9b@b>\r\n\r\n", "").message_id;
        assert_eq!(id, "<a?[2J???@b>");
        let long = format!("Message-ID: <x{}@b>\r\n\r\n", "\u{fc}".repeat(200_000));
        let cut = prepared(long.as_bytes(), "").message_id;
        assert_eq!((cut.len(), cut.starts_with("<x\u{fc}\u{fc}")), (998, true));
    }

    proptest! {
        #[test]
        fn the_body_stays_and_preparing_again_adds_only_a_trace(
            content in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "((Date|From|Bcc|X|Return-Path) ?:[ a\r\n]{0,5}\r\n){0,6}(\r\n)?[A:\r\n]{0,10}".prop_map(String::into_bytes),
            ],
        ) {
            let body = HeaderBlock::split(&content).1;
            let once = prepared(&content, "a@b");
            prop_assert_eq!(HeaderBlock::split(&once.head).1, body);
            let twice = prepared(&once.head, "a@b");
            prop_assert_eq!(twice.head, [b"Received: from camera\r\n", &once.head[..]].concat());
        }
    }
}
