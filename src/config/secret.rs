//! Secrets: where they lie and how they are read. Never printed: what holds one shows where it lies, never what it is.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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

/// The secret cannot be had. Says where it was looked for and how to mend it, never what was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found}, wanted {wanted}")]
pub struct SecretError {
    /// What is there instead.
    pub found: String,
    /// What should be, with the command that mends it where there is one.
    pub wanted: String,
}

impl Secret {
    /// Reads the secret. Blocking, brief. One newline at its end is dropped (also CR LF); so are the spaces of an app
    /// password as Microsoft shows it, four groups of four; every other byte counts.
    ///
    /// # Errors
    /// Where it is missing, empty, longer than 64 KiB or not UTF-8, or its file can be read by others. A file under
    /// `$CREDENTIALS_DIRECTORY` or `/run/secrets` is not asked who can read it: what mounts it there has seen to that.
    /// The file's group may read it where this process belongs to that group, or is root, who cannot know the daemon's.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        self.read_with(|name| std::env::var_os(name))
    }

    /// [`Secret::read`] with another environment.
    pub(super) fn read_with(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<SecretString, SecretError> {
        let credentials = variable(CREDENTIALS_DIRECTORY).map(PathBuf::from);
        let (place, bytes) = match self {
            Self::File(path) => (format!("file {}", path.display()), read_file(path, credentials.as_deref(), &SECRET)?),
            Self::Env(name) => {
                let value = variable(name).ok_or_else(|| {
                    refused(format!("no environment variable {name}"), format!("{name} set where the daemon starts"))
                })?;
                (format!("environment variable {name}"), value.into_encoded_bytes())
            }
            Self::Credential(name) => {
                let folder = credentials.as_deref().ok_or_else(|| {
                    refused(
                        "no $CREDENTIALS_DIRECTORY",
                        format!("to be started by systemd with LoadCredential={name}:…"),
                    )
                })?;
                let path = folder.join(name);
                (format!("credential {}", path.display()), read_file(&path, Some(folder), &SECRET)?)
            }
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| refused(format!("bytes that are not UTF-8 in {place}"), "a secret in UTF-8"))?;
        let text = without_decoration(text);
        if text.is_empty() {
            return Err(refused(format!("nothing in {place}"), "a secret"));
        }
        Ok(SecretString::from(text))
    }
}

impl fmt::Debug for Secret {
    /// Says where, never what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

impl fmt::Display for Secret {
    /// Says where, never what.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Credential(name) => write!(f, "credential {name}"),
        }
    }
}

/// Drops the one newline that editors add, and the spaces of an app password.
fn without_decoration(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    let letters = text.bytes().filter(u8::is_ascii_lowercase).count();
    let spaces = text.bytes().filter(|byte| *byte == b' ').count();
    if letters == APP_PASSWORD_LETTERS && letters + spaces == text.len() {
        text.retain(|c| c != ' ');
    }
    text
}

/// A file that nobody else may read or write, as a file with a secret must be. Blocking, brief.
///
/// # Errors
/// As [`Secret::read`]; `what` is what is wanted where there is something else.
pub(super) fn read_private(path: &Path, what: &'static str, octets: u64) -> Result<String, SecretError> {
    let credentials = std::env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
    let bytes = read_file(path, credentials.as_deref(), &Wanted { what, octets })?;
    String::from_utf8(bytes).map_err(|_| refused(format!("bytes that are not UTF-8 in file {}", path.display()), what))
}

/// What a file should be.
struct Wanted {
    what: &'static str,
    /// How long it may be.
    octets: u64,
}

fn read_file(path: &Path, credentials: Option<&Path>, wanted: &Wanted) -> Result<Vec<u8>, SecretError> {
    let shown = path.display();
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => refused(format!("no file {shown}"), wanted.what),
        io::ErrorKind::PermissionDenied => refused(
            format!("file {shown}, which user {} may not read", effective_user()),
            format!("a file of this user's own: {}", take_over(path)),
        ),
        _ => refused(format!("file {shown}, which cannot be read: {error}"), wanted.what),
    };
    // Without O_NONBLOCK, opening a FIFO would wait for its writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(broken)?;
    let metadata = file.metadata().map_err(broken)?;
    if !metadata.is_file() {
        return Err(refused(format!("{shown}, which is no regular file"), wanted.what));
    }
    if !is_under_secrets(path, credentials) {
        check_readers(path, &metadata)?;
    }
    read_limited(&file, wanted.octets).map_err(broken)?.ok_or_else(|| {
        refused(format!("file {shown}, longer than {} KiB", wanted.octets >> 10), format!("{} alone", wanted.what))
    })
}

/// What the file holds; none where that is too much.
fn read_limited(file: &File, octets: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(octets + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= octets).then_some(bytes))
}

fn is_under_secrets(path: &Path, credentials: Option<&Path>) -> bool {
    // /var/run is a link to /run, and a link in /run/secrets may lead out of it: where the file is counts.
    let Ok(path) = path.canonicalize() else { return false };
    let within = |folder: &Path| folder.canonicalize().is_ok_and(|folder| path.starts_with(folder));
    within(Path::new("/run/secrets")) || credentials.is_some_and(within)
}

