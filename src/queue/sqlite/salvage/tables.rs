//! The tables of a queue as a damaged file is read for them: what their rows look like.

use rusqlite::types::Value;

use super::page::Kind;
use crate::smtp::Address;

/// What rows are read of: the tables, and the index by which a message finds its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::queue::sqlite) enum Table {
    Meta,
    Message,
    Chunk,
    Delivery,
    Recipient,
    Attempt,
    Charge,
    Lane,
    RouteClock,
    Report,
    Kept,
    /// The index `delivery_message`.
    Link,
}

/// How a table's records are written.
struct Shape {
    table: Table,
    name: &'static str,
    kind: Kind,
    /// Whether its first column is the rowid.
    rowid_first: bool,
    /// A letter for each column: i for a number, t for text, b for octets; upper case where it may be NULL.
    columns: &'static str,
    /// What older rows lack of these, since it was added later.
    defaults: &'static [Added],
}

#[derive(Clone, Copy)]
enum Added {
    Number(i64),
    Text(&'static str),
    Null,
}

const fn shape(table: Table, name: &'static str, kind: Kind, rowid_first: bool, columns: &'static str) -> Shape {
    Shape { table, name, kind, rowid_first, columns, defaults: &[] }
}

const SHAPES: [Shape; 12] = [
    shape(Table::Meta, "meta", Kind::Table, true, "iiiti"),
    shape(Table::Message, "message", Kind::Table, true, "iiittittiiB"),
    shape(Table::Chunk, "chunk", Kind::Table, false, "iib"),
    shape(Table::Delivery, "delivery", Kind::Table, true, "iititiiiiiiiTIIITTI"),
    shape(Table::Recipient, "recipient", Kind::Index, false, "iitiiiiT"),
    Shape {
        defaults: &[
            Added::Number(0),
            Added::Number(0),
            Added::Number(1),
            Added::Text(""),
            Added::Number(0),
            Added::Text("[]"),
        ],
        ..shape(Table::Attempt, "attempt", Kind::Table, false, "iittttiiitit")
    },
    Shape { defaults: &[Added::Null], ..shape(Table::Charge, "charge", Kind::Table, true, "itiiIT") },
    shape(Table::Lane, "lane", Kind::Index, false, "tt"),
    shape(Table::RouteClock, "route_clock", Kind::Index, false, "tiI"),
    shape(Table::Report, "report", Kind::Table, true, "ii"),
    shape(Table::Kept, "kept", Kind::Index, false, "tt"),
    shape(Table::Link, "delivery_message", Kind::Index, false, "ii"),
];

impl Table {
    /// The one of this name, where it is read.
    pub(super) fn named(name: &str) -> Option<Self> {
        SHAPES.iter().find(|shape| shape.name == name).map(|shape| shape.table)
    }

    /// The name of the table or index.
    pub(in crate::queue::sqlite) fn name(self) -> &'static str {
        self.shape().name
    }

    /// The kind of its pages.
    pub(super) fn kind(self) -> Kind {
        self.shape().kind
    }

    /// A record as a row of it, with its rowid first where that is a column; none where it is none.
    pub(super) fn row(self, rowid: i64, mut values: Vec<Value>) -> Option<Vec<Value>> {
        let shape = self.shape();
        let wanted = shape.columns.len();
        let missing = wanted.checked_sub(values.len()).filter(|missing| *missing <= shape.defaults.len())?;
        for added in &shape.defaults[shape.defaults.len() - missing..] {
            values.push(match added {
                Added::Number(number) => Value::Integer(*number),
                Added::Text(text) => Value::Text((*text).to_owned()),
                Added::Null => Value::Null,
            });
        }
        if shape.rowid_first {
            // SQLite keeps NULL in its place.
            values[0] = matches!(values[0], Value::Null).then_some(Value::Integer(rowid))?;
        }
        let fits = shape.columns.chars().zip(&values).all(|(column, value)| match value {
            Value::Null => column.is_ascii_uppercase(),
            Value::Integer(_) => column.eq_ignore_ascii_case(&'i'),
            Value::Text(_) => column.eq_ignore_ascii_case(&'t'),
            Value::Blob(_) => column.eq_ignore_ascii_case(&'b'),
            Value::Real(_) => false,
        });
        (fits && self.means_something(&values)).then_some(values)
    }

    /// What the rest of the program relies on beyond the kinds of values.
    fn means_something(self, values: &[Value]) -> bool {
        let address = |value: &Value| matches!(value, Value::Text(text) if text.parse::<Address>().is_ok());
        let within = |index: usize, range: std::ops::RangeInclusive<i64>| matches!(values.get(index), Some(Value::Integer(number)) if range.contains(number));
        let counts = u32::MAX.into();
        match self {
            Self::Message => {
                let null_path = matches!(&values[6], Value::Text(text) if text.is_empty());
                (null_path || address(&values[6])) && within(8, 0..=i64::MAX) && within(9, 0..=counts)
            }
            Self::Chunk => within(1, 1..=counts),
            Self::Delivery => within(5, 0..=6) && within(6, 0..=counts) && within(8, 0..=counts),
            Self::Recipient => {
                within(1, 0..=counts) && address(&values[2]) && within(3, 0..=5) && within(5, 0..=counts)
            }
            Self::Attempt => within(8, 0..=counts) && within(10, 0..=counts),
            Self::Charge => within(2, 0..=counts),
            _ => true,
        }
    }

    fn shape(self) -> &'static Shape {
        // Each is in the list: a test looks.
        SHAPES.iter().find(|shape| shape.table == self).unwrap_or(&SHAPES[0])
    }
}

/// The table that a page belongs to which no tree leads to, by what all of its records look like; none where that does
/// not distinguish it, as with two columns.
pub(super) fn by_looks(kind: Kind, records: &[(i64, Vec<Value>)]) -> Option<Table> {
    let (rowid, first) = records.first()?;
    let fits = |shape: &&Shape| {
        shape.kind == kind && shape.columns.len() > 2 && shape.table.row(*rowid, first.clone()).is_some()
    };
    let shape = SHAPES.iter().find(fits)?;
    records.iter().all(|(rowid, record)| shape.table.row(*rowid, record.clone()).is_some()).then_some(shape.table)
}
