//! Content transfer encodings (RFC 2045 §6), writing only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::header::is_blank;
use super::lines::{self, LONGEST};

/// Which of the two is shorter for a text; for a tie the one that people can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Quoted,
    Base64,
}

impl Encoding {
    /// The shorter one for this text, by reckoning and not by writing both.
    pub(super) fn for_text(text: &[u8]) -> Self {
        let quoted: usize = lines::each(text)
            .map(|line| {
                let (text, end) = lines::parted(line);
                let octets = text.len() + 2 * text.iter().filter(|byte| !is_literal(**byte)).count();
                octets + octets / QUOTED_WIDTH * b"=\r\n".len() + end.len()
            })
            .sum();
        if quoted <= text.len().div_ceil(57) * 78 { Self::Quoted } else { Self::Base64 }
    }

    /// As `Content-Transfer-Encoding:` names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Quoted => "quoted-printable",
            Self::Base64 => "base64",
        }
    }

    pub(super) fn write(self, octets: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Quoted => write_quoted(octets, out),
            Self::Base64 => write_base64(octets, out),
        }
    }
}

/// In lines of 76 characters, without a line end behind the last.
fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() / 57 * 78 + 78);
    let mut line = [0; 76];
    for (index, chunk) in bytes.chunks(57).enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        // 57 octets fill a line exactly.
        let written = STANDARD.encode_slice(chunk, &mut line).unwrap_or_default();
        out.extend_from_slice(&line[..written]);
    }
}

/// The text in lines of at most 76 characters.
pub(super) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len() + text.len() / 8);
    write_quoted(text, &mut encoded);
    encoded
}

/// Lines end where the text's lines end; a CR or LF that is no line end is encoded as any other octet.
fn write_quoted(text: &[u8], encoded: &mut Vec<u8>) {
    let mut column = 0;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let rest = &text[at + 1..];
        at += 1;
        if *byte == b'\r' && rest.first() == Some(&b'\n') {
            encoded.extend_from_slice(b"\r\n");
            column = 0;
            at += 1;
            continue;
        }
        let ends_line = rest.is_empty() || rest.starts_with(b"\r\n");
        // One octet of the line is left for the `=` of a soft line break.
        let broken = column >= QUOTED_WIDTH;
        if broken {
            encoded.extend_from_slice(b"=\r\n");
            column = 0;
        }
        // What is written must not make a line look like a delimiter.
        let literal = match byte {
            b' ' | b'\t' => !ends_line,
            b'-' => !broken && (column > 0 || rest.first() != Some(&b'-')),
            _ => is_literal(*byte),
        };
        if literal {
            encoded.push(*byte);
            column += 1;
        } else {
            encoded.extend_from_slice(&escape(*byte));
            column += 3;
        }
    }
}

/// Text that is quoted-printable already but for octets that are none, and long lines: those octets are encoded, those
/// lines get soft line breaks, the rest stays.
pub(super) fn mend_quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    for line in lines::each(text) {
        let (text, end) = lines::parted(line);
        let octets = text.len() + 2 * text.iter().filter(|byte| is_foreign(**byte)).count();
        if octets <= LONGEST {
            text.iter().for_each(|byte| write_mended(*byte, out));
        } else {
            break_quoted(text, out);
        }
        out.extend_from_slice(end);
    }
}

