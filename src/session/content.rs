//! Reads the content of a message (RFC 5321 §4.1.1.4) out of bytes that come in any pieces: finds its end, takes away the
//! dots that the client stuffed, and makes every line end CRLF: a bare CR or LF is one, and so is CR CR LF, which devices
//! write that add a CR to each LF of what had them already.
//!
//! Only CRLF.CRLF ends content. Whoever also ends it at LF.LF, CRLF.LF or the like lets one message carry a second one
//! past the hosts before or behind it that think otherwise (CVE-2023-51764 to 51766). Those forms are data: their dot
//! stays, alone on its line, and gets stuffed on the way out.

use super::contract::Refusal;
use crate::message::header::HeaderBlock;

/// What of a message is kept in memory; also the most that its header block may take. A longer message goes out in
/// chunks of this size.
pub(super) const CHUNK_OCTETS: usize = 256 * 1024;

/// Content that is arriving.
#[derive(Debug)]
pub(super) struct Content {
    position: Position,
    body: Body,
    size: u64,
    max_size: u64,
}

/// What was read last, as far as the end of content depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// CRLF, or nothing yet.
    LineStart,
    /// Anything that the other variants do not mean.
    InLine,
    /// So many CRs, none of them stored yet: what follows tells whether they are one line end or several.
    Crs(u64),
    /// A dot behind CRLF, which is not stored yet.
    Dot,
    /// CR behind such a dot; neither is stored yet.
    DotCr,
}

/// What was made of the content so far.
#[derive(Debug)]
enum Body {
    /// All of it is here.
    Whole(Vec<u8>),
    /// It is long: the header block is here, `chunks` parts are stored, and the next one is being gathered.
    Parted { head: Vec<u8>, chunk: Vec<u8>, chunks: u32 },
    /// It is read to its end and not kept.
    Dropped(Dropped),
}

/// Why content is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// It is larger than the limit.
    TooLarge,
    /// Its fields still go on after [`CHUNK_OCTETS`].
    HeaderTooLarge,
    /// A chunk was not stored.
    NotStored(Refusal),
}

/// How far reading has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All input is used; more is to come.
    More,
    /// This chunk has to be stored before reading goes on.
    Chunk(Chunk),
    /// From here on the content is not kept, and `chunks` of it were stored.
    Dropped { chunks: u32 },
    /// The content is at its end; what follows are commands.
    End,
}

/// A part of long content.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// From 1.
    pub(super) seq: u32,
    pub(super) bytes: Vec<u8>,
}

/// Content that has arrived and is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) head: Vec<u8>,
    pub(super) chunks: u32,
    pub(super) size: u64,
}

impl Content {
    /// Content of which nothing has arrived, `max_size` octets at most.
    pub(super) fn new(max_size: u64) -> Self {
        Self { position: Position::LineStart, body: Body::Whole(Vec::new()), size: 0, max_size }
    }

    /// Reads on; returns how much of `input` was used. What was not used has to come again.
    pub(super) fn read(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut used = 0;
        while used < input.len() {
            let (step, ended) = self.step(&input[used..]);
            used += step;
            if ended {
                return (used, Progress::End);
            }
            if let Some(progress) = self.settle() {
                return (used, progress);
            }
        }
        (used, Progress::More)
    }

    /// The last part of long content, which has to be stored as well.
    pub(super) fn take_rest(&mut self) -> Option<Chunk> {
        match &mut self.body {
            Body::Parted { chunk, chunks, .. } if !chunk.is_empty() => Some(Chunk::take(chunk, chunks)),
            _ => None,
        }
    }

    /// How many chunks went out to be stored.
    pub(super) fn stored(&self) -> u32 {
        match &self.body {
            Body::Parted { chunks, .. } => *chunks,
            Body::Whole(_) | Body::Dropped(_) => 0,
        }
    }

    /// From here on nothing is kept; returns how many chunks were stored.
    pub(super) fn drop_for(&mut self, reason: Dropped) -> u32 {
        let chunks = self.stored();
        self.body = Body::Dropped(reason);
        chunks
    }

    /// The content, whose end has been read and whose rest has been stored.
    ///
    /// # Errors
    /// Why it was not kept.
    pub(super) fn complete(self) -> Result<Complete, Dropped> {
        match self.body {
            Body::Whole(head) => Ok(Complete { head, chunks: 0, size: self.size }),
            Body::Parted { head, chunks, .. } => Ok(Complete { head, chunks, size: self.size }),
            Body::Dropped(reason) => Err(reason),
        }
    }

