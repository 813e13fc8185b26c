//! Connections to the database: how they are opened, and what SQLite's errors mean.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags};

use super::place::{beside, folder_of, remove};
use super::{checkpoint, damage, schema};
use crate::queue::error::{Full, OpenError, StoreError};

/// A connection with the settings that all of them share; the first makes file and tables.
pub(super) fn connect(path: &Path) -> Result<Connection, OpenError> {
    lay(path)?;
    let mut connection = open_file(path).map_err(|error| not_opened(path, &error))?;
    let found: i64 = connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| not_opened(path, &error))?;
    if !(0..=LAST_VERSION_EVER).contains(&found) {
        return Err(damage::report(path, &format!("it claims to have version {found} of the tables")));
    }
    if found > schema::VERSION {
        return Err(OpenError::Newer { path: path.to_owned(), found, known: schema::VERSION });
    }
    schema::migrate(&mut connection, found).map_err(|error| not_opened(path, &error))?;
    if found < schema::VERSION {
        // An older package must not be put over a newer queue, and reads the head of the file (deploy/debian/preinst).
        checkpoint::restart(&connection)
            .map_err(|error| OpenError::Database { path: path.to_owned(), detail: error.to_string() })?;
    }
    Ok(connection)
}

/// Makes the file where there is none. SQLite would take an empty one for a new queue, and throw away a log that it finds
/// beside it; it would also make the file readable by whom the umask allows. Log and index take the mode of the database.
fn lay(path: &Path) -> Result<(), OpenError> {
    let io = |what| move |source| OpenError::Io { path: path.to_owned(), what, source };
    if !path.exists() {
        let log = beside(path, "wal").metadata().map_or(0, |metadata| metadata.len());
        return match log {
            0 => make(path),
            _ => Err(damage::report(path, "the database is not there, but its log is")),
        };
    }
    // Whether this user may.
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path);
    let metadata = file.and_then(|file| file.metadata()).map_err(io("cannot open the database of the queue"))?;
    if metadata.len() == 0 {
        return Err(damage::report(path, "the file is empty"));
    }
    Ok(())
}

/// A new queue gets its name when it is complete: what a crash or a full disk leaves of its making must not look like a
/// damaged one.
fn make(path: &Path) -> Result<(), OpenError> {
    let io = |what| move |source| OpenError::Io { path: path.to_owned(), what, source };
    let new = beside(path, "new");
    remove(&new).map_err(io("cannot be made anew"))?;
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&new);
    let file = file.map_err(io("cannot make the database of the queue"))?;
    let filled = Connection::open_with_flags(&new, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .and_then(|mut connection| {
            // Before the first table, or it is without effect.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "journal_mode", "OFF")?;
            schema::migrate(&mut connection, 0)
        });
    filled.map_err(|error| OpenError::Database { path: path.to_owned(), detail: error.to_string() })?;
    file.sync_all()
        .and_then(|()| std::fs::rename(&new, path))
        .and_then(|()| std::fs::File::open(folder_of(path))?.sync_all())
        .map_err(io("cannot make the database of the queue"))
}

/// Opens a database. A connection that is the last to close leaves the log as it is, until [`may_tidy`] is said of it.
pub(super) fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // Or each value that is bound to a LIMIT has its statement compiled anew, since a plan might depend on it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", checkpoint::LOG_BYTES_AT_REST.cast_signed())?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // What more is worth, the kernel caches. Readers have less (`read.rs`).
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A connection that reads, and writes nothing, not even where it is the last to close.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The last connection to close may move what the log holds into the database and remove it, unless that is damaged.
pub(super) fn may_tidy(connection: &Connection, path: &Path) {
    // Where this fails the log stays, and the next opening takes it up.
    let _ = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, damage::is_marked(path));
}

/// Why the database could not be opened or taken up.
pub(super) fn not_opened(path: &Path, error: &Error) -> OpenError {
    // Tables that are missing, or there too early, are an error without a name.
    if is_damage(error) || error.sqlite_error_code() == Some(ErrorCode::Unknown) {
        return damage::report(path, &error.to_string());
    }
    OpenError::Database { path: path.to_owned(), detail: error.to_string() }
}

/// What an error of SQLite means: no room, a damaged file, or another end.
pub(super) fn failed(error: Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(Full::Disk),
        _ if is_damage(&error) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}

/// Whether the file holds what nobody has written to it: pages that are none, or values that cannot be.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::SqliteFailure(failure, _) => {
            matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        }
        Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::QueryReturnedNoRows
        | Error::Utf8Error(..) => true,
        _ => false,
    }
}

/// How long a connection waits for another one.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// A version beyond is no version.
const LAST_VERSION_EVER: i64 = 100_000;
