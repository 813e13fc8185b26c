//! Who has called: the sender of a message that names none.

use crate::users;

/// The calling user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// The login name.
    pub(super) name: String,
    /// The full name; empty where the system has none.
    pub(super) full_name: String,
}

impl Caller {
    /// The user whom this process belongs to. What the environment says of it proves nothing, and is not asked.
    pub(super) fn own() -> Self {
        let uid = rustix::process::getuid().as_raw();
        match users::described(uid) {
            Some((name, gecos)) => Self { full_name: full_name(&gecos, &name), name },
            // Containers run as users that their system has never heard of.
            None => Self { name: format!("uid{uid}"), full_name: String::new() },
        }
    }
}

/// The first part of the field that passwd(5) has for it, in which `&` is the login name with a capital.
fn full_name(gecos: &str, login: &str) -> String {
    let mut letters = login.chars();
    let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    gecos.split(',').next().unwrap_or_default().replace('&', &capital).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_name_is_the_first_part() {
        for (gecos, name) in [
            ("Jane Doe,Room 7,1234,", "Jane Doe"),
            ("& Doe", "Jane Doe"),
            ("", ""),
            (",,,", ""),
            ("www-data", "www-data"),
        ] {
            assert_eq!(full_name(gecos, "jane"), name, "{gecos}");
        }
        assert!(!Caller::own().name.is_empty());
    }
}
