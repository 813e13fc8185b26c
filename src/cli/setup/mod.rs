//! `mailsluice setup`: from nothing to a relay that has delivered its first mail. Every question is a flag too.

mod answers;
pub(super) mod ask;
mod base;
mod compose;
pub(super) mod files;
mod mail;
mod start;

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use self::answers::Flags;
use self::ask::Asker;
use self::base::Base;
use self::compose::{Answers, LoginWay};
use self::files::{Custody, Existing, Written};
use self::start::{Daemon, Start};
use super::Failure;
use super::output::say;
use super::{doctor, trial};
use crate::app::custody::DAEMON;
use crate::config::secret::quoted;
use crate::config::{Config, ListenAddress, Surroundings, variables};
use crate::control::client;
use crate::control::request::{Answer, Request};
use crate::control::socket_path;
use crate::smtp::Address;
use crate::users::Identity;

#[derive(Debug, clap::Args)]
pub(super) struct Setup {
    #[command(flatten)]
    flags: Flags,
    /// Where a test mail goes [default: the account's own address]
    #[arg(long, value_name = "ADDRESS")]
    test_to: Option<String>,
    /// Write the files, and neither log in nor send
    #[arg(long)]
    no_test: bool,
    /// Write a new configuration over one that has an account; the old one stays as `….bak`
    #[arg(long)]
    force: bool,
    /// Whether to start the relay, and with it each boot: yes or no, where systemd has its units [default: yes]
    #[arg(long, value_name = "WHETHER")]
    start: Option<String>,
    /// Ask nothing: take the defaults for what no flag says
    #[arg(long, visible_alias = "no-input")]
    yes: bool,
}

/// Everything that was asked for.
struct Told {
    answers: Answers,
    secret: Option<SecretString>,
    test_to: Option<Address>,
    start: Start,
}

impl Setup {
    pub(super) fn run(self, config: &Path) -> Result<(), Failure> {
        let config = std::path::absolute(config).map_err(|error| cannot(config, &error))?;
        let base = self.base(&config)?;
        let told = self.ask(&base, &config)?;
        let text = told.answers.compose(&base, &config);
        let around = Surroundings { reads_secrets: false, ..Surroundings::of(&config) };
        let settings = Config::parse(&text, &config.display().to_string(), &around)
            .map_err(|errors| Failure::Said(format!("these answers make no configuration:\n{errors}")))?;
        self.write(&config, &told, &text)?;
        if self.no_test {
            return next_steps(&config, &settings, &told);
        }
        if told.answers.way == LoginWay::DeviceCode {
            // Without a login there is nothing to test.
            return next_steps(&config, &settings, &told);
        }
        say!("")?;
        let counter = mail::Counter::at(&config, &settings)?;
        counter.take_over()?;
        test_account(&config, &told)?;
        if let Some(to) = &told.test_to {
            say!("")?;
            counter.send(to)?;
        }
        next_steps(&config, &settings, &told)
    }

    /// What there is to start from, and what can be known before anything is asked.
    fn base(&self, config: &Path) -> Result<Base, Failure> {
        let variables = variables();
        if !variables.is_empty() {
            return Err(Failure::Said(format!(
                "{} in the environment would stand beside the file that this writes, and one of the two would be without \
                 effect: set what is missing there, or unset them",
                variables.join(", ")
            )));
        }
        let base = Base::of(config, self.existing())?;
        let there = config.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let writable = rustix::fs::access(there, rustix::fs::Access::WRITE_OK);
        writable.map_err(|error| {
            Failure::Said(format!(
                "{} cannot be written ({error}): run this as root (`sudo mailsluice setup`), or name another place by --config",
                there.display()
            ))
        })?;
        Ok(base)
    }

    /// What may be done to the files that are there.
    fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Keep }
    }

    fn ask(&self, base: &Base, config: &Path) -> Result<Told, Failure> {
        let mut asker = Asker::new(self.yes);
        if asker.is_heard() {
            say!("Empty answers take what stands in [brackets]. Nothing is written before the last question.\n")?;
        }
        let answers = self.flags.answers(&mut asker, base)?;
        let secret = self.flags.secret(&mut asker, answers.as_ref())?;
        let test_to = self.test_address(&mut asker, answers.as_ref())?;
        let start = self.start(&mut asker, config)?;
        asker.complete()?;
        // Where an answer is missing, this has been said.
        let answers = answers.ok_or_else(|| Failure::Said("an answer is missing".into()))?;
        Ok(Told { answers, secret, test_to, start })
    }

    fn start(&self, asker: &mut Asker, config: &Path) -> Result<Start, Failure> {
        if !start::is_possible(config) {
            return Ok(Start::Later);
        }
        let text = "Start the relay, now and with the machine (yes, no)";
        let question = ask::Question { text, flag: "--start", default: Some("yes".into()) };
        let parse = |answer: &str| match answer {
            "yes" | "y" => Ok(Start::Now),
            "no" | "n" => Ok(Start::Later),
            _ => Err(format!("{answer:?} is neither yes nor no")),
        };
        Ok(asker.ask(&question, self.start.as_deref(), parse)?.unwrap_or(Start::Later))
    }

    fn test_address(&self, asker: &mut Asker, answers: Option<&Answers>) -> Result<Option<Address>, Failure> {
        if self.no_test {
            return Ok(None);
        }
        let own = answers.and_then(|answers| answers.from.clone().or_else(|| answers.username.clone()));
        let own = own.filter(|own| own.parse::<Address>().is_ok());
        let question = ask::Question { text: "Where does a test mail go", flag: "--test-to", default: own };
        asker.ask(&question, self.test_to.as_deref(), answers::address)
    }

    fn write(&self, config: &Path, told: &Told, text: &str) -> Result<(), Failure> {
        let custody = Custody::here();
        // One that is there has no account, or this is forced.
        let existing = if config.exists() { Existing::Replace } else { Existing::Keep };
        let secrets = self.existing();
        if let Some(folder) = config.parent() {
            custody.make_folder(folder).map_err(|error| cannot(folder, &error))?;
        }
        say!("")?;
        if let (Some(path), Some(secret)) = (told.answers.secret_file(config), &told.secret) {
            let written = custody.write(&path, secret.expose_secret().as_bytes(), secrets);
            tell(&path, "the secret", written, custody)?;
        }
        tell(config, "the configuration", custody.write(config, text.as_bytes(), existing), custody)
    }
}

