//! Listeners beside their TCP addresses: paths of Unix sockets, what systemd should hand over, and certificates.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use super::Finding;
use crate::config::identity::IdentityError;
use crate::config::{ListenAddress, ListenerConfig};
use crate::receive::unix::is_dead;
use crate::users::Identity;

/// What lies at the path of a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    /// Nothing.
    Nothing,
    /// A socket on which somebody answers.
    Served,
    /// A socket that nobody serves.
    Dead,
    /// Something else.
    Foreign,
}

/// What can be seen of a path that a listener wants.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which.
    pub path: PathBuf,
    /// What is there.
    pub lies: Lies,
    /// Owner, group and mode of its folder; none where there is no such folder.
    pub folder: Option<(u32, u32, u32)>,
    /// A folder on the way to it that the daemon's user may not pass.
    pub bars: Option<PathBuf>,
}

impl Facts {
    /// Looks, with the eyes of `daemon`. Where a socket lies, connects to it for a moment.
    pub fn gather(path: &Path, daemon: &Identity) -> Self {
        let lies = match path.symlink_metadata() {
            Err(_) => Lies::Nothing,
            Ok(metadata) if !metadata.file_type().is_socket() => Lies::Foreign,
            Ok(_) if is_dead(path).unwrap_or(false) => Lies::Dead,
            Ok(_) => Lies::Served,
        };
        let folder = path.parent().and_then(|folder| folder.metadata().ok()).filter(std::fs::Metadata::is_dir);
        let folder = folder.map(|folder| (folder.uid(), folder.gid(), folder.mode() & 0o7777));
        Self { path: path.to_owned(), lies, folder, bars: daemon.barred_at(path) }
    }
}

/// What to make of it. `daemon` is its user, and `runs` whether it does.
pub fn judge(facts: &Facts, daemon: &Identity, runs: bool) -> Finding {
    let address = ListenAddress::Unix(facts.path.clone());
    let place = facts.path.parent().unwrap_or(&facts.path).display().to_string();
    let Some((owner, group, mode)) = facts.folder else {
        let seen = format!("{address}: there is no folder {place}");
        if !runs && facts.path.starts_with("/run") {
            let advice =
                "none, where the unit makes it (RuntimeDirectory=mailsluice for /run/mailsluice); else add that";
            return Finding::warning(CHECK, seen, advice);
        }
        let advice = "make it, for the daemon's user (under systemd: RuntimeDirectory=), or correct `address`";
        return Finding::failed(CHECK, seen, advice);
    };
    if facts.bars.is_some() || !daemon.may(3, owner, group, mode) {
        let seen = format!("{address}: the daemon's user {} may not write to {place}", daemon.name);
        return Finding::failed(CHECK, seen, "give the folder to the daemon's user, or choose another path");
    }
    match (facts.lies, runs) {
        (Lies::Foreign, _) => Finding::failed(
            CHECK,
            format!("{address}: what lies there is no socket"),
            "remove it, or choose another path",
        ),
        (Lies::Served, true) => Finding::ok(CHECK, format!("the daemon listens on {address}")),
        (Lies::Served, false) => Finding::failed(
            CHECK,
            format!("{address}: another program listens there"),
            "`sudo ss -lxp` shows which; if it is systemd, for mailsluice.socket, start the service; else stop it, or choose another path",
        ),
        (Lies::Nothing | Lies::Dead, true) => Finding::warning(
            CHECK,
            format!("the daemon runs and does not listen on {address}"),
            "`systemctl reload mailsluice`, and see its log: it may run with an older configuration",
        ),
        (Lies::Nothing | Lies::Dead, false) => Finding::ok(CHECK, format!("{address} is free for the daemon")),
    }
}

/// What the service manager hands over is known to the daemon alone.
pub fn handed_over(address: &ListenAddress) -> Finding {
    Finding::ok(
        CHECK,
        format!("{address} comes from the service manager: `systemctl list-sockets` shows whether it has it"),
    )
}

/// Whether the certificate of a listener and its key belong together; none where there is none, or the key cannot be seen
/// from here. Reads both; blocking.
pub fn certificate(listener: &ListenerConfig) -> Option<Finding> {
    let identity = &listener.tls.as_ref()?.identity;
    let of = format!("the certificate of the listener on {}", listener.addresses.first()?);
    match identity.read() {
        Ok(_) => Some(Finding::ok(CERTIFICATE, format!("{of} fits its key"))),
        Err(IdentityError::Secret(_)) => None,
        Err(why) => Some(Finding::failed(
            CERTIFICATE,
            format!("{of}, {}, cannot be used: {why}", identity.certificate.display()),
            "put the certificate and the key that it was requested with in their places, then `mailsluice check`",
        )),
    }
}

const CHECK: &str = "listener";
const CERTIFICATE: &str = "certificate";

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::Standing;
    use super::*;

    #[test]
    fn a_path_is_judged_by_what_lies_there_and_who_may_write() {
        let me = Identity::own();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smtp");
        let standing = |daemon: &Identity, runs| judge(&Facts::gather(&path, daemon), daemon, runs).standing;
        assert_eq!((standing(&me, false), standing(&me, true)), (Standing::Ok, Standing::Warning));
        let listens = UnixListener::bind(&path).unwrap();
        assert_eq!((standing(&me, false), standing(&me, true)), (Standing::Failed, Standing::Ok));
        drop(listens);
        assert_eq!((standing(&me, false), standing(&me, true)), (Standing::Ok, Standing::Warning));
        let stranger = Identity { name: "mailsluice".into(), user: 54_321, groups: vec![54_322] };
        assert_eq!(standing(&stranger, false), Standing::Failed);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "a letter").unwrap();
        assert_eq!((standing(&me, false), standing(&me, true)), (Standing::Failed, Standing::Failed));
        let nowhere = Facts::gather(&folder.path().join("absent/smtp"), &me);
        assert!(judge(&nowhere, &me, false).seen.contains("there is no folder"));
    }
}
