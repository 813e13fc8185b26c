//! A page of a b-tree, and a record in it (SQLite file format, sections 1.6 and 2.1). Everything in a page may be wrong: what
//! does not fit is left out, and the page is said not to be whole.

use rusqlite::types::Value;

use super::image::{PAGE, Page};

/// A page of a b-tree, taken apart.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// The pages below it, in order; only of an interior page.
    pub(super) children: Vec<u32>,
    /// Its records; an interior page of a table has none.
    pub(super) cells: Vec<Cell>,
    /// Whether each octet of it is accounted for.
    pub(super) whole: bool,
}

/// What kind of a b-tree page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of a table with rowids.
    Table,
    /// Of an index, or of a table without rowids.
    Index,
}

/// Where a record is.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) rowid: i64,
    /// Octets of the record.
    pub(super) length: usize,
    /// Those of them that are in the page.
    pub(super) local: Vec<u8>,
    /// The page on which it goes on.
    pub(super) overflow: Option<u32>,
}

impl Node {
    /// Takes a page apart; none where it is no page of a b-tree.
    pub(super) fn of(page: &Page) -> Option<Self> {
        let (kind, interior) = match page[0] {
            0x0d => (Kind::Table, false),
            0x05 => (Kind::Table, true),
            0x0a => (Kind::Index, false),
            0x02 => (Kind::Index, true),
            _ => return None,
        };
        let header = if interior { 12 } else { 8 };
        let count = usize::from(short(page, 3));
        if header + 2 * count > PAGE {
            return None;
        }
        let mut node = Self { kind, children: Vec::new(), cells: Vec::new(), whole: true };
        let mut taken = header + 2 * count;
        for index in 0..count {
            let at = usize::from(short(page, header + 2 * index));
            match parse(page, at, kind, interior) {
                Some((child, cell, length)) if at >= header + 2 * count => {
                    // A cell takes four octets at least.
                    taken += length.max(4);
                    node.children.extend(child);
                    node.cells.extend(cell);
                }
                _ => node.whole = false,
            }
        }
        if interior {
            node.children.push(long(page, 8));
        }
        node.whole &= free(page, header + 2 * count).is_some_and(|free| free + taken == PAGE);
        Some(node)
    }
}

/// The child, the record and the length of a cell.
type Parsed = (Option<u32>, Option<Cell>, usize);

fn parse(page: &Page, at: usize, kind: Kind, interior: bool) -> Option<Parsed> {
    let mut rest = page.get(at..)?;
    let child = if interior {
        let child = u32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        rest = &rest[4..];
        Some(child)
    } else {
        None
    };
    let consumed = |rest: &[u8]| PAGE - at - rest.len();
    if kind == Kind::Table && interior {
        varint(&mut rest)?;
        return Some((child, None, consumed(rest)));
    }
    let length = usize::try_from(varint(&mut rest)?).ok().filter(|length| *length <= LARGEST_RECORD)?;
    let rowid = if kind == Kind::Table { varint(&mut rest)? } else { 0 };
    let local = local_octets(length, kind);
    let mut cell = Cell { rowid, length, local: rest.get(..local)?.to_vec(), overflow: None };
    rest = &rest[local..];
    if local < length {
        cell.overflow = Some(u32::from_be_bytes(rest.get(..4)?.try_into().ok()?));
        rest = &rest[4..];
    }
    Some((child, Some(cell), consumed(rest)))
}

/// How much of a record is in the page itself (section 1.6).
fn local_octets(length: usize, kind: Kind) -> usize {
    let least = (PAGE - 12) * 32 / 255 - 23;
    let most = match kind {
        Kind::Table => PAGE - 35,
        Kind::Index => (PAGE - 12) * 64 / 255 - 23,
    };
    if length <= most {
        return length;
    }
    let fitting = least + (length - least) % (PAGE - 4);
    if fitting <= most { fitting } else { least }
}

/// The free octets of a page whose cell pointers end at `pointers`; none where they do not add up.
fn free(page: &Page, pointers: usize) -> Option<usize> {
    let content = match usize::from(short(page, 5)) {
        0 => PAGE,
        at => at,
    };
    let mut free = content.checked_sub(pointers)? + usize::from(page[7]);
    let mut block = usize::from(short(page, 1));
    let mut before = 0;
    while block != 0 {
        if block <= before || block < content || block + 4 > PAGE {
            return None;
        }
        free += usize::from(short(page, block + 2));
        before = block;
        block = usize::from(short(page, block));
    }
    Some(free)
}

/// The values of a record; none where they do not fill it exactly.
pub(super) fn values(record: &[u8]) -> Option<Vec<Value>> {
    let mut rest = record;
    let header = usize::try_from(varint(&mut rest)?).ok()?;
    let mut types = record.get(record.len() - rest.len()..header)?;
    let mut body = record.get(header..)?;
    let mut values = Vec::new();
    while !types.is_empty() {
        values.push(value(varint(&mut types)?, &mut body)?);
    }
    body.is_empty().then_some(values)
}

fn value(serial_type: i64, body: &mut &[u8]) -> Option<Value> {
    let mut take = |length: usize| {
        let (taken, rest) = body.split_at_checked(length)?;
        *body = rest;
        Some(taken)
    };
    let length = match serial_type {
        0 => return Some(Value::Null),
        8 | 9 => return Some(Value::Integer(serial_type - 8)),
        1..=4 => usize::try_from(serial_type).ok()?,
        5 => 6,
        6 => 8,
        12.. => {
            let octets = take(usize::try_from((serial_type - 12) / 2).ok()?)?.to_vec();
            return Some(match serial_type % 2 {
                0 => Value::Blob(octets),
                _ => Value::Text(String::from_utf8(octets).ok()?),
            });
        }
        // Floating point numbers, of which a queue has none, and what is reserved.
        _ => return None,
    };
    let octets = take(length)?;
    let sign = octets.first().is_some_and(|first| *first >= 0x80);
    let mut whole = if sign { [0xff; 8] } else { [0; 8] };
    whole[8 - length..].copy_from_slice(octets);
    Some(Value::Integer(i64::from_be_bytes(whole)))
}

/// A number of one to nine octets (section 1.6).
fn varint(octets: &mut &[u8]) -> Option<i64> {
    let mut number: u64 = 0;
    for index in 0..9 {
        let (octet, rest) = octets.split_first()?;
        *octets = rest;
        if index == 8 {
            return Some(((number << 8) | u64::from(*octet)).cast_signed());
        }
        number = (number << 7) | u64::from(octet & 0x7f);
        if octet & 0x80 == 0 {
            break;
        }
    }
    Some(number.cast_signed())
}

fn short(page: &Page, at: usize) -> u16 {
    u16::from_be_bytes([page[at], page[at + 1]])
}

/// A page number at this place.
pub(super) fn long(page: &Page, at: usize) -> u32 {
    u32::from_be_bytes([page[at], page[at + 1], page[at + 2], page[at + 3]])
}

/// No row of a queue is larger: parts of content have 256 KiB, the first one its header block too.
const LARGEST_RECORD: usize = 64 << 20;
