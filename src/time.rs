//! Time as the program sees it, and the only file that reads a clock.
//!
//! Scheduling time is the monotonic clock added to one reading of the wall clock at start, so that a step of the wall
//! clock (NTP on a machine that booted in 1970) moves no deadline. Across restarts it never runs backwards: the start is
//! the later of the wall clock and the newest time that the queue has seen. What people read (`Date:`, `Received:`, log
//! lines) is stamped with the wall clock of the moment.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point in scheduling time: microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch; the time at which a machine without a battery starts.
    pub const EPOCH: Self = Self(0);
    /// Later than anything that happens.
    pub const FAR_FUTURE: Self = Self(i64::MAX);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This time and `span` more, at most [`Timestamp::FAR_FUTURE`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    /// This time less `span`.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        u64::try_from(self.0.saturating_sub(earlier.0)).map_or(Duration::ZERO, Duration::from_micros)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the millisecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => f.write_str("never"),
        }
    }
}

/// Tells the scheduling time. Passed to whatever needs it; rules take the time as an argument instead.
pub trait Clock: Send + Sync {
    /// The scheduling time now.
    fn now(&self) -> Timestamp;
}

/// The monotonic clock of this process, added to one reading at its start.
#[derive(Debug)]
pub struct MonotonicClock {
    base: Timestamp,
    started: Instant,
}

impl MonotonicClock {
    /// Starts at the later of the wall clock and `newest`, the newest time the queue has seen.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn starting_after(newest: Timestamp) -> Self {
        Self { base: wall_clock().max(newest), started: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Timestamp {
        self.base.after(self.started.elapsed())
    }
}

/// How long this machine has been up, without the time it was suspended: what no step of the wall clock changes, and by
/// which the monotonic clock of a process runs.
pub fn since_boot() -> Duration {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(up.tv_sec).unwrap_or(0), u32::try_from(up.tv_nsec).unwrap_or(0))
}

/// A clock that a test sets by hand.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows `now` until it is told otherwise.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock to `now`, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
    }

    /// Moves the clock forwards.
    pub fn advance(&self, span: Duration) {
        let mut now = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = now.after(span);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What the wall clock shows now: for people and for mail headers, never for scheduling.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn wall_clock() -> Timestamp {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(span) => Timestamp::EPOCH.after(span),
        Err(before) => Timestamp::EPOCH.before(before.duration()),
    }
}

/// When this day begins in UTC; none where there is no such day.
pub fn day_begins(year: u16, month: u8, day: u8) -> Option<Timestamp> {
    let [month, day] = [month, day].map(|number| i8::try_from(number).ok());
    let date = jiff::civil::Date::new(i16::try_from(year).ok()?, month?, day?).ok()?;
    let begins = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_secs(begins.as_second()))
}

/// The time of `time` as a mail header writes it (RFC 5322 §3.3), in UTC: `Sun, 22 Nov 2026 15:49:48 +0000`.
pub fn header_date(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::fmt::rfc2822::to_string(&time.to_zoned(jiff::tz::TimeZone::UTC))
        .unwrap_or_else(|_| "Thu, 1 Jan 1970 00:00:00 +0000".into())
}

/// A duration as people write it: `4 s`, `3 min`, `2 h 5 min`, `3 d 4 h`.
pub fn spoken(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 if span.is_zero() => "0 s".into(),
        0 => format!("{} ms", span.as_millis()),
        1..=119 => format!("{secs} s"),
        120..=7_199 => format!("{} min", secs / 60),
        7_200..=172_799 if secs % 3600 < 60 => format!("{} h", secs / 3600),
        7_200..=172_799 => format!("{} h {} min", secs / 3600, secs % 3600 / 60),
        _ if secs % 86_400 < 3600 => format!("{} d", secs / 86_400),
        _ => format!("{} d {} h", secs / 86_400, secs % 86_400 / 3600),
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_date_is_in_the_form_of_rfc_5322() {
        assert_eq!(header_date(Timestamp::from_secs(1_795_362_588)), "Sun, 22 Nov 2026 15:49:48 +0000");
    }

    #[test]
    fn the_clock_starts_no_earlier_than_what_the_queue_has_seen() {
        let newest = wall_clock().after(Duration::from_secs(3600));
        assert!(MonotonicClock::starting_after(newest).now() >= newest);
        assert!(MonotonicClock::starting_after(Timestamp::EPOCH).now() > Timestamp::from_secs(1_700_000_000));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::FAR_FUTURE.after(Duration::MAX), Timestamp::FAR_FUTURE);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::from_secs(5)), Duration::ZERO);
    }

    #[test]
    fn durations_are_spoken_briefly() {
        assert_eq!(spoken(Duration::from_secs(7_500)), "2 h 5 min");
        assert_eq!(spoken(Duration::from_secs(90)), "90 s");
        assert_eq!(spoken(Duration::from_secs(5 * 86_400)), "5 d");
    }
}
