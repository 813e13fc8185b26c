//! A queue as it is seen from outside, by who neither has it nor opens it: `mailsluice doctor`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::damage::{MARK, RECOVERING};
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
    let mut begin = [0; SIGNATURE.len()];
    match File::open(path).and_then(|mut file| file.read_exact(&mut begin)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        Err(error) => return Some(error.to_string()),
        Ok(()) if &begin != SIGNATURE => return Some("the file is not a database".into()),
        Ok(()) => {}
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

/// How a database begins (SQLite file format, section 1.3).
const SIGNATURE: &[u8; 16] = b"SQLite format 3\0";
