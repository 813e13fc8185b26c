//! Walks the tables of a TOML document. Decides which keys a table may have; what their values mean is decided by the
//! parsers that it is given. Every problem goes into the [`Report`], and the walk goes on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Report;

/// A table of the document and its place in it.
#[derive(Debug)]
pub(super) struct Table<'t> {
    /// The names that lead to it, as `account.caps`; empty for the document.
    name: &'static str,
    /// The line on which it begins.
    pub(super) line: usize,
    keys: &'static [&'static str],
    entries: &'t DeTable<'t>,
}

/// A value and the line on which it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) line: usize,
    pub(super) value: T,
}

/// Whether a list may have no element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptiness {
    Allowed,
    Refused,
}

/// What a value should have been.
pub(super) type Wanted = String;

/// The document as a table; none where it is not TOML, which is reported, and nothing else can be.
pub(super) fn document<'t>(
    parsed: &'t (Spanned<DeTable<'t>>, Vec<toml::de::Error>),
    keys: &'static [&'static str],
    report: &mut Report<'_>,
) -> Option<Table<'t>> {
    let (root, errors) = parsed;
    let mut last = 0;
    for error in errors {
        let line = report.line(error.span().map_or(0, |span| span.start));
        // What follows a fault on its line is mostly its echo.
        if line != last {
            let (found, wanted) =
                error.message().split_once(", expected ").unwrap_or((error.message(), "well-formed TOML"));
            report.add(line, "syntax", found, wanted);
        }
        last = line;
    }
    errors.is_empty().then(|| Table::checked("", root.get_ref(), 1, keys, report))
}

impl<'t> Table<'t> {
    /// The table under `key` (itself named `name`), with no other keys than `keys`.
    pub(super) fn table(
        &self,
        report: &mut Report<'_>,
        key: &'static str,
        (name, keys): (&'static str, &'static [&'static str]),
        wanted: &str,
    ) -> Option<Table<'t>> {
        let value = self.get(key)?;
        let line = report.line(value.span().start);
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table::checked(name, entries, line, keys, report)),
            // Named by its kind alone: a password may stand here in clear text.
            other => {
                report.add(line, name, kind(other), wanted);
                None
            }
        }
    }

    /// The tables `[[key]]`, at least one where `needed`.
    pub(super) fn tables(
        &self,
        report: &mut Report<'_>,
        key: &'static str,
        keys: &'static [&'static str],
        emptiness: Emptiness,
    ) -> Vec<Table<'t>> {
        let none = match self.get(key).map(|value| (value.get_ref(), value.span().start)) {
            None => (1, "nothing"),
            Some((DeValue::Array(list), start)) if list.is_empty() => (report.line(start), "an empty list"),
            Some((DeValue::Array(list), _)) => {
                let mut tables = Vec::new();
                for value in list {
                    let line = report.line(value.span().start);
                    match value.get_ref() {
                        DeValue::Table(entries) => tables.push(Table::checked(key, entries, line, keys, report)),
                        other => report.add(line, key, kind(other), format!("a table [[{key}]]")),
                    }
                }
                return tables;
            }
            Some((DeValue::Table(_), start)) => {
                let found = format!("[{key}], one table");
                report.add(report.line(start), key, found, format!("[[{key}]], one for each"));
                return vec![];
            }
            Some((other, start)) => (report.line(start), kind(other)),
        };
        if emptiness == Emptiness::Refused || none.1 != "nothing" {
            report.add(none.0, key, none.1, format!("at least one [[{key}]]"));
        }
        vec![]
    }

    /// Whether the key is there, well or badly written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The line of the key's value; that of the table where it is not there.
    pub(super) fn line_of(&self, report: &Report<'_>, key: &str) -> usize {
        self.get(key).map_or(self.line, |value| report.line(value.span().start))
    }

    /// The value of `key`; none where it is absent or, which is reported, badly written.
    pub(super) fn read<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, Wanted>,
    ) -> Option<At<T>> {
        let value = self.get(key)?;
        let line = report.line(value.span().start);
        match parse(value.get_ref()) {
            Ok(value) => Some(At { line, value }),
            Err(wanted) => {
                report.add(line, &self.path(key), found(value.get_ref()), wanted);
                None
            }
        }
    }

    /// The value of `key` or, where it is absent, `default`.
    pub(super) fn read_or<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        default: T,
        parse: impl FnOnce(&DeValue<'_>) -> Result<T, Wanted>,
    ) -> T {
        self.read(report, key, parse).map_or(default, |at| at.value)
    }

    /// The values of `key`: one, or a list of them. None where it is absent; without those that are badly written.
    pub(super) fn list<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        emptiness: Emptiness,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wanted>,
    ) -> Option<Vec<At<T>>> {
        let value = self.get(key)?;
        Some(values(report, &self.path(key), value, emptiness, &parse))
    }

    /// The entries of the table under `key`, which has names of its own, in the order of the file: of each the values, one or a
    /// list, without those that are badly written.
    pub(super) fn entries<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        wanted: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, Wanted>,
    ) -> Vec<(At<String>, Vec<At<T>>)> {
        let Some(value) = self.get(key) else { return vec![] };
        let DeValue::Table(entries) = value.get_ref() else {
            report.add(report.line(value.span().start), key, kind(value.get_ref()), wanted);
            return vec![];
        };
        let read = entries.iter().map(|(name, value)| {
            let name = At { line: report.line(name.span().start), value: name.get_ref().to_string() };
            let path = format!("{key}.{}", name.value);
            let values = values(report, &path, value, Emptiness::Refused, &parse);
            (name, values)
        });
        let mut read: Vec<_> = read.collect();
        read.sort_by_key(|(name, _)| name.line);
        read
    }

    /// Reports that `key` is missing, where it is.
    pub(super) fn require(&self, report: &mut Report<'_>, key: &str, wanted: &str) {
        if !self.has(key) {
            report.add(self.line, &self.path(key), "nothing", wanted);
        }
    }

    /// The key with the names that lead to it.
    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.into() } else { format!("{}.{key}", self.name) }
    }

    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        debug_assert!(self.keys.contains(&key), "{key} is not among the known keys of {}", self.name);
        self.entries.get(key)
    }

    fn checked(
        name: &'static str,
        entries: &'t DeTable<'t>,
        line: usize,
        keys: &'static [&'static str],
        report: &mut Report<'_>,
    ) -> Self {
        let table = Self { name, line, keys, entries };
        for key in entries.keys().filter(|key| !keys.contains(&key.get_ref().as_ref())) {
            let wanted = match nearest(key.get_ref(), keys) {
                Some(known) => format!("{known}, perhaps"),
                None => format!("one of {}", keys.join(", ")),
            };
            report.add(report.line(key.span().start), &table.path(key.get_ref()), "an unknown key", wanted);
        }
        table
    }
}

