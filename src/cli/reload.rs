//! `mailsluice reload`: as SIGHUP, but who asks hears how it went.

use std::path::Path;

use super::Failure;
use super::output::say;
use super::reach::UNEXPECTED;
use crate::app::AppError;
use crate::config::queue_path;
use crate::control::request::{Answer, Request};
use crate::control::{client, socket_path};

pub(super) fn run(config: &Path) -> Result<(), Failure> {
    let database = queue_path(config).map_err(AppError::from)?;
    let answer = client::ask(&socket_path(&database), &Request::Reload);
    match answer.map_err(|error| Failure::Said(error.to_string()))? {
        Some(Answer::Reloaded(said)) => say!("{said}"),
        Some(Answer::Refused(why)) => Err(Failure::Said(why)),
        Some(_) => Err(Failure::Said(UNEXPECTED.into())),
        None => Err(Failure::Said(format!("no daemon runs with the queue {}", database.display()))),
    }
}
