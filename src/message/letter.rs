//! Mail that the relay itself writes: plain text in quoted-printable, ASCII throughout, lines within limits. `Date:` and
//! `Message-ID:` are added by the intake.

use super::encoded_word::encode_unstructured;
use super::header::Field;
use super::mailbox::write_name;
use super::transfer::quoted_printable;
use crate::smtp::Address;

/// From whom and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Letterhead<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// The account's own address.
    pub from: &'a Address,
    /// Who gets it.
    pub to: &'a [Address],
}

/// A letter with this subject and text, whose lines end with LF.
pub fn letter(head: &Letterhead<'_>, subject: &str, text: &str) -> Vec<u8> {
    let mut bytes = head.fields(subject);
    bytes.extend_from_slice(&text_part(text));
    bytes
}

impl Letterhead<'_> {
    /// The fields that all of them have. Nobody is to answer them, by hand or by machine (RFC 3834 §5).
    pub(super) fn fields(&self, subject: &str) -> Vec<u8> {
        let name = write_name(&format!("Mailsluice on {}", self.hostname));
        let from = [&name[..], format!(" <{}>", self.from).as_bytes()].concat();
        let to: Vec<String> = self.to.iter().map(|to| format!("<{to}>")).collect();
        let subject: String =
            subject.chars().take(SUBJECT_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let fields = [
            Field::folded("From", &from),
            Field::folded("To", to.join(", ").as_bytes()),
            Field::folded("Subject", &encode_unstructured(subject.as_bytes(), usize::MAX)),
            Field::folded("Auto-Submitted", b"auto-generated"),
            Field::folded("MIME-Version", b"1.0"),
        ];
        fields.iter().flat_map(|field| field.raw().to_vec()).collect()
    }
}

/// An entity of plain text: its fields, an empty line, and the text.
pub(super) fn text_part(text: &str) -> Vec<u8> {
    let lines: Vec<&str> = text.lines().collect();
    let mut part =
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n".to_vec();
    part.extend_from_slice(&quoted_printable(lines.join("\r\n").as_bytes()));
    part.extend_from_slice(b"\r\n");
    part
}

/// What nobody reads beyond.
const SUBJECT_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use mail_parser::MessageParser;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_says_from_whom_and_that_nobody_should_answer() {
        let (from, to) = ("webmaster@example.com".parse().unwrap(), ["a@x", "b@y"].map(|to| to.parse().unwrap()));
        let head = Letterhead { hostname: "relay.example", from: &from, to: &to };
        let bytes = letter(&head, "Account m365 is paused", "Grüße\n\n  from the relay\n");
        let parsed = MessageParser::default().parse(&bytes).unwrap();
        let sender = parsed.from().unwrap().first().unwrap();
        assert_eq!(
            (sender.name(), sender.address()),
            (Some("Mailsluice on relay.example"), Some("webmaster@example.com"))
        );
        assert_eq!(parsed.to().unwrap().iter().count(), 2);
        assert_eq!(parsed.subject(), Some("Account m365 is paused"));
        assert_eq!(parsed.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
        assert_eq!(parsed.body_text(0).unwrap(), "Grüße\r\n\r\n  from the relay\r\n");
    }

    proptest! {
        #[test]
        fn whatever_it_tells_it_is_ascii_in_short_lines(subject in "\\PC{0,300}|[ -~\r\n\t]{0,300}", text in "(\\PC{0,200}\n){0,5}") {
            let (from, to) = ("webmaster@example.com".parse().unwrap(), ["ops@example.com".parse().unwrap()]);
            let bytes = letter(&Letterhead { hostname: "relay.example", from: &from, to: &to }, &subject, &text);
            prop_assert!(bytes.is_ascii());
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                prop_assert!(line.ends_with(b"\r\n") && line.len() <= 1000, "{line:?}");
            }
            let parsed = MessageParser::default().parse(&bytes).unwrap();
            prop_assert_eq!(parsed.headers().len(), 7);
            let read = parsed.body_text(0).unwrap().replace("\r\n", "\n");
            prop_assert_eq!(read.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
