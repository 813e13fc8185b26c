//! Replies (RFC 5321 §4.2), ours and a provider's.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::EnhancedStatus;

/// A three digit code and one or more lines of text, without the code and line ends. A line may begin with an enhanced
/// status code (RFC 2034).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reply {
    /// 200 to 599.
    pub code: u16,
    /// The text of each line; never empty.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, text: impl Into<String>) -> Self {
        Self { code, lines: vec![text.into()] }
    }

    /// A reply of one line with an enhanced status code (RFC 2034 §4).
    pub fn with_status(code: u16, status: EnhancedStatus, text: impl fmt::Display) -> Self {
        Self::new(code, format!("{status} {text}"))
    }

    /// The enhanced status code that the first line begins with, where it agrees with the reply's own class.
    pub fn status(&self) -> Option<EnhancedStatus> {
        let (status, _) = EnhancedStatus::split(self.lines.first()?)?;
        (u16::from(status.class) == self.code / 100).then_some(status)
    }

    /// Whether the code is 2xx or 3xx.
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// Whether the code is 4xx: try again later.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Whether the code is 5xx: do not try this again.
    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }

    /// All lines as one, parted by spaces, without the code.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// The reply as it goes over the wire. Each line is at most 512 octets with its end (RFC 5321 §4.5.3.1.5): longer
    /// text is cut; what is not printable ASCII becomes `?`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 * self.lines.len());
        for (index, line) in self.lines.iter().enumerate() {
            let last = index + 1 == self.lines.len();
            bytes.extend_from_slice(format!("{}{}", self.code, if last { ' ' } else { '-' }).as_bytes());
            let printable = line.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c as u8 } else { b'?' });
            bytes.extend(printable.take(TEXT_OCTETS));
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

/// What was said without what differs each time it is: up to the trailing bracket in which Microsoft 365 puts host, time
/// and number.
pub fn steady(said: &str) -> &str {
    said.split(" [").next().unwrap_or_default()
}

/// 512 octets less the code, its separator and the line end.
const TEXT_OCTETS: usize = 512 - 4 - 2;

impl fmt::Display for Reply {
    /// On one line: the code and the whole text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_512_octets_whatever_the_text() {
        let reply = Reply { code: 250, lines: vec!["é\r\n".repeat(400), "end".into()] };
        let bytes = reply.to_bytes();
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            assert!(line.len() <= 512 && line.ends_with(b"\r\n"));
        }
        assert!(bytes.starts_with(b"250-???") && bytes.ends_with(b"250 end\r\n"));
    }

    #[test]
    fn a_status_that_contradicts_the_code_is_none() {
        assert_eq!(Reply::new(550, "5.1.1 no").status(), Some(EnhancedStatus::new(5, 1, 1)));
        assert_eq!(Reply::new(250, "5.1.1 no").status(), None);
        assert_eq!(Reply::new(250, "Ok 12345").status(), None);
    }
}
