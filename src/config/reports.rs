//! `[reports]`: whom to tell of each message that has failed for good.

use super::problem::Report;
use super::table::{Emptiness, Table};
use super::{AccountConfig, AlarmsConfig, ReportsConfig, value};

pub(super) const KEYS: &[&str] = &["to"];

/// Reads `[reports]`, which may be missing.
pub(super) fn read(document: &Table<'_>, report: &mut Report<'_>) -> ReportsConfig {
    let wanted = "a table [reports]";
    let Some(table) = document.table(report, "reports", ("reports", KEYS), wanted) else {
        return ReportsConfig::default();
    };
    let to = table.list(report, "to", Emptiness::Allowed, value::mailbox).unwrap_or_default();
    ReportsConfig { to: to.into_iter().map(|at| at.value).collect() }
}

/// Mail of the relay's own leaves with the address of an account: reports where there is none.
pub(super) fn check_senders(
    document: &Table<'_>,
    report: &mut Report<'_>,
    accounts: &[AccountConfig],
    alarms: &AlarmsConfig,
    reports: &ReportsConfig,
) {
    if accounts.is_empty() || accounts.iter().any(|account| account.sender.from.is_some()) {
        return;
    }
    let wanted = "an account with `from`: the relay's own mail needs a sender";
    for (key, path, to) in [("alarms", "alarms.to", &alarms.to), ("reports", "reports.to", &reports.to)] {
        if !to.is_empty() {
            report.add(document.line_of(report, key), path, "no account with an address of its own", wanted);
        }
    }
}
