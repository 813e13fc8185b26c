//! Sender repair: makes reverse path, `From:` and `Sender:` what the account's provider accepts.

use crate::smtp::{Address, AddressPattern};

/// Which senders an account may use, and what happens to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRule {
    /// What happens to a sender that is not allowed.
    pub mode: SenderMode,
    /// The account's own address; `rewrite` always has one.
    pub from: Option<Address>,
    /// Senders left as they are; `from` is always among them.
    pub allowed: Vec<AddressPattern>,
}

/// What happens to a sender that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderMode {
    /// It becomes the account's own.
    Rewrite,
    /// It stays.
    Keep,
    /// The message is refused.
    Refuse,
}
