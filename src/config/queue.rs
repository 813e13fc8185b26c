//! `[queue]`: where mail waits, and how much of it.

use std::path::PathBuf;
use std::time::Duration;

use super::problem::Report;
use super::table::Table;
use super::{QueueConfig, Surroundings, value};

pub(super) const KEYS: &[&str] = &["path", "max_bytes", "min_free", "max_age", "ephemeral"];

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            path: PathBuf::from("/var/lib/mailsluice/queue.db"),
            max_bytes: 2 << 30,
            min_free: 256 << 20,
            max_age: Duration::from_secs(5 * 86_400),
            ephemeral: false,
        }
    }
}

/// Reads `[queue]`, which may be missing.
pub(super) fn read(document: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> QueueConfig {
    let default = QueueConfig::default();
    let Some(table) = document.table(report, "queue", ("queue", KEYS), "a table [queue]") else { return default };
    QueueConfig {
        path: table.read_or(report, "path", default.path, |v| value::path(v, &around.folder)),
        max_bytes: table.read_or(report, "max_bytes", default.max_bytes, |v| value::size(v, "1MiB"..="1024TiB")),
        min_free: table.read_or(report, "min_free", default.min_free, |v| value::size(v, "0B"..="1024TiB")),
        max_age: table.read_or(report, "max_age", default.max_age, |v| value::duration(v, "1s"..="365d")),
        ephemeral: table.read_or(report, "ephemeral", default.ephemeral, value::truth),
    }
}
