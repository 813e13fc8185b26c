//! Reads the content of a message (RFC 5321 §4.1.1.4) out of bytes that come in any pieces: finds its end, takes away the
//! dots that the client stuffed, and makes every line end CRLF: a bare CR or LF is one, and so is CR CR LF, which devices
//! write that add a CR to each LF of what had them already.
//!
//! Only CRLF.CRLF ends content. Whoever also ends it at LF.LF, CRLF.LF or the like lets one message carry a second one
//! past the hosts before or behind it that think otherwise (CVE-2023-51764 to 51766). Those forms are data: their dot
//! stays, alone on its line, and gets stuffed on the way out. A client that knows no other end may be allowed LF.LF
//! ([`Ends::LfToo`]); of one that is not, and waits behind such a dot in vain, that is told
//! ([`Content::unterminated`]).

mod marks;

use self::marks::Marks;
use super::contract::{LoneDot, Refusal};
use super::quirk::Quirk;
use crate::message::header::HeaderBlock;

/// What of a message is kept in memory; also the most that its header block may take. A longer message goes out in
/// chunks that fill this together with the header block.
pub(super) const CHUNK_OCTETS: usize = 256 * 1024;

/// The least part of it that a chunk has, where the header block leaves little.
const LEAST_CHUNK_OCTETS: usize = 32 * 1024;

/// Content that is arriving.
#[derive(Debug)]
pub(super) struct Content {
    position: Position,
    body: Body,
    size: u64,
    max_size: u64,
    ends: Ends,
    marks: Marks,
    /// A lone dot that ended nothing, and what came behind it, up to [`TAIL_OCTETS`].
    tail: Option<(LoneDot, Vec<u8>)>,
}

/// Where content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// At CRLF.CRLF alone.
    CrLfOnly,
    /// At LF.LF as well, or at .LF where nothing came before it.
    LfToo,
}

/// What was read last, as far as the end of content depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Nothing of the line that follows this.
    LineStart(Behind),
    /// Anything that the other variants do not mean.
    InLine,
    /// So many CRs, none of them stored yet: what follows tells whether they are one line end or several.
    Crs(u64),
    /// A dot at the start of a line, which is not stored yet.
    Dot(Behind),
    /// CR behind such a dot; neither is stored yet.
    DotCr(Behind),
}

/// What a line stands behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behind {
    Nothing,
    CrLf,
    Lf,
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Content goes on.
    On,
    /// A dot alone on its line, with a bare LF before or behind it: data.
    LoneDot(LoneDot),
    /// The content is at its end.
    End,
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
    /// What of it is beside the rules, in the order of the variants.
    pub(super) quirks: Vec<Quirk>,
}

impl Content {
    /// Content of which nothing has arrived, `max_size` octets at most.
    pub(super) fn new(max_size: u64, ends: Ends) -> Self {
        Self {
            position: Position::LineStart(Behind::Nothing),
            body: Body::Whole(Vec::new()),
            size: 0,
            max_size,
            ends,
            marks: Marks::default(),
            tail: None,
        }
    }

