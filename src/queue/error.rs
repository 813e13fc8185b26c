//! What can go wrong with the queue, by whose fault and what to do.

use std::path::PathBuf;

/// Why the queue did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no room for more mail; what waits can still be delivered.
    #[error("{0}")]
    Full(Full),
    /// The store broke: nothing more is promised until it is opened anew. The text says where and what happened.
    #[error("the queue cannot be used any more: {0}. Mail that was acknowledged is on disk; restart to recover it")]
    Failed(String),
    /// The file is damaged: nothing more is written to it. The text says what was met.
    #[error(
        "the queue cannot be used any more, since its file is damaged: {0}. The next start says what of it can be saved, and how"
    )]
    Damaged(String),
    /// The daemon is stopping.
    #[error("the queue is closed: the daemon is stopping")]
    Closed,
}

/// What there is no room in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Full {
    /// `queue.max_bytes` is reached.
    #[error("the queue holds as much as `queue.max_bytes` allows")]
    MaxBytes,
    /// The file system has less than `queue.min_free` left.
    #[error("the file system of the queue has less room left than `queue.min_free`")]
    MinFree,
    /// The file system said that it is full.
    #[error("the file system of the queue is full")]
    Disk,
}

/// Why the queue could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{path}: another process uses this queue{}; stop it, or name another `queue.path`", holder(*.pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, where it says so.
        pid: Option<u32>,
    },
    /// The file system forgets.
    #[error(
        "{path}: lies on {kind}, which loses mail at a restart; put `queue.path` on a disk (in a container, mount a volume \
         there: `-v mailsluice:{path}`, or `volumes:` of its service), or say `queue.ephemeral = true` \
         (MAILSLUICE_QUEUE_EPHEMERAL=true)"
    )]
    Ephemeral {
        /// The folder.
        path: PathBuf,
        /// tmpfs, an overlay or a network file system.
        kind: &'static str,
    },
    /// This user may not write there.
    #[error(
        "{path}: cannot be written by user {user}: it belongs to user {owner} and has mode {mode:04o}; as root: chown -R \
         {user} {path} (in a container, of the folder on the host that is mounted there; a new named volume takes the \
         owner that the image gives it)"
    )]
    Unwritable {
        /// The folder.
        path: PathBuf,
        /// Our user id.
        user: u32,
        /// Its owner's.
        owner: u32,
        /// Its permissions.
        mode: u32,
    },
    /// Nobody may write there.
    #[error(
        "{path}: cannot be written: the file system is read-only; mount a disk or a volume there, or name another `queue.path`"
    )]
    ReadOnly {
        /// The folder.
        path: PathBuf,
    },
    /// Written by a newer Mailsluice.
    #[error(
        "{path}: was written by a newer Mailsluice (version {found} of its tables, this one knows {known}); install that one"
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Not ours to open.
    #[error("{path}: belongs to another user (id {owner}); run this command as that user or as root")]
    Owner {
        /// The database.
        path: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// The system refused.
    #[error("{path}: {what}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is damaged. Nothing was written to it.
    #[error("{path}: the queue is damaged: {what}.\n{}", salvage(*.found))]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is damaged, without a full stop.
        what: String,
        /// How much of it can be read.
        found: Salvage,
    },
    /// SQLite refused.
    #[error("{path}: cannot be opened as a queue: {detail}")]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
}

/// What of a damaged queue can be read, of the messages that are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Messages that the file tells of.
    pub known: u64,
    /// Those among them whose envelope and content can be read.
    pub whole: u64,
}

fn salvage(Salvage { known, whole }: Salvage) -> String {
    let can = match known {
        0 => "No message can be read in it.".into(),
        _ if whole == known => format!("All of its messages that are not done can be read: {whole}."),
        _ => format!("Of {known} messages that are not done and that it tells of, {whole} can be read whole."),
    };
    format!(
        "{can} Nothing was written to it, and nothing will be.\n\
         To save what can be read: `mailsluice queue recover`, while the daemon is stopped. It makes a new queue and keeps the \
         damaged file.\n\
         To go back to a copy instead, if `mailsluice queue backup` made one: see the README, \"Backup and recovery\"."
    )
}

fn holder(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}
