//! Reading what can be read of a damaged queue: every page by itself, whatever became of those that lead to it.
//!
//! A row is *certain* where its page is whole, belongs to a tree or, by the pointer map, to the living pages of the file, and
//! its content goes on where the pointer map says. Else it is *doubtful*: it may be old, or not be what was written. Free
//! pages are never read: they hold mail that is done.

mod image;
mod log;
mod page;
mod roots;
mod tables;

use std::collections::{HashMap, HashSet};
use std::path::Path;

pub(super) use image::Files;
use image::{Image, PAGE, Page};
use log::Log;
pub(super) use log::Torn;
use page::Node;
use rusqlite::types::Value;
pub(super) use tables::Table;

/// Whether what was read is what was written, as far as that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    Certain,
    Doubtful,
}

/// A row.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) table: Table,
    pub(super) rowid: i64,
    pub(super) values: Vec<Value>,
    pub(super) certainty: Certainty,
}

/// What was in the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Damage {
    /// Tables of which some pages could not be read, or not wholly.
    pub(super) tables: HashSet<Table>,
    /// Pages that could not be read, or not wholly.
    pub(super) pages: u32,
    /// Whether pages could not be read of which nobody can tell whose they were.
    pub(super) unknown: bool,
    /// Whether any page may be older than it should be.
    pub(super) old: bool,
}

/// Why a queue could not be read at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum SalvageError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
}

/// Gives every row that can be read to `take`, those that trees lead to first. A row may come twice.
pub(super) fn read(files: &Files, take: &mut dyn FnMut(Row) -> rusqlite::Result<()>) -> Result<Damage, SalvageError> {
    let image = Image::open(files)?;
    let mut reading = Reading {
        seen: vec![Seen::Not; image.pages() as usize + 1],
        // The tree of the schema begins on page 1.
        owners: HashMap::from([(1, None)]),
        damage: Damage { old: image.may_be_old(), ..Damage::default() },
        image,
        map: (0, None),
        take,
    };
    for (root, table) in reading.roots()? {
        // An older queue has fewer tables: the page is something else, or not there.
        if matches!(reading.entry(root), Entry::Root | Entry::Unreadable) && root <= reading.image.pages() {
            reading.walk(root, table)?;
        }
    }
    reading.walk_free_pages();
    reading.orphans()?;
    Ok(reading.damage)
}

/// Whether the log of a queue that nobody has open is whole, and the newest state of page 1 where it has one.
pub(super) fn log_of(files: &Files) -> std::io::Result<(Torn, Option<Box<[u8; PAGE]>>)> {
    let log = Log::read(&files.log)?;
    let mut page = Box::new([0; PAGE]);
    let first = match log.frame(1) {
        Some(at) => log.read_at(&mut page[..], at).is_ok().then_some(page),
        None => None,
    };
    Ok((log.torn, first))
}

/// How many messages that are not done a file tells of, and how many of them can be read whole, but for the lengths of
/// their contents.
pub(super) fn count(database: &Path) -> Result<super::super::error::Salvage, SalvageError> {
    let (mut messages, mut deliveries, mut recipients) = (HashSet::new(), HashMap::new(), HashSet::new());
    let mut linked = HashSet::new();
    read(&Files::of(database), &mut |row| {
        let number = |index: usize| match row.values.get(index) {
            Some(Value::Integer(number)) => *number,
            _ => 0,
        };
        match row.table {
            Table::Message if row.values[10] != Value::Null => drop(messages.insert(number(0))),
            Table::Delivery => drop(deliveries.insert(number(0), (number(1), number(5)))),
            Table::Recipient => drop(recipients.insert(number(0))),
            Table::Link => drop(linked.insert((number(0), number(1)))),
            _ => {}
        }
        Ok(())
    })?;
    let open: HashMap<i64, i64> =
        deliveries.iter().filter(|(_, (_, state))| *state < 5).map(|(id, (message, _))| (*message, *id)).collect();
    let untold = linked.iter().filter(|(message, delivery)| {
        !deliveries.contains_key(delivery) && messages.contains(message) && !open.contains_key(message)
    });
    let whole = open.iter().filter(|(message, delivery)| messages.contains(message) && recipients.contains(delivery));
    Ok(super::super::error::Salvage { known: (open.len() + untold.count()) as u64, whole: whole.count() as u64 })
}

