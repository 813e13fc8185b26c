//! What is repaired of content so that a server takes it and a reader sees the same: lines beyond 998 octets, NUL, raw
//! 8-bit text in header fields, missing MIME fields, and 8-bit text for a server without 8BITMIME (RFC 6152 §3).
//!
//! What is signed, encrypted or another message is never touched inside (RFC 1847 §2.1, RFC 2046 §5.2), nor is text in an
//! encoding that we do not know. Where only its lines or a NUL are the matter it goes as it is, for the server to judge.

use std::ops::Range;

use super::changes::Changes;
use super::header::{Field, HeaderBlock};
use super::header_text::{OTHERWISE, Owner, mend};
use super::lines::{self, Found};
use super::mime::{MediaType, Section};
use super::patch::Patch;
use super::repair::{Missing, Repair};
use super::transfer::{Encoding, mend_quoted_printable};

/// Which octets a server takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Carries {
    /// ASCII alone.
    SevenBit,
    /// It offers 8BITMIME (RFC 6152).
    EightBit,
    /// It offers SMTPUTF8 as well (RFC 6531): addresses in header fields may be UTF-8.
    Utf8Header,
}

/// What became of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// The repaired content; nothing where nothing had to change.
    pub content: Option<Vec<u8>>,
    /// An address in the header is beyond ASCII: SMTPUTF8 is to be declared. Only for a server that offers it.
    pub smtp_utf8: bool,
    /// Whether something behind the header block of the message was changed.
    pub body: Body,
    /// What was changed, and what should have been and was not, for the log.
    pub repairs: Vec<Repair>,
}

/// What became of the body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// It is octet for octet what it was.
    Kept,
    /// Some of it was re-encoded.
    Changed,
}

/// Why a message cannot be repaired for a server: mostly because it cannot become plain ASCII.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotFit {
    /// Re-encoding would break a signature or alter another message.
    #[error(
        "the message holds 8-bit text inside {0}, which must not be re-encoded, and the server does not offer 8BITMIME"
    )]
    Protected(String),
    /// An address beyond ASCII has no ASCII form.
    #[error("the address in its {0}: field is not ASCII, and the server offers neither 8BITMIME nor SMTPUTF8")]
    Address(String),
    /// A multipart whose parts cannot be told.
    #[error("the message holds 8-bit text in a {0} without a delimiter line, and the server does not offer 8BITMIME")]
    NoParts(String),
    /// An encoding that we do not know holds octets it should not.
    #[error("the message holds 8-bit text in a part encoded as {0:?}, and the server does not offer 8BITMIME")]
    UnknownEncoding(String),
    /// Parts in parts, more than anyone writes, or header fields.
    #[error(
        "the parts of the message are nested more than {MAX_DEPTH} deep, or the header of one has more than \
         {MAX_HEADER} octets, and the server does not offer 8BITMIME"
    )]
    TooDeep,
    /// Repaired, it is too large.
    #[error("its repaired form has more than {octets} octets")]
    TooLarge {
        /// Of what was repaired until then.
        octets: u64,
    },
}

/// Repairs content for a server, into `most` octets or little more. Fields and parts that need nothing stay byte for byte.
/// Doing it twice is doing it once.
///
/// # Errors
/// For a server without 8BITMIME, where it would have to touch what it must not, or does not understand what it would
/// touch; where it outgrows `most`.
pub fn fit(content: &[u8], server: Carries, most: u64) -> Result<Fitted, CannotFit> {
    let (patch, changes) = (Patch::new(content), Changes::default());
    let mut fitting = Fitting { patch, server, changes, smtp_utf8: false, header: 0, most };
    fitting.entity(0..content.len(), Place::Message, 0)?;
    let Fitting { patch, changes, smtp_utf8, header, .. } = fitting;
    let body = if patch.reached() > header { Body::Changed } else { Body::Kept };
    Ok(Fitted { content: patch.finish(), smtp_utf8, body, repairs: changes.repairs() })
}

/// Where an entity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Message,
    Part,
    /// In a multipart/digest, whose parts are messages unless they say otherwise (RFC 2046 §5.1.5).
    DigestPart,
}

struct Fitting<'a> {
    patch: Patch<'a>,
    server: Carries,
    changes: Changes,
    smtp_utf8: bool,
    /// Octets of the header block of the message.
    header: usize,
    /// Octets of the repaired content at most.
    most: u64,
}

/// How the body of a part without parts is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    AsItIs,
    /// Its encoding stays, the long lines of it do not.
    MendedBase64,
    MendedQuoted,
    Encoded(Encoding),
}

