//! What a message asks of the server that takes it, and how it becomes plain ASCII for a server without 8BITMIME (RFC
//! 6152 §3). What a reader decodes stays the same. Lines beyond 998 octets are not looked at.

use super::header::{Field, HeaderBlock};
use super::mime::{MediaType, Section};
use super::{header_text, transfer};
use crate::smtp::Envelope;

/// The extensions that a message needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// 8BITMIME (RFC 6152): some octet is beyond ASCII. Without it, see [`to_seven_bit`].
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531): an address of the envelope is beyond ASCII. There is no way without it. Raw text in a
    /// header does not need it; providers carry that.
    pub smtp_utf8: bool,
}

/// Why a message cannot become plain ASCII. Only a server with 8BITMIME can take it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotDowngrade {
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
    /// Parts in parts, more than anyone writes.
    #[error("the parts of the message are nested more than {MAX_DEPTH} deep, and the server does not offer 8BITMIME")]
    TooDeep,
}

/// What this message asks of a server.
pub fn needs(content: &[u8], envelope: &Envelope) -> Needs {
    let mut addresses = envelope.reverse_path.address().into_iter().chain(&envelope.recipients);
    Needs { eight_bit_mime: !content.is_ascii(), smtp_utf8: addresses.any(|address| !address.is_ascii()) }
}

/// The message in ASCII. Bodies of parts become quoted-printable or base64, raw header text becomes encoded words (RFC
/// 2047), of parameters extended values (RFC 2231). Header fields and parts that are ASCII stay byte for byte; outside the
/// parts of a multipart, where nobody reads, octets beyond ASCII become `?`.
///
/// # Errors
/// Where it would have to touch what it must not, or does not understand what it would touch.
pub fn to_seven_bit(content: &[u8]) -> Result<Vec<u8>, CannotDowngrade> {
    entity(content, Place::Message, 0)
}

/// Where an entity stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Message,
    Part,
    /// In a multipart/digest, whose parts are messages unless they say otherwise (RFC 2046 §5.1.5).
    DigestPart,
}

fn entity(content: &[u8], place: Place, depth: usize) -> Result<Vec<u8>, CannotDowngrade> {
    if content.is_ascii() {
        return Ok(content.to_vec());
    }
    if depth > MAX_DEPTH {
        return Err(CannotDowngrade::TooDeep);
    }
    let (mut block, body) = HeaderBlock::split(content);
    let media = match (block.find("Content-Type"), place) {
        (Some(field), _) => MediaType::read(&field.value()),
        (None, Place::DigestPart) => MediaType::read(b"message/rfc822"),
        (None, _) => MediaType::read(b"text/plain"),
    };
    block.try_edit(|field| {
        let encoded = (!field.raw().is_ascii()).then(|| header_text::to_ascii(field));
        encoded
            .map(|field_in_ascii| field_in_ascii.ok_or_else(|| CannotDowngrade::Address(field.name().into())))
            .transpose()
    })?;
    if body.is_ascii() {
        return Ok(block.join(body));
    }
    if media.is_protected() {
        return Err(CannotDowngrade::Protected(media.name));
    }
    let body = if media.is_multipart() {
        if block.find(ENCODING).is_some() {
            block.set(Field::folded(ENCODING, b"7bit"));
        }
        multipart(body, &media, depth)?
    } else {
        leaf(body, &media, &mut block, place)?
    };
    Ok(block.join(&body))
}

fn multipart(body: &[u8], media: &MediaType, depth: usize) -> Result<Vec<u8>, CannotDowngrade> {
    let place = if media.name == "multipart/digest" { Place::DigestPart } else { Place::Part };
    let sections = media.sections(body).ok_or_else(|| CannotDowngrade::NoParts(media.name.clone()))?;
    let mut encoded = Vec::with_capacity(body.len() + body.len() / 2);
    for section in sections {
        match section {
            Section::Frame(bytes) => {
                encoded.extend(bytes.iter().map(|byte| if byte.is_ascii() { *byte } else { b'?' }))
            }
            Section::Part(part) => encoded.extend(entity(part, place, depth + 1)?),
        }
    }
    Ok(encoded)
}

/// Encodes the body of a part without parts and says so in its header.
fn leaf(body: &[u8], media: &MediaType, block: &mut HeaderBlock<'_>, place: Place) -> Result<Vec<u8>, CannotDowngrade> {
    let declared = block.find(ENCODING).map(|field| encoding_name(&field.value())).unwrap_or_default();
    match declared.as_str() {
        "quoted-printable" => return Ok(transfer::mend_quoted_printable(body)),
        // What is not of its alphabet is no part of the data (RFC 2045 §6.8).
        "base64" => return Ok(body.iter().copied().filter(u8::is_ascii).collect()),
        encoding if encoding.starts_with("x-") || encoding.contains("uuencode") => {
            return Err(CannotDowngrade::UnknownEncoding(declared));
        }
        // 7bit, 8bit, binary, and what people take for an encoding: `8-bit`, `utf-8`, `none`.
        _ => {}
    }
    let mut base64 = transfer::base64(body);
    if place == Place::Message {
        base64.extend_from_slice(b"\r\n");
    }
    let quoted = if media.name.starts_with("text/") { Some(transfer::quoted_printable(body)) } else { None };
    let (encoding, encoded) = match quoted {
        Some(quoted) if quoted.len() <= base64.len() => ("quoted-printable", quoted),
        _ => ("base64", base64),
    };
    if place == Place::Message && block.find("MIME-Version").is_none() {
        block.append(Field::folded("MIME-Version", b"1.0"));
    }
    if block.find("Content-Type").is_none() {
        // RFC 1428 §3: what is not UTF-8 could be anything, and a reader that guesses should go on guessing.
        let charset = if std::str::from_utf8(body).is_ok() { "utf-8" } else { "unknown-8bit" };
        block.append(Field::folded("Content-Type", format!("text/plain; charset={charset}").as_bytes()));
    }
    block.set(Field::folded(ENCODING, encoding.as_bytes()));
    Ok(encoded)
}

fn encoding_name(value: &[u8]) -> String {
    let word = value.split(|byte| matches!(byte, b' ' | b'\t' | b';' | b'(')).next().unwrap_or_default();
    String::from_utf8_lossy(word).to_ascii_lowercase()
}

/// Far more than mail programs write, far less than the stack holds.
const MAX_DEPTH: usize = 50;
const ENCODING: &str = "Content-Transfer-Encoding";

#[cfg(test)]
mod tests;
