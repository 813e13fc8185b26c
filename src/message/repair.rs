//! What a repair changed of a message, as the log tells it.

use std::fmt;

use super::header::HeaderBlock;
use crate::smtp::ReversePath;

/// A header field that says who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderField {
    /// The author.
    From,
    /// Who sends for the author.
    Sender,
    /// Who sends a message on.
    ResentFrom,
    /// Who sends it on for them.
    ResentSender,
}

/// One change. Text of the message in it is as it was written; [`fmt::Display`] makes it short and harmless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The reverse path became the account's address.
    ReversePath {
        /// Before.
        was: ReversePath,
    },
    /// A field names the account now.
    Rewritten {
        /// Which.
        field: SenderField,
        /// Its addresses before; empty where it was missing, or named nobody.
        was: String,
    },
    /// A display name that could be taken for the address is quoted, a missing bracket is supplied.
    Quoted {
        /// Which field.
        field: SenderField,
        /// Its addresses.
        was: String,
    },
    /// An address without angle brackets has them now.
    Bracketed {
        /// Which field.
        field: SenderField,
        /// Its addresses.
        was: String,
    },
    /// Several fields became one (RFC 5322 §3.6).
    Folded {
        /// Which field.
        field: SenderField,
        /// The addresses that stay.
        kept: String,
    },
    /// `Reply-To:` names who wrote the message.
    ReplyTo {
        /// The addresses.
        to: String,
    },
    /// `Sender:` names the account, since there are several authors.
    SenderAdded,
    /// A field by which a client would have commanded the provider was removed.
    Removed {
        /// Its name.
        name: String,
    },
    /// A field of the account was added.
    Added {
        /// Its name.
        name: String,
    },
    /// Several fields of a name that may occur once became one.
    MadeOne {
        /// Their name.
        name: &'static str,
    },
    /// A sender field was removed.
    Dropped {
        /// Which.
        field: SenderField,
        /// Its addresses.
        was: String,
    },
    /// Raw 8-bit text of header fields became encoded words or extended parameters (RFC 2047, RFC 2231).
    HeaderEncoded {
        /// Which fields.
        names: Names,
        /// As which charset text was read that is not UTF-8.
        read_as: Option<String>,
    },
    /// Lines of header fields were beyond 998 octets.
    HeaderRefolded {
        /// Which fields.
        names: Names,
    },
    /// Lines of bodies were beyond 998 octets: base64 and quoted-printable got line breaks, other text was encoded.
    LinesReencoded {
        /// Of how many parts, and stretches between parts.
        bodies: u32,
    },
    /// NUL octets were dropped from header fields, and encoded in bodies.
    NulRemoved,
    /// MIME fields were missing.
    MimeAdded {
        /// What was missing.
        missing: Vec<Missing>,
    },
    /// 8-bit bodies were encoded, since the host does not offer 8BITMIME.
    ToSevenBit {
        /// How many parts, and stretches between parts.
        bodies: u32,
    },
    /// Something that hosts may refuse stays, since it must not be touched.
    Left {
        /// What.
        matter: Matter,
        /// The media type, encoding or header field that it is in.
        within: String,
    },
    /// A DKIM signature that the message brought does not hold any more, if it did.
    SignatureBroken {
        /// Its `d=`.
        domain: String,
        /// What of it was changed.
        by: Names,
    },
}

/// A MIME field that a message lacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// `MIME-Version:`.
    MimeVersion,
    /// `Content-Type:`, of a text in this charset.
    ContentType(&'static str),
    /// `Content-Transfer-Encoding:`, of this name.
    Encoding(&'static str),
}

/// What hosts may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matter {
    /// Lines beyond 998 octets.
    LongLines,
    /// NUL octets.
    Nul,
    /// Octets beyond ASCII.
    EightBit,
}

/// Names of header fields, each once, the first few of them spelt out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    shown: Vec<String>,
    others: u32,
}

impl Names {
    /// Adds a name.
    pub fn add(&mut self, name: &str) {
        if self.shown.iter().any(|shown| shown.eq_ignore_ascii_case(name)) {
        } else if self.shown.len() < NAMES_SHOWN {
            self.shown.push(name.to_owned());
        } else {
            self.others += 1;
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.shown.iter().map(|name| harmless(name)).collect();
        f.write_str(&names.join(", "))?;
        if self.others > 0 { write!(f, " and {} more", self.others) } else { Ok(()) }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MimeVersion => f.write_str("MIME-Version"),
            Self::ContentType(charset) => write!(f, "Content-Type as {charset} text"),
            Self::Encoding(name) => write!(f, "Content-Transfer-Encoding as {name}"),
        }
    }
}

impl fmt::Display for Matter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LongLines => "lines beyond 998 octets",
            Self::Nul => "NUL octets",
            Self::EightBit => "octets beyond ASCII",
        })
    }
}

