//! Sending caps: how much of what a provider lets through in how long.

use std::fmt;
use std::time::Duration;

/// What a cap counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// SMTP transactions.
    Messages,
    /// Recipients of transactions.
    Recipients,
}

impl Counted {
    /// The word that configuration and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Recipients => "recipients",
        }
    }
}

/// At most `count` of something in any window of this length, wherever the window starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cap {
    /// Of what.
    pub counted: Counted,
    /// How many; at least one.
    pub count: u32,
    /// The length of the window; at least a millisecond.
    pub window: Duration,
}

impl fmt::Display for Cap {
    /// As the configuration writes it: `30/min`, `10000/24h`, `30/6s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.window.as_secs();
        match secs {
            _ if self.window.subsec_nanos() != 0 => write!(f, "{}/{}ms", self.count, self.window.as_millis()),
            1 => write!(f, "{}/s", self.count),
            60 => write!(f, "{}/min", self.count),
            3600 => write!(f, "{}/h", self.count),
            _ if secs.is_multiple_of(3600) => write!(f, "{}/{}h", self.count, secs / 3600),
            _ if secs.is_multiple_of(60) => write!(f, "{}/{}min", self.count, secs / 60),
            _ => write!(f, "{}/{secs}s", self.count),
        }
    }
}

/// All the caps of one login at one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Sliding windows; all of them must have room.
    pub windows: Vec<Cap>,
    /// Transactions, and so connections, at a time; at least one.
    pub connections: u32,
    /// Recipients of one transaction; at least one.
    pub recipients_per_message: u32,
    /// Octets of one message as it goes over the wire.
    pub message_size: u64,
}
