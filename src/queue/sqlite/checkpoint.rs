//! Checkpoints off the commit path: a thread with a connection of its own moves what the log holds into the database.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::{StoreError, failed, open_file};

/// The thread that checkpoints, and what it could not do.
#[derive(Debug)]
pub(super) struct Checkpointer {
    wake: SyncSender<()>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Checkpointer {
    /// Starts the thread. It ends when this value is dropped.
    pub(super) fn start(path: &Path) -> rusqlite::Result<Self> {
        let connection = open_file(path)?;
        let (wake, woken) = sync_channel(1);
        let failure = Arc::new(Mutex::new(None));
        let told = Arc::clone(&failure);
        std::thread::spawn(move || {
            while woken.recv().is_ok() {
                if let Err(StoreError::Failed(detail)) = checkpoint(&connection, "PASSIVE") {
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(detail);
                }
            }
        });
        Ok(Self { wake, failure })
    }

    /// Whether every checkpoint so far has succeeded: what failed once may have lost pages that the kernel dropped.
    pub(super) fn health(&self) -> Result<(), StoreError> {
        match &*self.failure.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(detail) => Err(StoreError::Failed(format!("checkpoint: {detail}"))),
            None => Ok(()),
        }
    }

    /// Wakes the thread where the log is worth it. Where commits come faster than it can follow, so that the log is
    /// never at rest and would grow for ever, the writer waits for one checkpoint of its own.
    pub(super) fn after_commit(&self, writer: &Connection, log_bytes: u64) -> Result<(), StoreError> {
        if log_bytes >= LOG_BYTES_TOO_MUCH {
            return restart(writer);
        }
        if log_bytes >= LOG_BYTES_WORTH_IT {
            // Full: the thread has been told already.
            let _ = self.wake.try_send(());
        }
        Ok(())
    }
}

/// Moves all of the log that no reader holds, on the writer's own connection.
pub(super) fn restart(writer: &Connection) -> Result<(), StoreError> {
    checkpoint(writer, "RESTART")
}

/// A full disk is no failure here: the log keeps what the database has no room for.
fn checkpoint(connection: &Connection, mode: &str) -> Result<(), StoreError> {
    let done = connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), (), |_| Ok(()));
    match done.map_err(failed) {
        Ok(()) | Err(StoreError::Full(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What is left of the log's file when it begins anew: less than would make it look worth a checkpoint.
pub(super) const LOG_BYTES_AT_REST: u64 = 2 << 20;
const LOG_BYTES_WORTH_IT: u64 = 4 << 20;
const LOG_BYTES_TOO_MUCH: u64 = 64 << 20;
