//! `mailsluice queue recover`.

use std::path::Path;

use super::super::Failure;
use super::super::output::{counted, say};
use crate::app::AppError;
use crate::app::custody::HandsOver;
use crate::config::Config;
use crate::ids::LoginKey;
use crate::queue::sqlite::{CapsUnknown, Held, Lost, RecoverError, Recovered, recover};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Recover {
    /// Where it is lost what was sent: take it that no cap has been used, and send at once. Else every cap counts as used up
    /// when the queue was written last
    #[arg(long)]
    caps_unused: bool,
}

impl Recover {
    pub(in crate::cli) fn run(self, config: &Path) -> Result<(), Failure> {
        let settings = Config::load_without_secrets(config).map_err(AppError::from)?;
        let database = &settings.queue.path;
        // What root makes there becomes the daemon's.
        let _custody = HandsOver::of(database);
        let logins: Vec<LoginKey> = settings.accounts.iter().map(|account| account.login_key()).collect();
        let caps = if self.caps_unused { CapsUnknown::Empty } else { CapsUnknown::Full };
        let done = recover(database, settings.queue.ephemeral, &logins, caps).map_err(|error| match error {
            RecoverError::Open(error) => Failure::App(error.into()),
            other => Failure::Said(other.to_string()),
        })?;
        match done {
            None => say!("{}: nothing is damaged; nothing was changed", database.display()),
            Some(recovered) => tell(database, &recovered),
        }
    }
}

fn tell(database: &Path, recovered: &Recovered) -> Result<(), Failure> {
    let Recovered { saved, history, held, lost, history_lost, also, kept_as, contents } = recovered;
    say!(
        "{}: a new queue with {} that {} not done, and the history of {history} more",
        database.display(),
        counted(*saved, "message"),
        if *saved == 1 { "is" } else { "are" },
    )?;
    say!("the damaged one is kept as {}", kept_as.display())?;
    if !held.is_empty() {
        say!("")?;
        say!("on hold: look at them, then `mailsluice queue release ID` or `queue delete ID`")?;
        held.iter().try_for_each(|Held { id, why }| say!("  {id}  {why}"))?;
    }
    if !lost.is_empty() {
        say!("")?;
        say!("lost:")?;
        lost.iter().try_for_each(one_lost)?;
        if let Some(contents) = contents {
            say!("what can be read of their content is in {}: send it by hand, and remove it", contents.display())?;
        }
    }
    if *history_lost > 0 || !also.is_empty() {
        say!("")?;
        say!("also lost:")?;
        if *history_lost > 0 {
            say!("  the history of {} that had been done", counted(*history_lost, "message"))?;
        }
        also.iter().try_for_each(|what| say!("  {what}"))?;
    }
    Ok(())
}

fn one_lost(Lost { id, from, to, what, content }: &Lost) -> Result<(), Failure> {
    let id = id.map_or_else(|| "unknown".into(), |id| id.to_string());
    let from = if from.is_empty() { "?" } else { from };
    let to = if to.is_empty() { "?".into() } else { to.join(", ") };
    let content = content.as_ref().map_or_else(String::new, |path| format!("; its content: {}", path.display()));
    say!("  {id}  from {from} to {to}: {what}{content}")
}
