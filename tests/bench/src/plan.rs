//! How much is measured.

use std::path::PathBuf;
use std::time::Duration;

/// The sizes of everything. What they are stands in the names of the rows.
pub(crate) struct Plan {
    /// Where each relay gets a fresh folder.
    pub(crate) directory: PathBuf,
    /// About how long a rate is measured.
    pub(crate) stretch: Duration,
    /// Messages that are sent before, to wake the relay up and to learn how many a stretch takes.
    pub(crate) pilot: usize,
    /// Messages that wait.
    pub(crate) queued: usize,
    /// How long the sink is down.
    pub(crate) outage: Duration,
    /// The same, in the part that takes long.
    pub(crate) long_outage: Duration,
    /// How long the first message is waited for once the sink is back; then the relay is told to try.
    pub(crate) patience: Duration,
    /// How many messages wait, at each point of the curve.
    pub(crate) levels: Vec<usize>,
    /// Messages over which a rate is measured at each of them.
    pub(crate) sample: usize,
}

impl Plan {
    /// What the figures of the README come from.
    pub(crate) fn full() -> Self {
        Self {
            directory: PathBuf::new(),
            stretch: Duration::from_secs(3),
            pilot: 500,
            queued: 20_000,
            outage: Duration::from_secs(30),
            long_outage: Duration::from_secs(300),
            patience: Duration::from_secs(60),
            levels: vec![0, 1_000, 10_000, 20_000, 100_000, 1_000_000],
            sample: 20_000,
        }
    }

    /// What shows that everything works, and measures nothing.
    pub(crate) fn smoke() -> Self {
        Self {
            directory: PathBuf::new(),
            stretch: Duration::from_millis(50),
            pilot: 10,
            queued: 50,
            outage: Duration::from_millis(500),
            long_outage: Duration::from_secs(1),
            patience: Duration::from_secs(1),
            levels: vec![0, 20, 100],
            sample: 20,
        }
    }
}
