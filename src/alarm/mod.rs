//! What a person must be told of, when, and how often. Decides by value from counts, times and what happened; sends nothing.
//!
//! [`sight`] and [`happening`] say what is the matter now, [`standing`] what of it is news, [`mails`] when a mail may carry
//! the news, [`storm`] whether failed messages are reported one by one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::AccountName;
use crate::time::Timestamp;

pub mod happening;
pub mod mails;
pub mod sight;
pub mod standing;
pub mod storm;

/// What an alarm is about: the stable word of the log, of webhooks and of mails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum Kind {
    /// An account sends nothing.
    LanePaused,
    /// Of a cap of an hour or more little is left.
    QuotaNearlySpent,
    /// Soon clients will be refused for want of room.
    DiskShort,
    /// A message waits longer than it should.
    QueueOld,
    /// A client was refused: perhaps a message is lost.
    ClientRefused,
    /// A password or a client secret ends.
    SecretExpires,
    /// A certificate ends.
    CertificateExpires,
    /// The provider switches password logins off.
    PasswordLoginEnds,
    /// What another part of the program has raised, and logged, by its own word.
    Other(String),
}

/// What tells that an alarm is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// It is so until it is not.
    Lasts,
    /// It happens: nothing tells that it is over but that it has not happened again for an hour.
    Happens,
}

/// Something that is the matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// What kind of thing.
    pub kind: Kind,
    /// Of whom or what: an account, a client, a secret. Empty where there is but one.
    pub subject: String,
    /// What tells that it is over.
    pub nature: Nature,
    /// What is the matter and what to do, in a sentence.
    pub sentence: String,
    /// Since when.
    pub since: Timestamp,
    /// How long it must have lasted before anyone is told.
    pub patience: Duration,
    /// How far it has come, less the nearer the end: days left, or how urgent the cause is.
    pub stage: u32,
    /// The account that mail about it should not wait for.
    pub account: Option<AccountName>,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Telling {
    /// What kind of thing.
    pub kind: Kind,
    /// Of whom or what.
    pub subject: String,
    /// In a sentence.
    pub sentence: String,
    /// Since when it has been so.
    pub since: Timestamp,
    /// Which news it is.
    pub news: News,
    /// The account that mail about it should not wait for.
    pub account: Option<AccountName>,
}

/// What is new about an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// It has begun, or has become more urgent.
    Raised,
    /// It was told a day ago and is still so.
    Repeated,
    /// It is over.
    Over,
}

impl News {
    /// The word that webhooks and mails use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Repeated => "repeated",
            Self::Over => "over",
        }
    }
}

impl Kind {
    /// The word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(word) => word,
            known => NAMES.iter().find(|(kind, _)| kind == known).map_or("", |(_, word)| word),
        }
    }

    /// What a person reads first: in the subject of a mail.
    pub fn spoken(&self) -> &str {
        match self {
            Self::LanePaused => "an account sends nothing",
            Self::QuotaNearlySpent => "a quota is nearly spent",
            Self::DiskShort => "there is little room left",
            Self::QueueOld => "mail waits for long",
            Self::ClientRefused => "a client was refused",
            Self::SecretExpires => "a secret ends soon",
            Self::CertificateExpires => "a certificate ends soon",
            Self::PasswordLoginEnds => "password logins end",
            Self::Other(word) => word,
        }
    }

    /// Whether whoever raised it has logged it already.
    pub fn is_logged(&self) -> bool {
        matches!(self, Self::Other(_))
    }

    /// How long it must have been over before that is told. What rises and falls around a limit takes longer than what is
    /// so or is not.
    pub fn calm(&self, calm: Duration) -> Duration {
        match self {
            Self::QuotaNearlySpent | Self::DiskShort | Self::QueueOld => calm * 10,
            _ => calm,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.as_str().into()
    }
}

impl From<String> for Kind {
    fn from(word: String) -> Self {
        let known = NAMES.iter().find(|(_, name)| *name == word).map(|(kind, _)| kind.clone());
        known.unwrap_or(Self::Other(word))
    }
}

const NAMES: [(Kind, &str); 8] = [
    (Kind::LanePaused, "lane_paused"),
    (Kind::QuotaNearlySpent, "quota_nearly_spent"),
    (Kind::DiskShort, "disk_short"),
    (Kind::QueueOld, "queue_old"),
    (Kind::ClientRefused, "client_refused"),
    (Kind::SecretExpires, "secret_expires"),
    (Kind::CertificateExpires, "certificate_expires"),
    (Kind::PasswordLoginEnds, "password_login_ends"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_reads_back_from_its_word() {
        for (kind, word) in NAMES {
            assert_eq!((kind.as_str(), Kind::from(word.to_owned())), (word, kind.clone()));
        }
        assert_eq!(Kind::from("token".to_owned()), Kind::Other("token".into()));
        assert_eq!(serde_json::to_string(&Kind::QueueOld).unwrap(), "\"queue_old\"");
    }
}
