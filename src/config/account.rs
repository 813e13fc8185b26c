//! `[[account]]`: one login at one smarthost. First every key is read for itself, then what is there is held against the
//! preset of its provider.

use std::path::PathBuf;

use super::login::{self, LoginKeys, refuse};
use super::problem::Report;
use super::table::{At, Emptiness, Table};
use super::{
    AccountConfig, Destination, OnUncertain, SmtpEndpoint, Surroundings, agreement, headers, unique_name, value,
};
use crate::ids::AccountName;
use crate::message::sender::{SenderMode, SenderRule};
use crate::provider::presets::{Host, Keep, Preset, Smarthost, TlsMode, Way};
use crate::provider::{Caps, Provider, caps::Counted};
use crate::smtp::{Address, AddressPattern};

pub(super) const KEYS: &[&str] = &[
    "name",
    "provider",
    "host",
    "port",
    "tls",
    "ca_file",
    "username",
    "password",
    "iam_secret",
    "region",
    "expires",
    "oauth",
    "prefer",
    "mechanisms",
    "certificate",
    "key",
    "path",
    "caps",
    "connection",
    "headers",
    "sender",
    "from",
    "allowed",
    "on_uncertain",
];
pub(super) const CAPS_KEYS: &[&str] =
    &["messages", "recipients", "connections", "recipients_per_message", "message_size"];
pub(super) const CONNECTION_KEYS: &[&str] = &["messages", "age", "idle"];

/// Reads all `[[account]]`. `ehlo` is the name that they give to smarthosts.
pub(super) fn read(
    document: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    ehlo: &str,
) -> Vec<AccountConfig> {
    let mut names = Vec::new();
    if !document.has("account") {
        report.add(1, "account", "nothing", "at least one [[account]], which `mailsluice setup` adds");
    }
    let tables = document.tables(report, "account", KEYS, Emptiness::Allowed);
    let accounts: Vec<_> = tables
        .iter()
        .filter_map(|table| read_one(table, report, around, ehlo, &mut names).map(|account| (table, account)))
        .collect();
    agreement::check(&accounts, report);
    accounts.into_iter().map(|(_, account)| account).collect()
}

/// What an account's keys say, each for itself; none where a key is absent or badly written.
#[derive(Debug)]
struct Keys {
    name: Option<AccountName>,
    host: Option<At<String>>,
    port: Option<u16>,
    tls: Option<At<TlsMode>>,
    ca_file: Option<PathBuf>,
    login: LoginKeys,
    path: Option<PathBuf>,
    sender: Option<At<SenderMode>>,
    from: Option<Address>,
    allowed: Option<Vec<AddressPattern>>,
    on_uncertain: OnUncertain,
}

fn read_one(
    table: &Table<'_>,
    report: &mut Report<'_>,
    around: &Surroundings,
    ehlo: &str,
    names: &mut Vec<At<String>>,
) -> Option<AccountConfig> {
    table.require(report, "provider", "the kind of account, such as \"microsoft365\" or \"smtp\"");
    let provider = table.read(report, "provider", |v| value::word(v, &Provider::WORDS));
    let keys = read_keys(table, report, around, names);
    let Some(At { value: provider, .. }) = provider else {
        // Nothing says what else is wanted; what is there is judged all the same.
        read_caps(table, report, Provider::Smtp.preset().caps);
        return None;
    };
    let preset = provider.preset();
    let destination = match preset.way {
        Way::Smarthost(preset) => smarthost(table, report, &keys, (provider, preset), ehlo),
        Way::Directory => directory(table, report, &keys),
    };
    let sender = sender_rule(table, report, &keys, &preset);
    let fields = headers::read(table, report, &preset);
    let caps = read_caps(table, report, preset.caps);
    Some(AccountConfig {
        name: keys.name?,
        provider,
        destination: destination?,
        caps,
        sender,
        fields,
        on_uncertain: keys.on_uncertain,
    })
}

