//! Octets that SMTP does not carry everywhere, and lines that are too long for it (RFC 5321 §4.5.3.1.6).

use std::ops::Range;

use super::header::is_blank;

/// RFC 5322 §2.1.1: the octets of a line at most, without its end.
pub(super) const LONGEST: usize = 998;

/// What stands in the way of some content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// An octet beyond ASCII.
    pub(super) eight_bit: bool,
    /// A NUL, which RFC 5322 §4 forbids.
    pub(super) nul: bool,
    /// A line of more than [`LONGEST`] octets.
    pub(super) long: bool,
}

impl Found {
    pub(super) fn of(octets: &[u8]) -> Self {
        Self { eight_bit: !octets.is_ascii(), nul: octets.contains(&0), long: has_long_line(octets) }
    }

    pub(super) fn nothing(self) -> bool {
        self == Self::default()
    }
}

pub(super) fn has_long_line(octets: &[u8]) -> bool {
    octets.len() > LONGEST && each(octets).any(|line| parted(line).0.len() > LONGEST)
}

/// The lines with their ends.
pub(super) fn each(octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    octets.split_inclusive(|byte| *byte == b'\n')
}

/// A line and its end.
pub(super) fn parted(line: &[u8]) -> (&[u8], &[u8]) {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    line.split_at(text.len())
}

/// Writes `octets` with a line break after each [`WIDTH`] octets of a long line, for content in which white space means
/// nothing. What follows a break never looks like a delimiter.
pub(super) fn broken(octets: &[u8], out: &mut Vec<u8>) {
    for line in each(octets) {
        let (text, end) = parted(line);
        if text.len() <= LONGEST {
            out.extend_from_slice(line);
            continue;
        }
        for (index, piece) in text.chunks(WIDTH).enumerate() {
            if index > 0 {
                out.extend_from_slice(b"\r\n");
            }
            if index > 0 && piece.starts_with(b"-") {
                out.push(b' ');
            }
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(end);
    }
}

/// RFC 2045 §6.8 wants lines of base64 no longer.
const WIDTH: usize = 76;

/// The value of a header field with white space so that no word is longer than `room`: behind a comma or semicolon or
/// between brackets where there is such a place, else where the room ends. White space that fills a line becomes a space.
pub(super) fn break_words(value: &[u8], room: usize) -> Vec<u8> {
    // A character of UTF-8 at least.
    let room = room.max(4);
    let mut spaced = Vec::with_capacity(value.len() + value.len() / 64);
    let mut rest = value;
    while !rest.is_empty() {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        spaced.extend_from_slice(if blanks > WIDTH { b" " } else { &rest[..blanks] });
        let word = rest[blanks..].iter().take_while(|byte| !is_blank(**byte)).count();
        let mut word_left = &rest[blanks..blanks + word];
        rest = &rest[blanks + word..];
        while word_left.len() > room {
            let (piece, behind) = word_left.split_at(place_for_space(word_left, room));
            spaced.extend_from_slice(piece);
            spaced.push(b' ');
            word_left = behind;
        }
        spaced.extend_from_slice(word_left);
    }
    spaced
}

fn place_for_space(word: &[u8], room: usize) -> usize {
    let separates = |at: &usize| matches!(word[at - 1], b',' | b';') || (word[at - 1] == b'>' && word[*at] == b'<');
    let is_boundary = |at: &usize| !matches!(word[*at], 0x80..=0xbf);
    let reach = |from: usize| -> Range<usize> { from..room + 1 };
    let place = reach(1).rev().find(separates).or_else(|| reach(room.saturating_sub(3).max(1)).rev().find(is_boundary));
    place.unwrap_or(room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_stands_in_the_way_is_found() {
        let long = "x".repeat(999);
        for (content, eight_bit, nul, is_long) in [
            ("", false, false, false),
            ("a\r\nb", false, false, false),
            ("ü", true, false, false),
            ("a\0", false, true, false),
            (&long[1..], false, false, false),
            (&format!("a\r\n{}\r\n{}\n", &long[1..], &long[1..]), false, false, false),
            (&long, false, false, true),
            (&format!("a\r\n{long}\r\nb"), false, false, true),
        ] {
            assert_eq!(Found::of(content.as_bytes()), Found { eight_bit, nul, long: is_long }, "{content:?}");
        }
    }

    #[test]
    fn words_are_broken_where_their_grammar_has_a_place() {
        for (value, expected) in [
            ("a@b,c@d,e@f", "a@b,c@d, e@f"),
            ("<a@b><c@de>", "<a@b> <c@de>"),
            ("abcdefghijkl mn", "abcdefghij kl mn"),
            ("abcdefghi\u{fc}jkl", "abcdefghi \u{fc}jkl"),
            ("short words\tstay,here", "short words\tstay,here"),
        ] {
            assert_eq!(String::from_utf8(break_words(value.as_bytes(), 10)).unwrap(), expected);
        }
        assert_eq!(break_words(format!("a{}b", " ".repeat(2000)).as_bytes(), 10), b"a b");
    }

    proptest! {
        #[test]
        fn only_white_space_is_put_in(octets in prop::collection::vec(prop_oneof![Just(b'-'), Just(b'\n'), any::<u8>()], 0..300), width in 900..2000_usize, room in 0..200_usize) {
            let line = [vec![b'-'; width], octets].concat();
            let mut out = Vec::new();
            broken(&line, &mut out);
            prop_assert!(!has_long_line(&out));
            let dense = |octets: &[u8]| octets.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<_>>();
            prop_assert_eq!(dense(&out), dense(&line));
            let spaced = break_words(&line, room);
            prop_assert!(spaced.split(|byte| is_blank(*byte)).all(|word| word.len() <= room.max(4)));
            prop_assert_eq!(dense(&spaced), dense(&line));
        }
    }
}
