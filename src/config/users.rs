//! The `users` file of a listener with `auth = "required"`: a user and the hash of its password a line, as `mailsluice user`
//! writes them. What stands in it was checked when it was read, so that no login can exhaust the machine.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use argon2::password_hash::{PasswordHash, PasswordHashString, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use secrecy::{ExposeSecret as _, SecretString};

use super::secret::{SecretError, read_private};

/// Who may log in.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    by_name: HashMap<String, PasswordHashString>,
    /// The user whose hash costs most.
    dearest: Option<String>,
}

/// What is wrong with a line of the file. No hash is ever part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line, from 1.
    pub line: usize,
    /// What is there.
    pub found: String,
    /// What should be.
    pub wanted: String,
}

impl Users {
    /// Reads the file, which must be as a secret's is: no stranger may read or write it.
    ///
    /// # Errors
    /// Where it cannot be had; else what is wrong with its lines is in the inner result.
    pub fn read(path: &Path) -> Result<Result<Self, Vec<Wrong>>, SecretError> {
        let text = read_text(path)?;
        Ok(Self::parse(&text))
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line.
    pub fn parse(text: &str) -> Result<Self, Vec<Wrong>> {
        let (mut users, mut wrong) = (Self::default(), Vec::new());
        let mut lines: HashMap<&str, usize> = HashMap::new();
        for (line, content) in (1..).zip(text.lines()).filter(|(_, content)| is_user(content)) {
            let mut add = |found: String, wanted: &str| wrong.push(Wrong { line, found, wanted: wanted.into() });
            let Some((name, hash)) = content.split_once(':') else {
                add("no colon".into(), FORM);
                continue;
            };
            if !is_name(name) {
                add("a name that is none".into(), NAME);
                continue;
            }
            if let Some(other) = lines.insert(name, line) {
                add(format!("user {name}, whom line {other} has too"), "each user once");
                continue;
            }
            match checked(hash.trim_end()) {
                Ok(hash) => users.add(name, hash),
                Err((found, wanted)) => add(format!("{found} for user {name}"), &wanted),
            }
        }
        if users.by_name.len() > MAX_USERS {
            let found = format!("{} users", users.by_name.len());
            wrong.push(Wrong { line: 1, found, wanted: format!("{MAX_USERS} at most") });
        }
        if wrong.is_empty() { Ok(users) } else { Err(wrong) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is this user, by its exact name, with this password. Takes long, and as much memory as
    /// [`Users::memory_kib`] says; a user that is not there takes as long as one that is, so that nobody learns who there is.
    pub fn have(&self, name: &str, password: &SecretString) -> bool {
        let named = self.by_name.get(name);
        let hash = named.or_else(|| self.by_name.get(self.dearest.as_deref()?));
        let password = password.expose_secret().as_bytes();
        let right = match hash {
            Some(hash) => argon2().verify_password(password, &hash.password_hash()).is_ok(),
            None => argon2().hash_password_into(password, &[0; SALT_OCTETS], &mut [0; 32]).is_err(),
        };
        right && named.is_some()
    }

    /// Memory in KiB that [`Users::have`] takes at most.
    pub fn memory_kib(&self) -> u32 {
        let params = self.by_name.values().filter_map(|hash| Params::try_from(&hash.password_hash()).ok());
        params.map(|params| params.m_cost()).max().unwrap_or(0).max(Params::DEFAULT_M_COST)
    }

    fn add(&mut self, name: &str, hash: PasswordHashString) {
        let of = |hash: &PasswordHashString| cost(&hash.password_hash()).map_or(0, |(memory, passes)| memory * passes);
        let dearest = self.dearest.as_ref().and_then(|name| self.by_name.get(name)).map_or(0, of);
        if of(&hash) > dearest {
            self.dearest = Some(name.to_owned());
        }
        self.by_name.insert(name.to_owned(), hash);
    }
}

impl fmt::Debug for Users {
    /// How many, and nothing of whom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.by_name.len())
    }
}

/// The line of a user with this password: argon2id with the parameters that OWASP names first (Password Storage Cheat Sheet:
/// 19 MiB, two passes, one lane). `salt` is chance.
///
/// # Errors
/// Where the name is none, or the password cannot be hashed.
pub fn line(name: &str, password: &SecretString, salt: &[u8; SALT_OCTETS]) -> Result<String, String> {
    if !is_name(name) {
        return Err(format!("found {name:?}, wanted {NAME}"));
    }
    let hash = SaltString::encode_b64(salt)
        .and_then(|salt| Ok(argon2().hash_password(password.expose_secret().as_bytes(), &salt)?.to_string()));
    hash.map(|hash| format!("{name}:{hash}")).map_err(|error| format!("the password cannot be hashed: {error}"))
}

/// The text with `line` in the place of the user's line, or at its end; without that line where `line` is none. Nothing
/// where there is neither.
pub fn edited(text: &str, name: &str, line: Option<&str>) -> Option<String> {
    let is_his = |content: &str| is_user(content) && content.split_once(':').is_some_and(|(found, _)| found == name);
    let mut place = line;
    let mut lines = Vec::new();
    let mut changed = false;
    for content in text.lines() {
        if is_his(content) {
            changed = true;
            lines.extend(place.take());
        } else {
            lines.push(content);
        }
    }
    lines.extend(place);
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    (changed || line.is_some()).then_some(text)
}

/// The text of the file.
///
/// # Errors
/// Where it cannot be had, or strangers may read or write it.
pub fn read_text(path: &Path) -> Result<String, SecretError> {
    read_private(path, "a file that `mailsluice user` writes", MAX_OCTETS)
}

fn is_user(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

/// No colon, which ends it; nothing that a log or a terminal would trip over.
fn is_name(text: &str) -> bool {
    let octets = (1..=MAX_NAME_OCTETS).contains(&text.len());
    octets && !text.contains(|c: char| c == ':' || c.is_control()) && text.trim() == text && !text.starts_with('#')
}

/// The hash, where it is one that a login can afford; else what is there instead, and what should be.
fn checked(text: &str) -> Result<PasswordHashString, (&'static str, String)> {
    let hash = PasswordHash::new(text).map_err(|_| ("what is no hash", FORM.to_owned()))?;
    let known = Algorithm::try_from(hash.algorithm).is_ok();
    if !known {
        return Err((
            "a hash of another kind",
            "$argon2id$ (or $argon2i$, $argon2d$): `mailsluice user` makes one".into(),
        ));
    }
    let whole = hash.salt.is_some() && hash.hash.is_some_and(|output| output.len() >= MIN_HASH_OCTETS);
    let version = hash.version.is_none_or(|version| Version::try_from(version).is_ok());
    let cost = cost(&hash).filter(|_| whole && version);
    let (memory, passes) = cost.ok_or_else(|| ("a broken hash", FORM.to_owned()))?;
    if memory > u64::from(MAX_MEMORY_KIB) || passes > MAX_PASSES {
        let wanted = format!("m={MAX_MEMORY_KIB} and t={MAX_PASSES} at most: `mailsluice user` makes such a one");
        return Err(("a hash that costs too much", wanted));
    }
    Ok(hash.serialize())
}

/// Memory in KiB and passes.
fn cost(hash: &PasswordHash<'_>) -> Option<(u64, u64)> {
    let params = Params::try_from(hash).ok()?;
    Some((params.m_cost().into(), params.t_cost().into()))
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// Octets of chance in a hash.
pub const SALT_OCTETS: usize = 16;
/// The most memory that a hash may need.
pub const MAX_MEMORY_KIB: u32 = 64 << 10;

const FORM: &str = "name:$argon2id$…, a line that `mailsluice user` makes";
const NAME: &str = "a name of 1 to 255 octets without colons, control characters and outer spaces, nor # in front";
const MAX_NAME_OCTETS: usize = 255;
const MAX_PASSES: u64 = 16;
const MIN_HASH_OCTETS: usize = 16;
const MAX_USERS: usize = 10_000;
const MAX_OCTETS: u64 = 4 << 20;