    /// Reads on; returns how much of `input` was used. What was not used has to come again.
    pub(super) fn read(&mut self, input: &[u8]) -> (usize, Progress) {
        let mut used = 0;
        while used < input.len() {
            let (octets, step) = self.step(&input[used..]);
            self.note_tail(step, &input[used..used + octets]);
            used += octets;
            if step == Step::End {
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

    /// The lone dot that ends nothing with which the client seems to have ended its content, where it waits for a reply or
    /// has said QUIT.
    pub(super) fn unterminated(&self) -> Option<LoneDot> {
        let (dot, tail) = self.tail.as_ref()?;
        let tail = tail.trim_ascii();
        (tail.is_empty() || tail.eq_ignore_ascii_case(b"QUIT")).then_some(*dot)
    }

    /// The content, whose end has been read and whose rest has been stored.
    ///
    /// # Errors
    /// Why it was not kept.
    pub(super) fn complete(self) -> Result<Complete, Dropped> {
        let (head, chunks) = match self.body {
            Body::Whole(head) => (head, 0),
            Body::Parted { head, chunks, .. } => (head, chunks),
            Body::Dropped(reason) => return Err(reason),
        };
        let quirks = self.marks.quirks(&head, chunks);
        Ok(Complete { head, chunks, size: self.size, quirks })
    }

    fn note_tail(&mut self, step: Step, bytes: &[u8]) {
        match (&mut self.tail, step) {
            (tail, Step::LoneDot(dot)) => *tail = Some((dot, Vec::new())),
            (Some((_, tail)), _) if tail.len() + bytes.len() <= TAIL_OCTETS => tail.extend_from_slice(bytes),
            (tail, _) => *tail = None,
        }
    }

    /// Reads one octet, or a run of octets that mean nothing here, or none while a run of CRs is being stored; returns how
    /// many, and what they have come to.
    fn step(&mut self, input: &[u8]) -> (usize, Step) {
        use Position::{Crs, Dot, DotCr, InLine, LineStart};
        let (put, next, step): (&[u8], Position, Step) = match (self.position, input[0]) {
            (DotCr(Behind::Nothing | Behind::CrLf), b'\n') => return (1, Step::End),
            (Dot(Behind::Nothing | Behind::Lf), b'\n') if self.ends == Ends::LfToo => {
                self.marks.lf_end();
                return (1, Step::End);
            }
            (LineStart(behind), b'.') => (b"", Dot(behind), Step::On),
            (LineStart(_) | InLine, b'\r') => (b"", Crs(1), Step::On),
            (Crs(count), b'\r') => (b"", Crs(count + 1), Step::On),
            (Dot(behind), b'\r') => (b"", DotCr(behind), Step::On),
            (Crs(1), b'\n') => {
                self.marks.line_end();
                (b"\r\n", LineStart(Behind::CrLf), Step::On)
            }
            (Crs(_), b'\n') => {
                self.marks.bare_line_end();
                (b"\r\n", LineStart(Behind::CrLf), Step::On)
            }
            (LineStart(_) | InLine, b'\n') => {
                self.marks.bare_line_end();
                (b"\r\n", LineStart(Behind::Lf), Step::On)
            }
            // Alone on its line, it stays as it is: it may be a smuggled end.
            (Dot(behind), b'\n') => {
                self.marks.bare_line_end();
                let dot = if behind == Behind::CrLf { LoneDot::BesideCrLf } else { LoneDot::BetweenLfs };
                (b".\r\n", LineStart(Behind::Lf), Step::LoneDot(dot))
            }
            (DotCr(Behind::Lf), b'\n') => (b".\r\n", LineStart(Behind::CrLf), Step::LoneDot(LoneDot::BesideCrLf)),
            (DotCr(_), b'\r') => (b".", Crs(2), Step::On),
            (Crs(0 | 1), _) => return self.run_behind_cr(b"\r\n", input),
            // One for each call: a long run of them must not come all at once.
            (Crs(count), _) => {
                self.marks.bare_line_end();
                self.put(b"\r\n");
                self.position = Crs(count - 1);
                return (0, Step::On);
            }
            (DotCr(_), _) => return self.run_behind_cr(b".\r\n", input),
            // The dot of a line with more on it was stuffed.
            (LineStart(_) | InLine | Dot(_), _) => return self.run(input),
        };
        self.put(put);
        self.position = next;
        (1, step)
    }

    /// Stores what a bare CR has held back, then a run. A dot behind it is data, whatever follows.
    fn run_behind_cr(&mut self, held: &[u8], input: &[u8]) -> (usize, Step) {
        self.marks.bare_line_end();
        self.put(held);
        self.run(input)
    }

    /// Stores the octets up to the next line end.
    fn run(&mut self, input: &[u8]) -> (usize, Step) {
        let most = input.len().min(CHUNK_OCTETS);
        let end = input[..most].iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(most);
        self.marks.text(&input[..end]);
        self.put(&input[..end]);
        self.position = Position::InLine;
        (end, Step::On)
    }

    fn put(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        match &mut self.body {
            Body::Whole(buffer) => buffer.extend_from_slice(bytes),
            Body::Parted { chunk, .. } => {
                self.marks.body(bytes);
                chunk.extend_from_slice(bytes);
            }
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
                    let mut head = std::mem::take(buffer);
                    head.shrink_to_fit();
                    self.marks.body(&chunk);
                    self.body = Body::Parted { head, chunk, chunks: 0 };
                    self.settle()
                }
                None => Some(Progress::Dropped { chunks: self.drop_for(Dropped::HeaderTooLarge) }),
            },
            Body::Parted { head, chunk, chunks }
                if chunk.len() >= CHUNK_OCTETS.saturating_sub(head.len()).max(LEAST_CHUNK_OCTETS) =>
            {
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

/// QUIT with spaces and its line end.
const TAIL_OCTETS: usize = 16;

#[cfg(test)]
mod tests;