impl SenderField {
    /// The name of the field.
    pub fn name(self) -> &'static str {
        match self {
            Self::From => "From",
            Self::Sender => "Sender",
            Self::ResentFrom => "Resent-From",
            Self::ResentSender => "Resent-Sender",
        }
    }

    /// The fields that answer for a message: the resent ones where there are any (RFC 5322 §3.6.6).
    pub(super) fn answering(block: &HeaderBlock<'_>) -> [Self; 2] {
        let resent = [Self::ResentFrom, Self::ResentSender];
        if resent.iter().any(|field| block.find(field.name()).is_some()) { resent } else { [Self::From, Self::Sender] }
    }

    /// How many fields of this name count: each sender on the way puts its resent fields on top of the older ones.
    pub(super) fn topmost(self) -> usize {
        match self {
            Self::From | Self::Sender => usize::MAX,
            Self::ResentFrom | Self::ResentSender => 1,
        }
    }
}

impl fmt::Display for SenderField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Repair {
    /// A stable name for the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::ReversePath { .. } => "reverse_path_rewritten",
            Self::Rewritten { field: SenderField::From, .. } => "from_rewritten",
            Self::Rewritten { field: SenderField::Sender, .. } => "sender_rewritten",
            Self::Rewritten { field: SenderField::ResentFrom, .. } => "resent_from_rewritten",
            Self::Rewritten { field: SenderField::ResentSender, .. } => "resent_sender_rewritten",
            Self::Quoted { .. } => "display_name_quoted",
            Self::Bracketed { .. } => "brackets_added",
            Self::Folded { .. } => "fields_folded",
            Self::SenderAdded => "sender_added",
            Self::ReplyTo { .. } => "reply_to_added",
            Self::Removed { .. } => "field_removed",
            Self::Added { .. } => "field_added",
            Self::MadeOne { .. } => "fields_made_one",
            Self::Dropped { .. } => "sender_dropped",
            Self::HeaderEncoded { .. } => "header_encoded",
            Self::HeaderRefolded { .. } => "header_refolded",
            Self::LinesReencoded { .. } => "lines_reencoded",
            Self::NulRemoved => "nul_removed",
            Self::MimeAdded { .. } => "mime_added",
            Self::ToSevenBit { .. } => "to_seven_bit",
            Self::Left { .. } => "left_as_it_is",
            Self::SignatureBroken { .. } => "signature_broken",
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReversePath { was } => write!(f, "reverse path was {was}"),
            Self::Rewritten { field, was } if was.is_empty() => write!(f, "{field} named nobody"),
            Self::Rewritten { field, was } => write!(f, "{field} was {}", harmless(was)),
            Self::Quoted { field, was } => write!(f, "{field} {} made unmistakable", harmless(was)),
            Self::Bracketed { field, was } => write!(f, "{field} {} put in brackets", harmless(was)),
            Self::SenderAdded => f.write_str("Sender added, since From names several"),
            Self::Folded { field, kept } => write!(f, "several {field} became one, {}", harmless(kept)),
            Self::ReplyTo { to } => write!(f, "Reply-To set to {}", harmless(to)),
            Self::Removed { name } => write!(f, "{} removed", harmless(name)),
            Self::Added { name } => write!(f, "{name} added"),
            Self::MadeOne { name } => write!(f, "several {name} became one"),
            Self::Dropped { field, was } => write!(f, "{field} {} dropped", harmless(was)),
            Self::HeaderEncoded { names, read_as: None } => write!(f, "8-bit text of {names} encoded"),
            Self::HeaderEncoded { names, read_as: Some(charset) } => {
                write!(f, "8-bit text of {names} read as {} and encoded", harmless(charset))
            }
            Self::HeaderRefolded { names } => write!(f, "lines beyond 998 octets folded in {names}"),
            Self::LinesReencoded { bodies } => write!(f, "lines beyond 998 octets re-encoded in {}", parts(*bodies)),
            Self::NulRemoved => f.write_str("NUL octets dropped or encoded"),
            Self::MimeAdded { missing } => {
                let missing: Vec<String> = missing.iter().map(Missing::to_string).collect();
                write!(f, "{} added", missing.join(", "))
            }
            Self::ToSevenBit { bodies } => {
                write!(f, "8-bit text of {} encoded for a host without 8BITMIME", parts(*bodies))
            }
            Self::Left { matter, within } => write!(f, "{matter} in {} left as they are", harmless(within)),
            Self::SignatureBroken { domain, by } => {
                write!(f, "DKIM signature of {} broken by a change of {by}", harmless(domain))
            }
        }
    }
}

fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(LOGGED_CHARACTERS).collect()
}

fn parts(count: u32) -> String {
    if count == 1 { "a part".to_owned() } else { format!("{count} parts") }
}

/// Names of header fields in one sentence of the log.
const NAMES_SHOWN: usize = 5;
/// Two long addresses.
const LOGGED_CHARACTERS: usize = 200;
