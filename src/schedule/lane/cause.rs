//! Why a lane is not open, and how soon that is looked at again.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a lane is not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Its kind, which decides when to probe.
    pub kind: CauseKind,
    /// What happened and what to do, in a sentence.
    pub sentence: String,
    /// What the provider answered, where it did.
    pub reply: Option<String>,
}

/// The kinds of causes, each with its times between probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// No connection, or no TLS.
    Connect,
    /// The login was refused.
    Login,
    /// The login failed for a reason that the provider calls temporary.
    LoginLater,
    /// The account or the tenant is refused, after a login or without one.
    Account,
    /// Every message is refused with something not listed.
    Suspicion,
    /// Too much at a time or in a minute: a short rest.
    Rate,
    /// A quota of hours or a day is spent: a long rest.
    Quota,
    /// A person said so.
    Operator,
}

impl CauseKind {
    /// Whether it is a login that was refused. Behind one that passed, a refusal locks nobody out.
    pub(super) fn refuses_login(self) -> bool {
        matches!(self, Self::Login | Self::LoginLater)
    }
}

/// How long after a failure the next probe goes out. Connecting is tried at least every 30 s; logins are not hammered,
/// since a provider locks accounts that fail too often.
pub(super) fn probe_delay(kind: CauseKind, failed_probes: u32) -> Duration {
    let steps: &[u64] = match kind {
        CauseKind::Connect => &[1, 2, 5, 10, 20, 30],
        CauseKind::Login | CauseKind::Account => &[60, 2 * 60, 5 * 60, 10 * 60, 15 * 60],
        CauseKind::LoginLater | CauseKind::Suspicion => &[60, 5 * 60, 15 * 60],
        CauseKind::Rate => &[10, 20, 40, 60],
        CauseKind::Quota => &[15 * 60, 30 * 60, 60 * 60],
        CauseKind::Operator => &[],
    };
    let index = (failed_probes as usize).min(steps.len().saturating_sub(1));
    Duration::from_secs(steps.get(index).copied().unwrap_or(u64::MAX))
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Login | Self::LoginLater => "login",
            Self::Account => "account",
            Self::Suspicion => "suspicion",
            Self::Rate => "rate",
            Self::Quota => "quota",
            Self::Operator => "operator",
        })
    }
}
