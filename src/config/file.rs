//! Reads the file, or the variables where there is none, and puts the tables together.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use super::environment::{self, ENVIRONMENT, Written};
use super::local::Others;
use super::problem::{ConfigErrors, Problem, Report};
use super::table::{self, Table};
use super::{AccountConfig, Config, QueueConfig, account, alarms, client, listener, local, queue, reports, value};

/// What a configuration means beside its text.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where its relative paths start.
    pub folder: PathBuf,
    /// The machine's name, for listeners that have no `hostname`.
    pub hostname: String,
    /// The environment, for secrets.
    pub variable: fn(&str) -> Option<OsString>,
    /// Whether secrets are read, to see that they are there.
    pub reads_secrets: bool,
}

impl Surroundings {
    /// Those of this process, for the configuration at `path`: its relative paths start at its own folder.
    pub fn of(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let nodename = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            hostname: if value::is_own_name(&nodename) { nodename } else { "localhost".into() },
            variable: |name| std::env::var_os(name),
            reads_secrets: true,
        }
    }
}

/// Where the settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// From this file, be it there or not.
    File(PathBuf),
    /// From variables: there is no file, and some are set.
    Environment,
}

impl Provenance {
    /// Where those come from for which the file at `path` was asked.
    pub fn of(path: &Path) -> Self {
        if path.exists() || environment::variables().is_empty() { Self::File(path.into()) } else { Self::Environment }
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Environment => f.write_str(ENVIRONMENT),
        }
    }
}

impl Config {
    /// Reads the configuration at `path`, or where there is none the variables, and the secrets and certificates it names, to see that they are there.
    /// Blocking.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line; only a syntax error hides the rest.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_in(path, &Surroundings::of(path))
    }

    /// [`Config::load`], but secrets may be out of reach: for whoever logs in nowhere. Those that a service manager hands
    /// to the daemon are there for the daemon alone.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_without_secrets(path: &Path) -> Result<Self, ConfigErrors> {
        Self::load_in(path, &Surroundings { reads_secrets: false, ..Surroundings::of(path) })
    }

    fn load_in(path: &Path, around: &Surroundings) -> Result<Self, ConfigErrors> {
        match Found::find(path)? {
            Found::File(text) => Self::parse(&text, &path.display().to_string(), around),
            Found::Environment(written) => written.read(&Surroundings { folder: starting_folder(), ..around.clone() }),
        }
    }

    /// Reads `text` as the configuration in `file`, a name for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, file: &str, around: &Surroundings) -> Result<Self, ConfigErrors> {
        let mut report = Report::on(text);
        let parsed = DeTable::parse_recoverable(text);
        let config = table::document(&parsed, KEYS, &mut report).map(|document| read(&document, &mut report, around));
        match config {
            Some(config) if report.is_empty() => Ok(config),
            _ => Err(report.into_errors(file)),
        }
    }
}

/// A configuration's text, and where it comes from.
enum Found {
    File(String),
    Environment(Written),
}

impl Found {
    /// What there is: the file at `path` or, only where there is none, the variables. Both are an error: one of them would
    /// be without effect, and nobody would know.
    fn find(path: &Path) -> Result<Self, ConfigErrors> {
        let file = path.display().to_string();
        let bytes = match read_limited(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let instead = (error.kind() == io::ErrorKind::NotFound).then(|| Written::from(std::env::vars_os()));
                return instead.flatten().map(Self::Environment).ok_or_else(|| unread(&file, &error));
            }
        };
        let text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
            whole(&file, format!("bytes on line {line} that are not UTF-8"), "a file in UTF-8")
        })?;
        let hidden = environment::beside(&text, std::env::vars_os());
        if hidden.is_empty() {
            return Ok(Self::File(text));
        }
        let found = format!("a configuration, and {} in the environment", hidden.join(", "));
        Err(whole(&file, found, "one of the two: unset the variables, or do without the file"))
    }
}

/// Where relative paths in variables start.
fn starting_folder() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| "/".into())
}

/// Where the queue of the configuration at `path` is, whatever else may be wrong with the file.
///
/// # Errors
/// Where it cannot be read, or `queue.path` cannot be told from it.
pub fn queue_path(path: &Path) -> Result<PathBuf, ConfigErrors> {
    let Parsed { name, folder, document } = Parsed::find(path)?;
    let Some(queue) = document.get("queue") else { return Ok(QueueConfig::default().path) };
    match queue.get("path") {
        None if queue.is_table() => Ok(QueueConfig::default().path),
        Some(toml::Value::String(given)) if !given.is_empty() => Ok(folder.join(given)),
        _ => Err(whole(&name, "something else under queue.path", "a path: the queue is sought there")),
    }
}

