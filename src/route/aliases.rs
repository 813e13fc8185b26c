//! Aliases: names of this machine's users and roles, and whom their mail goes to instead. Follows one alias to the next until
//! addresses are left, and tells where that leads nowhere.

use std::collections::{BTreeMap, HashMap};

use crate::smtp::Address;

/// What an alias stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A mailbox elsewhere.
    Address(Address),
    /// What the alias of this name, as [`key`] writes it, stands for.
    Alias(String),
}

/// Aliases as they are written: by [`key`], or [`ANY`].
pub type Written = BTreeMap<String, Vec<Target>>;

/// Aliases with the addresses that they come to in the end; none without an address.
pub type Expanded = HashMap<String, Vec<Address>>;

/// Why an alias does not stand for all that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is no alias of this name.
    #[error("{0}, which no alias has")]
    Missing(String),
    /// It leads back to itself.
    #[error("a circle: the alias leads back to itself")]
    Circle,
    /// It goes by more aliases in a row than [`MAX_DEPTH`].
    #[error("more than {MAX_DEPTH} aliases behind one another")]
    TooDeep,
    /// It stands for more addresses than [`MAX_TARGETS`], or all together for more than [`MAX_ADDRESSES`].
    #[error("more addresses or aliases than an alias may have ({MAX_TARGETS}; all aliases together {MAX_ADDRESSES})")]
    TooMany,
}

/// How a local part is looked up: without quotes and case.
pub fn key(local_part: &str) -> String {
    let Some(quoted) = local_part.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local_part.to_lowercase();
    };
    let mut plain = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain.to_lowercase()
}

/// The name by which this one is looked up: its own, for the postmaster else root's (Debian and others have it so), else the
/// one for all others.
pub(super) fn found<T>(name: &str, has: impl Fn(&str) -> Option<T>) -> Option<(&str, T)> {
    let stand_in = if name == POSTMASTER { ROOT } else { ANY };
    [name, stand_in, ANY].into_iter().find_map(|name| has(name).map(|value| (name, value)))
}

/// Follows all aliases to their ends. What is in trouble stands for the rest of what it names, if for anything; of each trouble
/// it is said which alias has it, once.
pub fn expand(written: &Written) -> (Expanded, Vec<(String, Trouble)>) {
    let (mut expanded, mut troubles, mut total) = (Expanded::new(), Vec::new(), 0);
    for name in written.keys() {
        let mut walk = Walk { written, start: name, seen: Vec::new(), addresses: Vec::new(), troubles: Vec::new() };
        walk.follow(name, 0);
        total += walk.addresses.len();
        if total > MAX_ADDRESSES {
            walk.note(Trouble::TooMany);
        }
        if !walk.is_over() && !walk.addresses.is_empty() {
            expanded.insert(name.clone(), walk.addresses);
        }
        troubles.extend(walk.troubles.into_iter().map(|trouble| (name.clone(), trouble)));
    }
    (expanded, troubles)
}

/// The way from one alias to all its ends.
struct Walk<'a> {
    written: &'a Written,
    start: &'a str,
    /// Aliases that were followed.
    seen: Vec<&'a str>,
    addresses: Vec<Address>,
    troubles: Vec<Trouble>,
}

impl<'a> Walk<'a> {
    fn follow(&mut self, name: &'a str, depth: usize) {
        self.seen.push(name);
        for target in self.written.get(name).into_iter().flatten() {
            if self.is_over() {
                return;
            }
            match target {
                Target::Address(address) if self.addresses.contains(address) => {}
                Target::Address(_) if self.addresses.len() >= MAX_TARGETS => self.note(Trouble::TooMany),
                Target::Address(address) => self.addresses.push(address.clone()),
                Target::Alias(next) => match found(next, |name| self.written.get_key_value(name)) {
                    // Of what is wrong further on, the alias that names it is told.
                    None if depth > 0 => {}
                    None => self.note(Trouble::Missing(next.clone())),
                    Some((found, _)) if found == self.start && depth == 0 && found != next => {
                        self.note(Trouble::Missing(next.clone()));
                    }
                    Some((found, _)) if found == self.start => self.note(Trouble::Circle),
                    Some((found, _)) if self.seen.contains(&found) => {}
                    Some(_) if depth >= MAX_DEPTH => self.note(Trouble::TooDeep),
                    Some(_) if self.seen.len() > MAX_TARGETS => self.note(Trouble::TooMany),
                    Some((_, (found, _))) => self.follow(found, depth + 1),
                },
            }
        }
    }

    /// Whether what it stands for is too much to be any use.
    fn is_over(&self) -> bool {
        self.troubles.iter().any(|trouble| matches!(trouble, Trouble::TooMany | Trouble::TooDeep))
    }

    fn note(&mut self, trouble: Trouble) {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }
}

/// What stands for every name that has no alias of its own.
pub const ANY: &str = "*";
/// Whom the system writes to.
pub const ROOT: &str = "root";
/// Whom others write to (RFC 5321 §4.5.1).
pub const POSTMASTER: &str = "postmaster";

