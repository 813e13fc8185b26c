//! Which client this is, whom mail for this machine's users goes to, and which accounts may carry it. Decides by value; knows no socket and no store.

pub mod aliases;
pub mod client;
pub mod local;

pub use client::{Client, Hidden, LocalUser, Origin, Priority};
pub use local::LocalMail;

use crate::ids::{AccountName, RouteName};

/// The route of all clients' mail: the accounts in the order of the configuration.
pub const DEFAULT: &str = "default";

/// The name under which the relay itself sends: alarms and reports. No client of the configuration may have it.
pub const OWN: &str = "mailsluice";

/// The route of mail about an account in trouble: all the others first, then that one.
pub fn avoiding(account: &AccountName) -> RouteName {
    format!("{AVOIDING}{account}").into()
}

/// Which account a route avoids, where it does.
pub fn avoided(route: &RouteName) -> Option<&str> {
    route.as_str().strip_prefix(AVOIDING)
}

/// The routes that go by these accounts.
pub fn all<'a>(accounts: impl Iterator<Item = &'a AccountName>) -> Vec<RouteName> {
    std::iter::once(DEFAULT.into()).chain(accounts.map(avoiding)).collect()
}

/// The accounts of a route, the preferred first; `accounts` are in the order of the configuration. A route that avoids an
/// account that is gone has that order too.
pub fn order<'a, T>(route: &RouteName, accounts: &'a [T], name: impl Fn(&T) -> &AccountName) -> Vec<&'a T> {
    let avoided = avoided(route);
    let is_avoided = |account: &&'a T| avoided == Some(name(account).as_str());
    let (last, mut first): (Vec<&T>, Vec<&T>) = accounts.iter().partition(is_avoided);
    first.extend(last);
    first
}

/// A colon is in no account's name.
const AVOIDING: &str = "avoiding:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_in_trouble_comes_last() {
        let accounts: Vec<AccountName> = ["a", "b", "c"].map(AccountName::from).to_vec();
        let order = |route: &RouteName| {
            order(route, &accounts, |name| name).iter().map(|name| name.as_str()).collect::<String>()
        };
        assert_eq!(order(&DEFAULT.into()), "abc");
        assert_eq!(order(&avoiding(&"a".into())), "bca");
        assert_eq!(order(&avoiding(&"c".into())), "abc");
        assert_eq!(order(&avoiding(&"gone".into())), "abc");
        assert_eq!(all(accounts.iter()).len(), 4);
    }
}
