//! What `mailsluice doctor` looks at on this machine, and what it makes of it. Each part gathers facts, changing nothing,
//! and a pure function judges them.

pub mod clock;
pub mod endings;
pub mod lanes;
pub mod listeners;
pub mod local;
pub mod place;
pub mod secrets;
pub mod sockets;

use serde::Serialize;

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which part of the machine or the configuration, in a word.
    pub check: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// What is there. Never a secret.
    pub seen: String,
    /// What to do about it; none where nothing is to do.
    pub advice: Option<String>,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// As it should be.
    Ok,
    /// It works, and should be looked at.
    Warning,
    /// It does not work.
    Failed,
}

impl Standing {
    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "FAILED",
        }
    }
}

impl Finding {
    /// Something is as it should be.
    pub fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self { check, standing: Standing::Ok, seen: seen.into(), advice: None }
    }

    /// Something should be looked at.
    pub fn warning(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, standing: Standing::Warning, seen: seen.into(), advice: Some(advice.into()) }
    }

    /// Something does not work.
    pub fn failed(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, standing: Standing::Failed, seen: seen.into(), advice: Some(advice.into()) }
    }
}

/// An amount of octets as people write it: `512 MiB`.
pub fn amount(octets: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| octets >> shift >= 10) {
        Some((unit, shift)) => format!("{} {unit}", octets >> shift),
        None => format!("{octets} octets"),
    }
}
