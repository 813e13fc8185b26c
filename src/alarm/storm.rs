//! Whether messages that have failed are reported one by one or together: of more than five in a quarter of an hour, those
//! beyond are collected and told in one mail.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// What was reported of late; survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storm {
    /// When the last messages were reported, alone or together, the oldest first.
    reported: Vec<Timestamp>,
    /// Until when they are collected.
    until: Option<Timestamp>,
}

/// What to do about the messages that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// There is nothing to say.
    Nothing,
    /// Report the first, and ask again.
    One,
    /// Report all of them in one mail.
    Together,
    /// Collect until then.
    Wait(Timestamp),
}

impl Storm {
    /// What to do, where so many are due.
    pub fn next(&mut self, due: usize, now: Timestamp) -> Say {
        match self.until {
            Some(until) if until > now => return if due > 0 { Say::Wait(until) } else { Say::Nothing },
            _ if due == 0 => {
                self.until = None;
                return Say::Nothing;
            }
            Some(_) if due > 1 => return Say::Together,
            Some(_) | None => {}
        }
        let oldest = self.reported.len().checked_sub(ONE_BY_ONE).and_then(|index| self.reported.get(index));
        match oldest.map(|oldest| oldest.after(WINDOW)).filter(|until| *until > now) {
            // One that was collected alone is no heap: it may go by itself at the end.
            Some(until) if self.until.is_none() => {
                self.until = Some(until);
                Say::Wait(until)
            }
            _ => Say::One,
        }
    }

    /// So many were reported.
    pub fn told(&mut self, count: usize, now: Timestamp) {
        self.until = None;
        self.reported.extend(std::iter::repeat_n(now, count.min(ONE_BY_ONE)));
        let surplus = self.reported.len().saturating_sub(ONE_BY_ONE);
        self.reported.drain(..surplus);
    }
}

/// Messages that are reported one by one within a window.
const ONE_BY_ONE: usize = 5;
const WINDOW: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests;
