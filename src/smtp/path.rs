//! The path of a MAIL command (RFC 5321 §4.1.1.2). The path of a RCPT command is an [`Address`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Address;

/// Where a report about the message would go: an address, or nowhere (`<>`, RFC 5321 §4.5.5). In JSON a string, or null.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_a_string_or_null() {
        for (path, json) in
            [(ReversePath::Null, "null"), (ReversePath::Address("a@example.org".parse().unwrap()), "\"a@example.org\"")]
        {
            assert_eq!(serde_json::to_string(&path).unwrap(), json);
            assert_eq!(serde_json::from_str::<ReversePath>(json).unwrap(), path);
        }
    }
}
