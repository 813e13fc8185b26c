//! `mailsluice doctor`: looks at everything that mail depends on, and changes nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::Failure;
use super::output::say;
use super::reach::{UNEXPECTED, print_json};
use super::trial::{one_line, try_out};
use crate::app::custody::DAEMON;
use crate::config::{Config, ListenAddress, Provenance, QueueConfig, queue_path};
use crate::control::request::{Answer, Request};
use crate::control::{client, socket_path};
use crate::doctor::lanes::Answered;
use crate::doctor::{Finding, Standing, clock, endings, lanes, listeners, local, place, secrets, sockets};
use crate::queue::sqlite::Survey;
use crate::schedule::trial::Trial;
use crate::time::wall_clock;
use crate::users::Identity;

#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// JSON, for programs
    #[arg(long)]
    json: bool,
    /// Do not try the accounts out: each trial is a login
    #[arg(long)]
    offline: bool,
}

impl Doctor {
    pub(super) fn run(self, config: &Path) -> Result<(), Failure> {
        let findings = self.look(config);
        if self.json {
            print_json(&findings)?;
        } else {
            findings.iter().try_for_each(print)?;
        }
        let count = |standing| findings.iter().filter(|one| one.standing == standing).count();
        let (failed, warnings) = (count(Standing::Failed), count(Standing::Warning));
        if failed > 0 {
            return Err(Failure::Said(format!("{failed} of {} checks failed; warnings: {warnings}", findings.len())));
        }
        if !self.json {
            say!("nothing failed in {} checks; warnings: {warnings}", findings.len())?;
        }
        Ok(())
    }

    fn look(&self, path: &Path) -> Vec<Finding> {
        let (mut findings, config) = configuration(path);
        let database = match (&config, queue_path(path)) {
            (Some(config), _) => config.queue.path.clone(),
            (None, Ok(database)) => database,
            (None, Err(_)) => return findings,
        };
        let answered = ask(&database);
        let daemon = daemon_identity(&database, &answered);
        findings.extend(stranger(&daemon));
        let queue = config.as_ref().map_or_else(
            || QueueConfig { path: database.clone(), ..QueueConfig::default() },
            |config| config.queue.clone(),
        );
        findings.extend(place::judge(&place::Facts::gather(&database, &daemon), &queue, &daemon));
        findings.push(clock::judge(clock::Facts::gather(&database)));
        findings.extend(lanes::judge(&answered));
        let Some(config) = config else { return findings };
        for named in secrets::of(&config) {
            findings.push(secrets::judge(&secrets::Facts::gather(named, &daemon), &daemon));
        }
        findings.extend(at_listeners(&config, running(&answered, &daemon), &daemon, &served(&database)));
        findings.extend(config.listeners.iter().filter_map(sockets::certificate));
        findings.extend(local::look(&config));
        findings.extend(endings::judge(&config, wall_clock()));
        if !self.offline {
            findings.extend(config.account_names().map(|account| match try_out(path, account) {
                Ok(trial) => of_trial(&trial),
                Err(failure) => Finding::failed(
                    TRIAL,
                    format!("account {account} cannot be tried out: {}", failure.text()),
                    "see above, or the daemon's log",
                ),
            }));
        }
        findings
    }
}

/// Of the listeners of a new configuration, what keeps a daemon from them.
pub(super) fn listeners_in_the_way(config: &Config) -> Vec<Finding> {
    let answered = ask(&config.queue.path);
    let daemon = daemon_identity(&config.queue.path, &answered);
    let findings = at_listeners(config, running(&answered, &daemon), &daemon, &served(&config.queue.path));
    findings.into_iter().filter(|finding| finding.standing == Standing::Failed).collect()
}

/// The process and the user of the daemon, where one runs.
fn running(answered: &Answered, daemon: &Identity) -> Option<(Option<u32>, u32)> {
    match answered {
        Answered::Yes(process, _) => Some((*process, daemon.user)),
        Answered::Nobody | Answered::No(_) => None,
    }
}

/// Where the daemon says that it listens; nowhere without one. Of a socket that systemd has handed over, others cannot know.
fn served(database: &Path) -> Vec<String> {
    match client::ask_for(PATIENCE, &socket_path(database), &Request::Health) {
        Ok(Some(Answer::Health { listening, .. })) => listening,
        _ => Vec::new(),
    }
}

