//! What came of a trial of an account: all that a delivery does but for the message, step by step.

use serde::{Deserialize, Serialize};

use super::attempt::Step;
use crate::ids::AccountName;

/// A trial and what it saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Of which account.
    pub account: AccountName,
    /// Where its mail goes.
    pub host: String,
    /// The steps that passed, in their order.
    pub passed: Vec<Passed>,
    /// The certificates that the host showed, its own first.
    pub certificates: Vec<ShownCertificate>,
    /// What stood in the way of the next step; none where all passed.
    pub failure: Option<Failure>,
    /// What a person should look at though mail goes out; none where there is nothing.
    #[serde(default)]
    pub warning: Option<String>,
}

/// A step that passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Which.
    pub step: Step,
    /// What it showed, in words.
    pub seen: String,
}

/// A certificate that a host showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCertificate {
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The day on which it ends, as `2027-03-01`.
    pub ends: String,
    /// Whole days until then.
    pub days_left: i64,
}

/// The step that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which.
    pub step: Step,
    /// What happened and what a person can do.
    pub sentence: String,
    /// What the host answered, where it did.
    pub reply: Option<String>,
}

impl Trial {
    /// A trial that has not begun.
    pub fn of(account: AccountName, host: &str) -> Self {
        let (passed, certificates) = (Vec::new(), Vec::new());
        Self { account, host: host.to_owned(), passed, certificates, failure: None, warning: None }
    }

    /// Notes a step that passed.
    pub fn pass(&mut self, step: Step, seen: impl Into<String>) {
        self.passed.push(Passed { step, seen: seen.into() });
    }
}
