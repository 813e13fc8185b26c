//! A damaged database: how it is found, the mark that is left beside it, and what is said of it.
//!
//! Checking the whole file at each start would take too long. Damage shows when the queue is opened and taken up, or when
//! it is met later: then a mark is left, and the next start checks everything before it writes anything.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rusqlite::Connection;

use super::connection::open_to_read;
use super::place::beside;
use super::salvage::{self, Files, Torn};
use super::schema;
use crate::queue::error::OpenError;

/// What to say of a damaged queue.
pub(super) fn report(path: &Path, what: &str) -> OpenError {
    // A file that cannot be read at all tells of nothing.
    let found = salvage::count(path).unwrap_or_default();
    OpenError::Damaged { path: path.to_owned(), what: what.to_owned(), found }
}

/// Looks at a queue that nobody has open before it is opened: at what SQLite would pass over, and, where it has been marked,
/// at all of it.
pub(super) fn look(path: &Path) -> Result<(), OpenError> {
    if beside(path, RECOVERING).exists() {
        return Err(report(path, "`queue recover` was interrupted: run it again"));
    }
    // What cannot be read at all, the opening says better.
    if let Some(wrong) = passed_over(path).ok().flatten() {
        return Err(report(path, wrong));
    }
    let Ok(noted) = std::fs::read_to_string(beside(path, MARK)) else { return Ok(()) };
    match what_is_wrong(path) {
        Some(wrong) => Err(report(path, &format!("{wrong} (met before: {})", noted.trim()))),
        None => {
            // Memory fails too, and other programs may have mended it.
            let _ = std::fs::remove_file(beside(path, MARK));
            Ok(())
        }
    }
}

/// What SQLite would pass over, in a file that is there: synced transactions in a damaged log; a header that is not as in
/// every queue, so that it would take text for another encoding, leave the pointer map alone, or refuse to write (SQLite
/// file format, section 1.3).
pub(super) fn passed_over(path: &Path) -> io::Result<Option<&'static str>> {
    let mut header = [0; 100];
    match File::open(path).and_then(|mut file| file.read_exact(&mut header)) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && path.metadata()?.len() > 0 => {
            return Ok(Some("the file is cut off in its header"));
        }
        read => read?,
    }
    if !header.starts_with(b"SQLite format 3\0") {
        return Ok(Some("the file is not a database"));
    }
    let (state, newest) = salvage::log_of(&Files::of(path))?;
    if state != Torn::No {
        return Ok(Some("its log is damaged, and SQLite would pass over acknowledged mail in it"));
    }
    // Of a new queue all but this is in the log alone.
    let fits = |header: &[u8]| {
        header[16..18] == [0x10, 0x00]
            && [18, 19].iter().all(|at| matches!(header[*at], 1 | 2))
            && header[20..24] == [0, 64, 32, 32]
    };
    let newest = newest.as_deref().map_or(&header[..], |page| &page[..]);
    let number = |at: usize| u32::from_be_bytes([newest[at], newest[at + 1], newest[at + 2], newest[at + 3]]);
    // Before the first table they are not set.
    let made = [44, 56].iter().any(|at| number(*at) != 0);
    // A queue that a person has made anew from a dump has not what ours has, and is whole without.
    let vacuums = number(52) > 0 || number(64) == 0;
    let sound = fits(&header) && fits(newest) && (!made || number(44) == 4 && vacuums && number(56) == 1);
    Ok((!sound).then_some("its header is not that of a queue"))
}

/// Notes that damage was met, so that the next start checks the whole file.
pub(super) fn mark(path: &Path, what: &str) {
    let mut options = std::fs::OpenOptions::new();
    // Where it cannot be written, the next start finds what it meets at opening.
    let _ = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(beside(path, MARK))
        .and_then(|mut file| writeln!(file, "{what}").and_then(|()| file.sync_all()));
}

/// Whether damage was met.
pub(super) fn is_marked(path: &Path) -> bool {
    beside(path, MARK).exists()
}

/// Checks everything; none where nothing is wrong.
pub(super) fn what_is_wrong(path: &Path) -> Option<String> {
    match path.metadata() {
        Err(error) => return Some(error.to_string()),
        Ok(metadata) if metadata.len() == 0 => return Some("the file is empty".into()),
        Ok(_) => {}
    }
    match passed_over(path) {
        Err(error) => return Some(error.to_string()),
        Ok(Some(wrong)) => return Some(wrong.into()),
        Ok(None) => {}
    }
    let checked = open_to_read(path).and_then(|connection| {
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if !(1..=schema::VERSION).contains(&version) {
            return Ok(Some(format!("it claims to have version {version} of the tables")));
        }
        check(&connection)
    });
    match checked {
        Err(error) => return Some(error.to_string()),
        Ok(Some(wrong)) => return Some(wrong),
        Ok(None) => {}
    }
    match salvage::read(&Files::of(path), &mut |_| Ok(())) {
        Ok(damage) if damage.pages == 0 && damage.tables.is_empty() => None,
        Ok(damage) => {
            let mut names: Vec<&str> = damage.tables.iter().map(|table| table.name()).collect();
            names.sort_unstable();
            Some(format!("it has rows that nobody can have written, in {}", names.join(", ")))
        }
        Err(error) => Some(error.to_string()),
    }
}

/// What SQLite's own check finds first; none where nothing is wrong.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let found: String = connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))?;
    Ok((found != "ok").then(|| found.lines().take(2).collect::<Vec<_>>().join(": ")))
}

/// The file beside the database that says that damage was met.
pub(super) const MARK: &str = "damaged";
/// The file beside the database that says that it is being replaced: by which stamp its damaged files are kept.
pub(super) const RECOVERING: &str = "recovering";
