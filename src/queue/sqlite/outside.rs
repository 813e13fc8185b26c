//! A queue as it is seen from outside, by who neither has it nor opens it: `mailsluice doctor`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::damage::{MARK, RECOVERING, passed_over};
use super::place::{beside, is_held};
use super::salvage::{self, Files};

/// What is wrong with a queue, by its files alone, and without SQLite, which would make an index of the log beside them. Reads
/// all of it. None where nothing is wrong, where there is no queue yet, and where this user may not read it.
pub fn damage_seen(path: &Path) -> Option<String> {
    if is_held(path) {
        // Whoever has it writes to it, and finds what there is to be found.
        return None;
    }
    if beside(path, RECOVERING).exists() {
        return Some("`queue recover` was interrupted".into());
    }
    if let Ok(noted) = fs::read_to_string(beside(path, MARK)) {
        return Some(format!("this was met: {}", noted.trim()));
    }
    if !path.exists() {
        let log = beside(path, "wal").metadata().map_or(0, |metadata| metadata.len());
        return (log > 0).then(|| "the database is not there, but its log is".into());
    }
    match passed_over(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Some("the file is empty".into()),
        Err(error) => return Some(error.to_string()),
        Ok(Some(wrong)) => return Some(wrong.into()),
        Ok(None) => {}
    }
    let found = salvage::read(&Files::of(path), &mut |_| Ok(()));
    // A daemon may have come meanwhile.
    if is_held(path) {
        return None;
    }
    match found {
        Ok(damage) if damage.pages == 0 && damage.tables.is_empty() => None,
        Ok(damage) => Some(format!("{} of its pages cannot be read, or not wholly", damage.pages.max(1))),
        Err(error) => Some(error.to_string()),
    }
}