fn check_readers(path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
    let mode = metadata.mode() & 0o777;
    let root = effective_user() == 0;
    let readers = if mode & 0o007 != 0 {
        "everyone"
    } else if mode & 0o070 != 0 && !root && !is_own_group(metadata.gid()) {
        "another group"
    } else {
        return Ok(());
    };
    let mend = match effective_user() {
        0 => format!("chmod o-rwx {}", quoted(path)),
        own if own == metadata.uid() => format!("chmod 600 {}", quoted(path)),
        _ => take_over(path),
    };
    Err(refused(
        format!("file {} with mode {mode:04o}, open to {readers}", path.display()),
        format!("a file for the daemon alone: {mend}"),
    ))
}

fn is_own_group(group: u32) -> bool {
    rustix::process::getegid().as_raw() == group
        || rustix::process::getgroups().is_ok_and(|groups| groups.iter().any(|own| own.as_raw() == group))
}

fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The command that gives the file to this process's user alone.
fn take_over(path: &Path) -> String {
    let path = quoted(path);
    format!("chown {} {path} && chmod 600 {path}", effective_user())
}

/// The path as a shell takes it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

fn refused(found: impl Into<String>, wanted: impl Into<String>) -> SecretError {
    SecretError { found: found.into(), wanted: wanted.into() }
}

const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
const APP_PASSWORD_LETTERS: usize = 16;
const SECRET: Wanted = Wanted { what: "a file that holds the secret", octets: 64 << 10 };

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn read(secret: &Secret, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        secret.read_with(variable).map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.to_string())
    }

    fn written(folder: &Path, content: impl AsRef<[u8]>, mode: u32) -> Secret {
        let path = folder.join("password");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        Secret::File(path)
    }

    #[test]
    fn one_newline_and_the_spaces_of_an_app_password_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        for (content, wanted) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret\n\n", "secret\n"),
            ("secret\r", "secret\r"),
            (" pass word ", " pass word "),
            ("abcd efgh ijkl mnop\n", "abcdefghijklmnop"),
            (" abcdefghijkl mnop ", "abcdefghijklmnop"),
            ("abcd efgh ijkl mno", "abcd efgh ijkl mno"),
            ("abcd efgh ijkl mnoP", "abcd efgh ijkl mnoP"),
            ("abcd\tefgh ijkl mnop", "abcd\tefgh ijkl mnop"),
            ("abcd efgh ijkl mnop qrst", "abcd efgh ijkl mnop qrst"),
        ] {
            assert_eq!(read(&written(folder.path(), content, 0o600), &[]).as_deref(), Ok(wanted), "{content:?}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
        let folder = tempfile::tempdir().unwrap();
        let secret = written(folder.path(), "hunter2", 0o644);
        let path = folder.path().join("password");
        let error = read(&secret, &[]).unwrap_err();
        let mend = error.rsplit_once("the daemon alone: ").unwrap().1;
        assert!(
            error.starts_with(&format!("found file {} with mode 0644, open to everyone", path.display())),
            "{error}"
        );
        let status = std::process::Command::new("sh").args(["-c", mend]).status().unwrap();
        assert!(status.success(), "{mend}");
        assert_eq!(read(&secret, &[]).as_deref(), Ok("hunter2"));
    }

    #[test]
    fn files_under_the_credentials_directory_may_have_any_mode() {
        let folder = tempfile::tempdir().unwrap();
        let secret = written(folder.path(), "hunter2", 0o444);
        let variables = [("CREDENTIALS_DIRECTORY", folder.path().to_str().unwrap())];
        assert!(read(&secret, &[]).is_err());
        assert_eq!(read(&secret, &variables).as_deref(), Ok("hunter2"));
        let credential = Secret::Credential("password".into());
        assert_eq!(read(&credential, &variables).as_deref(), Ok("hunter2"));
        assert!(read(&credential, &[]).unwrap_err().starts_with("found no $CREDENTIALS_DIRECTORY, wanted"));
    }

    #[test]
    fn a_link_does_not_open_what_lies_elsewhere() {
        let [secrets, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        written(elsewhere.path(), "hunter2", 0o444);
        let link = secrets.path().join("password");
        std::os::unix::fs::symlink(elsewhere.path().join("password"), &link).unwrap();
        let variables = [("CREDENTIALS_DIRECTORY", secrets.path().to_str().unwrap())];
        assert!(read(&Secret::File(link), &variables).unwrap_err().contains("open to everyone"));
    }

    #[test]
    fn what_is_no_password_is_refused_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        for (content, found) in [
            (&b""[..], "found nothing in file"),
            (b"\n", "found nothing in file"),
            (b"hunter2\xff", "found bytes that are not UTF-8 in file"),
            (&[b'x'; (64 << 10) + 1], "longer than 64 KiB"),
        ] {
            let error = read(&written(folder.path(), content, 0o600), &[]).unwrap_err();
            assert!(error.contains(found) && !error.contains("hunter2") && !error.contains("xxx"), "{error}");
        }
        assert!(read(&Secret::File(folder.path().join("none")), &[]).unwrap_err().starts_with("found no file "));
        assert!(read(&Secret::File(folder.path().into()), &[]).unwrap_err().contains("no regular file"));
        assert!(read(&Secret::Env("SMTP".into()), &[]).unwrap_err().starts_with("found no environment variable SMTP"));
        assert_eq!(read(&Secret::Env("SMTP".into()), &[("SMTP", "x y\n")]).as_deref(), Ok("x y"));
    }

    #[test]
    fn paths_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(quoted(Path::new("/etc/a.password")), "/etc/a.password");
        assert_eq!(quoted(Path::new("/etc/it's a b")), r"'/etc/it'\''s a b'");
    }
}
