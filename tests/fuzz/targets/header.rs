//! Header repair: what the intake adds and what an account needs changed, for content of any kind.
//!
//! The first octet of the input chooses the account; the rest is the content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mail_parser::{MessageParser, MimeHeaders as _};
use mailsluice::ids::MessageId;
use mailsluice::message::fields::{AddedField, FieldRule};
use mailsluice::message::header::HeaderBlock;
use mailsluice::message::outgoing::{Abilities, Letter, Rendered, Unsendable, render};
use mailsluice::message::sender::{SenderMode, SenderRule};
use mailsluice::message::submission::{Additions, prepare};
use mailsluice::message::trace::Hop;
use mailsluice::provider::presets::RepeatedFields;
use mailsluice::route::Origin;
use mailsluice::smtp::{Envelope, ReversePath};

fuzz_target!(|input: &[u8]| {
    let Some((choice, content)) = input.split_first() else { return };
    let content = with_crlf(content);
    let reverse_path = match choice & 1 {
        0 => ReversePath::Null,
        _ => ReversePath::Address("camera@device.example".parse().unwrap()),
    };
    let hop = Hop {
        helo: "camera",
        origin: Origin::Ip([192, 0, 2, 1].into()),
        client: &"hall".into(),
        hostname: "relay.example",
        protocol: "ESMTP",
        id: MessageId(1),
        recipients: &[],
        date: DATE,
    };
    let additions = Additions {
        received: hop.received(),
        date: DATE,
        message_id: "1@relay.example",
        reverse_path: &reverse_path,
        hostname: "relay.example",
    };
    let prepared = prepare(&content, &additions);
    let body = HeaderBlock::split(&content).1;
    assert!(prepared.head.ends_with(body), "the intake leaves the body as it is");
    assert!(prepared.head.len() <= content.len() + ROOM, "{} octets became {}", content.len(), prepared.head.len());
    assert!(prepared.message_id.len() <= 998 && !prepared.message_id.contains(char::is_control));

    let stored = prepared.head;
    let Ok(once) = repaired(&stored, &reverse_path, *choice) else { return };
    check(&stored, &once, *choice);
    // What an account adds goes to the end of the block each time. A line with NUL in it can be another one without.
    if choice & 4 != 0 || stored.contains(&0) {
        return;
    }
    let twice = repaired(&once.content, &once.envelope.reverse_path, *choice);
    let text = |content: &[u8]| content.escape_ascii().to_string();
    let twice = twice.map(|twice| text(&twice.content));
    assert_eq!(twice, Ok(text(&once.content)), "what was repaired needs no repair");
});

/// Content as the session hands it over: no bare CR, no bare LF.
fn with_crlf(input: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(input.len());
    for (at, byte) in input.iter().enumerate() {
        match byte {
            b'\r' if input.get(at + 1) == Some(&b'\n') => {}
            b'\r' | b'\n' => content.extend_from_slice(b"\r\n"),
            other => content.push(*other),
        }
    }
    content
}

fn repaired(stored: &[u8], reverse_path: &ReversePath, choice: u8) -> Result<Rendered, Unsendable> {
    let rule = SenderRule {
        mode: if choice & 2 == 0 { SenderMode::Rewrite } else { SenderMode::Keep },
        from: Some("webmaster@example.com".parse().unwrap()),
        allowed: vec!["*@allowed.example".parse().unwrap()],
    };
    let fields = if choice & 4 == 0 {
        FieldRule::default()
    } else {
        FieldRule {
            removed: vec!["X-SES-*".parse().unwrap()],
            allowed: vec!["X-SES-Kept".parse().unwrap()],
            added: vec![AddedField { name: "X-Site".into(), value: "shop".into() }],
            repeated: RepeatedFields::Folded,
        }
    };
    let abilities = Abilities { eight_bit_mime: choice & 8 == 0, smtp_utf8: choice & 16 == 0, size: u64::MAX };
    let envelope = Envelope { reverse_path: reverse_path.clone(), recipients: vec!["a@example.org".parse().unwrap()] };
    render(Letter { content: stored.to_vec(), envelope }, &rule, &fields, abilities)
}

