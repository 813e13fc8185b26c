//! `mailq` and `newaliases`: what other programs ask of a mail system by these names, asked of the daemon.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use super::super::Failure;
use super::super::output::say;
use super::super::queue::{Page, list_waiting};
use super::super::reach::UNEXPECTED;
use super::complaint::{Code, Complaint};
use crate::app::AppError;
use crate::config::queue_path;
use crate::control::request::{Answer, Request};
use crate::control::{client, socket_path};

/// Prints what waits, as `mailsluice queue list` does. Where nothing does, it says so as Postfix does: programs look for that.
///
/// # Errors
/// This user may not see it, or nobody has a queue.
pub(super) fn list_queue(config: &Path) -> Result<(), Complaint> {
    permit(config, "`sudo mailq`")?;
    match list_waiting(config)? {
        Page::Messages => Ok(()),
        Page::Nothing => Ok(say!("Mail queue is empty")?),
    }
}

/// Has the daemon read its configuration again, and the aliases with it. Without a daemon nothing is to be done: it reads them
/// when it starts.
///
/// # Errors
/// This user may not, or the daemon finds the configuration wrong.
pub(super) fn read_aliases(config: &Path) -> Result<(), Complaint> {
    if std::fs::metadata(config).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    permit(config, "`sudo newaliases`, or `systemctl reload mailsluice`")?;
    let database = queue_path(config).map_err(|errors| Failure::App(AppError::from(errors)))?;
    let asked = client::ask(&socket_path(&database), &Request::Reload);
    match asked.map_err(Failure::from)? {
        None | Some(Answer::Reloaded(_)) => Ok(()),
        Some(Answer::Refused(why)) => Err(Complaint::new(Code::Config, why)),
        Some(_) => Err(Complaint::new(Code::Software, UNEXPECTED)),
    }
}

/// # Errors
/// The configuration, which says where the queue is, is not for this user. What else may be wrong with it, others tell.
fn permit(config: &Path, instead: &str) -> Result<(), Complaint> {
    match File::open(config) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(Complaint::new(
            Code::NoPermission,
            format!("{}: only root and the daemon's user may read it and ask the daemon: {instead}", config.display()),
        )),
        _ => Ok(()),
    }
}