/// One value, or those of a list, without those that are badly written.
fn values<T>(
    report: &mut Report<'_>,
    path: &str,
    value: &Spanned<DeValue<'_>>,
    emptiness: Emptiness,
    parse: &impl Fn(&DeValue<'_>) -> Result<T, Wanted>,
) -> Vec<At<T>> {
    let elements = match value.get_ref() {
        DeValue::Array(list) => &list[..],
        _ => std::slice::from_ref(value),
    };
    if elements.is_empty() && emptiness == Emptiness::Refused {
        report.add(report.line(value.span().start), path, "an empty list", "at least one");
    }
    let mut read = Vec::new();
    for element in elements {
        let line = report.line(element.span().start);
        match parse(element.get_ref()) {
            Ok(value) => read.push(At { line, value }),
            Err(wanted) => report.add(line, path, found(element.get_ref()), wanted),
        }
    }
    read
}

/// What stands there, for a message: strings and numbers as they are written, else the kind.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() > MAX_SHOWN => {
            format!("{:?}…", text.chars().take(MAX_SHOWN).collect::<String>())
        }
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        other => kind(other).into(),
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The known key that was probably meant: at most a third of its letters are wrong.
pub(super) fn nearest(key: &str, keys: &[&'static str]) -> Option<&'static str> {
    let near = keys.iter().map(|known| (edits(key, known), *known)).min()?;
    (near.0 <= 1.max(near.1.len() / 3)).then_some(near.1)
}

/// How many insertions, deletions and replacements lead from one text to the other (Levenshtein's distance).
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// Characters of a string that a message shows.
const MAX_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (from, to, wanted) in
            [("", "abc", 3), ("abc", "abc", 0), ("adress", "address", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(edits(from, to), wanted, "{from} {to}");
            assert_eq!(edits(to, from), wanted, "{to} {from}");
        }
    }

    #[test]
    fn only_what_is_near_is_proposed() {
        let keys = ["address", "networks", "tls"];
        assert_eq!(nearest("adress", &keys), Some("address"));
        assert_eq!(nearest("network", &keys), Some("networks"));
        assert_eq!(nearest("ttl", &keys), None);
        assert_eq!(nearest("tsl", &keys), None);
        assert_eq!(nearest("tl", &keys), Some("tls"));
    }
}
