//! What accounts must agree on: those of one login count on one ledger, and of those of the route the first that is open
//! carries whatever was accepted.

use super::AccountConfig;
use super::problem::Report;
use super::table::Table;
use crate::message::sender::SenderMode;
use crate::provider::Caps;

/// Reports each account that disagrees with one before it.
pub(super) fn check(accounts: &[(&Table<'_>, AccountConfig)], report: &mut Report<'_>) {
    for (at, (table, account)) in accounts.iter().enumerate() {
        let mut before = accounts[..at].iter().map(|(_, other)| other);
        if let Some(other) = before.clone().find(|other| are_at_odds(account, other)) {
            let found = format!("other caps of {} than of {}, which has the same login", account.name, other.name);
            let wanted = "the same messages, recipients and connections: the two are counted as one";
            report.add(table.line_of(report, "caps"), "account.caps", found, wanted);
        }
        if let Some(first) = before.next().filter(|first| refuses(first) != refuses(account)) {
            let (refusing, other) = if refuses(account) { (account, first) } else { (first, account) };
            let found = format!("\"refuse\" of {} and not of {}", refusing.name, other.name);
            let wanted = "\"refuse\" of all or of none: the first account that is open carries the mail";
            report.add(table.line_of(report, "sender"), "account.sender", found, wanted);
        }
    }
}

fn refuses(account: &AccountConfig) -> bool {
    account.sender.mode == SenderMode::Refuse
}

/// Whether they share a ledger and would read it differently.
fn are_at_odds(one: &AccountConfig, other: &AccountConfig) -> bool {
    let covers = |one: &Caps, other: &Caps| one.windows.iter().all(|cap| other.windows.contains(cap));
    let alike = one.caps.connections == other.caps.connections
        && covers(&one.caps, &other.caps)
        && covers(&other.caps, &one.caps);
    one.login_key() == other.login_key() && !alike
}