fn check(stored: &[u8], once: &Rendered, choice: u8) {
    let content = &once.content;
    // Each octet can become three (`=3D`), a short word of a header an encoded word of its own.
    assert!(content.len() <= 8 * stored.len() + ROOM, "{} octets became {}", stored.len(), content.len());
    assert!(choice & 8 == 0 || content.is_ascii(), "8-bit for a host that takes seven");
    let crlf = content.windows(2).filter(|window| window == b"\r\n").count();
    for end in [b'\r', b'\n'] {
        assert_eq!(content.iter().filter(|byte| **byte == end).count(), crlf, "bare line ends");
    }
    let lower = stored.to_ascii_lowercase();
    let mentions = |word: &[u8]| lower.windows(word.len()).any(|window| window == word);
    if !mentions(b"message/") && !mentions(b"multipart/") {
        let longest = content.split(|octet| *octet == b'\n').map(|line| line.len()).max();
        assert!(longest <= Some(999), "a line of {longest:?} octets with its CR");
    }
    for part in protected(stored).into_iter().filter(|part| !part.is_empty()) {
        assert!(content.windows(part.len()).any(|window| window == part), "changed: {}", part.escape_ascii());
    }
}

/// The bodies of the message and of the parts on its first level that nobody may touch.
fn protected(content: &[u8]) -> Vec<&[u8]> {
    let Some((media, body)) = entity(content) else { return Vec::new() };
    if media.is_protected() {
        return vec![body];
    }
    let (true, Some(boundary)) = (media.name.starts_with("multipart/"), &media.boundary) else { return Vec::new() };
    let parts = parts(body, boundary).into_iter().filter_map(entity);
    parts.filter(|(media, _)| media.is_protected()).map(|(_, body)| body).collect()
}

/// A media type as another parser reads it.
struct Media {
    name: String,
    boundary: Option<String>,
}

impl Media {
    fn is_protected(&self) -> bool {
        matches!(self.name.as_str(), "multipart/signed" | "multipart/encrypted") || self.name.starts_with("message/")
    }
}

/// What this is, where that is beyond doubt, and its body.
fn entity(content: &[u8]) -> Option<(Media, &[u8])> {
    let end = content.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let (header, body) = content.split_at(end);
    let message = MessageParser::default().parse_headers(header)?;
    // Of two of them, each reader may believe another.
    let fields = message.headers().iter().filter(|field| field.name().eq_ignore_ascii_case("Content-Type")).count();
    let media = message.content_type()?;
    let name = format!("{}/{}", media.c_type, media.c_subtype.as_deref().unwrap_or_default()).to_ascii_lowercase();
    let media = Media { name, boundary: media.attribute("boundary").map(str::to_owned) };
    // The other parser passes over octets that no type has.
    let as_written =
        header.to_ascii_lowercase().windows(media.name.len()).any(|window| window == media.name.as_bytes());
    (fields == 1 && as_written && HeaderBlock::split(header).1.is_empty()).then_some((media, body))
}

/// The parts between delimiter lines, without the line end in front of a delimiter.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let (mut parts, mut part, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|octet| *octet == b'\n') {
        let behind = line.strip_prefix(b"--").and_then(|line| line.strip_prefix(boundary.as_bytes()));
        let behind = behind.map(<[u8]>::trim_ascii_end);
        if matches!(behind, Some(b"" | b"--")) {
            parts.extend(part.map(|start: usize| &body[start..at.max(start + 2) - 2]));
            part = (behind == Some(b"")).then_some(at + line.len());
            if part.is_none() {
                break;
            }
        }
        at += line.len();
    }
    parts.extend(part.map(|start| &body[start..]));
    parts
}

/// Octets that the intake and repairs may add whatever the size.
const ROOM: usize = 64 << 10;
const DATE: &str = "Tue, 24 Nov 2026 09:00:00 +0000";
