//! `mailsluice serve`.

use std::path::Path;

use super::{Failure, runtime, start_log};
use crate::app::{App, AppError};
use crate::config::Config;
use crate::observe::logging::LogFormat;
use crate::receive::Inherited;

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The form of the log on standard output [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl Serve {
    pub(super) fn run(self, config: &Path) -> Result<(), Failure> {
        let settings = Config::load(config).map_err(AppError::from)?;
        start_log(self.log_format);
        // Before there are threads: it changes the environment.
        let inherited = Inherited::from_environment();
        let runtime = runtime()?;
        let done = runtime.block_on(async { App::build(settings, Some(config), inherited).await?.run().await });
        // What still runs has had its time; a lookup that hangs must not hold the process.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        done.map_err(Failure::from)
    }
}
