//! A new queue from what can be read of a damaged one.
//!
//! Every row that can be read goes into a new file ([`salvage`]); then what belongs together is looked at
//! (`reconcile.rs`): a message is kept where its envelope and its content are whole, what became of it is told where that
//! cannot be known, and what is lost is said. The damaged file stays, under another name.

mod reconcile;
mod refill;

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::place::{Place, beside, folder_of, remove};
use super::salvage::{self, Certainty, Damage, Files, Row, SalvageError, Table};
use super::{damage, schema};
use crate::ids::{LoginKey, MessageId};
use crate::queue::error::OpenError;
use crate::time::{Timestamp, wall_clock};
use reconcile::reconcile;

/// What to believe of the caps where it cannot be read what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapsUnknown {
    /// They were all used up when the queue was written last, so that none is exceeded.
    Full,
    /// Nothing was sent.
    Empty,
}

/// What was saved, and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Messages in the new queue that are not done.
    pub saved: u64,
    /// Messages in it of which there is history alone, or which have failed.
    pub history: u64,
    /// Messages of which nobody can tell what became of them: on hold until a person decides.
    pub held: Vec<Held>,
    /// What could not be saved.
    pub lost: Vec<Lost>,
    /// Messages that were done, whose history is lost.
    pub history_lost: u64,
    /// What else was lost, a sentence each.
    pub also: Vec<String>,
    /// Where the damaged file is.
    pub kept_as: PathBuf,
    /// Where the contents are of messages whose recipients are lost; none where there are none.
    pub contents: Option<PathBuf>,
}

/// A message that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its queue id.
    pub id: MessageId,
    /// Why.
    pub why: &'static str,
}

/// A message, or a part of one, that could not be saved, as far as it can be told which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its queue id.
    pub id: Option<MessageId>,
    /// The sender; empty where there was none, or nobody knows.
    pub from: String,
    /// The recipients that had it still to come.
    pub to: Vec<String>,
    /// What of it could not be read.
    pub what: String,
    /// Its content, where that is whole.
    pub content: Option<PathBuf>,
}

/// Why nothing was recovered. The queue is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// It cannot be had.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// What can be read cannot be written down.
    #[error("{path}: a new queue cannot be made: {detail}. The damaged one is as it was")]
    New {
        /// The new file.
        path: PathBuf,
        /// What happened.
        detail: String,
    },
    /// The files cannot be exchanged.
    #[error("{path}: {what}: {source}. Run `mailsluice queue recover` again once that is mended")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// Puts a new queue with all that can be read in the place of a damaged one; none where nothing is wrong with it, and then
/// nothing is changed. `logins` are those of the configuration. Blocking.
///
/// # Errors
/// What is in the way.
pub fn recover(
    database: &Path,
    ephemeral: bool,
    logins: &[LoginKey],
    caps: CapsUnknown,
) -> Result<Option<Recovered>, RecoverError> {
    if !files_exist(database) {
        let (path, source) = (database.to_owned(), ErrorKind::NotFound.into());
        return Err(OpenError::Io { path, what: "there is no queue", source }.into());
    }
    let place = Place::take(database, ephemeral)?;
    let begun = std::fs::read_to_string(beside(database, damage::RECOVERING)).ok();
    let begun = begun.map(|stamp| stamp.trim().to_owned()).filter(|stamp| !stamp.is_empty());
    if begun.is_none() && damage::what_is_wrong(database).is_none() {
        for left in [damage::MARK, damage::RECOVERING] {
            let _ = std::fs::remove_file(beside(database, left));
        }
        return Ok(None);
    }
    // One that was interrupted goes on with the files it had put aside.
    let stamp = begun.clone().unwrap_or_else(stamp);
    let aside = Files::of(&beside(database, &format!("damaged-{stamp}")));
    let files = if begun.is_some() { aside.clone() } else { Files::of(database) };
    if begun.is_some() && !files.database.exists() && !files.log.exists() {
        let what = "was put aside by a recovery that was interrupted, and is not there any more";
        return Err(RecoverError::Io { path: files.database, what, source: ErrorKind::NotFound.into() });
    }
    let new = beside(database, "recovered");
    let contents = beside(database, &format!("lost-{stamp}"));
    let failed = |detail: String| RecoverError::New { path: new.clone(), detail };
    let mut recovered = build(&files, &new, &contents, logins, caps).map_err(|error| failed(error.to_string()))?;
    recovered.kept_as.clone_from(&aside.database);
    if begun.is_none() {
        put_aside(database, &aside, &stamp)?;
    }
    exchange(database, &new)?;
    drop(place);
    Ok(Some(recovered))
}

