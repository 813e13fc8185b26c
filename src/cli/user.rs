//! `mailsluice user`: who may log in at a listener with `auth = "required"`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use clap::Args;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};

use super::Failure;
use super::output::{complain, say};
use super::setup::ask::WithoutEcho;
use super::setup::files::Custody;
use crate::app::AppError;
use crate::config::secret::quoted;
use crate::config::users::{self, SALT_OCTETS, Users};
use crate::config::users_files;

#[derive(Debug, Args)]
pub(super) struct User {
    /// The name that the client logs in with
    name: String,
    /// The file with the users; default: the `users` of the configuration, where it names one
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take the user out of the file
    #[arg(long)]
    remove: bool,
    /// Print the line for the file, and change nothing
    #[arg(long, conflicts_with_all = ["remove", "file"])]
    print: bool,
}

impl User {
    pub(super) fn run(self, config: &Path) -> Result<(), Failure> {
        let Self { name, file, remove, print } = self;
        let file = if print { None } else { file.map_or_else(|| configured(config), |file| Ok(Some(file)))? };
        if remove {
            let file = file.ok_or_else(|| Failure::Usage(format!("--file is missing: {NO_FILE}")))?;
            return take_out(&file, &name);
        }
        // Before anybody types a password for nothing.
        users::check_name(&name).map_err(Failure::Usage)?;
        let line = line(&name)?;
        let Some(file) = file else {
            if !print {
                complain(format_args!("{NO_FILE}; put this line into a file for the daemon alone and name it there:"));
            }
            return say!("{line}");
        };
        change(&file, |text| Ok(users::edited(text, &name, Some(&line)).unwrap_or_default()))?;
        say!("{name}: written to {}; {RELOAD}", file.display())
    }
}

fn take_out(file: &Path, name: &str) -> Result<(), Failure> {
    change(file, |text| {
        let missing = || Failure::Said(format!("there is no user {name} in {}", file.display()));
        users::edited(text, name, None).ok_or_else(missing)
    })?;
    say!("{name}: taken out of {}; {RELOAD}", file.display())
}

/// The one file that the configuration names; none where it names none.
fn configured(config: &Path) -> Result<Option<PathBuf>, Failure> {
    let mut files = users_files(config).map_err(AppError::from)?;
    files.sort();
    files.dedup();
    match &files[..] {
        [] => Ok(None),
        [file] => Ok(Some(file.clone())),
        _ => {
            let files: Vec<String> = files.iter().map(|file| quoted(file)).collect();
            Err(Failure::Usage(format!("--file is missing: the configuration names {}", files.join(" and "))))
        }
    }
}

/// The line of the user, with a password that is asked for.
fn line(name: &str) -> Result<String, Failure> {
    let password = password(name)?;
    if password.expose_secret().chars().count() < SHORT {
        complain(format_args!("warning: a password of fewer than {SHORT} characters is soon guessed"));
    }
    let mut salt = [0; SALT_OCTETS];
    SystemRandom::new().fill(&mut salt).map_err(|_| Failure::Said("the system gives no random numbers".into()))?;
    users::line(name, &password, &salt).map_err(Failure::Said)
}

/// Typed twice without an echo, or the first line of standard input where that is no terminal.
fn password(name: &str) -> Result<SecretString, Failure> {
    let typed = if io::stdin().is_terminal() {
        // What is typed before the prompt has ended would be shown.
        let _quiet = WithoutEcho::begin();
        let unread = |error| Failure::Said(format!("the terminal cannot be read: {error}"));
        let prompt = |text: &str| rpassword::prompt_password(text).map(SecretString::from).map_err(unread);
        let once = prompt(&format!("Password of {name} (it is not shown): "))?;
        let again = prompt("The same again: ")?;
        if once.expose_secret() != again.expose_secret() {
            return Err(Failure::Said("the two passwords are not the same: nothing was changed".into()));
        }
        once
    } else {
        let mut line = String::new();
        let read = io::stdin().lock().take(MAX_OCTETS).read_line(&mut line);
        read.map_err(|error| Failure::Said(format!("standard input: {error}")))?;
        let line = line.strip_suffix('\n').map_or(line.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        SecretString::from(line)
    };
    if typed.expose_secret().is_empty() {
        return Err(Failure::Said("the password is empty: it is wanted on the terminal or on standard input".into()));
    }
    Ok(typed)
}

/// Puts another text in the place of the file's: whole and durable, or not at all. Who may read it stays.
fn change(file: &Path, edit: impl FnOnce(&str) -> Result<String, Failure>) -> Result<(), Failure> {
    // What a link names is changed, and not the link.
    let path = file.canonicalize().unwrap_or_else(|_| file.into());
    let shown = path.display();
    let failed = |error: io::Error| Failure::Said(format!("{shown} cannot be written: {error}"));
    // Nobody else changes it meanwhile.
    let staged = Staged::new(&path)?;
    let before = match path.metadata() {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let text = match &before {
        Some(_) => users::read_text(&path).map_err(|error| Failure::Said(error.to_string()))?,
        None => String::new(),
    };
    let text = edit(&text)?;
    if let Err(wrong) = Users::parse(&text) {
        let lines: Vec<String> = wrong
            .iter()
            .map(|wrong| format!("{shown}:{}: found {}, wanted {}", wrong.line, wrong.found, wrong.wanted))
            .collect();
        return Err(Failure::Said(format!(
            "nothing was changed, since this must be mended first:\n{}",
            lines.join("\n")
        )));
    }
    match &before {
        Some(before) => {
            fchown(&staged.file, Some(before.uid()), Some(before.gid())).map_err(failed)?;
            let mode = fs::Permissions::from_mode(before.mode() & 0o777);
            staged.file.set_permissions(mode).map_err(failed)?;
        }
        None => Custody::here().take(&staged.file).map_err(failed)?,
    }
    staged.put(&text, &path).map_err(failed)
}

/// The text to be, under another name; it goes with the value.
struct Staged {
    path: PathBuf,
    file: File,
}

impl Staged {
    fn new(beside: &Path) -> Result<Self, Failure> {
        let mut name = beside.as_os_str().to_owned();
        name.push(".new");
        let path = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::Said(format!(
                "another `mailsluice user` is changing {}; if none is, it was stopped half-way: rm {}",
                beside.display(),
                quoted(&path)
            ))),
            Err(error) => Err(Failure::Said(format!("{} cannot be written: {error}", path.display()))),
        }
    }

    fn put(mut self, text: &str, path: &Path) -> io::Result<()> {
        (&self.file).write_all(text.as_bytes())?;
        self.file.sync_all()?;
        fs::rename(&self.path, path)?;
        // What has that name from now on is another's.
        self.path.clear();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

const NO_FILE: &str = "no [[listener]] of the configuration has `users`";
const RELOAD: &str = "it counts from `systemctl reload mailsluice` on";
const SHORT: usize = 8;
const MAX_OCTETS: u64 = 4096;
