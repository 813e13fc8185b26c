//! Patterns of addresses, as allow-lists write them: `webmaster@example.com`, `*@example.com`, `*`.

use std::fmt;
use std::str::FromStr;

use super::{Address, address::AddressError};

/// Matches addresses without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressPattern {
    /// `*`: every address.
    Any,
    /// `*@example.com`: every address of this domain, not of its subdomains.
    Domain(String),
    /// This address.
    Exact(Address),
}

impl AddressPattern {
    /// Whether `address` is among those that the pattern means.
    pub fn matches(&self, address: &Address) -> bool {
        match self {
            Self::Any => true,
            Self::Domain(domain) => domain.eq_ignore_ascii_case(address.domain()),
            Self::Exact(exact) => exact.as_str().eq_ignore_ascii_case(address.as_str()),
        }
    }
}

impl FromStr for AddressPattern {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("*@") {
            _ if text == "*" => Ok(Self::Any),
            Some(domain) => format!("x@{domain}").parse::<Address>().map(|_| Self::Domain(domain.to_owned())),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl fmt::Display for AddressPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Domain(domain) => write!(f, "*@{domain}"),
            Self::Exact(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_without_regard_to_case() {
        let address: Address = "Shop@Example.com".parse().unwrap();
        for (pattern, matches) in [
            ("*", true),
            ("*@example.COM", true),
            ("shop@example.com", true),
            ("*@ample.com", false),
            ("*@sub.example.com", false),
            ("hop@example.com", false),
        ] {
            assert_eq!(pattern.parse::<AddressPattern>().unwrap().matches(&address), matches, "{pattern}");
        }
        assert!("*@".parse::<AddressPattern>().is_err());
    }
}