/// Whether the configuration at `path`, or of the variables where there is none, has an account at all. What cannot be read
/// or is wrong may have one: who reads all of it says better what is the matter.
pub fn names_an_account(path: &Path) -> bool {
    if Provenance::of(path) == Provenance::Environment {
        return true;
    }
    match std::fs::read_to_string(path) {
        Ok(text) => text.parse::<toml::Table>().map_or(true, |parsed| parsed.contains_key("account")),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

/// The files of users that the configuration at `path` names, whatever else may be wrong with it.
///
/// # Errors
/// Where it cannot be read.
pub fn users_files(path: &Path) -> Result<Vec<PathBuf>, ConfigErrors> {
    let Parsed { folder, document, .. } = Parsed::find(path)?;
    let listeners = document.get("listener").and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = listeners.iter().filter_map(|listener| listener.get("users")?.as_str());
    Ok(named.map(|given| folder.join(given)).collect())
}

/// A configuration of which nothing was checked but that it is TOML.
struct Parsed {
    /// Its name in messages.
    name: String,
    /// Where its relative paths start.
    folder: PathBuf,
    document: toml::Table,
}

impl Parsed {
    fn find(path: &Path) -> Result<Self, ConfigErrors> {
        let (name, folder, text) = match Found::find(path)? {
            Found::File(text) => (path.display().to_string(), Surroundings::of(path).folder, text),
            Found::Environment(written) => (ENVIRONMENT.into(), starting_folder(), written.text),
        };
        let parsed = text.parse();
        let document =
            parsed.map_err(|error: toml::de::Error| whole(&name, error.message().to_owned(), "well-formed TOML"))?;
        Ok(Self { name, folder, document })
    }
}

/// What can be read; whole where nothing is reported.
fn read(document: &Table<'_>, report: &mut Report<'_>, around: &Surroundings) -> Config {
    let queue = queue::read(document, report, around);
    let clients = client::read(document, report);
    let mut listeners = listener::read(document, report, around, &clients);
    let ehlo = listeners.first().map_or(&around.hostname, |listener| &listener.hostname).clone();
    let accounts = account::read(document, report, around, &ehlo);
    if let Some(carried) = surely_carried(&accounts) {
        for listener in &mut listeners {
            listener.max_message_size = listener.max_message_size.min(carried);
        }
    }
    let alarms = alarms::read(document, report, around);
    let reports = reports::read(document, report);
    reports::check_senders(document, report, &accounts, &alarms, &reports);
    let others =
        Others { listeners: &listeners, clients: &clients, accounts: &accounts, alarms: &alarms, reports: &reports };
    let local::Local { mail, remarks, missing } = local::read(document, report, around, &others);
    let local = Arc::new(mail);
    listeners.iter_mut().for_each(|listener| listener.local = Arc::clone(&local));
    Config { queue, listeners, clients, local, accounts, alarms, reports, remarks, missing_aliases: missing }
}

/// The largest content that every account carries, since the first open one has to, with room for what is added to it on
/// the way.
fn surely_carried(accounts: &[AccountConfig]) -> Option<u64> {
    accounts.iter().map(|account| account.caps.message_size.saturating_sub(REPAIRS)).min()
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_OCTETS + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_OCTETS { Err(io::Error::other("it is too long")) } else { Ok(bytes) }
}

/// What is wrong with a file that cannot be read, and what to do.
fn unread(file: &str, error: &io::Error) -> ConfigErrors {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let wanted = "a configuration: `mailsluice setup` writes one, --config names another; or, as in a container, \
                          MAILSLUICE_ACCOUNT_PROVIDER and more variables instead of one";
            whole(file, "no such file", wanted)
        }
        io::ErrorKind::PermissionDenied => {
            whole(file, "a file that this user may not read", "the daemon's user or root: with sudo, perhaps")
        }
        _ => whole(
            file,
            format!("a file that cannot be read: {error}"),
            format!("a configuration file of up to {} KiB", MAX_OCTETS >> 10),
        ),
    }
}

fn whole(file: &str, found: impl Into<String>, wanted: impl Into<String>) -> ConfigErrors {
    let problem = Problem { line: 0, key: String::new(), found: found.into(), wanted: wanted.into() };
    ConfigErrors { file: file.into(), problems: vec![problem] }
}

/// The known keys of the document.
pub(super) const KEYS: &[&str] = &["queue", "listener", "client", "aliases", "local", "account", "alarms", "reports"];
/// Octets that intake and repairs may add to a message.
const REPAIRS: u64 = 64 << 10;
const MAX_OCTETS: u64 = 1 << 20;
