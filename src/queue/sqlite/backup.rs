//! A copy of the queue as it is at one moment, made beside whoever uses it.
//!
//! `VACUUM INTO` reads one snapshot by a connection that cannot write, and needs no temporary file. Of 2 GB it takes as long
//! as SQLite's backup interface (6 s where this was measured), leaves free pages out, reads each row while it copies, and
//! its result is one file without a log. The daemon's log cannot begin anew meanwhile and grows by what is written; see
//! `checkpoint.rs`.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::connection::open_to_read;
use super::damage;
use super::place::{Survey, beside, folder_of, refuse_foreign, remove};
use crate::queue::error::OpenError;

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Messages that are not done.
    pub waiting: u64,
    /// All messages, with those whose history is kept.
    pub messages: u64,
    /// Octets of the file.
    pub octets: u64,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The queue is not there, or not ours, or damaged.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// It is there already.
    #[error("{0}: is there already; name another file, or say --force to replace it")]
    Exists(PathBuf),
    /// It would lie upon the queue itself.
    #[error("{0}: belongs to the queue itself; name another file")]
    Queue(PathBuf),
    /// There is no room for it.
    #[error(
        "{path}: there is no room for a copy: it may take {wanted} octets, and {free} are free, of which the queue needs \
         {spare} (`queue.min_free`) to go on taking mail; name a file on another disk"
    )]
    NoRoom {
        /// The folder.
        path: PathBuf,
        /// Octets of the queue.
        wanted: u64,
        /// Octets that this process may write there.
        free: u64,
        /// Octets of these that are to stay free.
        spare: u64,
    },
    /// The copy is not what was read.
    #[error(
        "{path}: the copy is not sound ({what}), and was removed; is the disk or the memory of this machine broken?"
    )]
    Unsound {
        /// The copy.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system refused.
    #[error("{path}: {what}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused.
    #[error("{path}: cannot be copied: {detail}")]
    Database {
        /// The queue.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
}

/// What to do where the file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and there is no copy.
    Keep,
    /// It is replaced, once the copy is sound and on disk.
    Replace,
}

/// Copies the queue with this database to `file`, whether somebody uses it or not: everything that was committed before.
/// The copy is checked and on disk (0600) before it has its name. Nothing is written to the queue. On its own file system
/// `min_free` octets stay free, without which it would take no more mail. Blocking.
///
/// # Errors
/// What is in the way; then there is no new file.
pub fn back_up(database: &Path, file: &Path, existing: Existing, min_free: u64) -> Result<Copied, BackupError> {
    let io = |path: &Path, what| {
        let path = path.to_owned();
        move |source| BackupError::Io { path, what, source }
    };
    let found = database.metadata().map_err(io(database, "there is no queue to copy"))?;
    refuse_foreign(database, found.uid())?;
    if belongs_to(database, file) {
        return Err(BackupError::Queue(file.to_owned()));
    }
    if existing == Existing::Keep && file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.to_owned()));
    }
    let wanted = found.len() + beside(database, "wal").metadata().map_or(0, |log| log.len());
    let folder = folder_of(file);
    let spare = if folder.metadata().is_ok_and(|folder| folder.dev() == found.dev()) { min_free } else { 0 };
    if let Some(free) = Survey::of(file).free.filter(|free| *free < wanted.saturating_add(spare)) {
        return Err(BackupError::NoRoom { path: folder.to_owned(), wanted, free, spare });
    }
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    remove(&partial).map_err(io(&partial, "cannot be removed"))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    let made = made.map_err(io(&partial, "cannot be made"))?;
    let done = copy(database, &partial).and_then(|copied| {
        made.sync_all().map_err(io(&partial, "cannot be written"))?;
        std::fs::rename(&partial, file).map_err(io(file, "cannot be given its name"))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder, "cannot be written"))?;
        Ok(copied)
    });
    if done.is_err() {
        let _ = remove(&partial);
    }
    done
}

fn copy(database: &Path, partial: &Path) -> Result<Copied, BackupError> {
    let target = partial.to_str().ok_or_else(|| BackupError::Io {
        path: partial.to_owned(),
        what: "cannot be named to SQLite",
        source: ErrorKind::InvalidInput.into(),
    })?;
    let copied = open_to_read(database).and_then(|connection| connection.execute("VACUUM INTO ?1", [target]));
    copied.map_err(|error| refused(database, &error))?;
    let unsound = |what: String| BackupError::Unsound { path: partial.to_owned(), what };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let copy = Connection::open_with_flags(partial, flags).map_err(|error| unsound(error.to_string()))?;
    if let Some(wrong) = damage::check(&copy).map_err(|error| unsound(error.to_string()))? {
        return Err(unsound(wrong));
    }
    let count = |sql: &str| {
        let counted = copy.query_row(sql, (), |row| row.get::<_, i64>(0));
        counted.map(i64::cast_unsigned).map_err(|error| unsound(error.to_string()))
    };
    Ok(Copied {
        waiting: count("SELECT count(*) FROM delivery WHERE state < 5")?,
        messages: count("SELECT count(*) FROM message")?,
        octets: partial.metadata().map_or(0, |metadata| metadata.len()),
    })
}

fn refused(database: &Path, error: &rusqlite::Error) -> BackupError {
    let path = database.to_owned();
    match super::connection::not_opened(database, error) {
        damaged @ OpenError::Damaged { .. } => BackupError::Open(damaged),
        _ if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            BackupError::Database { path, detail: "the file system of the copy is full".into() }
        }
        _ => BackupError::Database { path, detail: error.to_string() },
    }
}

/// Whether a copy with this name would be, or take the place of, a file that the queue uses.
fn belongs_to(database: &Path, file: &Path) -> bool {
    let same = |one: &Path, two: &Path| {
        one.metadata().ok().zip(two.metadata().ok()).is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
    };
    if same(database, file) {
        return true;
    }
    let (Some(name), Some(queue)) = (file.file_name(), database.file_name()) else { return false };
    let (name, queue) = (name.to_string_lossy(), queue.to_string_lossy());
    let suffix = name.strip_prefix(&*queue).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    suffix && same(folder_of(file), folder_of(database))
}
