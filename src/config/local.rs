//! `[aliases]` and `[local]`: whose the mail for users of this machine is, and which domains are this machine's. Holds the rule
//! that no mail is refused here that somebody elsewhere could get.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml::de::DeValue;

use super::aliases_file::{self, AliasesFile, Entry, MAX_ALIASES};
use super::problem::Report;
use super::table::{At, Emptiness, Table, Wanted};
use super::{AccountConfig, AlarmsConfig, Destination, ListenerConfig, ReportsConfig, Surroundings, value};
use crate::route::aliases::{self, ANY, Target, Trouble, Written, expand};
use crate::route::{Client, LocalMail};
use crate::smtp::{Address, AddressPattern};

pub(super) const KEYS: &[&str] = &["aliases_file", "domains"];

/// What else the configuration says of addresses.
pub(super) struct Others<'a> {
    pub(super) listeners: &'a [ListenerConfig],
    pub(super) clients: &'a [Client],
    pub(super) accounts: &'a [AccountConfig],
    pub(super) alarms: &'a AlarmsConfig,
    pub(super) reports: &'a ReportsConfig,
}

/// What both tables come to.
pub(super) struct Local {
    pub(super) mail: LocalMail,
    /// What is odd about the file of aliases.
    pub(super) remarks: Vec<String>,
    /// The file of aliases, where it is not there.
    pub(super) missing: Option<PathBuf>,
}

/// Reads both tables, and the file of aliases that they name.
pub(super) fn read(document: &Table<'_>, report: &mut Report<'_>, around: &Surroundings, others: &Others<'_>) -> Local {
    let mut remarks = Vec::new();
    let own = own_aliases(document, report);
    let table = document.table(report, "local", ("local", KEYS), "a table [local]");
    let path = table.as_ref().and_then(|table| table.read(report, "aliases_file", |v| value::path(v, &around.folder)));
    let (file, missing) = match path.as_ref().map(|at| (at, read_file(at, report, &mut remarks))) {
        Some((at, None)) => (Some(AliasesFile::default()), Some(at.value.clone())),
        Some((_, file)) => (file, None),
        None => (None, None),
    };
    let listed = table.as_ref().and_then(|table| table.list(report, "domains", Emptiness::Allowed, value::own_name));
    let listed: Option<Vec<String>> = listed.map(|domains| domains.into_iter().map(|at| at.value).collect());

    let targets = own.iter().flat_map(|entry| &entry.targets).chain(file.iter().flat_map(AliasesFile::targets));
    let named = mail_domains(others, targets);
    let domains = listed.unwrap_or_else(|| usual_domains(around, others.listeners, &named));
    let merged = Merged { own: &own, file: file.as_ref(), path: path.as_ref().map(|at| at.value.as_path()) };
    let mail = LocalMail::new(merged.expanded(&domains, report, &mut remarks), domains);
    Local { mail, remarks, missing }
}

/// How an alias may be called, as it is looked up: the part of an address before the @, or `*`. No name otherwise; what begins
/// as programs and files do in aliases(5) is meant as one.
pub(super) fn alias_name(text: &str) -> Option<String> {
    let is_local_part = || text.parse::<Address>().is_err() && format!("{text}@x").parse::<Address>().is_ok();
    let fits = text == ANY || !text.starts_with(['|', '/']) && is_local_part();
    fits.then(|| aliases::key(text))
}

/// The entries of `[aliases]`, each once.
fn own_aliases(document: &Table<'_>, report: &mut Report<'_>) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let written = document.entries(report, "aliases", "a table [aliases]", target);
    if let Some((name, _)) = written.get(MAX_ALIASES) {
        report.add(name.line, "aliases", format!("{} aliases", written.len()), format!("{MAX_ALIASES} at most"));
        return entries;
    }
    for (name, targets) in written {
        let path = format!("aliases.{}", name.value);
        let Some(key) = alias_name(&name.value) else {
            report.add(
                name.line,
                "aliases",
                format!("{:?}", name.value),
                "the part of an address before the @, or \"*\"",
            );
            continue;
        };
        if let Some(other) = entries.iter().find(|entry| entry.name == key) {
            let found = format!("the name that line {} has too", other.line);
            report.add(name.line, &path, found, "each name once, in whichever case");
            continue;
        }
        let targets = targets.into_iter().map(|at| at.value).collect();
        entries.push(Entry { line: name.line, name: key, targets });
    }
    entries
}

