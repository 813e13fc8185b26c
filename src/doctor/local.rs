//! This machine's own users: whether those that clients name are there, and whether somebody reads the mail to root.

use std::io;

use super::Finding;
use crate::config::Config;
use crate::route::aliases::{ANY, ROOT};
use crate::route::client::LocalUser;
use crate::users;

/// What the system says of a user's name: whether there is one.
type Asked = io::Result<bool>;

/// Looks up the users that clients name, and judges. May block.
pub fn look(config: &Config) -> Vec<Finding> {
    judge(config, users::is_there)
}

/// What to make of what the system says of each user.
pub fn judge(config: &Config, is_there: impl Fn(&str) -> Asked) -> Vec<Finding> {
    let mut findings = Vec::new();
    for client in &config.clients {
        for user in &client.users {
            let LocalUser::Name(name) = user else { continue };
            match is_there(name) {
                Ok(true) => {}
                Ok(false) => findings.push(Finding::warning(
                    USERS,
                    format!("client {}: this machine has no user {name}", client.name),
                    "none, where a package will bring it (nothing waits for it); else correct `user`",
                )),
                Err(error) => findings.push(Finding::warning(
                    USERS,
                    format!("client {}: nobody says whether there is a user {name}: {error}", client.name),
                    "see whether the sources of `passwd` in /etc/nsswitch.conf answer; mail is taken meanwhile",
                )),
            }
        }
    }
    findings.push(of_root(config));
    let odd = |remark: &String| Finding::warning(ALIASES, remark, "correct it, where somebody is to get that mail");
    findings.extend(config.remarks.iter().map(odd));
    findings
}

/// Cron, mdadm, smartd and others write to root.
fn of_root(config: &Config) -> Finding {
    let local = &config.local;
    match local.addresses(ROOT) {
        Some(addresses) => {
            let addresses: Vec<&str> = addresses.iter().take(SHOWN).map(|address| address.as_str()).collect();
            let more = if local.addresses(ROOT).map_or(0, <[_]>::len) > SHOWN { " and others" } else { "" };
            Finding::ok(ALIASES, format!("mail to {ROOT} goes to {}{more}", addresses.join(", ")))
        }
        None => Finding::warning(
            ALIASES,
            format!("mail to {ROOT} of this machine goes to nobody, and is refused"),
            format!("set {ROOT} = \"you@example.com\", or \"{ANY}\" for all users, under [aliases]"),
        ),
    }
}

const USERS: &str = "users";
const ALIASES: &str = "aliases";
/// Addresses that are named.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Standing;
    use super::*;
    use crate::route::{Client, LocalMail};

    #[test]
    fn users_that_are_not_there_and_mail_that_nobody_gets_are_told_and_fail_nothing() {
        let users = ["www-data", "nginx", "jane"].map(|name| LocalUser::Name(name.into()));
        let users = users.into_iter().chain([LocalUser::Id(4_000_000_123)]).collect();
        let clients = vec![Client { users, ..Client::named("web".into()) }];
        let mut config = Config { clients, remarks: vec!["/etc/aliases:3: odd".into()], ..Config::default() };
        let told = |config: &Config| {
            let findings = judge(config, |name| match name {
                "www-data" => Ok(true),
                "nginx" => Ok(false),
                _ => Err(io::ErrorKind::TimedOut.into()),
            });
            assert!(findings.iter().all(|finding| finding.standing != Standing::Failed));
            findings.into_iter().map(|finding| finding.seen).collect::<Vec<_>>()
        };
        let [nginx, jane, root, odd] = &told(&config)[..] else { panic!("{:?}", told(&config)) };
        assert_eq!(nginx, "client web: this machine has no user nginx");
        assert!(jane.starts_with("client web: nobody says whether there is a user jane: "), "{jane}");
        assert_eq!(root, "mail to root of this machine goes to nobody, and is refused");
        assert_eq!(odd, "/etc/aliases:3: odd");

        let aliases = [("*".to_owned(), vec!["ops@example.com".parse().unwrap()])].into_iter().collect();
        config.local = Arc::new(LocalMail::new(aliases, []));
        assert_eq!(told(&config)[2], "mail to root goes to ops@example.com");
    }
}
