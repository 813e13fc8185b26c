//! The Unix socket by which commands talk to the daemon, and what they may ask. One line of JSON each way.

pub mod client;
pub mod desk;
pub mod request;
pub mod server;

mod health;
mod test_mail;

use std::path::{Path, PathBuf};

/// The control socket of the queue with this database.
pub fn socket_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-control");
    name.into()
}

/// Octets of a request or an answer; a page of a list is far below.
const MAX_LINE: u64 = 16 << 20;
