//! Reads command lines out of bytes that come in any pieces.

/// Octets of a command line without its end. RFC 5321 §4.5.3.1.4 asks for 512; extensions and long addresses need more.
pub(super) const LINE_OCTETS: usize = 4096;

/// The line that is arriving.
#[derive(Debug)]
pub(super) enum Lines {
    /// Its beginning.
    Gathering(Vec<u8>),
    /// It is too long; the rest of it is skipped.
    Skipping,
}

/// A complete line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// It was longer than [`LINE_OCTETS`].
    TooLong,
}

impl Lines {
    pub(super) fn new() -> Self {
        Self::Gathering(Vec::new())
    }

    /// Reads up to the end of the line; returns how much of `input` was used, and the line where its end was found. A
    /// line ends in LF, with or without CR before it: what follows a command is a command either way, so nothing can be
    /// smuggled here.
    pub(super) fn read(&mut self, input: &[u8]) -> (usize, Option<Line>) {
        let (part, used, ends) = match input.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&input[..end], end + 1, true),
            None => (input, input.len(), false),
        };
        match self {
            // The CR of the end may be among what was gathered.
            Self::Gathering(line) if line.len() + part.len() <= LINE_OCTETS + 1 => line.extend_from_slice(part),
            _ => *self = Self::Skipping,
        }
        if !ends {
            return (used, None);
        }
        let line = match std::mem::replace(self, Self::new()) {
            Self::Gathering(mut line) => {
                line.pop_if(|last| *last == b'\r');
                if line.len() > LINE_OCTETS { Line::TooLong } else { Line::Whole(line) }
            }
            Self::Skipping => Line::TooLong,
        };
        (used, Some(line))
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
                let (used, line) = lines.read(rest);
                rest = &rest[used..];
                found.extend(line);
            }
        }
        found
    }

    #[test]
    fn lines_end_in_lf_with_or_without_cr() {
        let whole = |text: &str| Line::Whole(text.into());
        assert_eq!(
            read(&[b"NOOP\r\nRS", b"ET\r", b"\nQUIT\n\nx"]),
            [whole("NOOP"), whole("RSET"), whole("QUIT"), whole("")]
        );
        assert_eq!(read(&[b"a\rb\0\r\r\n"]), [whole("a\rb\0\r")]);
    }

    #[test]
    fn a_line_of_4096_octets_passes_and_one_more_does_not() {
        let fits = [vec![b'x'; LINE_OCTETS], b"\r\n".to_vec()].concat();
        let over = [vec![b'x'; LINE_OCTETS + 1], b"\nNOOP\r\n".to_vec()].concat();
        assert_eq!(read(&[&fits]), [Line::Whole(vec![b'x'; LINE_OCTETS])]);
        assert_eq!(read(&[&over]), [Line::TooLong, Line::Whole(b"NOOP".to_vec())]);
        let piecewise: Vec<&[u8]> = over.chunks(1).collect();
        assert_eq!(read(&piecewise), [Line::TooLong, Line::Whole(b"NOOP".to_vec())]);
    }

    #[test]
    fn an_endless_line_takes_no_memory() {
        let mut lines = Lines::new();
        for _ in 0..100 {
            lines.read(&[b'x'; 10_000]);
        }
        assert!(matches!(lines, Lines::Skipping));
    }
}
