//! Checkpoints off the commit path: a thread with a connection of its own moves what the log holds into the database.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;
use super::connection::{BUSY_TIMEOUT, failed, may_tidy, open_file};

/// The thread that checkpoints, and what it could not do.
#[derive(Debug)]
pub(super) struct Checkpointer {
    /// None once the thread is to end.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    failure: Arc<Mutex<Option<StoreError>>>,
    /// Held while the thread is at a checkpoint.
    at_work: Arc<Mutex<()>>,
    /// Octets of the log from which on the writer waits.
    too_much: u64,
}

impl Checkpointer {
    /// Starts the thread. It ends when this value is dropped.
    pub(super) fn start(path: &Path) -> rusqlite::Result<Self> {
        let connection = open_file(path)?;
        let (wake, woken) = sync_channel(1);
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        let at_work = Arc::new(Mutex::new(()));
        let working = Arc::clone(&at_work);
        let path = path.to_owned();
        let thread = std::thread::spawn(move || {
            while woken.recv().is_ok() {
                let _at_work = working.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = checkpoint(&connection, "PASSIVE") {
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
            may_tidy(&connection, &path);
        });
        Ok(Self { wake: Some(wake), thread: Some(thread), failure, at_work, too_much: LOG_BYTES_TOO_MUCH })
    }

    /// Whether every checkpoint so far has succeeded: what failed once may have lost pages that the kernel dropped.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(StoreError::Failed(detail)) => Err(StoreError::Failed(format!("checkpoint: {detail}"))),
            Some(other) => Err(other.clone()),
            None => Ok(()),
        }
    }

    /// Moves what the log holds because there is no room for more of it. SQLite lets only one checkpoint run, and tells a
    /// second one so at once, so that of the thread's own is waited for: without it a disk would look full that is not.
    pub(super) fn make_room(&self, writer: &Connection) -> Result<(), StoreError> {
        let _at_work = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        restart(writer).map(drop)
    }

    /// Wakes the thread where the log is worth it. Where commits come faster than it can follow, so that the log is
    /// never at rest and would grow for ever, the writer waits for one checkpoint of its own.
    ///
    /// That cannot help while somebody reads one state of the queue for long, as a backup does: the log grows meanwhile,
    /// and the writer looks again only when it has grown as much once more.
    pub(super) fn after_commit(&mut self, writer: &Connection, log_bytes: u64) -> Result<(), StoreError> {
        if log_bytes >= self.too_much {
            self.too_much = match restart(writer)? {
                Restarted::HeldByReader => log_bytes.saturating_add(LOG_BYTES_TOO_MUCH),
                Restarted::AsFarAsItGoes => LOG_BYTES_TOO_MUCH,
            };
            return Ok(());
        }
        if log_bytes < LOG_BYTES_TOO_MUCH {
            self.too_much = LOG_BYTES_TOO_MUCH;
        }
        if let Some(wake) = self.wake.as_ref().filter(|_| log_bytes >= LOG_BYTES_WORTH_IT) {
            // Full: the thread has been told already.
            let _ = wake.try_send(());
        }
        Ok(())
    }
}

impl Drop for Checkpointer {
    /// Waits until the thread has closed its connection: the last one to close removes the log.
    fn drop(&mut self) {
        self.wake = None;
        // A thread that has panicked has told so itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// How far a checkpoint of the writer's own has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restarted {
    /// All of the log was moved, or another checkpoint is still at it.
    AsFarAsItGoes,
    /// A reader holds what the log holds.
    HeldByReader,
}

/// Moves all of the log that no reader holds, on the writer's own connection. Everybody waits for the writer, so it waits
/// for others a moment only.
pub(super) fn restart(writer: &Connection) -> Result<Restarted, StoreError> {
    writer.busy_timeout(PATIENCE).map_err(failed)?;
    let done = checkpoint(writer, "RESTART");
    writer.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    done
}

/// A full disk is no failure here: the log keeps what the database has no room for.
fn checkpoint(connection: &Connection, mode: &str) -> Result<Restarted, StoreError> {
    // Whether it was in vain, and the pages of the log: none where another checkpoint was under way (SQLite's
    // documentation of the pragma).
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let done = connection.query_row(&sql, (), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    match done.map_err(failed) {
        Ok((1, 0..)) => Ok(Restarted::HeldByReader),
        Ok(_) | Err(StoreError::Full(_)) => Ok(Restarted::AsFarAsItGoes),
        Err(error) => Err(error),
    }
}

/// What is left of the log's file when it begins anew: less than would make it look worth a checkpoint.
pub(super) const LOG_BYTES_AT_REST: u64 = 2 << 20;
const LOG_BYTES_WORTH_IT: u64 = 4 << 20;
const LOG_BYTES_TOO_MUCH: u64 = 64 << 20;
/// How long the writer waits for others in a checkpoint of its own.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::queue::QueueStore as _;
    use crate::queue::sqlite::{Options, SqliteStore};

    #[test]
    fn who_wants_room_waits_for_a_checkpoint_that_is_under_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let mut store = SqliteStore::open(Options { path, max_bytes: u64::MAX, min_free: 0, ephemeral: true }).unwrap();
        let at_work = Arc::clone(&store.checkpointer.at_work);
        let under_way = at_work.lock().unwrap();
        let (done, made) = mpsc::channel();
        let making = std::thread::spawn(move || done.send(store.checkpoint()));
        assert_eq!(made.recv_timeout(Duration::from_millis(100)).err(), Some(mpsc::RecvTimeoutError::Timeout));
        drop(under_way);
        assert!(made.recv_timeout(Duration::from_secs(60)).unwrap().is_ok());
        making.join().unwrap().unwrap();
    }
}
