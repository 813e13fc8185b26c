//! A provider's replies, from octets (RFC 5321 §4.2). Lenient, because a reply that cannot be read after the final dot
//! means a duplicate: bare line feeds, a code without text, codes that differ from line to line, endless lines and
//! octets that are not ASCII all pass.

use std::collections::VecDeque;

use crate::smtp::Reply;

/// Gathers octets as they come into replies, which wait until they are taken.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    line: Vec<u8>,
    lines: Vec<String>,
    octets: usize,
    replies: VecDeque<Reply>,
    fault: Option<NotAReply>,
}

/// The peer sent what is not an SMTP reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAReply {
    /// A line without a code.
    #[error("{0:?} is not an SMTP reply")]
    Line(String),
    /// No end in sight.
    #[error("the reply is longer than {OCTETS} octets")]
    Endless,
}

impl ReplyReader {
    /// Takes octets and returns the replies they complete. What comes behind a line that is no reply is not looked at.
    pub(super) fn push(&mut self, octets: &[u8]) -> impl Iterator<Item = &Reply> {
        let before = self.replies.len();
        for octet in octets {
            if self.fault.is_some() {
                break;
            }
            self.octets += 1;
            match octet {
                b'\n' => self.fault = self.end_line().err(),
                _ if self.octets > OCTETS => self.fault = Some(NotAReply::Endless),
                _ if self.line.len() < LINE_OCTETS => self.line.push(*octet),
                _ => {}
            }
        }
        self.replies.range(before..)
    }

    /// The oldest reply that was not yet taken.
    pub(super) fn take(&mut self) -> Option<Reply> {
        self.replies.pop_front()
    }

    /// Why no further reply comes, once the complete ones are taken.
    pub(super) fn fault(&self) -> Option<&NotAReply> {
        self.fault.as_ref()
    }

    /// Whether nothing came behind the replies that were taken.
    pub(super) fn is_quiet(&self) -> bool {
        self.octets == 0 && self.replies.is_empty() && self.fault.is_none()
    }

    fn end_line(&mut self) -> Result<(), NotAReply> {
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        let line: String = self.line.drain(..).map(printable).collect();
        let code = line.get(..3).filter(|code| code.bytes().all(|octet| octet.is_ascii_digit()));
        let code = code.and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code));
        let (Some(code), separator) = (code, line.as_bytes().get(3)) else {
            return Err(NotAReply::Line(line));
        };
        let text = line.get(4..).unwrap_or_default().to_owned();
        if self.lines.len() < LINES {
            self.lines.push(text);
        }
        match separator {
            Some(b'-') => Ok(()),
            None | Some(b' ') => {
                self.octets = 0;
                self.replies.push_back(Reply { code, lines: std::mem::take(&mut self.lines) });
                Ok(())
            }
            Some(_) => Err(NotAReply::Line(line)),
        }
    }
}

/// Of a line, what lies beyond is dropped (RFC 5321 §4.5.3.1.5 allows 512).
const LINE_OCTETS: usize = 2048;
/// Of a reply, the lines beyond are dropped.
const LINES: usize = 200;
/// A reply longer than this is none.
const OCTETS: usize = 1024 * 1024;

fn printable(octet: u8) -> char {
    match octet {
        b'\t' => ' ',
        b' '..=b'~' => char::from(octet),
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(octets: &[u8]) -> (Vec<Reply>, Option<NotAReply>) {
        let mut reader = ReplyReader::default();
        reader.push(octets).count();
        let replies = std::iter::from_fn(|| reader.take()).collect();
        (replies, reader.fault().cloned())
    }

    #[test]
    fn the_replies_of_odd_servers_are_read() {
        let long = format!("250 {}\r\n", "x".repeat(70_000));
        for (octets, code, lines) in [
            (&b"250 2.0.0 OK\r\n"[..], 250, vec!["2.0.0 OK".to_owned()]),
            (b"250\r\n", 250, vec![String::new()]),
            (b"250 fine\n", 250, vec!["fine".into()]),
            (b"550-a\r\n550 b\r\n", 550, vec!["a".into(), "b".into()]),
            (b"550-a\r\n451 b\r\n", 451, vec!["a".into(), "b".into()]),
            (b"587 odd\r\n", 587, vec!["odd".into()]),
            (b"250 re\xe7u \xff\r\n", 250, vec!["re?u ?".into()]),
            (long.as_bytes(), 250, vec!["x".repeat(LINE_OCTETS - 4)]),
        ] {
            assert_eq!(read(octets), (vec![Reply { code, lines }], None));
        }
    }

    #[test]
    fn what_is_no_reply_is_a_fault_but_not_of_the_replies_before_it() {
        for octets in
            [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\r\n", b"99 x\r\n", b"100 x\r\n", b"600 x\r\n", b"250x\r\n"]
        {
            assert!(matches!(read(octets), (replies, Some(NotAReply::Line(_))) if replies.is_empty()));
        }
        let (replies, fault) = read(b"250 stored\r\nwhat else\r\n");
        assert_eq!(replies, [Reply::new(250, "stored")]);
        assert!(fault.is_some());
        assert_eq!(read(&b"250-\r\n".repeat(200_000)), (vec![], Some(NotAReply::Endless)));
    }

    #[test]
    fn quiet_is_who_sent_nothing_behind_the_reply() {
        for (octets, quiet) in [
            (&b"220 go\r\n"[..], true),
            (b"220 go\r\n2", false),
            (b"220 go\r\n250 x\r\n", false),
            (b"220 go\r\n\r\n", false),
        ] {
            let mut reader = ReplyReader::default();
            reader.push(octets).count();
            assert!(reader.take().is_some());
            assert_eq!(reader.is_quiet(), quiet, "{octets:?}");
        }
    }

    proptest! {
        #[test]
        fn where_the_octets_are_parted_does_not_matter(cuts in prop::collection::vec(1..9_usize, 1..40)) {
            let octets = b"220 hello\r\n250-one\r\n250-\r\n250 two\r\n354\r\n451 4.7.0 \xc3\xa9\r\n";
            let mut reader = ReplyReader::default();
            let mut rest = &octets[..];
            for cut in cuts.into_iter().cycle() {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                reader.push(head).count();
                rest = tail;
                if rest.is_empty() {
                    break;
                }
            }
            let replies: Vec<_> = std::iter::from_fn(|| reader.take()).collect();
            prop_assert_eq!(replies, read(octets).0);
        }
    }
}