fn break_quoted(line: &[u8], out: &mut Vec<u8>) {
    // Blanks at the end of a line are no text (RFC 2045 §6.7 rule 3); in front of a soft line break they would be.
    let mut rest = line.trim_ascii_end();
    let mut column = 0;
    while !rest.is_empty() {
        let (token, behind) = rest.split_at(token_octets(rest));
        rest = behind;
        let width = token.len() + 2 * token.iter().filter(|byte| is_foreign(**byte)).count();
        let broken = column > 0 && column + width > QUOTED_WIDTH + 2;
        if broken {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if broken && token == b"-" {
            out.extend_from_slice(&escape(b'-'));
            column += 3;
        } else {
            token.iter().for_each(|byte| write_mended(*byte, out));
            column += width;
        }
    }
}

/// Octets of what a soft line break must not part: an octet, an encoded one, or a `=` that encodes nothing with the octet
/// behind it.
fn token_octets(rest: &[u8]) -> usize {
    let mut at = 0;
    while rest.get(at) == Some(&b'=') && at < MALFORMED_OCTETS {
        if rest[at + 1..].iter().take(2).filter(|byte| byte.is_ascii_hexdigit()).count() == 2 {
            return at + 3;
        }
        at += 1;
    }
    rest.len().min(at + 1)
}

fn write_mended(byte: u8, out: &mut Vec<u8>) {
    if is_foreign(byte) {
        out.extend_from_slice(&escape(byte));
    } else {
        out.push(byte);
    }
}

/// What cannot stand in quoted-printable text, and stands there nevertheless.
fn is_foreign(byte: u8) -> bool {
    !byte.is_ascii() || byte == 0
}

fn is_literal(byte: u8) -> bool {
    (byte.is_ascii_graphic() && byte != b'=') || is_blank(byte)
}

fn escape(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// Room for an encoded octet and the `=` of a soft line break is left of 76 characters.
const QUOTED_WIDTH: usize = 73;
/// So many `=` in a row are looked at: text that is not quoted-printable at all has lines of them.
const MALFORMED_OCTETS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};
    use proptest::prelude::*;

    #[test]
    fn quoted_printable_is_as_the_rfc_has_it() {
        for (text, expected) in [
            ("für\r\n", "f=C3=BCr\r\n"),
            ("1=1 \r\n\tx\t", "1=3D1=20\r\n\tx=09"),
            ("a\rb\nc", "a=0Db=0Ac"),
            ("--b\r\n- -\r\n-- \r\n", "=2D-b\r\n- -\r\n=2D-=20\r\n"),
            ("a\0", "a=00"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8(quoted_printable(text.as_bytes())).unwrap(), expected);
        }
        let dashes = quoted_printable(&[b'-'; 200]);
        assert!(dashes.split(|byte| *byte == b'\n').all(|line| line.starts_with(b"=2D")));
    }

    fn mended(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        mend_quoted_printable(text, &mut out);
        out
    }

    #[test]
    fn soft_line_breaks_part_nothing() {
        let dashes = mended(&[b'-'; 2000]);
        assert!(dashes.split(|byte| *byte == b'\n').skip(1).all(|line| line.starts_with(b"=2D")));
        for odd in ["=", "==", "=4", "=Z", "x=\t \r\n", "==41", "=\u{fc}"] {
            let text = odd.repeat(1500);
            let out = mended(text.as_bytes());
            assert!(lines::each(&out).all(|line| lines::parted(line).0.len() <= 200), "{odd}");
        }
        let soft = format!("{}= \t\r\nb\r\n", "a".repeat(1200));
        assert_eq!(
            quoted_printable_decode(&mended(soft.as_bytes())).unwrap(),
            format!("{}b\r\n", "a".repeat(1200)).as_bytes()
        );
        // A soft line break among blanks at the end of a line would make text of them.
        let blanks = format!("{}{}\r\n", "a".repeat(1200), " ".repeat(200));
        assert_eq!(
            quoted_printable_decode(&mended(blanks.as_bytes())).unwrap(),
            format!("{}\r\n", "a".repeat(1200)).as_bytes()
        );
        assert_eq!(mended(b"=C3=BC \xfc\0 = \r\n"), b"=C3=BC =FC=00 = \r\n");
    }

    proptest! {
        #[test]
        fn encodings_read_back(text in prop_oneof![
            prop::collection::vec(any::<u8>(), 1..300),
            "([ -~ü]{0,90}\r\n){1,4}".prop_map(String::into_bytes),
        ]) {
            for encoding in [Encoding::Quoted, Encoding::Base64] {
                let mut encoded = Vec::new();
                encoding.write(&text, &mut encoded);
                let decoded = match encoding {
                    Encoding::Quoted => quoted_printable_decode(&encoded),
                    Encoding::Base64 => base64_decode(&encoded),
                };
                prop_assert!(encoded.is_ascii() && encoded.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
                prop_assert_eq!(decoded.as_deref(), Some(&text[..]));
            }
        }

        #[test]
        fn long_lines_of_quoted_printable_read_the_same(text in "((=[0-9A-F]{2}|[ -<>-~]{1,40}|-){20,200}( {0,3}=?)?\r\n){1,3}") {
            let out = mended(text.as_bytes());
            prop_assert!(!lines::has_long_line(&out));
            prop_assert_eq!(quoted_printable_decode(&out), quoted_printable_decode(text.as_bytes()));
            prop_assert_eq!(mended(&out), out);
        }
    }
}
