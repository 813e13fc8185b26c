//! Users and groups of this machine, wherever the system keeps them (nsswitch.conf(5)): in files, or in a directory that
//! must be asked over the network. So every look-up may block, and may fail. Also who may read a file.

use std::ffi::CString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

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
        let user = User::from_name(name).ok().flatten()?;
        let groups = CString::new(name).ok().and_then(|name| getgrouplist(&name, user.gid).ok());
        let mut groups: Vec<u32> = groups.unwrap_or_default().into_iter().map(Gid::as_raw).collect();
        groups.retain(|group| *group != user.gid.as_raw());
        groups.insert(0, user.gid.as_raw());
        Some(Self { name: user.name, user: user.uid.as_raw(), groups })
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
    name_of(id).ok().flatten().unwrap_or_else(|| id.to_string())
}

/// The name of the user with this id; none where it has none.
///
/// # Errors
/// Where that cannot be found out now.
pub fn name_of(id: u32) -> io::Result<Option<String>> {
    Ok(User::from_uid(Uid::from_raw(id))?.map(|user| user.name))
}

/// What the system says of the user with this id: its name, and the field of passwd(5) that has its full name. None where it
/// has no such user, or cannot tell now.
pub fn described(id: u32) -> Option<(String, String)> {
    let user = User::from_uid(Uid::from_raw(id)).ok().flatten()?;
    Some((user.name, user.gecos.to_string_lossy().into_owned()))
}

/// Whether there is a user of this name.
///
/// # Errors
/// Where that cannot be found out now.
pub fn is_there(name: &str) -> io::Result<bool> {
    Ok(User::from_name(name)?.is_some())
}

/// The name of a group, or its number.
pub fn group_name(id: u32) -> String {
    Group::from_gid(Gid::from_raw(id)).ok().flatten().map_or_else(|| id.to_string(), |group| group.name)
}

/// The id of the group of this name.
pub fn group_id(name: &str) -> Option<u32> {
    Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody has this id: systems do not give it out.
    const NOBODYS: u32 = 4_000_000_123;

    #[test]
    fn the_system_is_asked_for_names_and_ids() {
        let root = Identity::named("root").unwrap();
        assert_eq!((root.user, root.groups.first(), root.is_root()), (0, Some(&0), true));
        assert_eq!((user_name(0), group_name(0), group_id("root")), ("root".into(), "root".into(), Some(0)));
        assert_eq!((name_of(0).unwrap().as_deref(), is_there("root").unwrap()), (Some("root"), true));
        for odd in ["", "no such user", "nul\0"] {
            assert!(Identity::named(odd).is_none() && !is_there(odd).unwrap_or(false), "{odd:?}");
        }
        assert_eq!((user_name(NOBODYS), name_of(NOBODYS).unwrap()), (NOBODYS.to_string(), None));
        assert_eq!((group_name(NOBODYS), group_id("no such group")), (NOBODYS.to_string(), None));
    }

    /// A user has its own group first, then those that name it, each once.
    #[test]
    fn groups_are_those_of_the_system() {
        let own = Identity::own();
        let asked = std::process::Command::new("id").args(["-G", &own.name]).output().unwrap();
        let mut wanted: Vec<u32> =
            String::from_utf8(asked.stdout).unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect();
        let mut groups = Identity::named(&own.name).unwrap().groups;
        assert_eq!(groups.first(), wanted.first());
        groups.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(groups, wanted);
    }

    #[test]
    fn rights_are_those_of_the_first_class_that_fits() {
        let identity = Identity { name: "mailsluice".into(), user: 998, groups: vec![997, 50] };
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
