//! Which header fields of clients go on to a provider, which are added, and what becomes of those that occur twice.
//!
//! A provider takes commands from header fields (`X-SES-CONFIGURATION-SET`, `X-MJ-TemplateID`, …); they are for whoever
//! owns the account, not for whoever can reach the listener.

use std::fmt;
use std::str::FromStr;

use super::header::{Field, HeaderBlock};
use super::repair::Repair;
use crate::provider::presets::RepeatedFields;

/// What an account wants of header fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// Fields that are removed.
    pub removed: Vec<FieldPattern>,
    /// Of those, fields that stay.
    pub allowed: Vec<FieldPattern>,
    /// Fields that are added; those of clients with the same name go.
    pub added: Vec<AddedField>,
    /// What happens to a field that may occur once and occurs twice.
    pub repeated: RepeatedFields,
}

/// The name of a header field, or all that begin like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldPattern {
    /// This name.
    Exact(String),
    /// `X-SES-*`: names that begin so.
    Beginning(String),
}

/// A field that an account adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedField {
    /// Its name.
    pub name: String,
    /// Its value, on one line.
    pub value: String,
}

/// The text is no pattern, or no field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header field")]
pub struct NotAField;

impl Default for FieldRule {
    /// Leaves everything as it is.
    fn default() -> Self {
        Self { removed: Vec::new(), allowed: Vec::new(), added: Vec::new(), repeated: RepeatedFields::Kept }
    }
}

impl FieldRule {
    /// Applies the rule to a header block; tells what it changed.
    pub fn apply(&self, block: &mut HeaderBlock<'_>) -> Vec<Repair> {
        let mut repairs = Vec::new();
        let holds = |patterns: &[FieldPattern], name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        let added = |name: &str| self.added.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        block.remove_where(|field| {
            let unwanted = holds(&self.removed, field.name()) && !holds(&self.allowed, field.name());
            let gone = unwanted || added(field.name());
            if gone {
                repairs.push(Repair::Removed { name: field.name().to_owned() });
            }
            gone
        });
        if self.repeated == RepeatedFields::Folded {
            for name in SINGLE {
                repairs.extend(fold(block, name));
            }
        }
        for AddedField { name, value } in &self.added {
            block.append(Field::folded(name, value.as_bytes()));
            repairs.push(Repair::Added { name: name.clone() });
        }
        repairs
    }
}

/// Makes one field of several of this name: lists of addresses are joined, of others the topmost stays.
fn fold(block: &mut HeaderBlock<'_>, name: &'static str) -> Option<Repair> {
    if block.count(name) < 2 {
        return None;
    }
    let joined = ADDRESS_LISTS.contains(&name).then(|| {
        let values: Vec<Vec<u8>> = block.all(name).map(Field::value).filter(|value| !value.is_empty()).collect();
        values.join(&b", "[..])
    });
    match joined {
        Some(value) => block.set(Field::folded(name, &value)),
        None => {
            let mut first = true;
            block.remove_where(|field| field.is(name) && !std::mem::take(&mut first));
        }
    }
    Some(Repair::MadeOne { name })
}

impl FieldPattern {
    /// Whether a field of this name is meant; case does not matter.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(name),
            Self::Beginning(begin) => {
                name.len() >= begin.len() && name.as_bytes()[..begin.len()].eq_ignore_ascii_case(begin.as_bytes())
            }
        }
    }
}

impl FromStr for FieldPattern {
    type Err = NotAField;

    fn from_str(text: &str) -> Result<Self, NotAField> {
        match text.strip_suffix('*') {
            Some(begin) if is_name(begin) => Ok(Self::Beginning(begin.into())),
            None if is_name(text) => Ok(Self::Exact(text.into())),
            _ => Err(NotAField),
        }
    }
}

impl FromStr for AddedField {
    type Err = NotAField;

    /// `Name: value`; not a field that says who sends or who receives, which are the envelope's and the sender repair's.
    fn from_str(text: &str) -> Result<Self, NotAField> {
        let (name, value) = text.split_once(':').ok_or(NotAField)?;
        let (name, value) = (name.trim_end(), value.trim());
        let plain = value.bytes().all(|b| matches!(b, b' '..=b'~')) && !value.is_empty();
        if !is_name(name) || !plain || text.len() > LONGEST || SINGLE.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(NotAField);
        }
        Ok(Self { name: name.into(), value: value.into() })
    }
}

impl fmt::Display for FieldPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Beginning(begin) => write!(f, "{begin}*"),
        }
    }
}

/// RFC 5322 §2.2: printable ASCII without the colon.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b':' && b != b'*')
}

/// A line of a message, less its line end (RFC 5322 §2.1.1).
const LONGEST: usize = 998;

/// Fields that may occur once (RFC 5322 §3.6, RFC 2045 §3; docs.aws.amazon.com/ses, *Header fields*). `From:` and
/// `Sender:` are made one by the sender repair.
const SINGLE: [&str; 13] = [
    "Date",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "To",
    "Cc",
    "Reply-To",
    "Return-Path",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-Disposition",
];
/// Of these, those that hold lists of addresses.
const ADDRESS_LISTS: [&str; 3] = ["To", "Cc", "Reply-To"];
