//! `mailsluice health`: for programs that watch the daemon, and who looks by hand.

use std::path::Path;
use std::time::Duration;

use super::Failure;
use super::output::say;
use super::reach::UNEXPECTED;
use crate::config::queue_path;
use crate::control::request::{Answer, Request};
use crate::control::{client, socket_path};

/// Asks the daemon and nobody else. Whatever is wrong is exit code 1: to a health check another one may mean something.
pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let database = queue_path(config).map_err(|errors| Failure::Said(errors.to_string()))?;
    match client::ask_for(PATIENCE, &socket_path(&database), &Request::Health) {
        Ok(Some(Answer::Health { listening, trouble })) if trouble.is_empty() => {
            say!("well: it listens on {}", listening.join(", "))
        }
        Ok(Some(Answer::Health { trouble, .. })) => Err(Failure::Said(trouble.join("\n"))),
        Ok(Some(Answer::Refused(why))) => Err(Failure::Said(why)),
        Ok(Some(_)) => Err(Failure::Said(UNEXPECTED.into())),
        Ok(None) => Err(Failure::Said(format!(
            "no daemon runs with the queue {}: see its log (`journalctl -u mailsluice -e`), or start it",
            database.display()
        ))),
        Err(error) => Err(Failure::Said(error.to_string())),
    }
}

/// The daemon knows within 3 s.
const PATIENCE: Duration = Duration::from_secs(5);
