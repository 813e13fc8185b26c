//! The `aliases_file`: /etc/aliases in the form that Postfix and sendmail read (aliases(5)), as far as it names addresses and
//! other aliases. Programs, files and lists in files are for hosts with mailboxes of their own: they are told, and count for
//! nothing. Other programs write this file, so nothing in it keeps the relay from running.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::local::alias_name;
use crate::route::aliases::Target;

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AliasesFile {
    /// Its aliases, each once, in their order.
    pub(super) entries: Vec<Entry>,
    /// What counts for nothing: the line, and what is wrong with it.
    pub(super) wrong: Vec<(usize, String)>,
}

/// An alias, and the line on which it begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) targets: Vec<Target>,
}

/// The text of the file; none where there is no such file. Octets beyond UTF-8, in comments mostly, become `�`.
///
/// # Errors
/// Where it cannot be read, or anybody may write it, who could have root's mail.
pub(super) fn read(path: &Path) -> Result<Option<String>, String> {
    match read_limited(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}, which cannot be read: {error}", path.display())),
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe could keep us waiting for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let file = File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o002 != 0 {
        return Err(io::Error::other("everybody may write it, and could have root's mail: chmod o-w"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_OCTETS + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_OCTETS {
        return Err(io::Error::other(format!("it is longer than {} KiB", MAX_OCTETS >> 10)));
    }
    Ok(bytes)
}

/// Reads the text of such a file.
pub(super) fn parse(text: &str) -> AliasesFile {
    let mut file = AliasesFile::default();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for (line, text) in logical_lines(text) {
        let mut wrong = |what: String| file.wrong.push((line, what));
        let Some((name, values)) = split_name(&text) else {
            wrong(format!("{:?} is no alias: wanted name: address", shown(&text)));
            continue;
        };
        let Some(name) = alias_name(name) else {
            wrong(format!("{:?} can be no alias: wanted the part of an address before the @", shown(name)));
            continue;
        };
        if let Some(other) = lines.get(&name) {
            wrong(format!("{name} has an alias on line {other} already, which counts"));
            continue;
        }
        if file.entries.len() >= MAX_ALIASES {
            wrong(format!("there are more than {MAX_ALIASES} aliases: this one and all that follow count for nothing"));
            break;
        }
        lines.insert(name.clone(), line);
        let mut targets = Vec::new();
        for value in split_values(values) {
            match target(value) {
                Ok(target) => targets.push(target),
                Err(why) => wrong(format!("{name}: {:?} {why}", shown(value))),
            }
        }
        file.entries.push(Entry { line, name, targets });
    }
    file
}

/// Lines with those that continue them, which begin with white space. Comments and empty lines do not end them.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut logical: Vec<(usize, String)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match logical.last_mut() {
            Some((_, begun)) if line.starts_with([' ', '\t']) => {
                begun.push(' ');
                begun.push_str(content);
            }
            _ => logical.push((number, content.to_owned())),
        }
    }
    logical
}

/// What stands before the first colon outside of quotes, and what behind it.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let colon = outside_quotes(text, ':').next()?;
    Some((text[..colon].trim(), &text[colon + 1..]))
}

fn split_values(text: &str) -> impl Iterator<Item = &str> {
    let commas: Vec<usize> = outside_quotes(text, ',').collect();
    let starts = std::iter::once(0).chain(commas.clone().into_iter().map(|at| at + 1));
    let ends = commas.into_iter().chain(std::iter::once(text.len()));
    starts.zip(ends).map(|(start, end)| text[start..end].trim()).filter(|value| !value.is_empty())
}

/// Where this character stands outside of quoted strings.
fn outside_quotes(text: &str, wanted: char) -> impl Iterator<Item = usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().filter_map(move |(at, c)| {
        let found = !quoted && !escaped && c == wanted;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
        found.then_some(at)
    })
}

