//! `[account.headers]`: which header fields of clients go on to the provider, and which are added.

use super::problem::Report;
use super::table::{Emptiness, Table};
use super::value;
use crate::message::fields::{AddedField, FieldPattern, FieldRule};
use crate::provider::presets::{Preset, RepeatedFields};

pub(super) const KEYS: &[&str] = &["remove", "allow", "add", "fold"];

/// Reads the table; what it does not say is the preset's.
pub(super) fn read(account: &Table<'_>, report: &mut Report<'_>, preset: &Preset) -> FieldRule {
    let preset_removes = preset.removed_fields.iter().filter_map(|pattern| pattern.parse().ok());
    let mut rule = FieldRule {
        removed: preset_removes.collect(),
        allowed: Vec::new(),
        added: Vec::new(),
        repeated: preset.repeated_fields,
    };
    let wanted = "a table such as { allow = [\"X-MJ-CustomID\"] }";
    let Some(table) = account.table(report, "headers", ("account.headers", KEYS), wanted) else { return rule };
    let patterns = |key: &str, report: &mut Report<'_>| {
        let wanted = "the name of a header field, or its beginning and \"*\"";
        let list = table.list(report, key, Emptiness::Allowed, |v| value::parsed::<FieldPattern>(v, wanted));
        list.map(|list| list.into_iter().map(|at| at.value).collect::<Vec<_>>())
    };
    if let Some(removed) = patterns("remove", report) {
        rule.removed = removed;
    }
    rule.allowed = patterns("allow", report).unwrap_or_default();
    let wanted = "a header field, \"Name: value\", in ASCII and on one line";
    let added = table.list(report, "add", Emptiness::Allowed, |v| value::parsed::<AddedField>(v, wanted));
    rule.added = added.unwrap_or_default().into_iter().map(|at| at.value).collect();
    let folds = table.read_or(report, "fold", rule.repeated == RepeatedFields::Folded, value::truth);
    rule.repeated = if folds { RepeatedFields::Folded } else { RepeatedFields::Kept };
    rule
}
