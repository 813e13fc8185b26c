//! The pages of a damaged queue: the database file with what its log holds laid over it. Nothing is written, and SQLite is
//! not asked: it would refuse most of what can still be read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::PER_MAP;
use super::log::{Log, Torn};

/// Octets of a page: SQLite's default, and no queue has another.
pub(super) const PAGE: usize = 4096;

/// A page as it was read.
pub(super) type Page = Box<[u8; PAGE]>;

/// Where the files of a queue lie.
#[derive(Clone, Debug)]
pub(in crate::queue::sqlite) struct Files {
    /// The database.
    pub(in crate::queue::sqlite) database: PathBuf,
    /// Its write-ahead log, which need not be there.
    pub(in crate::queue::sqlite) log: PathBuf,
}

impl Files {
    /// Those of this database, where they belong.
    pub(in crate::queue::sqlite) fn of(database: &Path) -> Self {
        Self { database: database.to_owned(), log: super::super::place::beside(database, "wal") }
    }
}

/// All pages of a queue, by number from 1.
#[derive(Debug)]
pub(super) struct Image {
    /// None where it is gone, and its log may be there.
    database: Option<File>,
    log: Log,
    pages: u32,
}

impl Image {
    pub(super) fn open(files: &Files) -> io::Result<Self> {
        let database = match File::open(&files.database) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => Some(opened?),
        };
        let log = Log::read(&files.log)?;
        let (mut length, mut header) = (0, [0; 100]);
        if let Some(database) = &database {
            length = u32::try_from(database.metadata()?.len().div_ceil(PAGE as u64)).unwrap_or(u32::MAX);
            // A shorter file has no header that counts.
            let _ = database.read_exact_at(&mut header, 0);
        }
        let known = pages_by_header(&header);
        // The log knows best, then the header; a file may be longer than its database. Nor are there pages far beyond all that
        // can be read and told of, whatever a damaged header says: each of them would cost time and memory.
        let told_of = length.max(log.highest_page()).saturating_add(PER_MAP);
        let pages = log.pages.or(known).unwrap_or(length).min(told_of);
        Ok(Self { database, log, pages })
    }

    /// How many pages there are, or should be.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }

    /// Whether some state was lost of which nobody can tell what it was about.
    pub(super) fn may_be_old(&self) -> bool {
        self.log.torn == Torn::Unknown
    }

    /// What this page holds; none where that cannot be read.
    pub(super) fn page(&self, number: u32) -> Option<Page> {
        if number == 0 || number > self.pages || self.log.lost.contains(&number) {
            return None;
        }
        // What the database has of a page whose newest state is lost with the log is old.
        let mut page = Box::new([0; PAGE]);
        match self.log.frame(number) {
            Some(at) => self.log.read_at(&mut page[..], at).ok()?,
            None => self.database.as_ref()?.read_exact_at(&mut page[..], u64::from(number - 1) * PAGE as u64).ok()?,
        }
        Some(page)
    }
}

/// The number of pages that the header gives, where it counts (SQLite file format, section 1.3.7).
fn pages_by_header(header: &[u8; 100]) -> Option<u32> {
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    (header.starts_with(b"SQLite format 3\0") && number(24) == number(92) && number(28) > 0).then(|| number(28))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_header_does_not_make_pages() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("queue.db");
        let mut file = vec![0; 3 * PAGE];
        file[..16].copy_from_slice(b"SQLite format 3\0");
        for (told, pages) in [(3_u32, 3), (5, 5), (u32::MAX, 3 + PER_MAP)] {
            file[28..32].copy_from_slice(&told.to_be_bytes());
            std::fs::write(&database, &file).unwrap();
            assert_eq!(Image::open(&Files::of(&database)).unwrap().pages(), pages, "{told}");
        }
    }
}
