//! Where the queue lies: its folder, lock, ballast and the room left on its file system.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statfs, statvfs};

use super::container;
use crate::queue::error::OpenError;
use crate::time::since_boot;

/// The machine that a process runs on, as far as it can vouch for the time that has passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// What distinguishes this boot of it from all others; empty where it does not say.
    pub boot: String,
    /// How long it has been up, by the clock that scheduling time runs by.
    pub up: Duration,
}

impl Machine {
    /// This machine, now.
    pub fn now() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { boot: boot.trim().to_owned(), up: since_boot() }
    }
}

/// A queue's folder, held for this process alone while the value lives.
#[derive(Debug)]
pub(super) struct Place {
    database: PathBuf,
    lock: File,
}

impl Place {
    /// Makes the folder where it is missing (0700), refuses one that forgets, and locks it.
    pub(super) fn take(database: &Path, ephemeral: bool) -> Result<Self, OpenError> {
        let folder = folder_of(database);
        if !folder.exists() {
            std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
                .create(folder)
                .map_err(|error| unwritable(folder, folder, "cannot make the folder of the queue", error))?;
        }
        if let Ok(metadata) = database.metadata() {
            refuse_foreign(database, metadata.uid())?;
        }
        if let Some(kind) = kind_of(folder).filter(|_| !ephemeral) {
            return Err(OpenError::Ephemeral { path: folder.to_owned(), kind });
        }
        let path = beside(database, "lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| unwritable(folder, &path, "cannot open the lock of the queue", error))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            let _ = lock.read_to_string(&mut text);
            return Err(OpenError::Locked { path, pid: text.trim().parse().ok() });
        }
        // Who holds it, for the message of the one who cannot have it; the lock itself does not rest on it.
        let _ = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        Ok(Self { database: database.to_owned(), lock })
    }

    /// Octets that this process may still write to the file system; none where it does not say.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        free_in(folder_of(&self.database))
    }

    /// Lays the ballast down where it is missing and there is ample room.
    pub(super) fn lay_ballast(&self, min_free: u64) {
        let path = beside(&self.database, "ballast");
        if path.exists() || self.free_bytes().is_none_or(|free| free < min_free.saturating_add(2 * BALLAST)) {
            return;
        }
        let laid = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| fallocate(&file, FallocateFlags::empty(), 0, BALLAST).map_err(Into::into));
        if laid.is_err() {
            let _ = std::fs::remove_file(&path);
        }
    }

    /// Frees the ballast; whether there was any.
    pub(super) fn free_ballast(&self) -> bool {
        std::fs::remove_file(beside(&self.database, "ballast")).is_ok()
    }

    /// Octets of the write-ahead log's file.
    pub(super) fn log_bytes(&self) -> u64 {
        beside(&self.database, "wal").metadata().map_or(0, |metadata| metadata.len())
    }
}

impl Drop for Place {
    /// Closing would not do: a program that is just being started has the file open too, until it is loaded, and the lock
    /// lives as long (flock(2)).
    fn drop(&mut self) {
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

/// What can be told of a queue's place without taking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The folder of the database.
    pub folder: PathBuf,
    /// Why its file system is none for a queue, where it is not.
    pub forgetful: Option<&'static str>,
    /// Octets that this process may still write there; none where nobody says.
    pub free: Option<u64>,
    /// The process that has, or had, the queue.
    pub process: Option<u32>,
}

impl Survey {
    /// Looks, and changes nothing.
    pub fn of(database: &Path) -> Self {
        let folder = folder_of(database);
        let lock = std::fs::read_to_string(beside(database, "lock"));
        Self {
            folder: folder.to_owned(),
            forgetful: kind_of(folder),
            free: free_in(folder),
            process: lock.ok().and_then(|text| text.trim().parse().ok()),
        }
    }
}

/// Whether a process has the queue at this moment; not known to who may not read its lock.
pub(super) fn is_held(database: &Path) -> bool {
    let lock = File::open(beside(database, "lock"));
    lock.is_ok_and(|lock| match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => flock(&lock, FlockOperation::Unlock).is_err(),
        Err(_) => true,
    })
}

/// Removes a file, where it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn folder_of(database: &Path) -> &Path {
    database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What forgets there; none where nothing does.
fn kind_of(folder: &Path) -> Option<&'static str> {
    let kind = statfs(folder).ok().and_then(|fs| forgetful(fs.f_type as u64));
    kind.or_else(|| container::is_own_layer(folder).then_some(LAYER))
}

/// What the system's refusal to write in the folder means; `path` and `what` tell of it where it means something else.
fn unwritable(folder: &Path, path: &Path, what: &'static str, source: io::Error) -> OpenError {
    // The folder that is to be made has no owner yet.
    let there = folder.ancestors().find(|there| there.exists()).unwrap_or(folder);
    match (source.kind(), there.metadata()) {
        (io::ErrorKind::PermissionDenied, Ok(metadata)) => OpenError::Unwritable {
            path: there.to_owned(),
            user: rustix::process::geteuid().as_raw(),
            owner: metadata.uid(),
            mode: metadata.mode() & 0o7777,
        },
        (io::ErrorKind::ReadOnlyFilesystem, _) => OpenError::ReadOnly { path: folder.to_owned() },
        _ => OpenError::Io { path: path.to_owned(), what, source },
    }
}

fn free_in(folder: &Path) -> Option<u64> {
    statvfs(folder).ok().map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize))
}

/// The file beside the database with this suffix, as SQLite names its own: `queue.db-wal`.
pub(super) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-");
    name.push(suffix);
    name.into()
}

/// One user must not meddle with the queue of another. Root may: SQLite gives the files that it makes to the owner of
/// the database.
pub(super) fn refuse_foreign(database: &Path, owner: u32) -> Result<(), OpenError> {
    let me = rustix::process::geteuid().as_raw();
    if me == owner || me == 0 {
        return Ok(());
    }
    Err(OpenError::Owner { path: database.to_owned(), owner })
}

/// File systems that lose their content at a restart, or on which SQLite's locks and log cannot be trusted: their
/// magic numbers as statfs(2) lists them.
fn forgetful(magic: u64) -> Option<&'static str> {
    match magic & 0xffff_ffff {
        0x0102_1994 => Some("tmpfs (memory)"),
        0x8584_58f6 => Some("ramfs (memory)"),
        0x794c_7630 => Some("an overlay (a container's own layer)"),
        0x6175_6673 => Some("aufs (a container's own layer)"),
        0x6969 | 0xff53_4d42 | 0xfe53_4d42 | 0x517b => Some("a network file system"),
        _ => None,
    }
}

const LAYER: &str = "the container's own layer";
/// Enough for the claims and settlements of some thousand messages.
const BALLAST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_once_it_is_left_whoever_else_has_its_files_open() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        let place = Place::take(&database, true).unwrap();
        // What a program that is being started has until it is loaded.
        let inherited = place.lock.try_clone().unwrap();
        assert!(matches!(Place::take(&database, true), Err(OpenError::Locked { pid: Some(_), .. })));
        drop(place);
        assert!(Place::take(&database, true).is_ok());
        drop(inherited);
    }
}
