//! The clock: certificates, tokens and the dates of mails depend on it.

use std::path::Path;
use std::time::Duration;

use super::Finding;
use crate::time::{Timestamp, day_begins, spoken, wall_clock};

/// What can be told of the clock.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// What it shows.
    pub now: Timestamp,
    /// When the queue was written last.
    pub written: Option<Timestamp>,
    /// Whether somebody has set it from the network since the boot.
    pub set: Set,
}

/// Whether a clock is set from the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// It has been.
    Yes,
    /// What should do so has not managed to.
    NotYet,
    /// Nothing here says so.
    Unknown,
}

impl Facts {
    /// Looks at the clock, and at the files of this queue. Blocking.
    pub fn gather(database: &Path) -> Self {
        let wal = format!("{}-wal", database.display());
        let written = [database, Path::new(&wal)].into_iter().filter_map(modified).max();
        let set = match (Path::new(TIMESYNC).exists(), Path::new(SYNCHRONIZED).exists()) {
            (_, true) => Set::Yes,
            (true, false) => Set::NotYet,
            (false, false) => Set::Unknown,
        };
        Self { now: wall_clock(), written, set }
    }
}

/// What to make of it.
pub fn judge(facts: Facts) -> Finding {
    let Facts { now, written, set } = facts;
    let advice = "let systemd-timesyncd or chrony set it: `timedatectl set-ntp true`";
    if now < earliest() {
        return Finding::failed(CHECK, format!("the clock shows {now}, which has passed long ago"), advice);
    }
    if let Some(written) = written.filter(|written| written.since(now) > TOLERANCE) {
        let behind = spoken(written.since(now));
        let seen = format!("the clock shows {now}, {behind} before the queue was written last");
        return Finding::warning(CHECK, seen, advice);
    }
    match set {
        Set::Yes => Finding::ok(CHECK, format!("the clock shows {now} and is set from the network")),
        Set::NotYet => Finding::warning(
            CHECK,
            format!("the clock shows {now} and was not set from the network since the boot"),
            advice,
        ),
        Set::Unknown => Finding::ok(CHECK, format!("the clock shows {now}; who sets it is not known here")),
    }
}

fn modified(path: &Path) -> Option<Timestamp> {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|metadata| Timestamp::from_secs(metadata.mtime()))
}

/// This program was not written earlier.
fn earliest() -> Timestamp {
    day_begins(2026, 1, 1).unwrap_or(Timestamp::EPOCH)
}

const CHECK: &str = "clock";
const TOLERANCE: Duration = Duration::from_secs(60);
/// Of systemd-timesyncd.service(8).
const TIMESYNC: &str = "/run/systemd/timesync";
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;

    #[test]
    fn a_clock_is_judged_by_what_it_cannot_show() {
        let now = day_begins(2026, 11, 24).unwrap();
        let hour = Duration::from_secs(3600);
        for (facts, standing, wanted) in [
            (Facts { now, written: Some(now.before(hour)), set: Set::Yes }, Standing::Ok, "set from the network"),
            (Facts { now, written: None, set: Set::Unknown }, Standing::Ok, "not known here"),
            (Facts { now, written: None, set: Set::NotYet }, Standing::Warning, "was not set"),
            (
                Facts { now, written: Some(now.after(hour)), set: Set::Yes },
                Standing::Warning,
                "60 min before the queue",
            ),
            (Facts { now: Timestamp::EPOCH, written: None, set: Set::Yes }, Standing::Failed, "1970-01-01"),
        ] {
            let finding = judge(facts);
            assert_eq!(finding.standing, standing, "{finding:?}");
            assert!(finding.seen.contains(wanted), "{finding:?}");
        }
    }
}
