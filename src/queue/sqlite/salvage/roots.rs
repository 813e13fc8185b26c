//! Where the trees of a queue begin. SQLite gives the first pages out one after the other as tables are made, where
//! auto_vacuum is on; VACUUM, and so a copy of the queue, has all tables first and then the indexes. What the file says of
//! itself holds for both, and for one that was packed before its newest tables were made; but that may be damaged.

use rusqlite::Connection;
use rusqlite::types::Value;

use super::super::schema;
use super::image::{PAGE, Page};
use super::page::{self, Node};
use super::tables::Table;
use super::{DEEPEST, Entry, Reading};

/// The first page of each tree, and the table that is read of it; none of an index.
pub(super) type Roots = Vec<(u32, Option<Table>)>;

impl Reading<'_> {
    /// What most of the first pages bear out; where that is undecided, what the file says.
    pub(super) fn roots(&mut self) -> rusqlite::Result<Roots> {
        let mut best = (0, Roots::new());
        for roots in [self.told(), as_made()?, as_packed()?] {
            let borne_out = roots.iter().filter(|(root, table)| self.is_root_of(*root, *table)).count();
            if borne_out > best.0 {
                best = (borne_out, roots);
            }
        }
        Ok(best.1)
    }

    /// Whether the page looks like the first one of this table.
    fn is_root_of(&mut self, root: u32, table: Option<Table>) -> bool {
        if !matches!(self.entry(root), Entry::Root | Entry::Unreadable) {
            return false;
        }
        let Some(node) = self.image.page(root).as_ref().and_then(Node::of) else { return false };
        let Some(table) = table else { return true };
        let is_row = |cell: &page::Cell| {
            let record = self.record(root, cell).and_then(|record| page::values(&record.octets));
            record.is_some_and(|values| table.row(cell.rowid, values).is_some())
        };
        node.kind == table.kind() && node.cells.iter().all(is_row)
    }

    /// What the table of tables says, as far as it can be read.
    fn told(&mut self) -> Roots {
        let mut roots = Roots::new();
        let mut level: Vec<u32> = vec![1];
        for _ in 0..DEEPEST {
            let mut below = Vec::new();
            for number in std::mem::take(&mut level) {
                let page = self.image.page(number).map(|page| if number == 1 { behind_header(&page) } else { page });
                let Some(node) = page.as_ref().and_then(Node::of) else { continue };
                let records = node.cells.iter().filter_map(|cell| page::values(&self.record(number, cell)?.octets));
                roots.extend(records.filter_map(|values| root_of(&values)));
                below.extend(node.children);
            }
            // A circle ends with the deepest level; there are no more pages than this for it to go through.
            below.truncate(SCHEMA_PAGES);
            level = below;
        }
        roots
    }
}

/// What a row of the table of tables says: type, name, table, first page, SQL (SQLite file format, section 2.6).
fn root_of(values: &[Value]) -> Option<(u32, Option<Table>)> {
    let [Value::Text(_), Value::Text(name), Value::Text(_), Value::Integer(root), ..] = values else { return None };
    let root = u32::try_from(*root).ok().filter(|root| *root > 1)?;
    Some((root, Table::named(name)))
}

/// Page 1 as if it had no header, which lies before its head and is no part of the tree.
fn behind_header(page: &Page) -> Page {
    let mut tree = page.clone();
    let cells = usize::from(u16::from_be_bytes([page[HEADER + 3], page[HEADER + 4]]));
    let head = (12 + 2 * cells).min(PAGE - HEADER);
    tree.copy_within(HEADER..HEADER + head, 0);
    tree
}

fn as_made() -> rusqlite::Result<Roots> {
    roots_in("rootpage")
}

/// As VACUUM has them: tables, with the indexes that SQLite makes for them, then the other indexes.
fn as_packed() -> rusqlite::Result<Roots> {
    let roots = roots_in("type = 'index' AND sql IS NOT NULL, rootpage")?;
    Ok((FIRST_ROOT..).zip(roots).map(|(place, (_, table))| (place, table)).collect())
}

/// Those of a new queue, in this order.
fn roots_in(order: &str) -> rusqlite::Result<Roots> {
    let mut connection = Connection::open_in_memory()?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    schema::migrate(&mut connection, 0)?;
    let sql = format!("SELECT rootpage, name FROM sqlite_schema WHERE rootpage > 0 ORDER BY {order}");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, Table::named(&row.get::<_, String>(1)?))))?;
    rows.collect()
}

/// Octets before the tree on page 1.
const HEADER: usize = 100;
/// Behind page 1 and the first page of the pointer map.
const FIRST_ROOT: u32 = 3;
/// More than the table of tables of any queue has.
const SCHEMA_PAGES: usize = 64;
