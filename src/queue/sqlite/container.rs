//! Whether a folder lies on a container's own layer, which goes with the container. Overlays show what they are in
//! statfs(2). The layers of other storage drivers (fuse-overlayfs, btrfs, ZFS, plain copies) look like the host's disk, as
//! volumes do; but a volume is a mount of its own, and the layer is the root's.

use std::ffi::OsString;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// Whether this process is in a container, and the folder in the same mount as `/`.
pub(super) fn is_own_layer(folder: &Path) -> bool {
    let is_there = |path: &str| Path::new(path).exists();
    is_container(is_there, |name| std::env::var_os(name))
        && mount_of(folder).is_some_and(|own| Some(own) == mount_of(Path::new("/")))
}

/// Whether an engine has left its mark: Docker and Podman a file, Podman and Buildah a variable, Kubernetes the address of its service.
/// Those that run a whole system (LXC, systemd-nspawn) leave others, and their root is kept as a machine's disk is.
fn is_container(is_there: impl Fn(&str) -> bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let engine = variable("container").is_some_and(|name| ENGINES.iter().any(|engine| name == *engine));
    engine || MARKS.iter().any(|mark| is_there(mark)) || variable("KUBERNETES_SERVICE_HOST").is_some()
}

/// The id of the mount (statx(2), since Linux 5.8); none where the system does not say.
fn mount_of(path: &Path) -> Option<u64> {
    let told = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    (told.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(told.stx_mnt_id)
}

const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
const ENGINES: [&str; 4] = ["docker", "podman", "buildah", "oci"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_told_by_their_marks_and_whole_systems_are_none() {
        let marked = |file: Option<&str>, variable: Option<(&str, &str)>| {
            let asked = |name: &str| variable.filter(|(known, _)| *known == name).map(|(_, value)| value.into());
            is_container(|path| file == Some(path), asked)
        };
        assert!(marked(Some("/.dockerenv"), None));
        assert!(marked(Some("/run/.containerenv"), None));
        assert!(marked(None, Some(("container", "podman"))));
        assert!(marked(None, Some(("KUBERNETES_SERVICE_HOST", "10.96.0.1"))));
        assert!(!marked(None, Some(("container", "systemd-nspawn"))));
        assert!(!marked(None, Some(("container", "lxc"))));
        assert!(!marked(None, None));
    }

    #[test]
    fn mounts_are_told_apart() {
        let root = mount_of(Path::new("/")).unwrap();
        assert_eq!(mount_of(Path::new("/.")), Some(root));
        assert_ne!(mount_of(Path::new("/proc")), Some(root));
        assert_eq!(mount_of(Path::new("/nonexistent")), None);
    }
}