impl Fitting<'_> {
    fn entity(&mut self, octets: Range<usize>, place: Place, depth: usize) -> Result<(), CannotFit> {
        let content = &self.patch.source()[octets.clone()];
        // Each of a million small parts may get fields of its own.
        if self.patch.written() > self.most {
            return Err(CannotFit::TooLarge { octets: self.patch.written() });
        }
        let found = Found::of(content);
        if found.nothing() && place != Place::Message {
            return Ok(());
        }
        if depth > MAX_DEPTH || HeaderBlock::octets(content, MAX_HEADER) > MAX_HEADER {
            self.disarm(octets);
            return self.leave(found, "parts in parts, or a header, without end", CannotFit::TooDeep);
        }
        let (mut block, body) = HeaderBlock::split(content);
        let start = octets.end - body.len();
        let body = start..octets.end;
        let media = match (block.find("Content-Type"), place) {
            (Some(field), _) => MediaType::read(&field.value()),
            (None, Place::DigestPart) => MediaType::read(b"message/rfc822"),
            (None, _) => MediaType::read(b"text/plain"),
        };
        if place == Place::Message {
            self.header = start;
            if block.find("Content-Type").is_some() && media.name.contains('/') {
                self.mime_version(&mut block);
            }
        }
        self.mend_fields(&mut block, place, media.charset.as_deref())?;
        let found = if found.nothing() { found } else { Found::of(&self.patch.source()[body.clone()]) };
        let writing = if found.nothing() || media.is_multipart() || media.is_protected() {
            Writing::AsItIs
        } else {
            self.leaf(body.clone(), found, &media, &mut block, place)?
        };
        let has_parts = media.is_multipart() && !media.is_protected();
        let refused = found.eight_bit && self.server == Carries::SevenBit;
        if has_parts && refused && block.find(ENCODING).is_some() {
            self.encoding_field(&mut block, "7bit");
        }
        if writing != Writing::AsItIs || (has_parts && (refused || found.nul || found.long)) {
            block.close();
        }
        if block.is_edited() {
            let written = block.to_bytes();
            self.patch.replace(octets.start..start).extend(written);
        }
        match writing {
            _ if found.nothing() => Ok(()),
            _ if media.is_protected() => {
                self.disarm(body);
                self.leave(found, &media.name, CannotFit::Protected(media.name.clone()))
            }
            _ if has_parts => self.multipart(body, found, &media, depth),
            writing => {
                self.write(body, writing, place);
                Ok(())
            }
        }
    }

    /// What must not be touched goes as it is, where the server may take it.
    fn leave(&mut self, found: Found, within: &str, error: CannotFit) -> Result<(), CannotFit> {
        if found.eight_bit && self.server == Carries::SevenBit {
            return Err(error);
        }
        self.changes.left(Found { eight_bit: false, ..found }, within);
        Ok(())
    }

    /// A server that drops NUL would take a line of NULs and one dot for the end of the content (of the kind of
    /// CVE-2023-51765): it becomes the dot alone, which is stuffed, even where nothing else may be touched.
    fn disarm(&mut self, octets: Range<usize>) {
        let mut start = octets.start;
        let source = &self.patch.source()[octets];
        if !source.contains(&0) {
            return;
        }
        for line in lines::each(source) {
            let text = lines::parted(line).0;
            if text.starts_with(b"\0") && text.iter().filter(|byte| **byte != 0).eq(b".") {
                self.patch.replace(start..start + text.len()).push(b'.');
            }
            start += line.len();
        }
    }

    fn mend_fields(
        &mut self,
        block: &mut HeaderBlock<'_>,
        place: Place,
        charset: Option<&str>,
    ) -> Result<(), CannotFit> {
        let owner = if place == Place::Message { Owner::Message } else { Owner::Part };
        block.try_edit(|field| {
            let mended = mend(field, owner, charset);
            let ascii = mended.as_ref().map_or(field, |mended| &mended.field).raw().is_ascii();
            match self.server {
                _ if ascii => {}
                Carries::SevenBit => return Err(CannotFit::Address(field.name().into())),
                Carries::EightBit => self.changes.left(Found { eight_bit: true, ..Found::default() }, field.name()),
                Carries::Utf8Header => self.smtp_utf8 = true,
            }
            if let Some(mended) = &mended {
                self.changes.field(field.name(), mended);
            }
            Ok(mended.map(|mended| mended.field))
        })
    }

    fn multipart(
        &mut self,
        body: Range<usize>,
        found: Found,
        media: &MediaType,
        depth: usize,
    ) -> Result<(), CannotFit> {
        let place = if media.name == "multipart/digest" { Place::DigestPart } else { Place::Part };
        let Some(sections) = media.sections(&self.patch.source()[body.clone()]) else {
            if found.eight_bit && self.server == Carries::SevenBit {
                return Err(CannotFit::NoParts(media.name.clone()));
            }
            self.frame(body, media);
            return Ok(());
        };
        let mut start = body.start;
        for section in sections {
            let octets = start..start + section.octets().len();
            start = octets.end;
            match section {
                Section::Frame(_) => self.frame(octets, media),
                Section::Part(_) => self.entity(octets, place, depth + 1)?,
            }
        }
        Ok(())
    }

    /// What nobody reads: preamble, epilogue, delimiters, a multipart without parts. Only the delimiters matter.
    fn frame(&mut self, octets: Range<usize>, media: &MediaType) {
        let frame = &self.patch.source()[octets.clone()];
        let found = Found::of(frame);
        let refused = found.eight_bit && self.server == Carries::SevenBit;
        if !refused && !found.nul && !found.long {
            return;
        }
        self.changes.body(found, refused);
        let out = self.patch.replace(octets);
        for line in lines::each(frame) {
            if media.is_delimiter(line) {
                // A delimiter may have white space behind it, which means nothing.
                let (text, end) = lines::parted(line);
                out.extend_from_slice(if text.len() > lines::LONGEST { text.trim_ascii_end() } else { text });
                out.extend_from_slice(end);
                continue;
            }
            // Taking NUL out could make a delimiter of what is none.
            let plain = line.iter().map(|byte| if *byte == 0 || refused && !byte.is_ascii() { b'?' } else { *byte });
            lines::broken(&plain.collect::<Vec<u8>>(), out);
        }
    }

    /// Decides how the body of a part without parts is written, and says so in its header.
    fn leaf(
        &mut self,
        body: Range<usize>,
        found: Found,
        media: &MediaType,
        block: &mut HeaderBlock<'_>,
        place: Place,
    ) -> Result<Writing, CannotFit> {
        let body = &self.patch.source()[body];
        let refused = found.eight_bit && self.server == Carries::SevenBit;
        let unfit = refused || found.nul || found.long;
        let declared = block.find(ENCODING).map(|field| encoding_name(&field.value())).unwrap_or_default();
        let writing = match declared.as_str() {
            encoding if encoding.starts_with("x-") || encoding.contains("uuencode") => {
                self.leave(found, encoding, CannotFit::UnknownEncoding(declared.clone()))?;
                return Ok(Writing::AsItIs);
            }
            "quoted-printable" | "base64" if !unfit => return Ok(Writing::AsItIs),
            "quoted-printable" => Writing::MendedQuoted,
            "base64" => Writing::MendedBase64,
            // 7bit, 8bit, binary, and what people take for an encoding: `8-bit`, `utf-8`, `none`.
            _ if !unfit => Writing::AsItIs,
            _ if media.is_text() => Writing::Encoded(Encoding::for_text(body)),
            _ => Writing::Encoded(Encoding::Base64),
        };
        if unfit {
            self.changes.body(found, refused);
        }
        let encoding = match writing {
            Writing::MendedBase64 | Writing::MendedQuoted => return Ok(writing),
            Writing::Encoded(encoding) => encoding.name(),
            Writing::AsItIs => "8bit",
        };
        if place == Place::Message {
            self.mime_version(block);
        }
        if block.find("Content-Type").is_none() {
            let charset = if std::str::from_utf8(body).is_ok() { "utf-8" } else { OTHERWISE };
            block.append(Field::folded("Content-Type", format!("text/plain; charset={charset}").as_bytes()));
            self.changes.added(Missing::ContentType(charset));
        }
        if writing != Writing::AsItIs || matches!(declared.as_str(), "" | "7bit") {
            self.encoding_field(block, encoding);
        }
        Ok(writing)
    }

    /// What has MIME fields says so, or strict readers see their text instead of what it means (RFC 2045 §4).
    fn mime_version(&mut self, block: &mut HeaderBlock<'_>) {
        if block.find("MIME-Version").is_none() {
            block.append(Field::folded("MIME-Version", b"1.0"));
            self.changes.added(Missing::MimeVersion);
        }
    }

    fn encoding_field(&mut self, block: &mut HeaderBlock<'_>, encoding: &'static str) {
        if block.find(ENCODING).is_none() {
            self.changes.added(Missing::Encoding(encoding));
        }
        block.set(Field::folded(ENCODING, encoding.as_bytes()));
    }

    fn write(&mut self, body: Range<usize>, writing: Writing, place: Place) {
        let octets = &self.patch.source()[body.clone()];
        match writing {
            Writing::AsItIs => self.disarm(body),
            Writing::MendedQuoted => mend_quoted_printable(octets, self.patch.replace(body)),
            Writing::MendedBase64 => {
                // What is not of its alphabet is no part of the data (RFC 2045 §6.8). A dash that the others stood behind
                // could make a delimiter of its line.
                let stays = |byte: &u8| byte.is_ascii() && !matches!(byte, 0 | b'-');
                let data: Vec<u8> = octets.iter().copied().filter(stays).collect();
                lines::broken(&data, self.patch.replace(body));
            }
            Writing::Encoded(encoding) => {
                let out = self.patch.replace(body);
                encoding.write(octets, out);
                if encoding == Encoding::Base64 && place == Place::Message {
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
    }
}

fn encoding_name(value: &[u8]) -> String {
    let word = value.split(|byte| matches!(byte, b' ' | b'\t' | b';' | b'(')).next().unwrap_or_default();
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

/// Far more than mail programs write, far less than the stack holds.
const MAX_DEPTH: usize = 20;
/// As many as the intake takes of a message's own, and more than our own additions to those.
const MAX_HEADER: usize = 512 * 1024;
const ENCODING: &str = "Content-Transfer-Encoding";

#[cfg(test)]
mod tests;