fn target(value: &DeValue<'_>) -> Result<Target, Wanted> {
    let text = value.as_str().unwrap_or_default();
    match text.parse() {
        Ok(address) => Ok(Target::Address(address)),
        Err(_) => alias_name(text).filter(|name| name != ANY).map(Target::Alias).ok_or_else(|| {
            "an address such as \"ops@example.com\", the name of another alias, or a list of them".to_owned()
        }),
    }
}

/// None where it is not there.
fn read_file(at: &At<PathBuf>, report: &mut Report<'_>, remarks: &mut Vec<String>) -> Option<AliasesFile> {
    let path = at.value.display();
    match aliases_file::read(&at.value) {
        Ok(Some(text)) => {
            let file = aliases_file::parse(&text);
            let more = file.wrong.len().saturating_sub(SHOWN_LINES);
            remarks.extend(file.wrong.iter().take(SHOWN_LINES).map(|(line, why)| format!("{path}:{line}: {why}")));
            if more > 0 {
                remarks.push(format!("{path}: {more} more lines that count for nothing"));
            }
            Some(file)
        }
        Ok(None) => {
            remarks.push(format!("{path}, the `aliases_file`, is not there: only [aliases] counts"));
            None
        }
        Err(found) => {
            report.add(at.line, "local.aliases_file", found, "a file of aliases, such as \"/etc/aliases\"");
            Some(AliasesFile::default())
        }
    }
}

impl AliasesFile {
    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.entries.iter().flat_map(|entry| &entry.targets)
    }
}

/// Both sources of aliases.
struct Merged<'a> {
    own: &'a [Entry],
    file: Option<&'a AliasesFile>,
    path: Option<&'a Path>,
}

impl Merged<'_> {
    /// Follows all aliases, of which `[aliases]` counts before the file. What is wrong in `[aliases]` alone is reported; where
    /// the file has a part in it, it is a remark: others write that file, and the relay must start with whatever they write.
    fn expanded(&self, domains: &[String], report: &mut Report<'_>, remarks: &mut Vec<String>) -> aliases::Expanded {
        let own: Written = self.own.iter().map(|entry| (entry.name.clone(), within(&entry.targets, domains))).collect();
        let (_, troubles) = expand(&own);
        let is_own = |trouble: &Trouble| self.file.is_none() || !matches!(trouble, Trouble::Missing(_));
        let reported: Vec<(String, Trouble)> = troubles.into_iter().filter(|(_, trouble)| is_own(trouble)).collect();
        for (name, trouble) in &reported {
            let line = self.own.iter().find(|entry| entry.name == *name).map_or(1, |entry| entry.line);
            let wanted = "addresses, or aliases that lead to some";
            report.add(line, &format!("aliases.{name}"), trouble.to_string(), wanted);
        }
        let mut all = own;
        let mut lines = BTreeMap::new();
        for entry in self.file.iter().flat_map(|file| &file.entries).filter(|entry| !entry.targets.is_empty()) {
            if !all.contains_key(&entry.name) {
                lines.insert(entry.name.clone(), entry.line);
                all.insert(entry.name.clone(), within(&entry.targets, domains));
            }
        }
        let (expanded, troubles) = expand(&all);
        let path = self.path.map(|path| path.display().to_string()).unwrap_or_default();
        for (name, trouble) in troubles.into_iter().filter(|trouble| !reported.contains(trouble)) {
            let place = lines.get(&name).map_or_else(|| "[aliases]".to_owned(), |line| format!("{path}:{line}"));
            let fate = if expanded.contains_key(&name) { "the rest counts" } else { "so it has no address" };
            remarks.push(format!("{place}: {name} leads to {trouble}; {fate}"));
        }
        expanded
    }
}

