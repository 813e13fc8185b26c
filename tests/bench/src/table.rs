//! What was measured, as tables: medians with the least and the most, and beside Postfix also ratios.

use std::fmt;

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    name: String,
    /// What the project aims at, in words; empty without an aim.
    aim: &'static str,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, aim: &'static str) -> Self {
        Self { name: name.into(), aim }
    }
}

/// Rows in the order in which they came up, with the values of each column, round by round.
pub(crate) struct Table {
    title: &'static str,
    columns: Vec<String>,
    rows: Vec<(Row, Vec<Vec<f64>>)>,
}

impl Table {
    pub(crate) fn new(title: &'static str, columns: &[&str]) -> Self {
        Self { title, columns: columns.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Keeps the value of one round, and tells it to whoever waits for the table. Infinite: it did not come about.
    pub(crate) fn record(&mut self, row: Row, column: usize, value: f64) {
        eprintln!("    {:<12} {:<70} {}", self.columns[column], row.name, figure(value));
        let at = self.rows.iter().position(|(known, _)| *known == row).unwrap_or_else(|| {
            self.rows.push((row, vec![Vec::new(); self.columns.len()]));
            self.rows.len() - 1
        });
        self.rows[at].1[column].push(value);
    }

    /// The columns that are also compared with the first one: all others, where that is Postfix.
    fn compared(&self) -> std::ops::Range<usize> {
        if self.columns.first().is_some_and(|name| name == "Postfix") { 1..self.columns.len() } else { 0..0 }
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let ratios = self.compared().map(|column| format!("{} / {}", self.columns[column], self.columns[0]));
        let head = [self.title.to_owned()].into_iter().chain(self.columns.iter().cloned()).chain(ratios);
        let mut cells = vec![head.chain(["aim".to_owned()]).collect::<Vec<_>>()];
        for (row, values) in &self.rows {
            let ratios = self.compared().map(|column| {
                // Of each round: what disturbed the machine for long disturbed both.
                let pairs = values[column].iter().zip(&values[0]).filter(|(_, other)| other.is_finite());
                spread(&pairs.map(|(one, other)| one / other).collect::<Vec<_>>())
            });
            let measured = values.iter().map(|values| spread(values));
            let line = [row.name.clone()].into_iter().chain(measured).chain(ratios);
            cells.push(line.chain([row.aim.to_owned()]).collect());
        }
        cells
    }
}

/// Markdown whose columns stand below one another.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        let cells = self.cells();
        let width = |column: usize| cells.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..cells[0].len()).map(width).collect();
        writeln!(f)?;
        for (at, line) in cells.iter().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
            if at == 0 {
                writeln!(f, "|{}", widths.iter().map(|width| "-".repeat(width + 2) + "|").collect::<String>())?;
            }
        }
        Ok(())
    }
}

/// The median, and the least and the most where there are several.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => "–".to_owned(),
        [only] => figure(*only),
        [least, .., most] => {
            let middle = sorted.len() / 2;
            let median = if sorted.len().is_multiple_of(2) {
                sorted[middle - 1].midpoint(sorted[middle])
            } else {
                sorted[middle]
            };
            format!("{} ({}–{})", figure(median), figure(*least), figure(*most))
        }
    }
}

/// Three digits that matter, or all of a whole number.
fn figure(value: f64) -> String {
    match value {
        _ if value.is_infinite() => "never".to_owned(),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => {
            let digits = format!("{value:.0}");
            let groups: Vec<&str> =
                digits.as_bytes().rchunks(3).rev().filter_map(|group| str::from_utf8(group).ok()).collect();
            groups.join(",")
        }
    }
}
