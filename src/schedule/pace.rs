//! What is left of a pace after the provider wanted less: half of it at once, regained an eighth at a time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// A pace that was slowed down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowed {
    /// Eighths of the full pace, 1 to 7, at that time.
    pub eighths: u32,
    /// When the provider last wanted less.
    pub since: Timestamp,
}

impl Slowed {
    /// The pace after one more refusal: half of what it was by then.
    #[must_use]
    pub fn once_more(before: Option<Self>, now: Timestamp) -> Self {
        let eighths = before.map_or(FULL_PACE, |slowed| slowed.eighths(now));
        Self { eighths: (eighths / 2).max(1), since: now }
    }

    /// What of `count` is left now: less than all of it, but at least one.
    pub fn of(self, count: u32, now: Timestamp) -> u32 {
        let left = u64::from(count) * u64::from(self.eighths(now)) / u64::from(FULL_PACE);
        u32::try_from(left).unwrap_or(count).max(1)
    }

    /// When the next eighth comes back; none at full pace.
    pub fn faster_at(self, now: Timestamp) -> Option<Timestamp> {
        let eighths = self.eighths(now);
        (eighths < FULL_PACE).then(|| self.since.after(EIGHTH_REGAINED * (eighths + 1 - self.eighths.min(eighths))))
    }

    /// When the last eighth comes back; none at full pace.
    pub fn full_at(self, now: Timestamp) -> Option<Timestamp> {
        let missing = FULL_PACE.saturating_sub(self.eighths);
        (self.eighths(now) < FULL_PACE).then(|| self.since.after(EIGHTH_REGAINED * missing))
    }

    fn eighths(self, now: Timestamp) -> u32 {
        let regained = now.since(self.since).as_secs() / EIGHTH_REGAINED.as_secs();
        FULL_PACE.min(self.eighths.saturating_add(u32::try_from(regained).unwrap_or(FULL_PACE)))
    }
}

/// The whole pace, in eighths.
const FULL_PACE: u32 = 8;
/// How long it takes to regain an eighth: from the least to the full pace in less than a minute.
const EIGHTH_REGAINED: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_at_once_and_comes_back_within_a_minute() {
        let at = Timestamp::from_secs;
        let mut slowed = Slowed::once_more(None, at(0));
        assert_eq!([3, 2, 1, 30, 1_000_000_000].map(|count| slowed.of(count, at(0))), [1, 1, 1, 15, 500_000_000]);
        assert_eq!((slowed.faster_at(at(0)), slowed.full_at(at(0))), (Some(at(8)), Some(at(32))));
        assert_eq!((slowed.of(30, at(9)), slowed.faster_at(at(9))), (18, Some(at(16))));
        for _ in 0..9 {
            slowed = Slowed::once_more(Some(slowed), at(10));
        }
        assert_eq!((slowed.eighths, slowed.full_at(at(10))), (1, Some(at(66))));
        assert_eq!((slowed.of(8, at(65)), slowed.of(8, at(66)), slowed.faster_at(at(66))), (7, 8, None));
    }
}
