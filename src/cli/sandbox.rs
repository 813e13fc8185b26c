//! `mailsluice sandbox`.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::output::say;
use super::{Failure, runtime};
use crate::sandbox::{Fault, FaultRule, Sandbox, SandboxConfig};

#[derive(Debug, clap::Args)]
pub(super) struct SandboxCommand {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:5870", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where certificates and delivered messages go
    #[arg(long, default_value = "mailsluice-sandbox", value_name = "DIR")]
    directory: PathBuf,
    /// A fault to rehearse, such as `quota`, `quota:3` (three times) or `slow-dot=20` (seconds)
    #[arg(long, value_name = "NAME")]
    fault: Option<FaultRule>,
    /// Say which faults there are, and stop
    #[arg(long)]
    list_faults: bool,
}

impl SandboxCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.list_faults {
            let rows: Vec<Vec<String>> =
                Fault::ALL.iter().map(|fault| vec![fault.name().into(), fault.about().into()]).collect();
            return super::table::print(&["FAULT", "WHAT HAPPENS"], &rows);
        }
        runtime()?.block_on(async {
            let config = SandboxConfig {
                listen: self.listen,
                authority: Some(self.directory.clone()),
                mail: Some(self.directory.join("mail")),
                fault: self.fault,
                ..SandboxConfig::default()
            };
            let (user, password) = (config.user.clone(), config.password.clone());
            let sandbox = Sandbox::start(config).await.map_err(|error| {
                Failure::Said(format!(
                    "the sandbox cannot start at {} with {}: {error}",
                    self.listen,
                    self.directory.display()
                ))
            })?;
            say!("The sandbox plays smtp.office365.com on {}. It sends nothing anywhere.", sandbox.address())?;
            say!("  user           {user}")?;
            // Not a secret: it opens nothing but this play.
            say!("  password       {}", secrecy::ExposeSecret::expose_secret(&password))?;
            say!("  authority      {}", self.directory.join("ca.pem").display())?;
            say!("  delivered to   {}", self.directory.join("mail").display())?;
            say!("Ctrl-C stops it.")?;
            let _ = tokio::signal::ctrl_c().await;
            sandbox.stop().await;
            Ok(())
        })
    }
}
