//! The path of a MAIL command (RFC 5321 §4.1.1.2). The path of a RCPT command is an [`Address`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Address;

/// Where a report about the message would go: an address, or nowhere (`<>`, RFC 5321 §4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReversePath {
    /// `<>`: about this message nothing is ever reported.
    Null,
    /// A mailbox.
    Address(Address),
}

impl ReversePath {
    /// The address, where there is one.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

impl fmt::Display for ReversePath {
    /// The address without brackets; `<>` for the null path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("<>"),
            Self::Address(address) => address.fmt(f),
        }
    }
}