    /// Reads one octet, or a run of octets that mean nothing here, or none while a run of CRs is being stored; returns how
    /// many, and whether they end the content.
    fn step(&mut self, input: &[u8]) -> (usize, bool) {
        use Position::{Crs, Dot, DotCr, InLine, LineStart};
        let (put, next): (&[u8], Position) = match (self.position, input[0]) {
            (DotCr, b'\n') => return (1, true),
            (LineStart, b'.') => (b"", Dot),
            (LineStart | InLine, b'\r') => (b"", Crs(1)),
            (Crs(count), b'\r') => (b"", Crs(count + 1)),
            (Dot, b'\r') => (b"", DotCr),
            (Crs(_), b'\n') => (b"\r\n", LineStart),
            // Bare line ends. A dot behind them is data, whatever follows it.
            (LineStart | InLine, b'\n') => (b"\r\n", InLine),
            (Dot, b'\n') => (b".\r\n", InLine),
            (DotCr, b'\r') => (b".", Crs(2)),
            (Crs(0 | 1), _) => return self.run(b"\r\n", input),
            // One for each call: a long run of them must not come all at once.
            (Crs(count), _) => {
                self.put(b"\r\n");
                self.position = Crs(count - 1);
                return (0, false);
            }
            (DotCr, _) => return self.run(b".\r\n", input),
            // The dot of a line with more on it was stuffed.
            (LineStart | InLine | Dot, _) => return self.run(b"", input),
        };
        self.put(put);
        self.position = next;
        (1, false)
    }

    /// Stores what was held back, then the octets up to the next line end.
    fn run(&mut self, held: &[u8], input: &[u8]) -> (usize, bool) {
        let most = input.len().min(CHUNK_OCTETS);
        let end = input[..most].iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(most);
        self.put(held);
        self.put(&input[..end]);
        self.position = Position::InLine;
        (end, false)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.body {
            Body::Whole(buffer) | Body::Parted { chunk: buffer, .. } => buffer.extend_from_slice(bytes),
            Body::Dropped(_) => {}
        }
    }

    /// Sees to the limits after each step, so that no buffer outgrows them by more than one step.
    fn settle(&mut self) -> Option<Progress> {
        match &mut self.body {
            Body::Dropped(_) => None,
            _ if self.size > self.max_size => Some(Progress::Dropped { chunks: self.drop_for(Dropped::TooLarge) }),
            Body::Whole(buffer) if buffer.len() > CHUNK_OCTETS => match end_of_header(&buffer[..CHUNK_OCTETS]) {
                Some(end) => {
                    let chunk = buffer.split_off(end);
                    let head = std::mem::take(buffer);
                    self.body = Body::Parted { head, chunk, chunks: 0 };
                    self.settle()
                }
                None => Some(Progress::Dropped { chunks: self.drop_for(Dropped::HeaderTooLarge) }),
            },
            Body::Parted { chunk, chunks, .. } if chunk.len() >= CHUNK_OCTETS => {
                Some(Progress::Chunk(Chunk::take(chunk, chunks)))
            }
            Body::Whole(_) | Body::Parted { .. } => None,
        }
    }
}

impl Chunk {
    fn take(gathered: &mut Vec<u8>, chunks: &mut u32) -> Self {
        *chunks += 1;
        Self { seq: *chunks, bytes: std::mem::take(gathered) }
    }
}

/// Where the body begins, as [`HeaderBlock::split`] has it: behind the empty line, or at the first line that is no field.
/// Nothing where `content`, which goes on, breaks off in its header block.
fn end_of_header(content: &[u8]) -> Option<usize> {
    let (_, body) = HeaderBlock::split(content);
    let end = content.len() - body.len();
    let is_separated = content[..end].ends_with(b"\r\n\r\n") || &content[..end] == b"\r\n";
    let is_long = body.len() > NAME_OCTETS || body.contains(&b'\n');
    (is_separated || is_long).then_some(end)
}

