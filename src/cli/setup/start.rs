//! Starts the relay under systemd, where its units are here and this is root.

use std::path::Path;
use std::process::Command;

use super::super::output::say;
use super::super::{CONFIG, Failure};
use crate::users::Identity;

/// Whether the relay is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// At once, and at each boot.
    Now,
    /// By whoever set it up.
    Later,
}

/// Whether units serve this configuration: they name no other than the usual one.
pub(super) fn are_units_for(config: &Path) -> bool {
    config == Path::new(CONFIG) && !units().is_empty()
}

/// Whether [`start`] can do it here.
pub(super) fn is_possible(config: &Path) -> bool {
    // The folder is there where systemd is the init system (sd_booted(3)).
    are_units_for(config) && Path::new("/run/systemd/system").exists() && Identity::own().is_root()
}

/// How a person does it.
pub(super) fn advice() -> String {
    format!("sudo systemctl enable --now {}", if units().is_empty() { "mailsluice".into() } else { units().join(" ") })
}

/// Enables the units; starts them too, unless the daemon `runs` already and has taken over what is new.
///
/// # Errors
/// Where systemd says that it has not started.
pub(super) fn start(runs: Daemon) -> Result<(), Failure> {
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["--quiet", "enable"]);
    if runs == Daemon::Absent {
        systemctl.arg("--now");
    }
    let done = systemctl.args(units()).status();
    match done {
        Ok(status) if status.success() => {
            say!("  the relay runs, and starts with the machine: systemctl status mailsluice")
        }
        Ok(_) => Err(Failure::Said(
            "systemd could not start the relay; the configuration is in place. See: journalctl -u mailsluice -n 20"
                .into(),
        )),
        Err(error) => Err(Failure::Said(format!("systemctl cannot be run ({error}); start the relay: {}", advice()))),
    }
}

/// Whether a daemon answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Daemon {
    Running,
    Absent,
}

/// Those of ours that are installed: the sockets first, so that the service takes what they hold.
fn units() -> Vec<&'static str> {
    let is_here = |unit: &&str| FOLDERS.iter().any(|folder| Path::new(folder).join(unit).exists());
    ["mailsluice.socket", "mailsluice.service"].into_iter().filter(is_here).collect()
}

/// Where systemd looks for units of the system, as far as files are installed there (systemd.unit(5)).
const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
