//! Enhanced status codes (RFC 3463), such as `5.7.57`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `class.subject.detail` of RFC 3463 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EnhancedStatus {
    /// 2 success, 4 transient, 5 permanent.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 3 mail system, 4 routing, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// Which of its kind.
    pub detail: u16,
}

impl EnhancedStatus {
    /// The code with these three numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads the code that the text begins with, as reply texts do, and returns it with what follows.
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        code.parse().ok().map(|code| (code, rest))
    }
}

/// The text is not an enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code such as 5.7.1 (RFC 3463)")]
pub struct NotAStatus;

impl FromStr for EnhancedStatus {
    type Err = NotAStatus;

    fn from_str(text: &str) -> Result<Self, NotAStatus> {
        let number = |part: Option<&str>| {
            part.filter(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|part| part.parse::<u16>().ok())
                .ok_or(NotAStatus)
        };
        let mut parts = text.split('.');
        let (class, subject, detail) = (number(parts.next())?, number(parts.next())?, number(parts.next())?);
        match (class, parts.next()) {
            (2 | 4 | 5, None) => Ok(Self { class: class as u8, subject, detail }),
            _ => Err(NotAStatus),
        }
    }
}

impl fmt::Display for EnhancedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

impl From<EnhancedStatus> for String {
    fn from(status: EnhancedStatus) -> Self {
        status.to_string()
    }
}

impl TryFrom<String> for EnhancedStatus {
    type Error = NotAStatus;

    fn try_from(text: String) -> Result<Self, NotAStatus> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_and_written() {
        assert_eq!(
            EnhancedStatus::split("5.2.252 SendAsDenied; x"),
            Some((EnhancedStatus::new(5, 2, 252), "SendAsDenied; x"))
        );
        assert_eq!(EnhancedStatus::new(4, 3, 1).to_string(), "4.3.1");
    }

    #[test]
    fn other_numbers_are_no_codes() {
        for text in ["", "5.7", "5.7.1.2", "3.1.1", "5.1000.1", "5..1", "5.+1.1", "127.0.0.1"] {
            assert!(text.parse::<EnhancedStatus>().is_err(), "{text}");
        }
    }
}