/// Whom a value names, or why it names nobody.
fn target(value: &str) -> Result<Target, &'static str> {
    let inside = value.strip_prefix('"').unwrap_or(value).trim_start();
    if inside.starts_with('|') {
        return Err("is a program, which gets no mail from here");
    }
    if inside.starts_with('/') {
        return Err("is a file, which gets no mail from here");
    }
    if inside.starts_with(':') {
        return Err("is no address: lists in files, and other words with colons, are not read");
    }
    if inside.starts_with('\\') {
        return Err("is a mailbox of this machine, which has none");
    }
    // `Jane Doe <jane@example.com>`
    let bare = value.strip_suffix('>').and_then(|value| value.rsplit_once('<')).map_or(value, |(_, inside)| inside);
    if let Ok(address) = bare.parse() {
        return Ok(Target::Address(address));
    }
    alias_name(bare).map(Target::Alias).ok_or("is neither an address nor the name of an alias")
}

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// Characters that a message shows of what is wrong.
const MAX_SHOWN: usize = 80;
/// Aliases that are read.
pub(super) const MAX_ALIASES: usize = 10_000;
const MAX_OCTETS: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The aliases as `name = target target`, and what is wrong as `line what`.
    fn told(text: &str) -> (Vec<String>, Vec<String>) {
        let file = parse(text);
        let target = |target: &Target| match target {
            Target::Address(address) => address.to_string(),
            Target::Alias(name) => format!("({name})"),
        };
        let entry = |entry: &Entry| {
            let targets: Vec<String> = entry.targets.iter().map(target).collect();
            format!("{} {} = {}", entry.line, entry.name, targets.join(" "))
        };
        (
            file.entries.iter().map(entry).collect(),
            file.wrong.iter().map(|(line, why)| format!("{line} {why}")).collect(),
        )
    }

    /// What a fresh Debian has.
    #[test]
    fn debians_file_is_read() {
        assert_eq!(told("# See man 5 aliases for format\npostmaster:    root\n").0, ["2 postmaster = (root)"]);
    }

    #[test]
    fn names_lists_comments_and_continuations_are_read() {
        let (entries, wrong) = told(
            "# mail for the system\n\nMAILER-DAEMON: postmaster\nroot:\tJane@Example.com,\n   # and at night\n\n   \
             \"john doe\"@example.com , Ops\n\"John: Doe\" : <john@example.com>\nnews: Jane Doe <jane@example.com>\n\
             empty:\n*: all@example.com\n",
        );
        assert_eq!(
            entries,
            [
                "3 mailer-daemon = (postmaster)",
                "4 root = Jane@Example.com \"john doe\"@example.com (ops)",
                "8 john: doe = john@example.com",
                "9 news = jane@example.com",
                "10 empty = ",
                "11 * = all@example.com",
            ]
        );
        assert_eq!(wrong, [""; 0]);
    }

    #[test]
    fn what_is_for_hosts_with_mailboxes_is_told_with_its_line_and_the_rest_counts() {
        let (entries, wrong) = told(
            "vacation: jane, \"|/usr/bin/vacation jane, or so\", |\"/bin/x a,b\"\nlist: :include:/etc/list\n\
             save: /var/mail/save\nroot: \\root, ops@example.com\nno alias\nroot@example.com: jane\nRoot: x@example.com\n\
             odd: a b\n",
        );
        assert_eq!(entries, ["1 vacation = (jane)", "2 list = ", "3 save = ", "4 root = ops@example.com", "8 odd = "]);
        let wanted = [
            "1 vacation: \"\\\"|/usr/bin/vacation jane, or so\\\"\" is a program",
            "1 vacation: \"|\\\"/bin/x a,b\\\"\" is a program",
            "2 list: \":include:/etc/list\" is no address: lists in files",
            "3 save: \"/var/mail/save\" is a file",
            "4 root: \"\\\\root\" is a mailbox of this machine",
            "5 \"no alias\" is no alias: wanted name: address",
            "6 \"root@example.com\" can be no alias",
            "7 root has an alias on line 4 already",
            "8 odd: \"a b\" is neither",
        ];
        assert_eq!(wrong.len(), wanted.len(), "{wrong:#?}");
        for (told, wanted) in wrong.iter().zip(wanted) {
            assert!(told.starts_with(wanted), "{told}\n{wanted}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_or_anybodys_is_refused_and_one_that_is_not_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aliases");
        assert_eq!(read(&path), Ok(None));
        assert!(read(folder.path()).unwrap_err().contains("it is no file"));
        fs::write(&path, b"# J\xfcrgen\nroot: a@example.com\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(parse(&read(&path).unwrap().unwrap()).entries.len(), 1);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o646)).unwrap();
        assert!(read(&path).unwrap_err().contains("everybody may write it"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(&path, "#".repeat(usize::try_from(MAX_OCTETS).unwrap() + 1)).unwrap();
        assert!(read(&path).unwrap_err().contains("longer than 1024 KiB"));
        let many: String = (0..MAX_ALIASES + 5).map(|at| format!("a{at}: b@example.com\n")).collect();
        let file = parse(&many);
        assert_eq!((file.entries.len(), file.wrong.len()), (MAX_ALIASES, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_what_is_read_could_be_looked_up(text in "([a-z@.:,|/\"\\\\ \t\n#*<>]{0,8}|\\PC{0,6}){0,30}") {
            let file = parse(&text);
            let count = text.lines().count();
            for entry in &file.entries {
                prop_assert!((1..=count).contains(&entry.line));
                let found = crate::route::aliases::key(&entry.name);
                prop_assert!(found == entry.name || entry.name.contains(['"', '\\']), "{:?}", entry.name);
            }
            prop_assert!(file.wrong.iter().all(|(line, _)| (1..=count).contains(line)));
        }
    }
}
