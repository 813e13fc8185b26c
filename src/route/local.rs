//! Mail for this machine's own users, who have no mailboxes here: whom it goes to instead, and which domains are this machine's.

use std::collections::BTreeSet;

use super::aliases::{Expanded, found, key};
use crate::smtp::Address;

/// Whom local mail goes to. The default has no aliases and no domains, so that all mail goes where it is addressed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalMail {
    aliases: Expanded,
    /// In lower case.
    domains: BTreeSet<String>,
}

/// How a recipient was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As a local part alone; the domain was added here.
    Bare,
    /// With its domain.
    Whole,
}

/// What becomes of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// It is no local mail, and goes to the address itself.
    Itself,
    /// It goes to these instead.
    Aliased(&'a [Address]),
    /// It is local mail, and no alias says whose.
    Nobodys,
}

impl LocalMail {
    /// With these aliases, and these domains, in any case.
    pub fn new(aliases: Expanded, domains: impl IntoIterator<Item = String>) -> Self {
        let domains = domains.into_iter().map(|domain| domain.to_ascii_lowercase()).collect();
        Self { aliases, domains }
    }

    /// What becomes of a recipient. One without a domain comes with the one that completes it.
    pub fn resolve(&self, recipient: &Address, form: Form) -> Resolved<'_> {
        let is_local = self.domains.contains(&recipient.domain().to_ascii_lowercase());
        if !is_local && form == Form::Whole {
            return Resolved::Itself;
        }
        match self.addresses(recipient.local_part()) {
            Some(addresses) => Resolved::Aliased(addresses),
            None if is_local => Resolved::Nobodys,
            None => Resolved::Itself,
        }
    }

    /// Whom mail to this local part goes to.
    pub fn addresses(&self, local_part: &str) -> Option<&[Address]> {
        let name = key(local_part);
        found(&name, |name| self.aliases.get(name)).map(|(_, addresses)| addresses.as_slice())
    }

    /// The domains of this machine.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.iter().map(String::as_str)
    }

    /// How many aliases there are.
    pub fn alias_count(&self) -> usize {
        self.aliases.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(aliases: &[(&str, &str)]) -> LocalMail {
        let aliases = aliases.iter().map(|(name, to)| ((*name).to_owned(), vec![to.parse().unwrap()]));
        LocalMail::new(aliases.collect(), ["localhost".to_owned(), "Web01".to_owned()])
    }

    #[test]
    fn local_mail_goes_to_its_alias_or_to_nobody_and_other_mail_where_it_is_addressed_to() {
        let some = local(&[("root", "ops@example.com")]);
        let all = local(&[("root", "ops@example.com"), ("*", "all@example.com")]);
        let said = |local: &LocalMail, recipient: &str, form| match local.resolve(&recipient.parse().unwrap(), form) {
            Resolved::Itself => "itself".to_owned(),
            Resolved::Nobodys => "nobody".to_owned(),
            Resolved::Aliased(addresses) => addresses[0].to_string(),
        };
        for (recipient, form, by_some, by_all) in [
            ("root@localhost", Form::Whole, "ops@example.com", "ops@example.com"),
            ("ROOT@web01", Form::Whole, "ops@example.com", "ops@example.com"),
            ("\"root\"@web01", Form::Whole, "ops@example.com", "ops@example.com"),
            ("jane@WEB01", Form::Whole, "nobody", "all@example.com"),
            ("postmaster@web01", Form::Whole, "ops@example.com", "ops@example.com"),
            ("root@example.com", Form::Whole, "itself", "itself"),
            ("root@sub.web01", Form::Whole, "itself", "itself"),
            // Completed by a domain that is not this machine's.
            ("root@example.com", Form::Bare, "ops@example.com", "ops@example.com"),
            ("jane@example.com", Form::Bare, "itself", "all@example.com"),
            ("jane@web01", Form::Bare, "nobody", "all@example.com"),
        ] {
            assert_eq!(
                (&*said(&some, recipient, form), &*said(&all, recipient, form)),
                (by_some, by_all),
                "{recipient}"
            );
        }
        let nothing = LocalMail::default();
        assert_eq!(said(&nothing, "root@localhost", Form::Whole), "itself");
        assert_eq!(said(&nothing, "root@relay.example", Form::Bare), "itself");
    }
}
