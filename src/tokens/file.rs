//! Refresh tokens on disk: one file for each account, for the daemon's user alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::ids::AccountName;

/// A refresh token and where it comes from.
#[derive(Clone)]
pub(super) struct Stored {
    /// The token.
    pub(super) refresh: SecretString,
    /// The registration that it was given to: it is of no use to another.
    pub(super) client_id: String,
    /// The mark of the configured token that it descends from; none where a user logged in.
    pub(super) seed: Option<String>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    refresh_token: String,
    client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<String>,
}

/// By what a configured token is known again, without being told.
pub(super) fn mark(seed: &SecretString) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, seed.expose_secret().as_bytes()))
}

/// Reads the account's token; none where there is none. Blocking, brief.
pub(super) fn read(folder: &Path, account: &AccountName) -> io::Result<Option<Stored>> {
    let path = folder.join(account.as_str());
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_OCTETS).read_to_string(&mut text)?;
    // What is wrong with it is not told by quoting it.
    let Ok(Written { refresh_token, client_id, seed }) = serde_json::from_str(&text) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
    };
    Ok(Some(Stored { refresh: refresh_token.into(), client_id, seed }))
}

/// Writes the account's token in place of the last one: whole, durable, or not at all. Blocking.
pub(super) fn write(folder: &Path, account: &AccountName, stored: &Stored) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let written = Written {
        refresh_token: stored.refresh.expose_secret().to_owned(),
        client_id: stored.client_id.clone(),
        seed: stored.seed.clone(),
    };
    // An account's name does not begin with a tilde.
    let fresh = folder.join(format!("~{account}"));
    let put = || {
        let _ = std::fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        give_to_daemon(folder, &fresh)?;
        file.write_all(&serde_json::to_vec(&written)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, folder.join(account.as_str()))?;
        File::open(folder)?.sync_all()
    };
    let done = put();
    if done.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    done
}

/// What root writes must be the daemon's: the folder beside the queue is the owner's of the folder around it.
fn give_to_daemon(folder: &Path, file: &Path) -> io::Result<()> {
    if rustix::process::geteuid().is_root() {
        let around = folder.parent().unwrap_or(folder).metadata()?;
        let (user, group) = (Some(around.uid()), Some(around.gid()));
        std::os::unix::fs::chown(folder, user, group)?;
        std::os::unix::fs::chown(file, user, group)?;
    }
    Ok(())
}

const MAX_OCTETS: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_kept_for_the_daemon_alone_and_replaced_whole() {
        let around = tempfile::tempdir().unwrap();
        let (folder, account) = (around.path().join("queue.db-tokens"), AccountName::from("m365"));
        assert!(read(&folder, &account).unwrap().is_none());
        for refresh in ["one", "two"] {
            let stored = Stored { refresh: refresh.into(), client_id: "app".into(), seed: Some("mark".into()) };
            write(&folder, &account, &stored).unwrap();
            let found = read(&folder, &account).unwrap().unwrap();
            assert_eq!((found.refresh.expose_secret(), found.seed.as_deref()), (refresh, Some("mark")));
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&folder), mode(&folder.join("m365"))), (0o700, 0o600));
            assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_damaged_file_is_told_without_quoting_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("m365"), "0.ARefreshToken").unwrap();
        let Err(error) = read(folder.path(), &"m365".into()) else { panic!("it was read") };
        assert_eq!(error.to_string(), "it is damaged");
    }
}
