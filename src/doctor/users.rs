//! Users and groups of this machine, and who may read a file. Knows those of /etc/passwd and /etc/group, where system
//! users such as the daemon's are.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A user and the groups it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name, or its number where it has none.
    pub name: String,
    /// Its id.
    pub user: u32,
    /// The ids of its groups, its own first.
    pub groups: Vec<u32>,
}

impl Identity {
    /// The user of this process.
    pub fn own() -> Self {
        let mut groups = vec![rustix::process::getegid().as_raw()];
        groups.extend(rustix::process::getgroups().unwrap_or_default().iter().map(|group| group.as_raw()));
        let user = rustix::process::geteuid().as_raw();
        Self { name: user_name(user), user, groups }
    }

    /// The user of this name; none where there is none.
    pub fn named(name: &str) -> Option<Self> {
        of_name(name, &read(PASSWD), &read(GROUP))
    }

    /// The user with this id.
    pub fn with_id(user: u32) -> Self {
        if user == rustix::process::geteuid().as_raw() {
            return Self::own();
        }
        let name = user_name(user);
        Self::named(&name).unwrap_or(Self { name, user, groups: Vec::new() })
    }

    /// Whether it is root, who may do everything.
    pub fn is_root(&self) -> bool {
        self.user == 0
    }

    /// Whether it has this right (4: read, 2: write, 1: pass) to what belongs to these and has this mode.
    pub fn may(&self, right: u32, owner: u32, group: u32, mode: u32) -> bool {
        let bits = match () {
            () if self.is_root() => return true,
            () if owner == self.user => mode >> 6,
            () if self.groups.contains(&group) => mode >> 3,
            () => mode,
        };
        bits & right == right
    }

    /// The first folder on the way to `path` that it may not pass; none where it may pass all of them.
    pub fn barred_at(&self, path: &Path) -> Option<PathBuf> {
        let folders: Vec<&Path> = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
        let bars = |folder: &&&Path| {
            let Ok(metadata) = folder.metadata() else { return false };
            !self.may(1, metadata.uid(), metadata.gid(), metadata.mode())
        };
        folders.iter().rev().find(bars).map(|folder| folder.to_path_buf())
    }
}

/// The name of a user, or its number.
pub fn user_name(id: u32) -> String {
    name_of(id, &read(PASSWD))
}

/// The name of a group, or its number.
pub fn group_name(id: u32) -> String {
    name_of(id, &read(GROUP))
}

/// The id of the group of this name.
pub fn group_id(name: &str) -> Option<u32> {
    lines(&read(GROUP)).find(|fields| fields[0] == name).and_then(|fields| fields[2].parse().ok())
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

/// The lines of /etc/passwd or /etc/group that have an id in their third field.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|fields| fields.len() >= 4)
}

fn name_of(id: u32, text: &str) -> String {
    let id = id.to_string();
    lines(text).find(|fields| fields[2] == id).map_or(id.clone(), |fields| fields[0].to_owned())
}

fn of_name(name: &str, passwd: &str, group: &str) -> Option<Identity> {
    let user = lines(passwd).find(|fields| fields[0] == name)?;
    let (id, own) = (user[2].parse().ok()?, user[3].parse().ok()?);
    let mut groups = vec![own];
    let member = |fields: &Vec<&str>| fields[3].split(',').any(|member| member == name);
    groups.extend(lines(group).filter(member).filter_map(|fields| fields[2].parse::<u32>().ok()));
    Some(Identity { name: name.to_owned(), user: id, groups })
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/sh\n\nmailsluice:x:998:997::/var/lib/mailsluice:/usr/sbin/nologin\n";
    const GROUPS: &str = "root:x:0:\nmailsluice:x:997:\nsecrets:x:50:www,mailsluice\nwww:x:51:mailsluicer\n";

    #[test]
    fn a_user_has_its_own_group_and_those_that_name_it() {
        let identity = of_name("mailsluice", USERS, GROUPS).unwrap();
        assert_eq!(identity, Identity { name: "mailsluice".into(), user: 998, groups: vec![997, 50] });
        assert_eq!(of_name("nobody", USERS, GROUPS), None);
        assert_eq!((name_of(998, USERS), name_of(5, USERS)), ("mailsluice".into(), "5".into()));
    }

    #[test]
    fn rights_are_those_of_the_first_class_that_fits() {
        let identity = of_name("mailsluice", USERS, GROUPS).unwrap();
        for (owner, group, mode, may) in [
            (998, 0, 0o600, true),
            (998, 997, 0o060, false),
            (0, 997, 0o640, true),
            (0, 50, 0o640, true),
            (0, 51, 0o640, false),
            (0, 0, 0o604, true),
        ] {
            assert_eq!(identity.may(4, owner, group, mode), may, "{owner} {group} {mode:o}");
        }
        assert!(Identity { user: 0, ..identity }.may(4, 998, 997, 0));
    }

    #[test]
    fn a_closed_folder_bars_the_way() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let file = folder.path().join("inner/file");
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let stranger = Identity { name: "stranger".into(), user: 54_321, groups: vec![54_321] };
        assert_eq!(stranger.barred_at(&file).as_deref(), Some(folder.path()));
        assert_eq!(Identity::own().barred_at(&file), None);
    }
}
