//! How a command reaches the queue: through the daemon, or, only where none runs, by opening it.

use std::path::Path;
use std::time::Duration;

use super::output::{counted, say};
use super::{Failure, runtime};
use crate::app::AppError;
use crate::app::errand::{Errand, Purpose};
use crate::config::{Config, queue_path};
use crate::control::request::{Answer, Request};
use crate::control::{client, socket_path};
use crate::observe::logging::{self, LogFormat, LogTarget};

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Daemon,
    /// This process, since there is no daemon.
    Ourselves,
}

impl By {
    /// When so many messages that are to be tried at once are tried.
    pub(super) fn tries(self, count: u64) -> String {
        let (were, are) = if count == 1 { ("was", "is") } else { ("were", "are") };
        let messages = counted(count, "message");
        match self {
            Self::Daemon => format!("{messages} that {were} put off {are} tried now"),
            Self::Ourselves => format!("{messages} that {were} put off will be tried when the daemon starts"),
        }
    }
}

/// Asks, of the daemon or of the queue itself. What is refused is a failure.
pub(super) fn ask(config: &Path, request: Request) -> Result<Answer, Failure> {
    ask_whom(config, request).map(|(answer, _)| answer)
}

/// [`ask`], and who answered.
pub(super) fn ask_whom(config: &Path, request: Request) -> Result<(Answer, By), Failure> {
    // The daemon may run with a configuration that has been spoilt since: all we need of it is where the queue is.
    let database = queue_path(config).map_err(AppError::from)?;
    let asked = client::ask(&socket_path(&database), &request);
    let answer = match asked? {
        Some(answer) => (answer, By::Daemon),
        None => (open_and_ask(config, &database, request)?, By::Ourselves),
    };
    not_refused(answer.0).map(|answered| (answered, answer.1))
}

fn open_and_ask(config: &Path, database: &Path, request: Request) -> Result<Answer, Failure> {
    let settings = settings_of(config, database)?;
    let changes = request.changes();
    let purpose = if changes { Purpose::Change } else { Purpose::Look };
    runtime()?.block_on(async {
        let errand = Errand::begin(&settings, purpose)?;
        let answer = errand.desk().answer(request).await;
        // Or the next request of the same command would find the queue taken.
        errand.end().await;
        Ok(answer)
    })
}

/// The settings of a queue that no daemon has; the log goes to standard error.
fn settings_of(config: &Path, database: &Path) -> Result<Config, Failure> {
    if !database.exists() {
        return Err(Failure::Said(format!(
            "there is no daemon and no queue at {}: start the daemon first",
            database.display()
        )));
    }
    let settings = Config::load_without_secrets(config).map_err(AppError::from)?;
    logging::start(LogFormat::Text, LogTarget::Stderr);
    Ok(settings)
}

/// Asks one thing after another, of one desk: each answer decides on the next request and how long to wait before it.
/// `next` returns none where it has heard enough.
pub(super) fn converse(
    config: &Path,
    first: Request,
    mut next: impl FnMut(Answer) -> Result<Option<(Duration, Request)>, Failure>,
) -> Result<(), Failure> {
    let database = queue_path(config).map_err(AppError::from)?;
    let socket = socket_path(&database);
    let asked = |request: &Request| client::ask(&socket, request).map_err(Failure::from);
    let Some(answer) = asked(&first)? else {
        let settings = settings_of(config, &database)?;
        return runtime()?.block_on(async {
            let errand = Errand::begin(&settings, Purpose::Change)?;
            let desk = errand.desk();
            let mut answer = desk.answer(first).await;
            while let Some((wait, request)) = next(not_refused(answer)?)? {
                tokio::time::sleep(wait).await;
                answer = desk.answer(request).await;
            }
            Ok(())
        });
    };
    let mut answer = answer;
    while let Some((wait, request)) = next(not_refused(answer)?)? {
        std::thread::sleep(wait);
        answer =
            asked(&request)?.ok_or_else(|| Failure::Said("the daemon has stopped: start it and try again".into()))?;
    }
    Ok(())
}

fn not_refused(answer: Answer) -> Result<Answer, Failure> {
    match answer {
        Answer::Refused(why) => Err(Failure::Said(why)),
        answer => Ok(answer),
    }
}

/// The daemon's answer is not of the kind that was asked for.
pub(super) fn unexpected() -> Failure {
    Failure::Said(UNEXPECTED.into())
}

/// Prints an answer for a program.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::Said(error.to_string()))?;
    say!("{text}")
}

pub(super) const UNEXPECTED: &str = "the daemon answered something else than was asked: is it of another version?";
