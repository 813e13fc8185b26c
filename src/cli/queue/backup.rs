//! `mailsluice queue backup`.

use std::path::{Path, PathBuf};

use super::super::Failure;
use super::super::output::{counted, say};
use crate::app::AppError;
use crate::config::{Config, QueueConfig, queue_path};
use crate::queue::sqlite::{BackupError, Existing, back_up};
use crate::time::wall_clock;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Backup {
    /// The copy. It appears when it is complete, checked and on disk, readable by who runs this alone
    file: PathBuf,
    /// Replace a file of that name
    #[arg(long)]
    force: bool,
}

impl Backup {
    /// In this process: the daemon may write nowhere but beside its queue.
    pub(in crate::cli) fn run(self, config: &Path) -> Result<(), Failure> {
        let database = queue_path(config).map_err(AppError::from)?;
        let existing = if self.force { Existing::Replace } else { Existing::Keep };
        let begun = wall_clock();
        // Whatever else may be wrong with the configuration, a copy is wanted.
        let min_free = Config::load_without_secrets(config)
            .map_or(QueueConfig::default().min_free, |config| config.queue.min_free);
        let copied = back_up(&database, &self.file, existing, min_free).map_err(|error| match error {
            BackupError::Open(error) => Failure::App(error.into()),
            other => Failure::Said(other.to_string()),
        })?;
        let seconds = wall_clock().since(begun).as_secs_f64();
        say!(
            "{}: {} that {} not done, and the history of {} more; {} octets, checked, in {seconds:.1} s",
            self.file.display(),
            counted(copied.waiting, "message"),
            if copied.waiting == 1 { "is" } else { "are" },
            copied.messages.saturating_sub(copied.waiting),
            copied.octets
        )?;
        say!(
            "It is the queue of {begun}. Put back later, it sends again what was sent since: see the README, \"Backup and recovery\"."
        )
    }
}