fn read_keys(table: &Table<'_>, report: &mut Report<'_>, around: &Surroundings, names: &mut Vec<At<String>>) -> Keys {
    let host = "a host name or an IP address; the port has its own key";
    let pattern = "an address, \"*@example.com\" or \"*\"";
    let port = table.read(report, "port", |v| {
        let number = value::number(v, 1..=65_535).ok().and_then(|port| u16::try_from(port).ok());
        number.ok_or_else(|| "a port number from 1 to 65535".into())
    });
    let ca_file = table.read(report, "ca_file", |v| value::path(v, &around.folder));
    if let Some(At { line, value: path }) = &ca_file {
        value::check_certificates(report, *line, "account.ca_file", path);
    }
    Keys {
        name: unique_name(table, report, names).map(AccountName::from),
        host: table.read(report, "host", |v| value::host(v, host)),
        port: port.map(|at| at.value),
        tls: table.read(report, "tls", |v| value::word(v, &TLS)),
        ca_file: ca_file.map(|at| at.value),
        login: login::read(table, report, around),
        path: table.read(report, "path", |v| value::path(v, &around.folder)).map(|at| at.value),
        sender: table.read(report, "sender", |v| value::word(v, &SENDER)),
        from: table.read(report, "from", |v| value::parsed(v, "an address, user@example.com")).map(|at| at.value),
        allowed: table
            .list(report, "allowed", Emptiness::Allowed, |v| value::parsed(v, pattern))
            .map(|list| list.into_iter().map(|at| at.value).collect()),
        on_uncertain: table.read_or(report, "on_uncertain", OnUncertain::Resend, |v| value::word(v, &ON_UNCERTAIN)),
    }
}

fn smarthost(
    table: &Table<'_>,
    report: &mut Report<'_>,
    keys: &Keys,
    (provider, preset): (Provider, Smarthost),
    ehlo: &str,
) -> Option<Destination> {
    refuse(table, report, &["path"], "no such key here: it belongs to provider = \"directory\"");
    let usual = match preset.host {
        Host::Fixed(host) => Some(host.to_owned()),
        Host::OfRegion(before, behind) => keys.login.region.as_ref().map(|region| format!("{before}{region}{behind}")),
        Host::Named => None,
    };
    if !table.has("host") && usual.is_none() {
        match preset.host {
            Host::OfRegion(..) => table.require(report, "region", login::REGION),
            _ => table.require(report, "host", "the name of the smarthost"),
        }
    }
    // A host that was badly written is not the preset's.
    let host = if table.has("host") { keys.host.as_ref().map(|at| at.value.clone()) } else { usual };
    login::check(table, report, provider, preset.login);
    let tls = keys.tls.as_ref().map_or(preset.tls, |at| at.value);
    if let (Some(at), Some(host)) = (&keys.tls, &host)
        && at.value == TlsMode::None
        && ["username", "password", "iam_secret", "oauth"].iter().any(|key| table.has(key))
        && !is_loopback(host)
    {
        let wanted =
            format!("\"starttls\" or \"implicit\": a password goes without TLS to loopback only, not to {host}");
        report.add(at.line, &table.path("tls"), "\"none\" beside a password", wanted);
    }
    Some(Destination::Smtp(SmtpEndpoint {
        host: host?,
        port: keys.port.unwrap_or(preset.port(tls)),
        tls,
        ca_file: keys.ca_file.clone(),
        certificate: keys.login.certificate.clone(),
        login: keys.login.login(&preset),
        ehlo: ehlo.into(),
        keep: read_keep(table, report, preset.keep),
    }))
}

fn directory(table: &Table<'_>, report: &mut Report<'_>, keys: &Keys) -> Option<Destination> {
    let wanted = "no such key here: provider = \"directory\" writes files and calls no smarthost";
    refuse(table, report, &OF_SMARTHOSTS, wanted);
    table.require(report, "path", "the directory for the .eml files");
    keys.path.clone().map(Destination::Directory)
}

