//! What content has beside the rules, noted while it passes.

use crate::message::header::HeaderBlock;
use crate::session::quirk::Quirk;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Octets of the line that is arriving.
    column: usize,
    bare_line_ends: Seen,
    long_lines: Seen,
    nul: Seen,
    /// Octets beyond ASCII, in the body of long content; that of other content is looked at as a whole.
    eight_bit_body: Seen,
    lf_end: Seen,
}

/// Whether something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Never,
    Once,
}

impl Seen {
    fn note(&mut self, condition: bool) {
        if condition {
            *self = Self::Once;
        }
    }
}

impl Marks {
    /// A part of a line has passed.
    pub(super) fn text(&mut self, part: &[u8]) {
        self.column = self.column.saturating_add(part.len());
        self.long_lines.note(self.column > LINE_OCTETS);
        self.nul.note(part.contains(&0));
    }

    /// A line has ended in CRLF.
    pub(super) fn line_end(&mut self) {
        self.column = 0;
    }

    /// A line has ended otherwise.
    pub(super) fn bare_line_end(&mut self) {
        self.column = 0;
        self.bare_line_ends = Seen::Once;
    }

    /// The content has ended in LF.LF.
    pub(super) fn lf_end(&mut self) {
        self.lf_end = Seen::Once;
    }

    /// A part of the body of long content has passed.
    pub(super) fn body(&mut self, part: &[u8]) {
        self.eight_bit_body.note(!part.is_ascii());
    }

    /// All that was seen, with what the header block shows. `head` is the whole content where no chunks follow it.
    pub(super) fn quirks(mut self, head: &[u8], chunks: u32) -> Vec<Quirk> {
        let (block, body) = HeaderBlock::split(head);
        let header = &head[..head.len() - body.len()];
        self.eight_bit_body.note(!body.is_ascii());
        let is_mime = block.fields().iter().any(|field| MIME_FIELDS.iter().any(|name| field.is(name)));
        let has_body = chunks > 0 || !body.is_empty();
        let is_separated = header.ends_with(b"\r\n\r\n");
        [
            (self.bare_line_ends == Seen::Once, Quirk::BareLineEnds),
            (self.long_lines == Seen::Once, Quirk::LongLines),
            (self.nul == Seen::Once, Quirk::Nul),
            (!header.is_ascii(), Quirk::EightBitHeader),
            (self.eight_bit_body == Seen::Once && !is_mime, Quirk::EightBitBody),
            (block.fields().is_empty() || has_body && !is_separated, Quirk::NoHeader),
            (self.lf_end == Seen::Once, Quirk::LfEnd),
        ]
        .into_iter()
        .filter_map(|(is_seen, quirk)| is_seen.then_some(quirk))
        .collect()
    }
}

/// RFC 5322 §2.1.1, without the line end.
const LINE_OCTETS: usize = 998;

/// The fields that say what a body is made of (RFC 2045 §3).
const MIME_FIELDS: [&str; 3] = ["MIME-Version", "Content-Type", "Content-Transfer-Encoding"];