/// Targets, of which those in domains of this machine are aliases too.
fn within(targets: &[Target], domains: &[String]) -> Vec<Target> {
    let is_local = |address: &Address| domains.iter().any(|domain| domain.eq_ignore_ascii_case(address.domain()));
    let one = |target: &Target| match target {
        Target::Address(address) if is_local(address) => Target::Alias(aliases::key(address.local_part())),
        other => other.clone(),
    };
    targets.iter().map(one).collect()
}

/// The domains in which the configuration has an address, and so in which people may have mailboxes: what accounts send as,
/// whom alarms and reports go to, to whom clients may send, what aliases stand for, what completes addresses.
fn mail_domains<'a>(others: &Others<'_>, targets: impl Iterator<Item = &'a Target>) -> BTreeSet<String> {
    let mut domains = BTreeSet::new();
    let mut add = |domain: &str| {
        domains.insert(domain.to_ascii_lowercase());
    };
    for account in others.accounts {
        account.sender.from.iter().for_each(|from| add(from.domain()));
        account.sender.allowed.iter().filter_map(domain_of).for_each(&mut add);
        if let Destination::Smtp(endpoint) = &account.destination {
            let username = endpoint.login.as_ref().and_then(|login| login.username.parse::<Address>().ok());
            username.iter().for_each(|address| add(address.domain()));
        }
    }
    others.alarms.to.iter().chain(&others.reports.to).for_each(|address| add(address.domain()));
    others.clients.iter().flat_map(|client| &client.recipients).filter_map(domain_of).for_each(&mut add);
    others.listeners.iter().filter_map(|listener| listener.default_domain.as_deref()).for_each(&mut add);
    for target in targets {
        if let Target::Address(address) = target {
            add(address.domain());
        }
    }
    domains
}

fn domain_of(pattern: &AddressPattern) -> Option<&str> {
    match pattern {
        AddressPattern::Any => None,
        AddressPattern::Domain(domain) => Some(domain),
        AddressPattern::Exact(address) => Some(address.domain()),
    }
}

/// The domains that are this machine's where nobody says otherwise: those by which it calls itself, and its own name and those
/// of its listeners, except where people may have mailboxes. A host is called as a mail domain is often enough: example.com,
/// whose people read their mail elsewhere.
fn usual_domains(around: &Surroundings, listeners: &[ListenerConfig], named: &BTreeSet<String>) -> Vec<String> {
    let names = listeners.iter().map(|listener| &listener.hostname).chain([&around.hostname]);
    let mut domains: Vec<String> = ITSELF.map(str::to_owned).to_vec();
    for name in names.map(|name| name.to_ascii_lowercase()) {
        let holds = |domain: &String| *domain == name || domain.ends_with(&format!(".{name}"));
        if !domains.contains(&name) && is_a_machines(&name) && !named.iter().any(holds) {
            domains.push(name);
        }
    }
    domains
}

/// Whether a name is surely not one under which people have registered a domain: of one label, below a name that is not in
/// the public DNS, or with more labels than such a domain has (example.com, example.co.uk).
fn is_a_machines(name: &str) -> bool {
    let labels: Vec<&str> = name.split('.').collect();
    match labels[..] {
        [] | [_] => true,
        [.., last] if NOT_PUBLIC.contains(&last) => true,
        [_, _] => false,
        [_, second, top] => top.len() > 2 || second.len() > 3,
        _ => true,
    }
}

