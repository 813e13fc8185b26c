//! What tells that a secret's file has changed, without keeping what is in it.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use ring::digest::{Digest, SHA256, digest};
use secrecy::zeroize::Zeroize as _;

use crate::config::secret::Secret;
use crate::config::{ClientProof, Grant, Login, OAuth};

/// The files of an account's secrets as they are now. By what is in them and who may read them, not by when they were
/// written: a program that writes the same wrong password again and again has mended nothing, and every try is a login.
#[derive(Clone, Debug)]
pub(super) struct Fingerprint(Vec<Option<Mark>>);

/// Of one file.
#[derive(Clone, Debug)]
struct Mark {
    /// Mode, user and group: a file that others can read is refused.
    readers: [u32; 3],
    content: Digest,
}

impl Fingerprint {
    /// Of the password. Blocking, brief.
    pub(super) fn of_password(login: &Login) -> Self {
        Self::of(login.password.iter().filter_map(|password| path(&password.secret)))
    }

    /// Of what a token is asked for by. Blocking, brief.
    pub(super) fn of_oauth(oauth: &OAuth) -> Self {
        let proof = match &oauth.proof {
            ClientProof::Secret(secret) => vec![path(secret)],
            ClientProof::Certificate(own) => vec![Some(own.certificate.as_path()), path(&own.key)],
            ClientProof::None => Vec::new(),
        };
        let seed = match &oauth.grant {
            Grant::User { seed } => seed.as_ref().and_then(path),
            Grant::Application => None,
        };
        Self::of(proof.into_iter().flatten().chain(seed))
    }

    fn of<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        Self(files.map(Mark::of).collect())
    }
}

impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Option<Mark>, &Option<Mark>)| match (one, other) {
            (Some(one), Some(other)) => one.readers == other.readers && one.content.as_ref() == other.content.as_ref(),
            (None, None) => true,
            _ => false,
        };
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }
}

impl Mark {
    /// None where the file cannot be read.
    fn of(path: &Path) -> Option<Self> {
        // Without O_NONBLOCK, opening a FIFO would wait for its writer.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
        let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let mut bytes = Vec::new();
        let read = file.take(LONGEST).read_to_end(&mut bytes);
        let content = digest(&SHA256, &bytes);
        bytes.zeroize();
        read.ok()?;
        Some(Self { readers: [metadata.mode(), metadata.uid(), metadata.gid()], content })
    }
}

/// Where a secret lies, if that is a file of ours. What a variable or systemd brings stays as it is while we run.
fn path(secret: &Secret) -> Option<&Path> {
    match secret {
        Secret::File(path) => Some(path),
        Secret::Env(_) | Secret::Credential(_) => None,
    }
}

/// More than any secret or certificate has.
const LONGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_in_a_file_and_who_may_read_it_counts_and_not_when_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let now = || Fingerprint::of([path.as_path()].into_iter());
        let absent = now();
        write(&path, "hunter2").unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let first = now();
        assert_ne!(first, absent);
        std::fs::remove_file(&path).unwrap();
        write(&path, "hunter2").unwrap();
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(now(), first, "the same secret in a new file");
        set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert_ne!(now(), first, "other readers");
        set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        write(&path, "hunter3").unwrap();
        assert_ne!(now(), first, "as long as before");
        assert!(!format!("{first:?}").contains("hunter2"));
    }
}
