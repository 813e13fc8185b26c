//! Content transfer encodings (RFC 2045 §6), writing only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// In lines of 76 characters, without a line end behind the last.
pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(bytes.len() / 57 * 78 + 78);
    for chunk in bytes.chunks(57) {
        if !lines.is_empty() {
            lines.extend_from_slice(b"\r\n");
        }
        lines.extend_from_slice(STANDARD.encode(chunk).as_bytes());
    }
    lines
}

/// Lines end where the text's lines end; a CR or LF that is no line end is encoded as any other octet.
pub(super) fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len() + text.len() / 8);
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
        let broken = column >= 73;
        if broken {
            encoded.extend_from_slice(b"=\r\n");
            column = 0;
        }
        // A dash that a soft line break puts in front could make the line look like a delimiter.
        let literal = match byte {
            b' ' | b'\t' => !ends_line,
            b'-' => !broken,
            _ => byte.is_ascii_graphic() && *byte != b'=',
        };
        if literal {
            encoded.push(*byte);
            column += 1;
        } else {
            encoded.extend_from_slice(&escape(*byte));
            column += 3;
        }
    }
    encoded
}

/// Text that is quoted-printable already but for some octets beyond ASCII: those are encoded, the rest stays.
pub(super) fn mend_quoted_printable(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| if byte.is_ascii() { vec![*byte] } else { escape(*byte).to_vec() }).collect()
}

fn escape(byte: u8) -> [u8; 3] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [b'=', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::decoders::{base64::base64_decode, quoted_printable::quoted_printable_decode};
    use proptest::prelude::*;

    #[test]
    fn quoted_printable_is_as_the_rfc_has_it() {
        for (text, expected) in
            [("für\r\n", "f=C3=BCr\r\n"), ("1=1 \r\n\tx\t", "1=3D1=20\r\n\tx=09"), ("a\rb\nc", "a=0Db=0Ac"), ("", "")]
        {
            assert_eq!(String::from_utf8(quoted_printable(text.as_bytes())).unwrap(), expected);
        }
        let dashes = quoted_printable(&[b'-'; 200]);
        assert!(dashes.split(|byte| *byte == b'\n').skip(1).all(|line| line.starts_with(b"=2D")));
    }

    proptest! {
        #[test]
        fn encodings_read_back(text in prop_oneof![
            prop::collection::vec(any::<u8>(), 1..300),
            "([ -~ü]{0,90}\r\n){1,4}".prop_map(String::into_bytes),
        ]) {
            for (encoded, decoded) in [
                (quoted_printable(&text), quoted_printable_decode(&quoted_printable(&text))),
                (base64(&text), base64_decode(&base64(&text))),
            ] {
                prop_assert!(encoded.is_ascii() && encoded.split(|byte| *byte == b'\n').all(|line| line.len() <= 77));
                prop_assert_eq!(decoded.as_deref(), Some(&text[..]));
            }
        }
    }
}
