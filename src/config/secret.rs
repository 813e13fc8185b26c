//! Secrets: where they lie and how they are read. Never printed: what holds one shows dots.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

/// Where a secret lies, as the configuration says. It is read anew at each login, so that a changed file counts.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Env(String),
    /// In the file of this name under `$CREDENTIALS_DIRECTORY` (systemd.exec(5), `LoadCredential=`).
    Credential(String),
}

/// The secret cannot be had; the text says where it was looked for and how to mend it, never what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(pub String);

impl Secret {
    /// Reads the secret. Blocking, brief.
    ///
    /// # Errors
    /// Where it is missing, empty, not UTF-8, or its file can be read by others.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        Err(SecretError(String::new()))
    }
}

impl fmt::Debug for Secret {
    /// Says where, never what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "Secret(file {})", path.display()),
            Self::Env(name) => write!(f, "Secret(environment variable {name})"),
            Self::Credential(name) => write!(f, "Secret(credential {name})"),
        }
    }
}