/// A line that breaks off behind so many octets without a colon is no field: no line should be longer (RFC 5322 §2.1.1).
const NAME_OCTETS: usize = 998;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `input` in pieces of the given sizes (then all that is left); what is stored, and what follows the end.
    fn read(input: &[u8], sizes: &[usize], max_size: u64) -> (Result<Vec<u8>, Dropped>, Option<Vec<u8>>) {
        let mut content = Content::new(max_size);
        let mut body = Vec::new();
        let mut rest = input;
        let mut sizes = sizes.iter().copied();
        let mut ended = false;
        while !rest.is_empty() && !ended {
            let (mut piece, later) = rest.split_at(sizes.next().unwrap_or(rest.len()).clamp(1, rest.len()));
            while !piece.is_empty() && !ended {
                let (used, progress) = content.read(piece);
                piece = &piece[used..];
                match progress {
                    Progress::Chunk(Chunk { bytes, .. }) => body.extend(bytes),
                    Progress::End => ended = true,
                    Progress::More | Progress::Dropped { .. } => {}
                }
            }
            rest = &rest[rest.len() - later.len() - piece.len()..];
        }
        if let Some(Chunk { bytes, .. }) = content.take_rest() {
            body.extend(bytes);
        }
        let stored = content.complete().map(|complete| [complete.head, body].concat());
        (stored, ended.then(|| rest.to_vec()))
    }

    /// What is in memory.
    fn held(content: &Content) -> usize {
        match &content.body {
            Body::Whole(buffer) => buffer.len(),
            Body::Parted { head, chunk, .. } => head.len() + chunk.len(),
            Body::Dropped(_) => 0,
        }
    }

    /// The same by search and split, on whole content: what is stored, and what follows the end.
    fn reference(input: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let framed = [b"\r\n", input].concat();
        let end = framed.windows(5).position(|window| window == b"\r\n.\r\n")?;
        let mut stored = Vec::new();
        let mut lines = Vec::new();
        let mut rest = &framed[2..(end + 2).max(2)];
        while let Some(at) = rest.windows(2).position(|window| window == b"\r\n") {
            lines.push(&rest[..at]);
            rest = &rest[at + 2..];
        }
        assert!(rest.is_empty());
        for line in lines {
            let stuffed = line.starts_with(b".") && !matches!(line.get(1), None | Some(b'\r' | b'\n'));
            // What is left of CR CR LF.
            let crs = line.iter().rev().take_while(|byte| **byte == b'\r').count();
            for byte in &line[usize::from(stuffed)..line.len() - crs] {
                match byte {
                    b'\r' | b'\n' => stored.extend_from_slice(b"\r\n"),
                    _ => stored.push(*byte),
                }
            }
            stored.extend_from_slice(b"\r\n");
        }
        Some((stored, framed[end + 5..].to_vec()))
    }

    fn stored(input: &[u8]) -> (String, Option<String>) {
        let (stored, rest) = read(input, &[], u64::MAX);
        (String::from_utf8(stored.unwrap()).unwrap(), rest.map(|rest| String::from_utf8(rest).unwrap()))
    }

    #[test]
    fn dots_are_unstuffed_and_lone_ones_that_end_nothing_stay() {
        for (input, expected) in [
            (".\r\n", ""),
            ("a\r\n.\r\n", "a\r\n"),
            ("..\r\n.\r\n", ".\r\n"),
            ("..a\r\n.b\r\n...\r\n.\r\n", ".a\r\nb\r\n..\r\n"),
            ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\n.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\n.\r\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
            ("a\r\r\n.\r\n", "a\r\n"),
        ] {
            assert_eq!(stored(input.as_bytes()), (expected.to_owned(), Some(String::new())), "{input:?}");
        }
    }

    #[test]
    fn crs_before_lf_are_one_line_end_and_others_one_each() {
        for (input, expected) in [
            ("Subject: x\r\r\nTo: y\r\r\n\r\r\nz\r\n.\r\n", "Subject: x\r\nTo: y\r\n\r\nz\r\n"),
            ("a\r\r\r\r\nb\r\n.\r\n", "a\r\nb\r\n"),
            ("a\r\r\rb\r\n.\r\n", "a\r\n\r\n\r\nb\r\n"),
            ("a\r\n.\r\rb\r\n.\r\n", "a\r\n.\r\n\r\nb\r\n"),
            ("a\r\r\n..b\r\n.\r\n", "a\r\n.b\r\n"),
        ] {
            assert_eq!(stored(input.as_bytes()), (expected.to_owned(), Some(String::new())), "{input:?}");
        }
    }

    #[test]
    fn a_run_of_crs_takes_no_memory() {
        let count = 2_000_000;
        let mut content = Content::new(u64::MAX);
        let mut stored = 0;
        for piece in [b"a: b\r\n\r\n".to_vec(), vec![b'\r'; count], b"x\r\n.\r\n".to_vec()] {
            let mut rest = piece.as_slice();
            while !rest.is_empty() {
                let (used, progress) = content.read(&rest[..rest.len().min(1000)]);
                rest = &rest[used..];
                assert!(held(&content) <= CHUNK_OCTETS + 1024);
                if let Progress::Chunk(Chunk { bytes, .. }) = progress {
                    assert!(bytes.len() <= CHUNK_OCTETS + 1024);
                    stored += bytes.len();
                }
            }
        }
        stored += content.take_rest().map_or(0, |chunk| chunk.bytes.len());
        assert_eq!(stored, 2 * count + 3);
        assert_eq!(content.complete().unwrap().head, b"a: b\r\n\r\n");
    }

    #[test]
    fn what_does_not_end_content_does_not() {
        for input in
            ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n.\r\r\n", "\r\n.\0\r\n", "\r\n\0.\r\n"]
        {
            assert_eq!(stored(input.as_bytes()).1, None, "{input:?}");
        }
    }

    #[test]
    fn long_content_is_parted_behind_its_header() {
        let mut input = b"Subject: x\r\n\r\n".to_vec();
        input.extend(b"0123456789abcdef\r\n".repeat(40_000));
        let mut content = Content::new(u64::MAX);
        let mut chunks = Vec::new();
        let mut rest = input.as_slice();
        while !rest.is_empty() {
            let (used, progress) = content.read(&rest[..rest.len().min(10_000)]);
            rest = &rest[used..];
            assert!(held(&content) <= CHUNK_OCTETS + 10_000);
            if let Progress::Chunk(Chunk { seq, bytes }) = progress {
                chunks.push((seq, bytes));
            }
        }
        assert_eq!(content.read(b".\r\n").1, Progress::End);
        let Some(Chunk { seq, bytes }) = content.take_rest() else { panic!("there is a rest") };
        chunks.push((seq, bytes));
        let complete = content.complete().unwrap();
        assert_eq!((complete.head.as_slice(), complete.chunks), (b"Subject: x\r\n\r\n".as_slice(), 3));
        assert_eq!(complete.size, input.len() as u64);
        assert_eq!(chunks.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(chunks.iter().all(|(_, bytes)| bytes.len() <= CHUNK_OCTETS + 16));
        assert_eq!(chunks.into_iter().fold(complete.head, |all, (_, chunk)| [all, chunk].concat()), input);
    }

    #[test]
    fn the_header_of_long_content_ends_where_no_field_follows() {
        let long = vec![b'7'; 2 * CHUNK_OCTETS];
        for (header, body) in [
            ("Subject: x\r\n", b"1.5;2.5 3\r\n".repeat(40_000)),
            ("", b"1.5;2.5 3\r\n".repeat(40_000)),
            ("", [&long, &b"\r\n"[..]].concat()),
            ("A: b\r\n c\r\n", [b"hall 3: ", &long[..], b"\r\n"].concat()),
            ("\r\n", b"A: b\r\n".repeat(50_000)),
        ] {
            let input = [header.as_bytes(), &body, b".\r\n"].concat();
            let mut content = Content::new(u64::MAX);
            let mut rest = input.as_slice();
            while !rest.is_empty() {
                let (used, progress) = content.read(rest);
                assert!(!matches!(progress, Progress::Dropped { .. }), "{header:?}");
                rest = &rest[used..];
            }
            content.take_rest();
            assert_eq!(content.complete().unwrap().head, header.as_bytes());
        }
    }

    #[test]
    fn what_is_too_large_is_read_to_its_end_and_dropped() {
        let over = [b"a: b\r\n\r\n".to_vec(), b"x\r\n".repeat(300_000), b".\r\nNOOP\r\n".to_vec()].concat();
        assert_eq!(read(&over, &[], 500_000), (Err(Dropped::TooLarge), Some(b"NOOP\r\n".to_vec())));
        assert!(read(&over, &[], 900_008).0.is_ok());
        assert_eq!(read(&over, &[], 900_007).0, Err(Dropped::TooLarge));
        let header = [b"a: b\r\n".repeat(50_000), b"\r\nbody\r\n.\r\nNOOP\r\n".to_vec()].concat();
        assert_eq!(read(&header, &[], u64::MAX), (Err(Dropped::HeaderTooLarge), Some(b"NOOP\r\n".to_vec())));
        let folded = [b"a: b\r\n".to_vec(), b" c\r\n".repeat(80_000), b"\r\n.\r\n".to_vec()].concat();
        assert_eq!(read(&folded, &[], u64::MAX).0, Err(Dropped::HeaderTooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn content_ends_where_the_reference_says(
            input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), Just(b'a')], 0..60),
            sizes in proptest::collection::vec(1_usize..5, 0..60),
        ) {
            let (found, rest) = read(&input, &sizes, u64::MAX);
            match reference(&input) {
                Some((stored, after)) => prop_assert_eq!((found, rest), (Ok(stored), Some(after))),
                None => prop_assert_eq!(rest, None),
            }
        }

        #[test]
        fn stored_content_has_no_bare_line_end(
            input in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..200),
        ) {
            let ended = [input, b"\r\n.\r\n".to_vec()].concat();
            let stored = read(&ended, &[], u64::MAX).0.unwrap();
            let crlf = stored.windows(2).filter(|window| window == b"\r\n").count();
            prop_assert_eq!(stored.iter().filter(|byte| **byte == b'\r').count(), crlf);
            prop_assert_eq!(stored.iter().filter(|byte| **byte == b'\n').count(), crlf);
        }
    }
}
