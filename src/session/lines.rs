//! Reads command lines out of bytes that come in any pieces.

use std::fmt;

/// Octets of a command line without its end. RFC 5321 §4.5.3.1.4 asks for 512; extensions and long addresses need more.
pub(super) const LINE_OCTETS: usize = 4096;

/// Octets of a line of an AUTH exchange without its end (RFC 4954 §4).
pub(super) const RESPONSE_OCTETS: usize = 12_288;

/// What is kept of a line that is too long: enough to know what it was.
const START_OCTETS: usize = 16;

/// The line that is arriving.
pub(super) enum Lines {
    /// Its beginning.
    Gathering(Vec<u8>),
    /// It is too long; the rest of it is skipped. This is how it began.
    Skipping(Vec<u8>),
}

/// A complete line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>, LineEnd),
    /// It was longer than it may be; this is how it began.
    TooLong(Vec<u8>),
}

/// How a line ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEnd {
    CrLf,
    /// Without CR before it.
    Lf,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self::Gathering(Vec::new())
    }

    /// Reads up to the end of the line, which has `most` octets without it; returns how much of `input` was used, and the
    /// line where its end was found. A line ends in LF, with or without CR before it: what follows a command is a command
    /// either way, so nothing can be smuggled here.
    pub(super) fn read(&mut self, input: &[u8], most: usize) -> (usize, Option<Line>) {
        let (part, used, ends) = match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&input[..end], end + 1, true),
            None => (input, input.len(), false),
        };
        match self {
            // The CR of the end may be among what was gathered.
            Self::Gathering(line) if line.len() + part.len() <= most + 1 => line.extend_from_slice(part),
            Self::Gathering(line) => {
                line.truncate(START_OCTETS);
                line.extend_from_slice(&part[..part.len().min(START_OCTETS - line.len())]);
                line.shrink_to_fit();
                *self = Self::Skipping(std::mem::take(line));
            }
            Self::Skipping(_) => {}
        }
        if !ends {
            return (used, None);
        }
        let line = match std::mem::replace(self, Self::new()) {
            Self::Gathering(mut line) => {
                let end = if line.pop_if(|last| *last == b'\r').is_some() { LineEnd::CrLf } else { LineEnd::Lf };
                if line.len() > most {
                    line.truncate(START_OCTETS);
                    Line::TooLong(line)
                } else {
                    Line::Whole(line, end)
                }
            }
            Self::Skipping(start) => Line::TooLong(start),
        };
        (used, Some(line))
    }

    /// How the line that is arriving begins; empty where nothing of it has come.
    pub(super) fn start(&self) -> &[u8] {
        match self {
            Self::Gathering(line) | Self::Skipping(line) => line,
        }
    }
}

impl fmt::Debug for Lines {
    /// Without the line: it may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gathering(line) => write!(f, "Gathering({} octets)", line.len()),
            Self::Skipping(_) => f.write_str("Skipping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::new();
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (used, line) = lines.read(rest, LINE_OCTETS);
                rest = &rest[used..];
                found.extend(line);
            }
        }
        found
    }

    #[test]
    fn lines_end_in_lf_with_or_without_cr() {
        let whole = |text: &str, end| Line::Whole(text.into(), end);
        assert_eq!(
            read(&[b"NOOP\r\nRS", b"ET\r", b"\nQUIT\n\nx"]),
            [
                whole("NOOP", LineEnd::CrLf),
                whole("RSET", LineEnd::CrLf),
                whole("QUIT", LineEnd::Lf),
                whole("", LineEnd::Lf)
            ]
        );
        assert_eq!(read(&[b"a\rb\0\r\r\n"]), [whole("a\rb\0\r", LineEnd::CrLf)]);
    }

    #[test]
    fn a_line_of_4096_octets_passes_and_one_more_does_not() {
        let fits = [vec![b'x'; LINE_OCTETS], b"\r\n".to_vec()].concat();
        let over = [vec![b'x'; LINE_OCTETS + 1], b"\nNOOP\r\n".to_vec()].concat();
        assert_eq!(read(&[&fits]), [Line::Whole(vec![b'x'; LINE_OCTETS], LineEnd::CrLf)]);
        let expected = [Line::TooLong(vec![b'x'; START_OCTETS]), Line::Whole(b"NOOP".to_vec(), LineEnd::CrLf)];
        assert_eq!(read(&[&over]), expected);
        for size in [1, 7, 4000, 4097] {
            let piecewise: Vec<&[u8]> = over.chunks(size).collect();
            assert_eq!(read(&piecewise), expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut lines = Lines::new();
        for _ in 0..100 {
            lines.read(&[b'x'; 10_000], RESPONSE_OCTETS);
        }
        assert!(matches!(&lines, Lines::Skipping(start) if start.len() == START_OCTETS && start.capacity() < 100));
    }
}
