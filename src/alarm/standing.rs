//! Which conditions are news.
//!
//! ```text
//!   condition -> lasts its patience -> RAISED -> a day later, still so -> REPEATED, and so on
//!                                        |
//!                                        +-> gone for its calm -> OVER
//! ```
//! What goes before its patience has ended was never told, and is not told to be over; what comes back before its calm has
//! ended was never gone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Condition, Kind, Nature, News, Telling};
use crate::ids::AccountName;
use crate::time::{Timestamp, spoken};

/// The alarms that stand; survive a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarms {
    each: Vec<Alarm>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Alarm {
    kind: Kind,
    subject: String,
    nature: Nature,
    sentence: String,
    since: Timestamp,
    stage: u32,
    account: Option<AccountName>,
    phase: Phase,
}

/// How far an alarm has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// Nobody has been told.
    Untold {
        /// When it will have lasted long enough.
        tell_at: Timestamp,
    },
    /// It was told, last at this time.
    Told(Timestamp),
    /// It was told, and is gone since this time.
    Gone { told: Timestamp, since: Timestamp },
}

impl Alarms {
    /// Takes in what is the matter now; what of it is news. `calm` is how long a plain thing must have been over.
    pub fn update(&mut self, conditions: Vec<Condition>, calm: Duration, now: Timestamp) -> Vec<Telling> {
        let mut news = Vec::new();
        self.each.retain_mut(|alarm| {
            let still = conditions.iter().any(|one| alarm.is_about(one));
            still || alarm.fade(calm, now, &mut news)
        });
        for condition in conditions {
            match self.each.iter_mut().find(|alarm| alarm.is_about(&condition)) {
                Some(alarm) => alarm.go_on(condition, now, &mut news),
                None => {
                    let mut alarm = Alarm::new(&condition);
                    alarm.go_on(condition, now, &mut news);
                    self.each.push(alarm);
                }
            }
        }
        news
    }

    /// When the next of them is news, if nothing changes.
    pub fn next(&self, calm: Duration) -> Option<Timestamp> {
        let next = self.each.iter().map(|alarm| match alarm.phase {
            Phase::Untold { tell_at } => tell_at,
            Phase::Told(at) => at.after(REPEATED_AFTER),
            Phase::Gone { since, .. } => since.after(alarm.calm(calm)),
        });
        next.min()
    }
}

impl Alarm {
    fn new(condition: &Condition) -> Self {
        Self {
            kind: condition.kind.clone(),
            subject: condition.subject.clone(),
            nature: condition.nature,
            sentence: condition.sentence.clone(),
            since: condition.since,
            stage: condition.stage,
            account: condition.account.clone(),
            phase: Phase::Untold { tell_at: condition.since.after(condition.patience) },
        }
    }

    fn is_about(&self, condition: &Condition) -> bool {
        self.kind == condition.kind && self.subject == condition.subject
    }

    /// Its condition is still there.
    fn go_on(&mut self, condition: Condition, now: Timestamp, news: &mut Vec<Telling>) {
        let nearer = condition.stage < self.stage;
        // What goes back and forth between two stages is news once.
        let untold = matches!(self.phase, Phase::Untold { .. });
        self.stage = if untold { condition.stage } else { self.stage.min(condition.stage) };
        (self.sentence, self.account) = (condition.sentence, condition.account);
        self.since = self.since.min(condition.since);
        let told = match self.phase {
            Phase::Untold { .. } => {
                let tell_at = self.since.after(condition.patience);
                self.phase = Phase::Untold { tell_at };
                (tell_at <= now).then_some(News::Raised)
            }
            _ if nearer => Some(News::Raised),
            Phase::Told(at) | Phase::Gone { told: at, .. } => {
                self.phase = Phase::Told(at);
                (at.after(REPEATED_AFTER) <= now).then_some(News::Repeated)
            }
        };
        if let Some(told) = told {
            self.phase = Phase::Told(now);
            news.push(self.telling(told, self.sentence.clone()));
        }
    }

    /// Its condition is not there; whether it is kept all the same.
    fn fade(&mut self, calm: Duration, now: Timestamp, news: &mut Vec<Telling>) -> bool {
        let (told, since) = match self.phase {
            Phase::Untold { .. } => return false,
            Phase::Told(told) => (told, now),
            Phase::Gone { told, since } => (told, since),
        };
        if since.after(self.calm(calm)) > now {
            self.phase = Phase::Gone { told, since };
            return true;
        }
        let lasted = spoken(since.since(self.since));
        let sentence = match self.nature {
            Nature::Happens => format!("It has not happened for an hour: {}", self.sentence),
            Nature::Lasts => format!("Over, after {lasted}: {}", self.sentence),
        };
        news.push(self.telling(News::Over, sentence));
        false
    }

    /// How long it must have been gone; of what happens an hour has passed already.
    fn calm(&self, calm: Duration) -> Duration {
        match self.nature {
            Nature::Happens => Duration::ZERO,
            Nature::Lasts => self.kind.calm(calm),
        }
    }

    fn telling(&self, news: News, sentence: String) -> Telling {
        Telling {
            kind: self.kind.clone(),
            subject: self.subject.clone(),
            sentence,
            since: self.since,
            news,
            account: self.account.clone(),
        }
    }
}

/// How long after it was told last.
const REPEATED_AFTER: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests;
