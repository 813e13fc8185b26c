//! Text in a header as ASCII (RFC 2047): read whatever is there, written as base64 of UTF-8.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_parser::parsers::MessageStream;

use super::header::is_blank;

/// What a reader sees: encoded words decoded, the white space between two of them dropped (§6.2). Bytes that are not
/// UTF-8 are read as [`to_text`] does.
pub(super) fn decode(raw: &[u8]) -> String {
    let text = to_text(raw);
    let mut decoded = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut behind_encoded = false;
    while !rest.is_empty() {
        let space = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        let word = rest[space..].find([' ', '\t']).unwrap_or(rest.len() - space);
        let (gap, word) = (&rest[..space], &rest[space..space + word]);
        rest = &rest[space + word.len()..];
        let encoded = decode_words(word);
        if !(behind_encoded && encoded.is_some()) {
            decoded.push_str(gap);
        }
        behind_encoded = encoded.is_some();
        decoded.push_str(encoded.as_deref().unwrap_or(word));
    }
    decoded
}

/// Whether this word is one encoded word, or several without space between them as some mailers write them.
pub(super) fn is_encoded(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|word| decode_words(word).is_some())
}

/// Octets of the encoded word at the beginning, by its shape: `=?charset?B?text?=` without white space.
pub(super) fn encoded_octets(bytes: &[u8]) -> Option<usize> {
    let inside = bytes[..bytes.len().min(LONGEST_OCTETS)].strip_prefix(b"=?")?;
    let charset = inside.iter().position(|byte| *byte == b'?')?;
    let text = charset + 3;
    let end = text + inside.get(text..)?.windows(2).position(|pair| pair == b"?=")?;
    let well_formed = inside[charset + 2] == b'?' && !inside[..end].iter().any(u8::is_ascii_whitespace);
    well_formed.then_some(2 + end + 2)
}

/// `text` as one or more encoded words with a space between them, each of at most 75 octets (§2).
pub(super) fn encode(text: &str) -> String {
    let mut words = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(ENCODED_OCTETS);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (chunk, behind) = rest.split_at(end);
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str("=?utf-8?B?");
        STANDARD.encode_string(chunk, &mut words);
        words.push_str("?=");
        rest = behind;
    }
    words
}

/// Unstructured text with every stretch of words encoded that are not ASCII or longer than `room`; the words around them
/// stay as they are, and so do ASCII words with an at sign between them: as addresses they are of use only as they are.
pub(super) fn encode_unstructured(value: &[u8], room: usize) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(value.len() * 2);
    let (mut done, mut at) = (0, 0);
    for word in value.split(|byte| is_blank(*byte)) {
        if word.contains(&b'@') && !must_encode(word, room) && !is_encoded(word) {
            encoded.extend(encode_stretch(&value[done..at], room));
            encoded.extend(word);
            done = at + word.len();
        }
        at += word.len() + 1;
    }
    encoded.extend(encode_stretch(&value[done..], room));
    encoded
}

fn must_encode(word: &[u8], room: usize) -> bool {
    word.len() > room || !word.is_ascii()
}

fn encode_stretch(value: &[u8], room: usize) -> Vec<u8> {
    let Some((start, end)) = stretch(value, room) else {
        return value.to_vec();
    };
    let (before, stretch, behind) = (&value[..start], &value[start..end], &value[end..]);
    let mut text = decode(stretch);
    // A reader drops the space between two encoded words, so one that it shows goes inside.
    let first = |text: &[u8]| text.split(|byte| is_blank(*byte)).next().is_some_and(is_encoded);
    let last = |text: &[u8]| text.rsplit(|byte| is_blank(*byte)).next().is_some_and(is_encoded);
    if last(before.trim_ascii_end()) && !first(stretch) {
        text.insert(0, ' ');
    }
    if first(behind.trim_ascii_start()) && !last(stretch) {
        text.push(' ');
    }
    [before, encode(&text).as_bytes(), behind].concat()
}

/// From the first word that must be encoded to the last one.
fn stretch(value: &[u8], room: usize) -> Option<(usize, usize)> {
    let mut at = 0;
    let mut found = None;
    for word in value.split(|byte| is_blank(*byte)) {
        if must_encode(word, room) {
            let (start, _) = found.unwrap_or((at, at));
            found = Some((start, at + word.len()));
        }
        at += word.len() + 1;
    }
    found
}

