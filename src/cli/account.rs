//! `mailsluice account …`.

use std::path::Path;
use std::time::Duration;

use clap::Subcommand;

use super::output::say;
use super::reach::{ask, ask_whom, converse, print_json, unexpected};
use super::trial::{self, Output};
use super::{Failure, table};
use crate::control::request::{AccountStanding, Answer, PaceStanding, Request, ShareStanding};
use crate::ids::AccountName;
use crate::time::spoken;
use crate::tokens::{Invitation, LoginProgress};

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// How the accounts stand: open, resting or paused and why; caps used and left; when the next message may go
    List {
        /// JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Send again, at once: after what paused the account is mended. What was put off is tried now
    Resume {
        /// The account
        name: String,
    },
    /// Do all that a delivery does but for the message: resolve, connect, TLS, log in, MAIL FROM; say which step fails and why
    Test {
        /// The account
        name: String,
        /// JSON, for programs
        #[arg(long)]
        json: bool,
    },
    /// Send nothing by this account until it is resumed
    Pause {
        /// The account
        name: String,
    },
    /// Log in as the user of the account's mailbox, with a browser on any machine: for `[account.oauth]` without a secret
    Login {
        /// The account
        name: String,
    },
}

impl AccountCommand {
    pub(super) fn run(self, config: &Path) -> Result<(), Failure> {
        match self {
            Self::List { json } => list(config, json),
            Self::Resume { name } => {
                let asked = ask_whom(config, Request::Resume(AccountName::from(name.as_str())))?;
                let (Answer::Hastened(count), by) = asked else { return Err(unexpected()) };
                say!("{name}: open; what waits may go, and {}", by.tries(count))?;
                Ok(())
            }
            Self::Pause { name } => {
                ask(config, Request::Pause(AccountName::from(name.as_str())))?;
                say!("{name}: paused; its mail is kept until `mailsluice account resume {name}`")?;
                Ok(())
            }
            Self::Test { name, json } => trial::test(config, &name, if json { Output::Json } else { Output::Text }),
            Self::Login { name } => log_in(config, &name),
        }
    }
}

/// Shows address and code, and waits until the user has entered it.
fn log_in(config: &Path, name: &str) -> Result<(), Failure> {
    let account = AccountName::from(name);
    converse(config, Request::Login(account.clone()), |answer| {
        match answer {
            Answer::Invited(Invitation { verification_uri, user_code, expires_in }) => {
                let within = spoken(Duration::from_secs(expires_in));
                say!("{name}: open {verification_uri} in a browser, as the user of the mailbox,")?;
                say!("and enter the code {user_code} within {within}. Waiting…")?;
            }
            Answer::LoginIs(LoginProgress::Waiting) => {}
            Answer::LoginIs(LoginProgress::LoggedIn) => {
                say!("{name}: logged in; the account is open")?;
                return Ok(None);
            }
            Answer::LoginIs(LoginProgress::Failed(why)) => {
                return Err(Failure::Said(format!("{name} is not logged in: {why}")));
            }
            Answer::LoginIs(LoginProgress::NotBegun) => {
                return Err(Failure::Said("the daemon was restarted meanwhile: run the command again".into()));
            }
            _ => return Err(unexpected()),
        }
        Ok(Some((ASKED_EVERY, Request::LoginOutcome(account.clone()))))
    })
}

const ASKED_EVERY: Duration = Duration::from_secs(1);

fn list(config: &Path, json: bool) -> Result<(), Failure> {
    let Answer::Accounts(accounts) = ask(config, Request::Accounts)? else { return Err(unexpected()) };
    if json {
        return print_json(&accounts);
    }
    let rows: Vec<Vec<String>> = accounts.iter().map(row).collect();
    table::print(&["ACCOUNT", "STANDING", "HOST", "LOGIN", "SENDING", "CAPS USED", "NEXT SLOT"], &rows)?;
    for account in &accounts {
        if let Some(pace) = &account.pace {
            say!("")?;
            slower(account, pace)?;
        }
        account.shares.iter().try_for_each(|share| shared(account, share))?;
        if let Some(cause) = &account.cause {
            say!("")?;
            stopped(account, cause)?;
        }
    }
    Ok(())
}

fn slower(account: &AccountStanding, pace: &PaceStanding) -> Result<(), Failure> {
    let caps = pace.caps.iter().map(|cap| format!("{cap}, ")).collect::<String>();
    let connections = format!("{} of {} connections", pace.connections, account.connections);
    let full_in = spoken(Duration::from_secs(pace.full_in));
    say!("{}: slower, as the provider wants less: {caps}{connections}; all of it again in {full_in}", account.account)
}

/// A client that has had its share, if it has.
fn shared(account: &AccountStanding, share: &ShareStanding) -> Result<(), Failure> {
    let until = match share.next_slot_in {
        Some(seconds) if seconds <= 0.0 => return Ok(()),
        Some(seconds) => format!("in {}", spoken(Duration::from_secs_f64(seconds))),
        None => "after what is under way".into(),
    };
    say!("")?;
    say!("{}: {} has had its share of {} %; its mail goes on {until}", account.account, share.client, share.percent)
}

fn stopped(account: &AccountStanding, cause: &str) -> Result<(), Failure> {
    say!("{}: {cause}", account.account)?;
    if let Some(reply) = &account.reply {
        say!("  the provider said: {reply}")?;
    }
    let since = account.stopped_seconds.map(|seconds| spoken(Duration::from_secs(seconds))).unwrap_or_default();
    let probe = match account.next_probe_in {
        Some(seconds) => format!("one message tries in {}", spoken(Duration::from_secs(seconds))),
        None => "nothing tries".into(),
    };
    say!("  for {since}; {probe}; at once: mailsluice account resume {}", account.account)
}

fn row(account: &AccountStanding) -> Vec<String> {
    let caps: Vec<String> = account
        .caps
        .iter()
        .map(|cap| format!("{} of {} {} ({} left)", cap.used, cap.cap, cap.counted, cap.left))
        .collect();
    let next = match account.next_slot_in {
        Some(seconds) if seconds <= 0.0 => "now".into(),
        Some(seconds) => format!("in {}", spoken(Duration::from_secs_f64(seconds))),
        None if account.standing == "open" => "after what is under way".into(),
        None => "when resumed".into(),
    };
    vec![
        account.account.to_string(),
        account.standing.clone(),
        account.host.clone(),
        account.login.clone().unwrap_or_else(|| "none".into()),
        format!("{} of {}", account.sending, account.connections),
        if caps.is_empty() { "none".into() } else { caps.join(", ") },
        next,
    ]
}