/// What a page was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Not,
    Tree,
    Overflow,
    Free,
}

/// What the pointer map says of a page (SQLite file format, section 1.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Root,
    Free,
    /// The first page on which a record of that page goes on.
    Overflow(u32),
    /// The one that follows that page.
    Further(u32),
    /// Below that page of a tree.
    Below(u32),
    /// It says nothing that makes sense.
    Unreadable,
}

/// A record, the pages that it goes on upon, and whether they are its own.
struct Record {
    octets: Vec<u8>,
    further: Vec<u32>,
    certainty: Certainty,
}

struct Reading<'a> {
    image: Image,
    seen: Vec<Seen>,
    owners: HashMap<u32, Option<Table>>,
    damage: Damage,
    /// The page of the pointer map that was looked at last.
    map: (u32, Option<Page>),
    take: &'a mut dyn FnMut(Row) -> rusqlite::Result<()>,
}

impl Reading<'_> {
    /// Reads a tree as far as its pages are whole. What lies below another one is found as an orphan.
    fn walk(&mut self, root: u32, table: Option<Table>) -> Result<(), SalvageError> {
        let mut ahead = vec![root];
        while let Some(number) = ahead.pop() {
            let new = self.seen.get(number as usize).is_some_and(|seen| *seen == Seen::Not) && number > 1;
            if !new || is_pointer_map(number) {
                self.lost(table);
                continue;
            }
            self.owners.insert(number, table);
            let node = self.image.page(number).as_ref().and_then(Node::of);
            let fits = |node: &Node| table.is_none_or(|table| table.kind() == node.kind);
            let Some(node) = node.filter(fits) else {
                self.seen[number as usize] = Seen::Tree;
                self.lost(table);
                continue;
            };
            self.seen[number as usize] = Seen::Tree;
            if node.whole {
                ahead.extend(node.children.iter().rev());
            } else {
                self.lost(table);
            }
            let certainty = if node.whole { Certainty::Certain } else { Certainty::Doubtful };
            self.rows(number, &node, table, certainty)?;
        }
        Ok(())
    }

    fn lost(&mut self, table: Option<Table>) {
        self.damage.pages += 1;
        self.damage.tables.extend(table);
    }

    fn rows(
        &mut self,
        number: u32,
        node: &Node,
        table: Option<Table>,
        certainty: Certainty,
    ) -> Result<(), SalvageError> {
        let Some(table) = table else { return Ok(()) };
        for cell in &node.cells {
            let row = self.record(number, cell).and_then(|record| {
                Some((table.row(cell.rowid, page::values(&record.octets)?)?, record.further, record.certainty))
            });
            let Some((values, further, sure)) = row else {
                self.damage.tables.insert(table);
                continue;
            };
            if sure == Certainty::Certain {
                further.into_iter().for_each(|page| self.seen[page as usize] = Seen::Overflow);
            }
            let certainty = if sure == Certainty::Doubtful { sure } else { certainty };
            (self.take)(Row { table, rowid: cell.rowid, values, certainty })?;
        }
        Ok(())
    }

    /// A record with what of it is on other pages.
    fn record(&mut self, number: u32, cell: &page::Cell) -> Option<Record> {
        let mut record = Record { octets: cell.local.clone(), further: Vec::new(), certainty: Certainty::Certain };
        let (mut next, mut before) = (cell.overflow.unwrap_or(0), number);
        while record.octets.len() < cell.length {
            let page = self.image.page(next)?;
            let expected = if record.further.is_empty() { Entry::Overflow(before) } else { Entry::Further(before) };
            let entry = self.entry(next);
            if entry != expected && entry != Entry::Unreadable || self.seen[next as usize] != Seen::Not {
                record.certainty = Certainty::Doubtful;
            }
            record.further.push(next);
            let wanted = (cell.length - record.octets.len()).min(PAGE - 4);
            record.octets.extend_from_slice(&page[4..4 + wanted]);
            (before, next) = (next, page::long(&page, 0));
        }
        // Behind the end there is nothing.
        if cell.overflow.is_some() && next != 0 {
            record.certainty = Certainty::Doubtful;
        }
        Some(record)
    }

    /// Marks the pages of the list of free ones, as far as it can be read.
    fn walk_free_pages(&mut self) {
        let Some(first) = self.image.page(1) else { return };
        let mut trunk = page::long(&first, 32);
        while let Some(page) = self.image.page(trunk) {
            if self.seen[trunk as usize] != Seen::Not {
                return;
            }
            self.seen[trunk as usize] = Seen::Free;
            let leaves = (page::long(&page, 4) as usize).min(PAGE / 4 - 2);
            for leaf in (0..leaves).map(|index| page::long(&page, 8 + 4 * index)) {
                if let Some(seen @ Seen::Not) = self.seen.get_mut(leaf as usize) {
                    *seen = Seen::Free;
                }
            }
            trunk = page::long(&page, 0);
        }
    }

    /// Pages that no tree leads to any more, though they may be alive.
    fn orphans(&mut self) -> Result<(), SalvageError> {
        for number in 2..=self.image.pages() {
            if is_pointer_map(number) {
                continue;
            }
            let entry = self.entry(number);
            let alive = match entry {
                Entry::Below(_) | Entry::Root => Certainty::Certain,
                Entry::Unreadable => Certainty::Doubtful,
                Entry::Free | Entry::Overflow(_) | Entry::Further(_) => continue,
            };
            if self.seen[number as usize] != Seen::Not {
                continue;
            }
            let node = self.image.page(number).as_ref().and_then(Node::of);
            let Some(node) = node else {
                // A page without an entry may as well be a piece of content, or free.
                if alive == Certainty::Certain {
                    let owner = self.owner_above(entry);
                    self.damage.unknown |= owner.is_none();
                    self.lost(owner.flatten());
                }
                continue;
            };
            let Some(table) = self.whose(number, entry, &node) else {
                self.damage.unknown |= alive == Certainty::Certain && !node.cells.is_empty();
                continue;
            };
            let sure = node.whole && alive == Certainty::Certain;
            self.rows(number, &node, table, if sure { Certainty::Certain } else { Certainty::Doubtful })?;
        }
        Ok(())
    }

    /// What a page belongs to: that which the one above it does, or the table that its records are of. A tree that is not
    /// read is `Some(None)`.
    fn whose(&mut self, number: u32, entry: Entry, node: &Node) -> Option<Option<Table>> {
        if let Some(owner) = self.owner_above(entry) {
            return Some(owner.filter(|owner| owner.kind() == node.kind));
        }
        let records = node.cells.iter().filter_map(|cell| {
            let record = self.record(number, cell)?;
            Some((cell.rowid, page::values(&record.octets)?))
        });
        tables::by_looks(node.kind, &records.collect::<Vec<_>>()).map(Some)
    }

    /// What the page belongs to that is above the one with this entry, as far up as that takes.
    fn owner_above(&mut self, mut entry: Entry) -> Option<Option<Table>> {
        for _ in 0..DEEPEST {
            let Entry::Below(parent) = entry else { break };
            if let Some(owner) = self.owners.get(&parent) {
                return Some(*owner);
            }
            entry = self.entry(parent);
        }
        None
    }

    fn entry(&mut self, number: u32) -> Entry {
        let map = pointer_map_of(number);
        if self.map.0 != map {
            self.map = (map, self.image.page(map));
        }
        match (&self.map.1, number.checked_sub(map + 1)) {
            (Some(page), Some(index)) => entry_at(page, 5 * index as usize, self.image.pages()),
            _ => Entry::Unreadable,
        }
    }
}

fn entry_at(page: &Page, at: usize, pages: u32) -> Entry {
    if at + 5 > PAGE {
        return Entry::Unreadable;
    }
    let parent = page::long(page, at + 1);
    let page_like = (1..=pages).contains(&parent);
    match page[at] {
        1 if parent == 0 => Entry::Root,
        2 if parent == 0 => Entry::Free,
        3 if page_like => Entry::Overflow(parent),
        4 if page_like => Entry::Further(parent),
        5 if page_like => Entry::Below(parent),
        _ => Entry::Unreadable,
    }
}

/// The page of the pointer map that this page has its entry in.
fn pointer_map_of(number: u32) -> u32 {
    2 + (number.max(2) - 2) / PER_MAP * PER_MAP
}

fn is_pointer_map(number: u32) -> bool {
    number == pointer_map_of(number)
}

/// A page of the pointer map, and the pages that it tells of.
const PER_MAP: u32 = (PAGE / 5) as u32 + 1;
/// No tree has more levels.
const DEEPEST: usize = 20;
