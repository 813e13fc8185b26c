//! `[[client]]`: names senders, their standing, and what they may send.

use std::fmt;

use toml::de::DeValue;

use super::problem::Report;
use super::table::{At, Emptiness, Table, Wanted};
use super::{listener, unique_name, value};
use crate::provider::caps::Counted;
use crate::route::{self, Client, Hidden, Priority, client::LOCAL};
use crate::smtp::AddressPattern;

pub(super) const KEYS: &[&str] = &[
    "name",
    "networks",
    "user",
    "priority",
    "senders",
    "recipients",
    "max_message_size",
    "rate",
    "share",
    "hide",
    "timeout",
    "transaction_timeout",
    "lf_end",
];

/// Reads all `[[client]]`; there may be none.
pub(super) fn read(document: &Table<'_>, report: &mut Report<'_>) -> Vec<Client> {
    let mut names = Vec::new();
    let (mut networks, mut users) = (Vec::new(), Vec::new());
    let mut clients = Vec::new();
    for table in document.tables(report, "client", KEYS, Emptiness::Allowed) {
        let name = unique_name(&table, report, &mut names);
        if let Some(taken) = name.as_deref().filter(|name| [route::OWN, LOCAL].contains(name)) {
            let wanted = "another name: this one is what the relay calls itself, or whoever comes by a Unix socket";
            report.add(table.line_of(report, "name"), "client.name", format!("{taken:?}"), wanted);
        }
        if !table.has("user") {
            let wanted = "the addresses or networks from which it connects, or the `user` that it is at a Unix socket";
            table.require(report, "networks", wanted);
        }
        let networks = its_own(&table, report, ("networks", "a network"), &mut networks, value::network);
        let users = its_own(&table, report, ("user", "a user"), &mut users, value::local_user);
        let client = read_one(&table, report);
        clients.extend(name.map(|name| Client { name: name.into(), networks, users, ..client }));
    }
    clients
}

/// All but its name, and what it is known by.
fn read_one(table: &Table<'_>, report: &mut Report<'_>) -> Client {
    let words = [Priority::High, Priority::Normal, Priority::Low].map(|priority| (priority.as_str(), priority));
    let hidden = [("STARTTLS", Hidden::StartTls), ("AUTH", Hidden::Auth), ("SIZE", Hidden::Size)];
    let size = table.read(report, "max_message_size", |v| value::size(v, "1KiB"..="1GiB"));
    Client {
        priority: table.read_or(report, "priority", Priority::Normal, |v| value::word(v, &words)),
        senders: patterns(table, report, "senders"),
        recipients: patterns(table, report, "recipients"),
        max_message_size: size.map(|at| at.value),
        rate: table.read(report, "rate", |v| value::rate(v, Counted::Messages)).map(|at| at.value),
        share: table.read(report, "share", value::percent).map(|at| at.value),
        hidden: values(table.list(report, "hide", Emptiness::Allowed, |v| value::word(v, &hidden))),
        timeout: listener::timeout(table, report),
        transaction_timeout: listener::transaction_timeout(table, report),
        lf_end: table.read_or(report, "lf_end", false, value::truth),
        ..Client::named("".into())
    }
}

/// An allow-list; an empty one would mean either everybody or nobody.
fn patterns(table: &Table<'_>, report: &mut Report<'_>, key: &str) -> Vec<AddressPattern> {
    let wanted = "an address, \"*@example.com\" or \"*\"";
    values(table.list(report, key, Emptiness::Refused, |v| value::parsed(v, wanted)))
}

fn values<T>(list: Option<Vec<At<T>>>) -> Vec<T> {
    list.into_iter().flatten().map(|at| at.value).collect()
}

/// What it is known by, each of which belongs to one client only: else the order of the file would decide.
fn its_own<T: Clone + PartialEq + fmt::Display>(
    table: &Table<'_>,
    report: &mut Report<'_>,
    (key, kind): (&str, &str),
    taken: &mut Vec<At<T>>,
    parse: impl Fn(&DeValue<'_>) -> Result<T, Wanted>,
) -> Vec<T> {
    let own = table.list(report, key, Emptiness::Refused, parse).unwrap_or_default();
    for one in &own {
        if let Some(other) = taken.iter().find(|other| other.value == one.value) {
            let found = format!("\"{}\", which line {} has too", one.value, other.line);
            report.add(one.line, &table.path(key), found, format!("{kind} in one client only"));
        }
        taken.push(one.clone());
    }
    values(Some(own))
}
