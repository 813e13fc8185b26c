//! Whose the queue's files are. The daemon opens nothing that belongs to somebody else, so what root makes in its folder
//! is given to it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::users::Identity;

/// Hands over what root has made in a queue's folder, when it goes.
#[derive(Debug)]
pub struct HandsOver(PathBuf);

impl HandsOver {
    /// For the folder of this database.
    pub fn of(database: &Path) -> Self {
        Self(database.parent().unwrap_or(Path::new("/")).to_owned())
    }
}

impl Drop for HandsOver {
    fn drop(&mut self) {
        // The daemon and `doctor` say so where this has failed.
        let _ = hand_over(&self.0);
    }
}

/// Makes the folder of a queue the daemon's, where root runs this, the daemon has a user, and there is no folder yet.
///
/// # Errors
/// What the system says.
pub fn make_queue_folder(database: &Path) -> io::Result<()> {
    let folder = database.parent().unwrap_or(Path::new("/"));
    let own = Identity::own();
    let Some(daemon) = Identity::named(DAEMON).filter(|_| own.is_root()) else { return Ok(()) };
    if folder.exists() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    chown(folder, Some(daemon.user), daemon.groups.first().copied())
}

/// Gives what belongs to root to the owner of the folder.
fn hand_over(folder: &Path) -> io::Result<()> {
    let metadata = folder.metadata()?;
    let (owner, group) = (metadata.uid(), metadata.gid());
    if owner == 0 || !Identity::own().is_root() {
        return Ok(());
    }
    // The folder's owner may put there what it likes. What is opened is what is judged and given away: no link leads to
    // another file, and a file with a second name may be root's elsewhere.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(&path);
        let Ok(file) = opened else { continue };
        let metadata = file.metadata()?;
        let alone = metadata.is_file() && metadata.nlink() == 1;
        if metadata.uid() == 0 && (alone || metadata.is_dir()) {
            fchown(&file, Some(owner), Some(group))?;
            if metadata.is_dir() {
                hand_over(&path)?;
            }
        }
    }
    Ok(())
}

/// The user and the group that the daemon runs as (`systemd/mailsluice.service`).
pub const DAEMON: &str = "mailsluice";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_made_in_the_daemons_folder_becomes_the_daemons() {
        if !Identity::own().is_root() {
            return; // only root can give things away
        }
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        fs::create_dir(folder.path().join("tokens")).unwrap();
        for name in ["queue.db", "tokens/m365"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        drop(HandsOver::of(&database));
        assert_eq!(database.metadata().unwrap().uid(), 0, "root's own folder stays as it is");
        chown(folder.path(), Some(54_321), Some(54_321)).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let roots = elsewhere.path().join("root's");
        fs::write(&roots, "").unwrap();
        fs::hard_link(&roots, folder.path().join("second-name")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("link")).unwrap();
        drop(HandsOver::of(&database));
        for name in ["queue.db", "tokens", "tokens/m365"] {
            assert_eq!(folder.path().join(name).metadata().unwrap().uid(), 54_321, "{name}");
        }
        assert_eq!(roots.metadata().unwrap().uid(), 0, "what is root's elsewhere stays root's");
        assert_eq!(elsewhere.path().metadata().unwrap().uid(), 0);
    }
}
