//! What a repair changed of a header block, as the log tells it.

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
        }
    }
}

fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(LOGGED_CHARACTERS).collect()
}

/// Two long addresses.
const LOGGED_CHARACTERS: usize = 200;