/// By what a machine calls itself (RFC 6761 §6.3; the second is of old).
const ITSELF: [&str; 2] = ["localhost", "localhost.localdomain"];
/// RFC 6761, RFC 6762 §3 and appendix G, RFC 8375 (home.arpa), and ICANN's "internal" of 2024.
const NOT_PUBLIC: [&str; 13] = [
    "localhost",
    "localdomain",
    "local",
    "lan",
    "home",
    "corp",
    "internal",
    "intranet",
    "private",
    "arpa",
    "test",
    "example",
    "invalid",
];
/// Lines of the file that are told.
const SHOWN_LINES: usize = 10;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::Config;
    use crate::route::local::{Form, Resolved};

    /// A configuration with this in it, on a machine of this name.
    fn on(machine: &str, more: &str) -> Config {
        let account = "[[account]]\nname = \"a\"\nprovider = \"smtp\"\nhost = \"h\"\n";
        let listener = "[[listener]]\naddress = \"127.0.0.1:25\"\n";
        let more = more.replace("ACCOUNT\n", account).replace("LISTENER\n", listener);
        let add = |table: &str, text: &str| if more.contains(table) { String::new() } else { text.to_owned() };
        let text = format!("{more}\n{}{}", add("[[listener]]", listener), add("[[account]]", account));
        let around = Surroundings {
            folder: PathBuf::from("/nowhere"),
            hostname: machine.into(),
            variable: |_| None,
            reads_secrets: false,
        };
        Config::parse(&text, "test", &around).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
    }

    fn is_local(machine: &str, more: &str, recipient: &str) -> bool {
        let config = on(machine, more);
        config.local.resolve(&recipient.parse().unwrap(), Form::Whole) == Resolved::Nobodys
    }

    #[test]
    fn a_machine_calls_itself_by_its_names() {
        for machine in
            ["web01", "web01.example.com", "vps-17.provider.example.net", "printer.lan", "nas.home.arpa", "web01.local"]
        {
            assert!(is_local(machine, "", &format!("root@{}", machine.to_uppercase())), "{machine}");
            assert!(!is_local(machine, "", &format!("root@sub.{machine}")), "{machine}");
            assert!(is_local(machine, "", "root@LOCALHOST") && is_local(machine, "", "x@localhost.localdomain"));
        }
        let names =
            "LISTENER\nhostname = \"relay\"\n[[listener]]\naddress = \"127.0.0.1:26\"\nhostname = \"inner.lan\"\n";
        for domain in ["web01", "relay", "inner.lan"] {
            assert!(is_local("web01", names, &format!("root@{domain}")), "{domain}");
        }
    }

    /// What goes out today to somebody's mailbox goes out, although the machine has that name.
    #[test]
    fn where_people_may_have_mailboxes_no_mail_is_refused() {
        // A name as short as registered domains are.
        for machine in ["example.com", "example.co.uk", "example.com.au"] {
            assert!(!is_local(machine, "", &format!("jane@{machine}")), "{machine}");
        }
        // A domain that an address of the configuration is in, or below.
        let hve = "provider = \"microsoft365\"\npassword = { file = \"p\" }\n";
        for more in [
            format!("[[account]]\nname = \"a\"\n{hve}username = \"shop@DEPT.example.com\"\n"),
            "ACCOUNT\nfrom = \"shop@mail.dept.example.com\"\n".into(),
            "ACCOUNT\nallowed = \"*@dept.example.com\"\n".into(),
            "ACCOUNT\nallowed = [\"x@dept.example.com\"]\n".into(),
            "[alarms]\nto = \"ops@dept.example.com\"\nACCOUNT\nfrom = \"a@example.net\"\n".into(),
            "[reports]\nto = \"ops@dept.example.com\"\nACCOUNT\nfrom = \"a@example.net\"\n".into(),
            "[aliases]\nroot = \"ops@dept.example.com\"\n".into(),
            "[[client]]\nname = \"c\"\nuser = 0\nrecipients = \"*@dept.example.com\"\n".into(),
            "LISTENER\ndefault_domain = \"dept.example.com\"\n".into(),
            "LISTENER\nhostname = \"web01\"\ndefault_domain = \"dept.example.com\"\n".into(),
            "[local]\ndomains = []\n".into(),
        ] {
            assert!(!is_local("dept.example.com", &more, "jane@dept.example.com"), "{more}");
        }
        let elsewhere = "ACCOUNT\nfrom = \"shop@example.com\"\n";
        assert!(is_local("dept.example.com", elsewhere, "jane@dept.example.com"), "nothing is said of it");
        assert!(is_local("example.com", "[local]\ndomains = \"example.com\"\n", "jane@example.com"), "it is said");
    }

    #[test]
    fn there_is_an_end_to_how_many_aliases_there_are() {
        let aliases: String = (0..=MAX_ALIASES).map(|at| format!("a{at} = \"x@example.com\"\n")).collect();
        let around = Surroundings::of(std::path::Path::new("test"));
        let told = Config::parse(&format!("[aliases]\n{aliases}"), "test", &around).unwrap_err().to_string();
        let wanted = format!("test:{}: aliases: found 10001 aliases, wanted 10000 at most", MAX_ALIASES + 2);
        assert!(told.contains(&wanted), "{told}");
    }

    /// A bare name is what it would be with its domain.
    #[test]
    fn bare_names_go_where_they_went_unless_that_is_this_machine() {
        let bare = |machine: &str, more: &str| {
            let config = on(machine, more);
            let listener = &config.listeners[0];
            let domain = listener.default_domain.as_ref().unwrap_or(&listener.hostname);
            config.local.resolve(&format!("jane@{domain}").parse().unwrap(), Form::Bare) == Resolved::Nobodys
        };
        assert!(bare("web01", "") && bare("web01.example.com", ""));
        assert!(!bare("web01", "LISTENER\ndefault_domain = \"example.com\"\n"));
        assert!(
            !bare("web01.example.com", "LISTENER\ndefault_domain = \"web01.example.com\"\n"),
            "somebody has set it"
        );
        assert!(!bare("example.com", "ACCOUNT\nfrom = \"webmaster@example.com\"\n"));
    }

    #[test]
    fn what_is_odd_about_the_file_is_told_and_keeps_nothing_from_running() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
        let around = Surroundings { folder, hostname: "web01".into(), variable: |_| None, reads_secrets: false };
        let text = std::fs::read_to_string(around.folder.join("good/local.toml")).unwrap();
        let config = Config::parse(&text, "local.toml", &around).unwrap();
        let file = around.folder.join("aliases").display().to_string();
        let wanted = [
            format!("{file}:5: nagios: \"|/usr/local/bin/page\" is a program, which gets no mail from here"),
            format!("{file}:7: backup: \"/var/mail/backup\" is a file, which gets no mail from here"),
            "[aliases]: gone leads to nobody-there, which no alias has; so it has no address".into(),
            format!("{file}:8: loop leads to a circle: the alias leads back to itself; so it has no address"),
            format!("{file}:9: pool leads to a circle: the alias leads back to itself; so it has no address"),
            format!("{file}:10: stray leads to nobody-there, which no alias has; the rest counts"),
        ];
        assert_eq!(config.remarks, wanted);
        let of = |name: &str| {
            let addresses = config.local.addresses(name).unwrap_or_default();
            addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(" ")
        };
        for (name, addresses) in [
            ("root", "ops@example.com"),
            ("postmaster", "ops@example.com"),
            ("mailer-daemon", "ops@example.com"),
            ("www-data", "webmaster@example.com ops@example.com"),
            ("foo.bar", "monitoring@example.net"),
            ("stray", "stray@example.net"),
            ("backup", ""),
            ("loop", ""),
            ("gone", ""),
        ] {
            assert_eq!(of(name), addresses, "{name}");
        }
        let text = text.replace("\"aliases\"", "\"not-there\"");
        let config = Config::parse(&text, "local.toml", &around).unwrap();
        assert!(config.remarks[0].ends_with("/not-there, the `aliases_file`, is not there: only [aliases] counts"));
        assert_eq!(config.local.addresses("root").map(<[Address]>::len), Some(1));
    }
}