/// `from` is the username where nothing says otherwise and the username is an address.
fn sender_rule(table: &Table<'_>, report: &mut Report<'_>, keys: &Keys, preset: &Preset) -> SenderRule {
    let mode = keys.sender.as_ref().map_or(preset.sender, |at| at.value);
    let username = keys.login.username.as_ref().and_then(|name| name.value.parse::<Address>().ok());
    let from = keys.from.clone().or_else(|| username.filter(|_| !table.has("from")));
    if from.is_none() && !table.has("from") {
        let line = table.line_of(report, "sender");
        match mode {
            // Without a username, a provider that needs one is told so, and that may settle this too.
            SenderMode::Rewrite
                if table.has("username") || matches!(preset.way, Way::Directory) || table.has("sender") =>
            {
                let wanted = "the address that senders become, because sender is \"rewrite\" and no username is one";
                report.add(line, &table.path("from"), "nothing", wanted);
            }
            SenderMode::Refuse if keys.allowed.as_ref().is_none_or(Vec::is_empty) => {
                let wanted = "it or `allowed`, because sender is \"refuse\" and would refuse every message";
                report.add(line, &table.path("from"), "nothing", wanted);
            }
            _ => {}
        }
    }
    let mut allowed = keys.allowed.clone().unwrap_or_default();
    allowed.extend(from.clone().map(AddressPattern::Exact).filter(|own| !allowed.contains(own)));
    SenderRule { mode, from, allowed }
}

/// The caps of the preset, but for those that the table names.
fn read_caps(table: &Table<'_>, report: &mut Report<'_>, mut caps: Caps) -> Caps {
    let wanted = "a table such as { messages = \"30/min\", connections = 3 }";
    let Some(table) = table.table(report, "caps", ("account.caps", CAPS_KEYS), wanted) else { return caps };
    let mut windows = Vec::new();
    for (key, counted) in [("messages", Counted::Messages), ("recipients", Counted::Recipients)] {
        match table.list(report, key, Emptiness::Allowed, |v| value::rate(v, counted)) {
            Some(list) => windows.extend(list.into_iter().map(|at| at.value)),
            None => windows.extend(caps.windows.iter().filter(|cap| cap.counted == counted)),
        }
    }
    caps.windows = windows;
    caps.connections = table.read_or(report, "connections", caps.connections, |v| value::number(v, 1..=1000));
    caps.recipients_per_message =
        table.read_or(report, "recipients_per_message", caps.recipients_per_message, |v| value::number(v, 1..=100_000));
    caps.message_size = table.read_or(report, "message_size", caps.message_size, |v| value::size(v, "128KiB"..="1GiB"));
    caps
}

/// How long connections are kept: as the preset has it, but for what the table names.
fn read_keep(table: &Table<'_>, report: &mut Report<'_>, keep: Keep) -> Keep {
    let wanted = "a table such as { messages = 100, age = \"5min\" }";
    let Some(table) = table.table(report, "connection", ("account.connection", CONNECTION_KEYS), wanted) else {
        return keep;
    };
    Keep {
        messages: table.read_or(report, "messages", keep.messages, |v| value::number(v, 1..=1_000_000)),
        age: table.read_or(report, "age", keep.age, |v| value::duration(v, "1s"..="24h")),
        idle: table.read_or(report, "idle", keep.idle, |v| value::duration(v, "0s"..="1h")),
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// What belongs to a smarthost alone.
const OF_SMARTHOSTS: [&str; 15] = [
    "host",
    "port",
    "tls",
    "ca_file",
    "username",
    "password",
    "iam_secret",
    "region",
    "expires",
    "oauth",
    "prefer",
    "mechanisms",
    "certificate",
    "key",
    "connection",
];
const TLS: [(&str, TlsMode); 3] =
    [("starttls", TlsMode::StartTls), ("implicit", TlsMode::Implicit), ("none", TlsMode::None)];
const SENDER: [(&str, SenderMode); 3] =
    [("rewrite", SenderMode::Rewrite), ("keep", SenderMode::Keep), ("refuse", SenderMode::Refuse)];
const ON_UNCERTAIN: [(&str, OnUncertain); 2] = [("resend", OnUncertain::Resend), ("hold", OnUncertain::Hold)];