/// Decodes `=?charset?B?…?=` where the whole word is made of such.
fn decode_words(word: &str) -> Option<String> {
    let mut decoded = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let (encoded, behind) = rest.split_at_checked(encoded_octets(rest.as_bytes())?)?;
        decoded.push_str(&MessageStream::new(&encoded.as_bytes()[1..]).decode_rfc2047()?);
        rest = behind;
    }
    (!word.is_empty()).then_some(decoded)
}

/// UTF-8 where it is that, else Windows-1252, which most devices of the West mean and of which ISO 8859-1 is the printable
/// part.
pub(super) fn to_text(raw: &[u8]) -> String {
    let windows = |byte: &u8| match byte {
        0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
        byte => char::from(*byte),
    };
    std::str::from_utf8(raw).map_or_else(|_| raw.iter().map(windows).collect(), str::to_owned)
}

/// 0x80 to 0x9F of Windows-1252; five of them mean nothing and stay what they are in ISO 8859-1.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// 75 octets of an encoded word, less `=?utf-8?B?` and `?=`, hold 63 of base64: 45 of text in whole quanta.
const ENCODED_OCTETS: usize = 45;

/// RFC 2047 §2 allows 75 octets; mailers that do not split write more, none more than a header block has.
const LONGEST_OCTETS: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn encoded_words_are_read() {
        for (raw, text) in [
            ("Jane Doe", "Jane Doe"),
            ("=?utf-8?B?SsO8cmdlbg==?=", "Jürgen"),
            ("=?iso-8859-1?Q?J=FCrgen?= =?utf-8?q?_M=C3=BCller?= (Shop)", "Jürgen Müller (Shop)"),
            ("=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"),
            ("=?broken?=", "=?broken?="),
            ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
            ("=?", "=?"),
        ] {
            assert_eq!(decode(raw.as_bytes()), text, "{raw}");
        }
        assert_eq!(decode(b"J\xfcrgen \x80 5"), "Jürgen € 5");
    }

    #[test]
    fn only_what_is_not_ascii_is_encoded() {
        for (value, encoded) in [
            ("plain text", "plain text"),
            ("[Shop] für Sie  da", "[Shop] =?utf-8?B?ZsO8cg==?= Sie  da"),
            ("a ä b ö c", "a =?utf-8?B?w6QgYiDDtg==?= c"),
            ("=?utf-8?Q?a?= ä", "=?utf-8?Q?a?= =?utf-8?B?IMOk?="),
            ("ä =?utf-8?Q?a?=", "=?utf-8?B?w6Qg?= =?utf-8?Q?a?="),
            ("ä x@y ö  z@y\tü", "=?utf-8?B?w6Q=?= x@y =?utf-8?B?w7Y=?=  z@y\t=?utf-8?B?w7w=?="),
            ("ä =?utf-8?Q?a?= x@y", "=?utf-8?B?w6Qg?= =?utf-8?Q?a?= x@y"),
        ] {
            let got = encode_unstructured(value.as_bytes(), 900);
            assert_eq!(String::from_utf8_lossy(&got), encoded);
            assert_eq!(decode(&got), decode(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn words_that_fit_no_line_are_encoded() {
        let long = "x".repeat(2000);
        for (value, begins) in [
            (long.clone(), "=?utf-8?B?"),
            (format!("[Shop] {long} a@b end"), "[Shop] =?utf-8?B?"),
            (format!("=?utf-8?B?{}?= =?utf-8?Q?b?=", "YWJj".repeat(500)), "=?utf-8?B?"),
            (format!("{long}@b"), "=?utf-8?B?"),
        ] {
            let got = encode_unstructured(value.as_bytes(), 900);
            assert!(
                got.starts_with(begins.as_bytes()) && got.split(|byte| is_blank(*byte)).all(|word| word.len() <= 75)
            );
            assert_eq!(decode(&got), decode(value.as_bytes()));
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(text in "\\PC{1,200}") {
            let words = encode(&text);
            prop_assert!(words.split(' ').all(|word| word.len() <= 75 && word.is_ascii()));
            prop_assert_eq!(decode(words.as_bytes()), text);
        }

        #[test]
        fn no_bytes_are_too_odd(raw in prop::collection::vec(any::<u8>(), 0..100), word in "=\\?[a-z8?=BQ_-]{0,30}") {
            decode(&raw);
            decode(word.as_bytes());
            prop_assert!(encode_unstructured(&raw, 900).is_ascii());
        }
    }
}
