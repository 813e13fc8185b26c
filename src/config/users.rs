//! The `users` file of a listener with `auth = "required"`: a user and the hash of its password a line, as `mailsluice user`
//! writes them. What stands in it was checked when it was read, so that no login can exhaust the machine.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use argon2::password_hash::{Output, PasswordHash, PasswordHashString, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, PasswordHasher as _, Version};
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
            Some(hash) => is_of(&hash.password_hash(), password).unwrap_or(false),
            None => {
                let memory = memory(&Params::DEFAULT);
                argon2().hash_password_into_with_memory(password, &[0; SALT_OCTETS], &mut [0; 32], memory).is_err()
            }
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
    check_name(name)?;
    let hash = SaltString::encode_b64(salt)
        .and_then(|salt| Ok(argon2().hash_password(password.expose_secret().as_bytes(), &salt)?.to_string()));
    hash.map(|hash| format!("{name}:{hash}")).map_err(|error| format!("the password cannot be hashed: {error}"))
}

/// Whether a user can have this name.
///
/// # Errors
/// What is wanted, where it cannot.
pub fn check_name(name: &str) -> Result<(), String> {
    if is_name(name) { Ok(()) } else { Err(format!("found {name:?}, wanted {NAME}")) }
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

/// Whether a hash is that of this password; nothing where it cannot be reckoned.
fn is_of(hash: &PasswordHash<'_>, password: &[u8]) -> Option<bool> {
    let algorithm = Algorithm::try_from(hash.algorithm).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(hash).ok()?;
    let mut salt = [0; Salt::MAX_LENGTH];
    let salt = hash.salt?.decode_b64(&mut salt).ok()?;
    let (wanted, memory) = (hash.hash?, memory(&params));
    let argon2 = Argon2::new(algorithm, version, params);
    let found = Output::init_with(wanted.len(), |found| {
        Ok(argon2.hash_password_into_with_memory(password, salt, found, memory)?)
    });
    // Takes as long wherever they differ.
    Some(found.ok()? == wanted)
}

/// The memory that a hash is reckoned in. Of less than 32 MiB the C library keeps what is freed, for each thread that has
/// had it; more than that it gives back at once (mallopt(3), `M_MMAP_THRESHOLD`). So more is asked for, and not touched.
fn memory(params: &Params) -> Vec<Block> {
    let mut blocks = Vec::with_capacity(params.block_count().max(GIVEN_BACK_BLOCKS));
    blocks.resize(params.block_count(), Block::new());
    blocks
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

/// Blocks that are more than 32 MiB.
const GIVEN_BACK_BLOCKS: usize = (33 << 20) / Block::SIZE;
const FORM: &str = "name:$argon2id$…, a line that `mailsluice user` makes";
const NAME: &str = "a name of 1 to 255 octets without colons, control characters and outer spaces, nor # in front";
const MAX_NAME_OCTETS: usize = 255;
const MAX_PASSES: u64 = 16;
const MIN_HASH_OCTETS: usize = 16;
const MAX_USERS: usize = 10_000;
const MAX_OCTETS: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::Config;

    /// What the reference implementation makes of the password `password` and the salt `somesalt`, by its
    /// own tests: <https://github.com/P-H-C/phc-winner-argon2/blob/master/src/test.c>.
    const REFERENCE: [&str; 3] = [
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        "$argon2i$v=16$m=256,t=2,p=2$c29tZXNhbHQ$tsEVYKap1h6scGt5ovl9aLRGOqOth+AMB+KwHpDFZPs",
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
    ];

    fn users(lines: &[String]) -> Users {
        Users::parse(&lines.join("\n")).unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    fn wrong(text: &str) -> Vec<String> {
        let told = |wrong: Wrong| format!("{}: found {}, wanted {}", wrong.line, wrong.found, wrong.wanted);
        Users::parse(text).map_or_else(|wrong| wrong.into_iter().map(told).collect(), |_| vec![])
    }

    #[test]
    fn a_user_has_its_own_password_and_no_other() {
        let line = |name: &str, password: &str| line(name, &password.into(), &[7; SALT_OCTETS]).unwrap();
        let users = users(&[line("scanner", "one"), "# shops".into(), String::new(), line("shop@example.com", "two")]);
        assert_eq!(users.count(), 2);
        for (name, password, right) in [
            ("scanner", "one", true),
            ("scanner", "two", false),
            ("scanner", "", false),
            ("shop@example.com", "two", true),
            ("Scanner", "one", false),
            ("nobody", "one", false),
            ("nobody", "two", false),
            ("", "", false),
        ] {
            assert_eq!(users.have(name, &password.into()), right, "{name} {password}");
        }
        assert!(!Users::default().have("scanner", &"one".into()));
    }

    #[test]
    fn hashes_of_other_programs_are_understood() {
        for hash in REFERENCE {
            let users = users(&[format!("scanner:{hash}")]);
            assert!(users.have("scanner", &"password".into()), "{hash}");
            assert!(!users.have("scanner", &"Password".into()), "{hash}");
        }
    }

    #[test]
    fn a_user_that_is_not_there_costs_what_the_dearest_one_does() {
        let users = users(&[format!("cheap:{}", REFERENCE[1]), format!("dear:{}", REFERENCE[0])]);
        assert_eq!(users.dearest.as_deref(), Some("dear"));
        assert!(!users.have("nobody", &"password".into()), "not even with that one's password");
        assert_eq!(users.memory_kib(), 65_536);
    }

    #[test]
    fn every_wrong_line_is_told_and_no_hash() {
        let [good, ..] = REFERENCE;
        let dear = |m: u32, t: u32| good.replace("m=65536,t=2", &format!("m={m},t={t}"));
        let text = [
            "# comment".to_owned(),
            "scanner".to_owned(),
            format!("a:{good}"),
            format!("a:{good}"),
            "b:hunter2".to_owned(),
            "c:$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW".to_owned(),
            "d:$pbkdf2-sha256$i=1000$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc".to_owned(),
            format!("e:{}", dear(65_537, 2)),
            format!("f:{}", dear(65_536, 17)),
            format!("g:{}", dear(4_294_967_295, 4_294_967_295)),
            "h:$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ".to_owned(),
            format!(" i:{good}"),
            format!(":{good}"),
            format!("j:{}", good.replace("v=19", "v=18")),
        ];
        let told = wrong(&text.join("\n"));
        let lines: Vec<&str> = told.iter().filter_map(|told| told.split(':').next()).collect();
        assert_eq!(lines, ["2", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14"], "{told:#?}");
        assert!(told[0].contains("found no colon") && told[1].contains("user a, whom line 3 has too"), "{told:#?}");
        assert!(told[4].contains("another kind for user d") && told[5].contains("costs too much"), "{told:#?}");
        assert!(told[5].contains("m=65536 and t=16 at most: `mailsluice user`"), "{told:#?}");
        assert!(told.iter().all(|told| !told.contains("hunter2") && !told.contains("CTFhF")), "{told:#?}");
    }

    #[test]
    fn what_holds_the_users_does_not_show_them() {
        let shown = format!("{:?}", users(&[format!("scanner:{}", REFERENCE[0])]));
        assert_eq!(shown, "Users(1)");
    }

    #[test]
    fn a_line_is_replaced_added_and_removed_and_the_rest_stays() {
        let text = "# shops\nshop:$a\n\nscanner:$b\n";
        assert_eq!(edited(text, "shop", Some("shop:$c")).unwrap(), "# shops\nshop:$c\n\nscanner:$b\n");
        assert_eq!(edited(text, "door", Some("door:$c")).unwrap(), format!("{text}door:$c\n"));
        assert_eq!(edited(text, "shop", None).unwrap(), "# shops\n\nscanner:$b\n");
        assert_eq!(edited(text, "Shop", None), None);
        assert_eq!(edited("", "shop", Some("shop:$c")).unwrap(), "shop:$c\n");
    }

    #[test]
    fn the_file_is_as_a_secret_is_and_its_lines_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let [config, path] = ["config.toml", "users"].map(|name| folder.path().join(name));
        let text = "[[listener]]\naddress = \"127.0.0.1:0\"\nauth = \"required\"\nusers = \"users\"\n\
                    auth_without_tls = \"127.0.0.0/8\"\n[[account]]\nname = \"x\"\nprovider = \"directory\"\npath = \"out\"\n";
        fs::write(&config, text).unwrap();
        let told = || Config::load(&config).map_or_else(|errors| errors.to_string(), |_| String::new());
        let shown = path.display();
        assert!(told().contains(&format!("config.toml:4: listener.users: found no file {shown}, wanted a file that")));
        fs::write(&path, format!("scanner:{}\nx\n", REFERENCE[0])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o602)).unwrap();
        assert!(told().contains("with mode 0602, open to everyone"), "{}", told());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(
            told().contains(&format!("listener.users: found no colon on {shown}:2, wanted name:$argon2id$")),
            "{}",
            told()
        );
        fs::write(&path, "x\n".repeat(1000)).unwrap();
        assert!(told().contains("found 990 more such lines in") && told().lines().count() == 11, "{}", told());
        fs::write(&path, format!("scanner:{}\n", REFERENCE[0])).unwrap();
        assert_eq!(told(), "");
        fs::remove_file(&path).unwrap();
        assert!(Config::load_without_secrets(&config).is_ok(), "who logs in nowhere needs no users");
    }

    #[test]
    fn the_lines_that_are_made_are_what_owasp_names() {
        let line = line("scanner", &"hunter2".into(), &[7; SALT_OCTETS]).unwrap();
        assert!(line.starts_with("scanner:$argon2id$v=19$m=19456,t=2,p=1$"), "{line}");
        for name in ["", "a:b", "a\nb", " a", "#a", &"a".repeat(256)] {
            assert!(super::line(name, &"hunter2".into(), &[7; SALT_OCTETS]).is_err(), "{name:?}");
        }
    }
}