/// Aliases behind one another.
pub const MAX_DEPTH: usize = 20;
/// Addresses, and aliases, behind one alias: as many as a transaction has by default.
pub const MAX_TARGETS: usize = 1000;
/// Addresses behind all aliases together, which bounds their memory.
pub const MAX_ADDRESSES: usize = 100_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `name: target, target` a line.
    fn written(text: &str) -> Written {
        let target = |text: &str| match text.parse() {
            Ok(address) => Target::Address(address),
            Err(_) => Target::Alias(text.into()),
        };
        let line = |line: &str| {
            let (name, targets) = line.split_once(": ").unwrap();
            (name.to_owned(), targets.split(", ").map(target).collect())
        };
        text.lines().map(|one| line(one.trim())).collect()
    }

    fn told(text: &str) -> (Vec<String>, Vec<String>) {
        let (expanded, troubles) = expand(&written(text));
        let listed = |(name, addresses): (&String, &Vec<Address>)| {
            let addresses: Vec<&str> = addresses.iter().map(Address::as_str).collect();
            format!("{name}: {}", addresses.join(" "))
        };
        let mut ends: Vec<String> = expanded.iter().map(listed).collect();
        ends.sort();
        (ends, troubles.iter().map(|(name, trouble)| format!("{name}: {trouble}")).collect())
    }

    #[test]
    fn aliases_are_followed_to_their_addresses_each_once() {
        let (ends, troubles) = told(
            "root: jane, ops@example.com, admins
             admins: jane, joe@example.com, OPS@example.com
             jane: jane@example.com
             hostmaster: postmaster",
        );
        assert_eq!(
            ends,
            [
                "admins: jane@example.com joe@example.com OPS@example.com",
                "hostmaster: jane@example.com ops@example.com joe@example.com OPS@example.com",
                "jane: jane@example.com",
                "root: jane@example.com ops@example.com joe@example.com OPS@example.com",
            ]
        );
        assert_eq!(troubles, [""; 0]);
    }

    #[test]
    fn what_leads_nowhere_is_told_where_it_is_written_and_the_rest_counts() {
        let (ends, troubles) = told(
            "a: b, a@example.com
             b: c
             c: b, a
             d: nobody, d@example.com
             e: d
             f: nobody
             g: g",
        );
        assert_eq!(
            ends,
            ["a: a@example.com", "b: a@example.com", "c: a@example.com", "d: d@example.com", "e: d@example.com"]
        );
        let circle = "a circle: the alias leads back to itself";
        let wanted = [("a", circle), ("b", circle), ("c", circle), ("g", circle)];
        let mut wanted: Vec<String> = wanted.iter().map(|(name, trouble)| format!("{name}: {trouble}")).collect();
        wanted.extend(["d", "f"].map(|name| format!("{name}: nobody, which no alias has")));
        wanted.sort();
        assert_eq!(troubles, wanted);
    }

    #[test]
    fn one_for_all_others_takes_what_no_alias_has() {
        assert_eq!(
            told("*: root\nroot: r@example.com\nx: y").0,
            ["*: r@example.com", "root: r@example.com", "x: r@example.com"]
        );
        assert_eq!(told("*: admin").1, ["*: admin, which no alias has"]);
    }

    #[test]
    fn chains_and_lists_have_an_end() {
        let chain = |length: usize| {
            let links: Vec<String> = (0..length).map(|at| format!("n{at}: n{}", at + 1)).collect();
            told(&format!("{}\nn{length}: x@example.com", links.join("\n")))
        };
        assert_eq!(chain(MAX_DEPTH).1, [""; 0]);
        let (ends, troubles) = chain(MAX_DEPTH + 1);
        assert_eq!(troubles, [format!("n0: more than {MAX_DEPTH} aliases behind one another")]);
        assert!(!ends.iter().any(|end| end.starts_with("n0:")), "an alias counts whole or not at all");

        let list = |count: usize| {
            let addresses: Vec<String> = (0..count).map(|at| format!("{at}@example.com")).collect();
            told(&format!("all: {}", addresses.join(", ")))
        };
        assert_eq!((list(MAX_TARGETS).0.len(), list(MAX_TARGETS).1.len()), (1, 0));
        assert_eq!((list(MAX_TARGETS + 1).0.len(), list(MAX_TARGETS + 1).1.len()), (0, 1), "a list is never cut");
        let copies: Vec<String> = (0..=MAX_ADDRESSES / MAX_TARGETS).map(|at| format!("copy{at:03}: all")).collect();
        let addresses: Vec<String> = (0..MAX_TARGETS).map(|at| format!("{at}@example.com")).collect();
        let (ends, troubles) = told(&format!("all: {}\n{}", addresses.join(", "), copies.join("\n")));
        assert_eq!((ends.len(), troubles.len()), (MAX_ADDRESSES / MAX_TARGETS, 2));
    }

    #[test]
    fn a_local_part_is_looked_up_without_quotes_and_case() {
        for (local, wanted) in
            [("Root", "root"), ("\"John Doe\"", "john doe"), ("\"a\\\"b\"", "a\"b"), ("JÜRGEN", "jürgen")]
        {
            assert_eq!(key(local), wanted);
        }
    }

    proptest! {
        #[test]
        fn every_walk_ends_and_every_end_is_an_address_that_was_written(
            names in prop::collection::vec((0_u8..12, prop::collection::vec(prop_oneof![
                (0_u8..14).prop_map(|to| Target::Alias(format!("n{to}"))),
                (0_u8..4).prop_map(|to| Target::Address(format!("{to}@example.com").parse().unwrap())),
            ], 0..5)), 0..14),
        ) {
            let written: Written = names.into_iter().map(|(name, targets)| (format!("n{name}"), targets)).collect();
            let (expanded, _) = expand(&written);
            for (name, addresses) in &expanded {
                prop_assert!(written.contains_key(name) && !addresses.is_empty());
                for address in addresses {
                    let target = Target::Address(address.clone());
                    prop_assert!(written.values().flatten().any(|written| *written == target));
                    prop_assert_eq!(addresses.iter().filter(|other| *other == address).count(), 1);
                }
            }
            // What an alias names itself is never lost.
            for (name, targets) in &written {
                for target in targets {
                    if let Target::Address(address) = target {
                        prop_assert!(expanded[name].contains(address));
                    }
                }
            }
        }
    }
}
