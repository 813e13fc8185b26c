//! Edits of content from its front to its back: one copy, and none where nothing is edited.

use std::ops::Range;

/// Content and what of it is rewritten so far.
#[derive(Debug)]
pub(super) struct Patch<'a> {
    source: &'a [u8],
    /// So far of `source` stands in `out`.
    done: usize,
    out: Option<Vec<u8>>,
}

impl<'a> Patch<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Self { source, done: 0, out: None }
    }

    pub(super) fn source(&self) -> &'a [u8] {
        self.source
    }

    /// Leaves out this stretch, which lies behind all others so far; what takes its place goes behind the returned octets.
    pub(super) fn replace(&mut self, stretch: Range<usize>) -> &mut Vec<u8> {
        let out = self.out.get_or_insert_with(|| Vec::with_capacity(self.source.len() + self.source.len() / 32));
        out.extend_from_slice(&self.source[self.done..stretch.start]);
        self.done = stretch.end;
        out
    }

    /// Octets of what is edited so far.
    pub(super) fn written(&self) -> u64 {
        self.out.as_ref().map_or(0, |out| out.len() as u64)
    }

    /// Where the last stretch so far ends; 0 where there is none.
    pub(super) fn reached(&self) -> usize {
        self.done
    }

    /// The edited content; nothing where nothing was replaced.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        let mut out = self.out?;
        out.extend_from_slice(&self.source[self.done..]);
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_replaced_stays() {
        assert_eq!(Patch::new(b"abc").finish(), None);
        let mut patch = Patch::new(b"abcdef");
        patch.replace(1..2).extend(b"BB");
        patch.replace(4..4).extend(b"-");
        assert_eq!(patch.reached(), 4);
        assert_eq!(patch.finish().as_deref(), Some(&b"aBBcd-ef"[..]));
    }
}
