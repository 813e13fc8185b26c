//! Mailbox addresses: `local-part@domain` (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A mailbox address. The local part is kept as it was written (quoted where it was quoted); the domain is a name or an
/// address literal in brackets. Two addresses are equal where their local parts are and their domains are but for case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Address {
    text: String,
    at: usize,
}

/// Why a text is not a mailbox address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no `@`.
    #[error("it has no @ and domain")]
    NoDomain,
    /// The local part is empty, too long, or holds what must be quoted.
    #[error("the part before the @ is not well formed")]
    LocalPart,
    /// The domain is empty, too long, or not a name or an address literal.
    #[error("the domain is not well formed")]
    Domain,
}

impl Address {
    /// The part before the `@`, quoted where it was quoted.
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// The part after the `@`: a domain name, or an address literal with its brackets.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it needs SMTPUTF8 (RFC 6531) to be written in an envelope.
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Lenient where devices are: an underscore or a single label in a domain and a dot at odd places of a local part
    /// pass; what would break a command line or a header does not.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let at = text.rfind('@').ok_or(AddressError::NoDomain)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        if !is_local_part(local) {
            return Err(AddressError::LocalPart);
        }
        if !is_domain(domain) {
            return Err(AddressError::Domain);
        }
        Ok(Self { text: text.to_owned(), at })
    }
}

/// RFC 5321 §4.5.3.1.1 allows 64 octets; real ones (VERP, relayed reports) are longer.
const LOCAL_PART_OCTETS: usize = 256;
/// RFC 5321 §4.5.3.1.2.
const DOMAIN_OCTETS: usize = 255;

fn is_local_part(local: &str) -> bool {
    if local.is_empty() || local.len() > LOCAL_PART_OCTETS {
        return false;
    }
    match local.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"').is_some_and(is_quoted_content),
        None => local.chars().all(|c| !c.is_ascii() && !c.is_control() || is_atext(c) || c == '.'),
    }
}

/// The inside of a quoted string: no bare quote, no control, a backslash only in front of a printable character.
fn is_quoted_content(inside: &str) -> bool {
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        let fine = match c {
            '\\' => chars.next().is_some_and(|c| !c.is_control()),
            '"' => false,
            _ => !c.is_control(),
        };
        if !fine {
            return false;
        }
    }
    true
}

fn is_domain(domain: &str) -> bool {
    if domain.is_empty() || domain.len() > DOMAIN_OCTETS {
        return false;
    }
    if let Some(literal) = domain.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|inside| {
            !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-'))
        });
    }
    domain.split('.').all(|label| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || !c.is_ascii() && !c.is_control())
    })
}

/// RFC 5322 §3.2.3.
pub(crate) fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.local_part() == other.local_part() && self.domain().eq_ignore_ascii_case(other.domain())
    }
}

impl Eq for Address {}

impl std::hash::Hash for Address {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.local_part().hash(state);
        self.domain().to_ascii_lowercase().hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.text
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_addresses_are_read() {
        for text in [
            "a@b",
            "webmaster@example.com",
            "a.b+c@sub.example.org",
            "\"john doe\"@example.com",
            "\"a@b\"@example.com",
            "root@[127.0.0.1]",
            "root@[IPv6:::1]",
            "jürgen@müller.example",
            "x..y.@example.com",
            "cam_1@my_host",
        ] {
            let address: Address = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.to_string(), text);
        }
        assert_eq!("\"a@b\"@c".parse::<Address>().unwrap().local_part(), "\"a@b\"");
    }

    #[test]
    fn what_would_break_a_command_is_refused() {
        use AddressError::{Domain, LocalPart, NoDomain};
        for (text, why) in [
            ("", NoDomain),
            ("root", NoDomain),
            ("@b", LocalPart),
            ("a b@c", LocalPart),
            ("a<b@c", LocalPart),
            ("\"a\"b\"@c", LocalPart),
            ("a\r\n@c", LocalPart),
            ("a@", Domain),
            ("a@b..c", Domain),
            ("a@b c", Domain),
            ("a@b>", Domain),
            ("a@[1.2.3.4", Domain),
        ] {
            assert_eq!(text.parse::<Address>().unwrap_err(), why, "{text:?}");
        }
    }

    #[test]
    fn domains_are_equal_but_for_case() {
        let [a, b, c] =
            ["x@Example.com", "x@example.COM", "X@example.com"].map(|text| text.parse::<Address>().unwrap());
        assert_eq!(a, b);
        assert_ne!(a, c);
    }
}
