//! A service manager's end of `$NOTIFY_SOCKET` (sd_notify(3)).

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The socket that daemons tell what becomes of them.
pub(crate) struct Notified {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notified {
    /// Listens in this folder.
    pub(crate) fn listen(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// What `$NOTIFY_SOCKET` is to be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next thing that is told; none where nothing is within that time.
    pub(crate) fn next(&self, within: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(within.max(Duration::from_millis(1)))).unwrap();
        let mut told = [0; 4096];
        let length = self.socket.recv(&mut told).ok()?;
        Some(String::from_utf8_lossy(&told[..length]).into_owned())
    }

    /// Waits until this is told, for a minute at most; returns it and what was told before.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> (String, Vec<String>) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut before = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let told = self.next(left).unwrap_or_else(|| panic!("no {what}; told was {before:?}"));
            if wanted(&told) {
                return (told, before);
            }
            before.push(told);
        }
    }
}
