//! `mailsluice account test`: an account is tried out by the daemon, which has its secrets and its connections; where none
//! runs, by this process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::output::say;
use super::reach::{print_json, unexpected};
use super::{Failure, runtime};
use crate::app::AppError;
use crate::app::custody::HandsOver;
use crate::config::{Config, queue_path};
use crate::control::request::{Answer, Request};
use crate::control::{client, socket_path};
use crate::deliver::trial::Trials;
use crate::ids::AccountName;
use crate::observe::Observer;
use crate::schedule::trial::{Passed, Trial};
use crate::time::{MonotonicClock, Timestamp};
use crate::tokens::Logins;

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A line for each step, for people.
    Text,
    /// For programs.
    Json,
}

/// Tries the account out and prints what came of it; fails where a step fails.
pub(super) fn test(config: &Path, name: &str, output: Output) -> Result<(), Failure> {
    let trial = try_out(config, &AccountName::from(name))?;
    match output {
        Output::Text => print(&trial)?,
        Output::Json => print_json(&trial)?,
    }
    match &trial.failure {
        None => Ok(()),
        Some(failure) => Err(Failure::Said(format!("account {name} cannot deliver: {} failed", failure.step))),
    }
}

/// Tries the account out.
pub(super) fn try_out(config: &Path, account: &AccountName) -> Result<Trial, Failure> {
    let database = queue_path(config).map_err(AppError::from)?;
    let asked = client::ask(&socket_path(&database), &Request::Test(account.clone()));
    match asked.map_err(|error| Failure::Said(error.to_string()))? {
        Some(Answer::Tested(trial)) => Ok(*trial),
        Some(Answer::Refused(why)) => Err(Failure::Said(why)),
        Some(_) => Err(unexpected()),
        None => try_alone(config, account),
    }
}

fn try_alone(config: &Path, name: &AccountName) -> Result<Trial, Failure> {
    // What is wrong with a secret is told by the step that needs it.
    let settings = Config::load_without_secrets(config).map_err(AppError::from)?;
    let Some(account) = settings.account(name) else {
        let known: Vec<&str> = settings.account_names().map(AccountName::as_str).collect();
        return Err(Failure::Said(format!("there is no account {name}; there is {}", known.join(", "))));
    };
    // A refresh token that is replaced meanwhile is the daemon's.
    let _custody = HandsOver::of(&settings.queue.path);
    let clock = Arc::new(MonotonicClock::starting_after(Timestamp::EPOCH));
    let runtime = runtime()?;
    let trial = runtime.block_on(async {
        let logins = Arc::new(Logins::beside(&settings.queue.path, clock, Arc::new(Observer::default())));
        let trial = Trials::alone(Arc::clone(&logins)).run(account).await;
        // What comes with a token that is still on its way must be kept.
        let _ = tokio::time::timeout(LAST_TOKEN, logins.tokens().at_rest()).await;
        trial
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(trial)
}

const LAST_TOKEN: Duration = Duration::from_secs(5);

/// A line for each step.
fn print(trial: &Trial) -> Result<(), Failure> {
    say!("account {} at {}", trial.account, trial.host)?;
    for Passed { step, seen } in &trial.passed {
        say!("  ok      {:9} {}", step.as_str(), one_line(seen))?;
        if step.as_str() == "TLS" {
            for certificate in &trial.certificates {
                let (subject, issuer) = (one_line(&certificate.subject), one_line(&certificate.issuer));
                say!("                    {subject}, signed by {issuer}, ends {}", certificate.ends)?;
            }
        }
    }
    match &trial.failure {
        None => {
            if let Some(warning) = &trial.warning {
                say!("  WARNING {:9} {}", "AUTH", one_line(warning))?;
            }
            say!("  ok      all that a delivery needs works; nothing was sent")
        }
        Some(failure) => {
            say!("  FAILED  {:9} {}", failure.step.as_str(), one_line(&failure.sentence))?;
            match &failure.reply {
                Some(reply) => say!("                    the provider said: {}", one_line(reply)),
                None => Ok(()),
            }
        }
    }
}

/// What others say, without what would move the cursor of a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
