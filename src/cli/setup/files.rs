//! Writes what setup makes: whole or not at all, for the daemon and root alone, and over nothing without leave.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown};
use std::path::{Path, PathBuf};

use crate::app::custody::DAEMON;
use crate::users::{Identity, group_id};

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Custody {
    /// Root's; the daemon's group, with this id, may read them.
    Group(u32),
    /// This user's alone.
    Own,
}

/// What may be done to a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Existing {
    /// Nothing.
    Keep,
    /// Another may take its place, and it stays as `….bak`.
    Replace,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It is there now.
    New,
    /// It is there now; what was there before is here.
    Replaced(PathBuf),
    /// It was there already, with the same content.
    Same,
}

impl Custody {
    /// The daemon's group, where this is root and there is such a group.
    pub(in crate::cli) fn here() -> Self {
        match group_id(DAEMON) {
            Some(group) if Identity::own().is_root() => Self::Group(group),
            _ => Self::Own,
        }
    }

    /// Makes the folder where it is missing.
    pub(super) fn make_folder(self, folder: &Path) -> io::Result<()> {
        if folder.exists() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if let Self::Group(group) = self {
            chown(folder, None, Some(group))?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o750))?;
        }
        Ok(())
    }

    /// Writes the file.
    ///
    /// # Errors
    /// Where the system refuses, or something else is there ([`io::ErrorKind::AlreadyExists`]) and must stay.
    pub(super) fn write(self, path: &Path, content: &[u8], existing: Existing) -> io::Result<Written> {
        if fs::read(path).is_ok_and(|found| found == content) {
            self.take(&File::open(path)?)?;
            return Ok(Written::Same);
        }
        let staged = Staged::new(path)?;
        self.take(&staged.file)?;
        (&staged.file).write_all(content)?;
        staged.file.sync_all()?;
        let written = match existing {
            // A link is refused where something has the name.
            Existing::Keep => fs::hard_link(&staged.path, path).map(|()| Written::New)?,
            Existing::Replace => {
                let backup = beside(path, "bak");
                let kept = path.exists();
                if kept {
                    let _ = fs::remove_file(&backup);
                    fs::hard_link(path, &backup)?;
                }
                fs::rename(&staged.path, path)?;
                if kept { Written::Replaced(backup) } else { Written::New }
            }
        };
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(written)
    }

    /// Makes the file theirs.
    pub(in crate::cli) fn take(self, file: &File) -> io::Result<()> {
        let mode = match self {
            Self::Group(group) => {
                fchown(file, Some(0), Some(group))?;
                0o640
            }
            Self::Own => 0o600,
        };
        file.set_permissions(fs::Permissions::from_mode(mode))
    }
}

/// A file under a name of its own, which goes with the value.
struct Staged {
    path: PathBuf,
    file: File,
}

impl Staged {
    fn new(beside_path: &Path) -> io::Result<Self> {
        let path = beside(beside_path, &format!("setup-{}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { path, file })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".");
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn nothing_is_written_over_without_leave_and_then_the_old_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        assert_eq!(Custody::Own.write(&path, b"one", Existing::Keep).unwrap(), Written::New);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = Custody::Own.write(&path, b"two", Existing::Keep).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(Custody::Own.write(&path, b"one", Existing::Keep).unwrap(), Written::Same);

        let backup = folder.path().join("config.toml.bak");
        for (content, before) in [(b"two", b"one"), (b"six", b"two")] {
            assert_eq!(
                Custody::Own.write(&path, content, Existing::Replace).unwrap(),
                Written::Replaced(backup.clone())
            );
            assert_eq!((&fs::read(&path).unwrap()[..], &fs::read(&backup).unwrap()[..]), (&content[..], &before[..]));
        }
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "nothing else is left");
    }

    #[test]
    fn the_daemons_group_may_read_what_root_writes() {
        if !Identity::own().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let etc = folder.path().join("etc");
        let custody = Custody::Group(54_321);
        custody.make_folder(&etc).unwrap();
        let path = etc.join("m365.password");
        custody.write(&path, b"x", Existing::Keep).unwrap();
        let [folder, file] = [&etc, &path].map(|path| {
            let metadata = path.metadata().unwrap();
            (metadata.uid(), metadata.gid(), metadata.mode() & 0o777)
        });
        assert_eq!((folder, file), ((0, 54_321, 0o750), (0, 54_321, 0o640)));
    }
}