fn at_listeners(
    config: &Config,
    running: Option<(Option<u32>, u32)>,
    daemon: &Identity,
    served: &[String],
) -> Vec<Finding> {
    let addresses = config.listeners.iter().flat_map(|listener| &listener.addresses);
    let judged = addresses.filter_map(|address| match address {
        address if served.contains(&address.to_string()) => Some(listeners::served(address)),
        // Port 0 is whichever is free.
        ListenAddress::Tcp(address) if address.port() == 0 => None,
        ListenAddress::Tcp(address) => Some(listeners::judge(&listeners::Facts::gather(*address), running)),
        ListenAddress::Unix(path) => {
            Some(sockets::judge(&sockets::Facts::gather(path, daemon), daemon, running.is_some()))
        }
        ListenAddress::Inherited(_) => Some(sockets::handed_over(address)),
    });
    judged.collect()
}

/// What is wrong with the configuration, secrets apart, and what it says.
fn configuration(path: &Path) -> (Vec<Finding>, Option<Config>) {
    match Config::load_without_secrets(path) {
        Ok(config) => {
            (vec![Finding::ok(CONFIGURATION, format!("{} is well-formed", Provenance::of(path)))], Some(config))
        }
        Err(errors) => {
            let problems = errors.to_string();
            let advice = "correct it; `mailsluice check` says when it is right";
            (problems.lines().map(|problem| Finding::failed(CONFIGURATION, problem, advice)).collect(), None)
        }
    }
}

fn ask(database: &Path) -> Answered {
    match client::ask(&socket_path(database), &Request::Accounts) {
        Ok(Some(Answer::Accounts(accounts))) => Answered::Yes(Survey::of(database).process, accounts),
        Ok(Some(_)) => Answered::No(UNEXPECTED.into()),
        Ok(None) => Answered::Nobody,
        Err(error) => Answered::No(error.to_string()),
    }
}

/// As whom the daemon runs: as it does now, or by whose the queue is, or by the name of the user that the unit has.
fn daemon_identity(database: &Path, answered: &Answered) -> Identity {
    let owner = |path: &Path| path.metadata().ok().map(|metadata| metadata.uid());
    let running = match answered {
        Answered::Yes(Some(process), _) => owner(Path::new(&format!("/proc/{process}"))),
        _ => None,
    };
    let folder = database.parent().and_then(owner);
    let by_place = running.or_else(|| folder.filter(|owner| *owner != 0)).or_else(|| owner(database));
    let by_name = || Identity::named(DAEMON).filter(|_| folder.is_none());
    by_place.map(Identity::with_id).or_else(by_name).unwrap_or_else(Identity::own)
}

/// Somebody else sees less.
fn stranger(daemon: &Identity) -> Option<Finding> {
    let own = Identity::own();
    (!own.is_root() && own.user != daemon.user).then(|| {
        Finding::warning(
            "user",
            format!("this is the user {}, and the daemon's is {}: some checks cannot be made", own.name, daemon.name),
            "run it as root, or as the daemon's user",
        )
    })
}

fn of_trial(trial: &Trial) -> Finding {
    let account = &trial.account;
    match (&trial.failure, &trial.warning) {
        (None, None) => {
            let steps: Vec<&str> = trial.passed.iter().map(|passed| passed.step.as_str()).collect();
            Finding::ok(TRIAL, format!("account {account} at {} can deliver: {}", trial.host, steps.join(", ")))
        }
        (None, Some(warning)) => Finding::warning(
            TRIAL,
            format!("account {account} at {} can deliver. {warning}", trial.host),
            "mend that method, or set `prefer` to the other one",
        ),
        (Some(failure), _) => {
            let reply = failure.reply.as_ref().map(|reply| format!(" The provider said: {reply}")).unwrap_or_default();
            Finding::failed(
                TRIAL,
                format!("account {account} at {}: {} failed: {}{reply}", trial.host, failure.step, failure.sentence),
                format!("mend it, then: mailsluice account test {account}"),
            )
        }
    }
}

fn print(finding: &Finding) -> Result<(), Failure> {
    let Finding { check, standing, seen, advice } = finding;
    say!("{:8} {check:13} {}", standing.as_str(), one_line(seen))?;
    match advice {
        Some(advice) => say!("                       to do: {}", one_line(advice)),
        None => Ok(()),
    }
}

/// The daemon answers within 3 s.
const PATIENCE: Duration = Duration::from_secs(5);
const CONFIGURATION: &str = "configuration";
const TRIAL: &str = "trial";
