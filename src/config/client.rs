//! `[[client]]`: names senders and their standing.

use ipnet::IpNet;

use super::problem::Report;
use super::table::{At, Emptiness, Table};
use super::{unique_name, value};
use crate::route::{self, Client, Priority};

pub(super) const KEYS: &[&str] = &["name", "networks", "priority"];

/// Reads all `[[client]]`; there may be none.
pub(super) fn read(document: &Table<'_>, report: &mut Report<'_>) -> Vec<Client> {
    let mut names = Vec::new();
    let mut networks = Vec::new();
    let mut clients = Vec::new();
    for table in document.tables(report, "client", KEYS, Emptiness::Allowed) {
        let name = unique_name(&table, report, &mut names);
        if name.as_deref() == Some(route::OWN) {
            let wanted = "another name: under this one the relay itself sends";
            report.add(table.line_of(report, "name"), "client.name", format!("{:?}", route::OWN), wanted);
        }
        let own = own_networks(&table, report, &mut networks);
        let words = [Priority::High, Priority::Normal, Priority::Low].map(|priority| (priority.as_str(), priority));
        let priority = table.read_or(report, "priority", Priority::Normal, |v| value::word(v, &words));
        clients.extend(name.map(|name| Client { name: name.into(), networks: own, priority }));
    }
    clients
}

/// Its networks, each of which belongs to one client only: else the order of the file would decide.
fn own_networks(table: &Table<'_>, report: &mut Report<'_>, taken: &mut Vec<At<IpNet>>) -> Vec<IpNet> {
    table.require(report, "networks", "the addresses or networks from which it connects");
    let networks = table.list(report, "networks", Emptiness::Refused, value::network).unwrap_or_default();
    for network in &networks {
        if let Some(other) = taken.iter().find(|other| other.value == network.value) {
            let found = format!("\"{}\", which line {} has too", network.value, other.line);
            report.add(network.line, &table.path("networks"), found, "a network in one client only");
        }
        taken.push(network.clone());
    }
    networks.into_iter().map(|at| at.value).collect()
}