fn tell(path: &Path, what: &str, written: std::io::Result<Written>, custody: Custody) -> Result<(), Failure> {
    let shown = path.display();
    let readers = match custody {
        Custody::Group(_) => "mode 0640, root and the group mailsluice",
        Custody::Own => "mode 0600, this user alone",
    };
    match written {
        Ok(Written::New) => say!("wrote {what}: {shown} ({readers})"),
        Ok(Written::Replaced(backup)) => {
            say!("wrote {what}: {shown} ({readers}); the one before is {}", backup.display())
        }
        Ok(Written::Same) => say!("kept {what}: {shown} ({readers})"),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Failure::Said(format!(
            "{shown} is there already and holds something else: with --force a new one takes its place"
        ))),
        Err(error) => Err(cannot(path, &error)),
    }
}

fn cannot(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Said(format!("{} cannot be written: {error}", path.display()))
}

fn test_account(config: &Path, told: &Told) -> Result<(), Failure> {
    let name = told.answers.account();
    trial::test(config, name, trial::Output::Text).map_err(|failure| {
        let secret = told.answers.secret_file(config);
        let secret = secret.map(|path| format!(" (the secret is in {})", path.display())).unwrap_or_default();
        let shown = quoted(config);
        let start = if start::are_units_for(config) {
            format!("\nAnd once that works, start the relay: {}", start::advice())
        } else {
            String::new()
        };
        Failure::Said(format!(
            "{}\nThe files stay as they are{secret}. When it is mended: mailsluice --config {shown} account test {name}{start}\n\
             To answer the questions again: mailsluice --config {shown} setup --force",
            failure.text(),
        ))
    })
}

/// How root makes the daemon's user, and gives it what was written.
fn give_to_a_user(config: &Path, settings: &Config) -> Result<(), Failure> {
    say!("  make the daemon's user, and give it the files:")?;
    say!("    useradd --system --home-dir /var/lib/mailsluice --shell /usr/sbin/nologin mailsluice")?;
    let folder = config.parent().map(quoted).unwrap_or_default();
    say!("    chgrp -R mailsluice {folder} && chmod 750 {folder} && chmod 640 {folder}/*")?;
    match settings.queue.path.parent().filter(|queue| queue.exists()).map(quoted) {
        Some(queue) => say!("    chown -R mailsluice: {queue}"),
        None => Ok(()),
    }
}

/// How to go on.
fn next_steps(config: &Path, settings: &Config, told: &Told) -> Result<(), Failure> {
    let shown = quoted(config);
    say!("\nNext:")?;
    if Identity::own().is_root() && Identity::named(DAEMON).is_none() {
        give_to_a_user(config, settings)?;
    }
    for finding in doctor::listeners_in_the_way(settings) {
        say!("  {}: {}", finding.seen, finding.advice.unwrap_or_default())?;
    }
    let answered = client::ask(&socket_path(&settings.queue.path), &Request::Stats);
    let daemon = match answered {
        Ok(Some(Answer::Stats { .. })) => Daemon::Running,
        _ => Daemon::Absent,
    };
    match (told.start, daemon) {
        (Start::Now, _) => start::start(daemon)?,
        (Start::Later, Daemon::Running) => {
            say!("  the daemon runs; `mailsluice --config {shown} queue list` shows what waits")?
        }
        (Start::Later, Daemon::Absent) if start::are_units_for(config) => {
            say!("  start the daemon: {}", start::advice())?
        }
        (Start::Later, Daemon::Absent) => say!("  start the daemon: mailsluice --config {shown} serve")?,
    }
    if told.answers.way == LoginWay::DeviceCode {
        let name = told.answers.account();
        say!("  log in once as the user of the mailbox, while the daemon runs, which keeps what comes of it:")?;
        say!("    mailsluice --config {shown} account login {name}")?;
        say!("    mailsluice --config {shown} account test {name}")?;
    }
    where_mail_is_handed_in(settings)?;
    say!("  look at all of it: mailsluice --config {shown} doctor")?;
    Ok(())
}

/// What a web form and a device are told: by its first address for each, as a person would type it there.
fn where_mail_is_handed_in(settings: &Config) -> Result<(), Failure> {
    let addresses =
        || settings.listeners.iter().flat_map(|listener| &listener.addresses).filter_map(ListenAddress::tcp);
    let inner = addresses().find(|address| address.ip().is_loopback());
    let outer = addresses().find(|address| !address.ip().is_loopback());
    // One that takes all addresses takes the inner one too.
    if let Some(address) = inner.or(outer.filter(|address| address.ip().is_unspecified())) {
        say!("  point a web form at localhost, port {}: no encryption, no login", address.port())?;
    }
    if let Some(address) = outer {
        let unspecified = address.ip().is_unspecified();
        let host = if unspecified { "this machine's address".to_owned() } else { address.ip().to_string() };
        say!("  point a device at {host}, port {}: no encryption, no login", address.port())?;
    }
    Ok(())
}
