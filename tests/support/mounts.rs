//! Mounts that a test has to itself.

use std::process::Command;

/// A program in a mount namespace of its own, in which it may mount what it likes: what to run there is still to be added.
pub(crate) fn unshared() -> Command {
    // Root in a container may lack the right to mount that a user namespace of its own gives.
    let flags = ["-m", "-Urm"].into_iter().find(|flags| {
        let mut tried = Command::new("unshare");
        tried.args([flags, "mount", "-t", "tmpfs", "none"]).arg(std::env::temp_dir());
        tried.output().is_ok_and(|tried| tried.status.success())
    });
    // Goes with the test, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "unshare"]);
    command.arg(flags.expect("the right to mount: as root, or where users may make namespaces"));
    command
}
