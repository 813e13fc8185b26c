//! Names of things: messages and deliveries by number, accounts, routes and clients by the names people gave them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A stored message, shown to people as its queue id: eleven characters that sort by time, in Crockford's base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MessageId(pub i64);

/// A delivery: one message on one route, the unit that is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub i64);

/// The text is not a queue id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a queue id: wanted up to 13 characters such as 1M5K3V8Q2ZC, as the log and `queue list` show them"
)]
pub struct NotAQueueId(String);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [b'0'; 13];
        let mut rest = self.0.cast_unsigned();
        for digit in digits.iter_mut().rev() {
            *digit = ALPHABET[(rest % 32) as usize];
            rest /= 32;
        }
        let start = digits.iter().position(|digit| *digit != b'0').unwrap_or(12).min(2);
        f.write_str(std::str::from_utf8(&digits[start..]).unwrap_or_default())
    }
}

impl FromStr for MessageId {
    type Err = NotAQueueId;

    fn from_str(text: &str) -> Result<Self, NotAQueueId> {
        let refused = || NotAQueueId(text.to_owned());
        if text.is_empty() || text.len() > 13 {
            return Err(refused());
        }
        let mut value: u64 = 0;
        for byte in text.bytes() {
            let digit = ALPHABET.iter().position(|known| *known == byte.to_ascii_uppercase()).ok_or_else(refused)?;
            value = value.checked_mul(32).and_then(|value| value.checked_add(digit as u64)).ok_or_else(refused)?;
        }
        i64::try_from(value).map(MessageId).map_err(|_| refused())
    }
}

impl From<MessageId> for String {
    fn from(id: MessageId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for MessageId {
    type Error = NotAQueueId;

    fn try_from(text: String) -> Result<Self, NotAQueueId> {
        text.parse()
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// The name of an account: one login at one smarthost.
    AccountName
}
name! {
    /// The name of a route: a rule and an ordered list of accounts.
    RouteName
}
name! {
    /// The name of a client: the one its configuration gives, else its address (of IPv6 the /64 network), or `local:` and
    /// the local user.
    ClientName
}

/// One login at one host: what a ledger is kept by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LoginKey(pub String);

impl LoginKey {
    /// The key of this user at this host. Hosts differ by more than case, users too.
    pub fn new(host: &str, username: Option<&str>) -> Self {
        let (host, username) = (host.to_ascii_lowercase(), username.unwrap_or_default().to_ascii_lowercase());
        Self(format!("{username}@{host}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_id_reads_back() {
        for value in [0, 1, 31, 32, 1_795_362_588_000_000, i64::MAX] {
            let id = MessageId(value);
            assert_eq!(id.to_string().parse(), Ok(id), "{id}");
            assert_eq!(id.to_string().to_lowercase().parse(), Ok(id));
        }
        assert_eq!(MessageId(1_795_362_588_000_000).to_string().len(), 11);
    }

    #[test]
    fn what_is_no_queue_id_is_refused() {
        for text in ["", "U", "11111111111111", "ZZZZZZZZZZZZZ", "1-2"] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
    }
}