/// Makes the new queue: complete, checked and on disk.
fn build(
    files: &Files,
    new: &Path,
    contents: &Path,
    logins: &[LoginKey],
    caps: CapsUnknown,
) -> Result<Recovered, SalvageError> {
    for left in [new.to_owned(), beside(new, "journal")] {
        remove(&left)?;
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(new)?;
    let recovered = {
        let mut connection =
            Connection::open_with_flags(new, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        prepare(&mut connection)?;
        let transaction = connection.transaction()?;
        let found = salvage::read(files, &mut |row| insert(&transaction, row))?;
        let recovered = finish(&transaction, contents, &found, logins, caps)?;
        transaction.commit()?;
        if let Some(wrong) = damage::check(&connection)? {
            return Err(io::Error::other(format!("it is not sound: {wrong}")).into());
        }
        recovered
    };
    file.sync_all()?;
    Ok(recovered)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // What is half done is thrown away.
    connection.pragma_update(None, "journal_mode", "OFF")?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    schema::migrate(connection, 0)?;
    connection.execute_batch(
        "DELETE FROM meta;
         CREATE TEMP TABLE link (delivery INTEGER PRIMARY KEY, message INTEGER NOT NULL);
         CREATE TEMP TABLE doubted_message (id INTEGER PRIMARY KEY);
         CREATE TEMP TABLE doubted_delivery (id INTEGER PRIMARY KEY, why TEXT NOT NULL);
         CREATE TEMP TABLE partly (id INTEGER PRIMARY KEY);",
    )
}

/// A row into the new queue, or into what is known beside it. What does not keep to the tables' rules is left out: what
/// lacks it is told of later.
fn insert(connection: &Connection, row: Row) -> rusqlite::Result<()> {
    let Row { table, rowid, mut values, certainty } = row;
    let sql = match table {
        Table::Link => "INSERT OR IGNORE INTO temp.link (message, delivery) VALUES (?1, ?2)".to_owned(),
        Table::Attempt => {
            values.push(Value::Integer(rowid));
            "INSERT OR IGNORE INTO attempt \
             (delivery, at, account, host, sentence, reply, wall, first, times, step, recipients, named, rowid) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
                .to_owned()
        }
        other => {
            let places: Vec<String> = (1..=values.len()).map(|place| format!("?{place}")).collect();
            format!("INSERT OR IGNORE INTO {} VALUES ({})", other.name(), places.join(", "))
        }
    };
    let key = values.first().cloned().unwrap_or(Value::Null);
    let inserted = connection.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(values))?;
    if inserted == 0 || certainty == Certainty::Certain {
        return Ok(());
    }
    let doubt = match table {
        Table::Message | Table::Chunk => "INSERT OR IGNORE INTO temp.doubted_message VALUES (?1)",
        Table::Delivery | Table::Recipient => {
            "INSERT OR IGNORE INTO temp.doubted_delivery VALUES (?1, 'what was read of it lay on a damaged page')"
        }
        _ => return Ok(()),
    };
    connection.prepare_cached(doubt)?.execute([key]).map(|_| ())
}

fn finish(
    connection: &Connection,
    contents: &Path,
    found: &Damage,
    logins: &[LoginKey],
    caps: CapsUnknown,
) -> Result<Recovered, SalvageError> {
    let mut recovered = reconcile(connection, contents, found)?;
    refill::refill(connection, found, logins, caps, &mut recovered.also)?;
    let count = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
    recovered.saved = count("SELECT count(*) FROM delivery WHERE state < 5")?;
    recovered.history = count("SELECT count(*) FROM delivery WHERE state >= 5")?;
    recovered.contents = contents.exists().then(|| contents.to_owned());
    Ok(recovered)
}

/// Gives the damaged files another name beside their own, and notes which: from then on the recovery goes on with those.
/// The note appears whole or not at all, or they would be taken for kept when they are not.
fn put_aside(database: &Path, aside: &Files, stamp: &str) -> Result<(), RecoverError> {
    let ours = Files::of(database);
    for (from, to) in [(&ours.database, &aside.database), (&ours.log, &aside.log)] {
        match std::fs::hard_link(from, to) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            linked => linked.map_err(io(to, "the damaged file cannot be kept under this name"))?,
        }
    }
    let mark = beside(database, damage::RECOVERING);
    let partial = beside(&mark, "partial");
    let written = remove(&partial)
        .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial))
        .and_then(|mut file| io::Write::write_all(&mut file, stamp.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, &mark));
    written.map_err(io(&mark, "cannot be written"))?;
    sync_folder(database)
}

/// Puts the new file in the place of the damaged one, which has another name too. Whatever happens in between, the mark
/// says that this has to be done again.
fn exchange(database: &Path, new: &Path) -> Result<(), RecoverError> {
    // A log belongs to whatever database lies beside it.
    for left in [&Files::of(database).log, &beside(database, "shm")] {
        remove(left).map_err(io(left, "cannot be removed"))?;
    }
    std::fs::rename(new, database).map_err(io(database, "the new queue cannot be put in its place"))?;
    sync_folder(database)?;
    for left in [damage::MARK, damage::RECOVERING] {
        let left = beside(database, left);
        remove(&left).map_err(io(&left, "cannot be removed"))?;
    }
    sync_folder(database)
}

fn sync_folder(database: &Path) -> Result<(), RecoverError> {
    let folder = folder_of(database);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder, "cannot be written"))
}

fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> RecoverError {
    let path = path.to_owned();
    move |source| RecoverError::Io { path, what, source }
}

fn files_exist(database: &Path) -> bool {
    let Files { database: file, log } = Files::of(database);
    file.exists() || log.exists() || beside(database, damage::RECOVERING).exists()
}

/// The moment by the wall clock, as part of a file's name.
fn stamp() -> String {
    let now: Timestamp = wall_clock();
    now.to_string().chars().take(19).filter(char::is_ascii_alphanumeric).collect()
}
