//! Unix sockets in the file system: taking the place of a dead one, and leaving none behind.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// A path cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// A program listens there.
    #[error("another program listens there: `sudo ss -lxp` shows which; stop it, or choose another path")]
    Served,
    /// A file lies there that is no socket, and may be somebody's.
    #[error("what lies there is no socket: remove it, or choose another path")]
    Foreign,
    /// The folder is not there.
    #[error("there is no folder {}: make it, for the daemon's user (under systemd: RuntimeDirectory=)", .0.display())]
    NoFolder(PathBuf),
    /// The folder is another user's.
    #[error("this user may not write to {}: the folder must be the daemon's", .0.display())]
    Forbidden(PathBuf),
    /// The kernel has room for 107 octets.
    #[error("its path is longer than a socket's may be, 107 octets: choose a shorter one")]
    TooLong,
    /// What the system said.
    #[error("{0}; correct `address` of this [[listener]]")]
    System(io::Error),
}

/// The file of a socket that this process has bound; removed with the value, if it is still that one.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Binds a socket with these permissions, in a tokio runtime. One that a dead process has left is replaced.
pub(super) fn bind(path: &Path, mode: u32) -> Result<(UnixListener, SocketFile), Refusal> {
    let address = SockAddr::unix(path).map_err(|_| Refusal::TooLong)?;
    vacate(path)?;
    let folder = path.parent().unwrap_or(path);
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Refusal::NoFolder(folder.to_owned()),
        io::ErrorKind::PermissionDenied => Refusal::Forbidden(folder.to_owned()),
        io::ErrorKind::AddrInUse => Refusal::Served,
        _ => Refusal::System(error),
    };
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    let metadata = path.symlink_metadata().map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) };
    // Nobody can connect before it listens, whatever the permissions that the umask has left.
    set_mode(path, mode).map_err(failed)?;
    socket.listen(super::bind::BACKLOG).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    Ok((UnixListener::from_std(socket.into()).map_err(failed)?, file))
}

/// Sets the permissions of a socket's file. Blocking, brief.
///
/// # Errors
/// What the system says.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Removes a socket that nobody answers on.
fn vacate(path: &Path) -> Result<(), Refusal> {
    match path.symlink_metadata() {
        // That nothing is there, or cannot be looked at, binding will say better.
        Err(_) => return Ok(()),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(Refusal::Foreign),
        Ok(_) => {}
    }
    if !is_dead(path).map_err(Refusal::System)? {
        return Err(Refusal::Served);
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(Refusal::Forbidden(path.parent().unwrap_or(path).to_owned()))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Refusal::System(error)),
        _ => Ok(()),
    }
}

/// Whether nobody listens on a socket. One that this user may not connect to, or whose backlog is full, may be alive.
///
/// # Errors
/// Where this cannot be tried.
pub fn is_dead(path: &Path) -> io::Result<bool> {
    let address = SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let refused = socket.connect(&address).err().map(|error| error.kind());
    Ok(matches!(refused, Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let now = self.path.symlink_metadata().map(|metadata| (metadata.dev(), metadata.ino()));
        if now.is_ok_and(|now| now == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;

    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn a_socket_has_the_permissions_that_were_asked_for_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smtp");
        for wanted in [0o600, 0o660, 0o666] {
            let (listener, file) = bind(&path, wanted).unwrap();
            assert_eq!(mode(&path), wanted);
            drop((listener, file));
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("smtp");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists());
        let (listener, file) = bind(&path, 0o660).unwrap();
        assert!(matches!(bind(&path, 0o660), Err(Refusal::Served)));
        // What has taken its place meanwhile is not ours to remove.
        std::fs::remove_file(&path).unwrap();
        let other = StdListener::bind(&path).unwrap();
        drop((listener, file));
        assert!(path.exists());
        drop(other);
    }

    #[tokio::test]
    async fn what_is_in_the_way_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mail");
        std::fs::write(&path, "a letter").unwrap();
        assert!(matches!(bind(&path, 0o660), Err(Refusal::Foreign)));
        assert_eq!(std::fs::read(&path).unwrap(), b"a letter");
        let absent = folder.path().join("absent");
        let refused = bind(&absent.join("smtp"), 0o660).unwrap_err();
        assert!(matches!(&refused, Refusal::NoFolder(folder) if *folder == absent), "{refused}");
        assert!(matches!(bind(&folder.path().join("x".repeat(108)), 0o660), Err(Refusal::TooLong)));
    }
}
