//! `mailsluice serve`.

use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
        raise_open_files();
        // Before there are threads: it changes the environment.
        let inherited = Inherited::from_environment();
        let runtime = runtime()?;
        let done = runtime.block_on(async { App::build(settings, Some(config), inherited).await?.run().await });
        // What still runs has had its time; a lookup that hangs must not hold the process.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        done.map_err(Failure::from)
    }
}

/// Each connection is an open file, and the usual soft limit of 1024 is for programs that use select(2), which we do not.
/// Where this fails, fewer connections are taken at a time, and that is told when it happens.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
