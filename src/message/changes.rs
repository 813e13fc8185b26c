//! What a fitting changed, gathered so that the log tells each kind of change once.

use super::header_text::Mended;
use super::lines::Found;
use super::repair::{Matter, Missing, Names, Repair};

/// Gathers changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    encoded: Names,
    guessed: Vec<(String, Names)>,
    refolded: Names,
    nul: bool,
    long: u32,
    seven_bit: u32,
    missing: Vec<Missing>,
    left: Vec<(Matter, String)>,
}

impl Changes {
    /// A header field was mended.
    pub(super) fn field(&mut self, name: &str, mended: &Mended) {
        if let Some(charset) = &mended.read_as {
            let known = self.guessed.iter().position(|(known, _)| known == charset);
            if known.is_none() && self.guessed.len() < KINDS {
                self.guessed.push((charset.clone(), Names::default()));
            }
            let place = known.or(self.guessed.len().checked_sub(1));
            if let Some((_, names)) = place.and_then(|place| self.guessed.get_mut(place)) {
                names.add(name);
            }
        } else if mended.found.eight_bit {
            self.encoded.add(name);
        }
        if mended.found.long {
            self.refolded.add(name);
        }
        self.nul |= mended.found.nul;
    }

    /// A body was re-encoded, for 8-bit text among others where the server refuses that.
    pub(super) fn body(&mut self, found: Found, eight_bit_refused: bool) {
        self.long += u32::from(found.long);
        self.nul |= found.nul;
        self.seven_bit += u32::from(eight_bit_refused);
    }

    /// A field of MIME was missing.
    pub(super) fn added(&mut self, missing: Missing) {
        if !self.missing.contains(&missing) {
            self.missing.push(missing);
        }
    }

    /// Something stays as it is, though it should not.
    pub(super) fn left(&mut self, found: Found, within: &str) {
        let matters = [(found.long, Matter::LongLines), (found.nul, Matter::Nul), (found.eight_bit, Matter::EightBit)];
        for (_, matter) in matters.into_iter().filter(|(found, _)| *found) {
            let within: String = within.chars().take(WITHIN_CHARS).collect();
            if self.left.len() < KINDS && !self.left.contains(&(matter, within.clone())) {
                self.left.push((matter, within));
            }
        }
    }

    pub(super) fn repairs(self) -> Vec<Repair> {
        let encoded =
            (!self.encoded.is_empty()).then_some(Repair::HeaderEncoded { names: self.encoded, read_as: None });
        let guessed =
            self.guessed.into_iter().map(|(charset, names)| Repair::HeaderEncoded { names, read_as: Some(charset) });
        let refolded = (!self.refolded.is_empty()).then_some(Repair::HeaderRefolded { names: self.refolded });
        let mime = (!self.missing.is_empty()).then_some(Repair::MimeAdded { missing: self.missing });
        let long = (self.long > 0).then_some(Repair::LinesReencoded { bodies: self.long });
        let nul = self.nul.then_some(Repair::NulRemoved);
        let seven_bit = (self.seven_bit > 0).then_some(Repair::ToSevenBit { bodies: self.seven_bit });
        let left = self.left.into_iter().map(|(matter, within)| Repair::Left { matter, within });
        encoded
            .into_iter()
            .chain(guessed)
            .chain(refolded)
            .chain(mime)
            .chain(long)
            .chain(nul)
            .chain(seven_bit)
            .chain(left)
            .collect()
    }
}

/// So many kinds of one thing are told of one message.
const KINDS: usize = 8;
/// The name of a media type or a field.
const WITHIN_CHARS: usize = 80;
