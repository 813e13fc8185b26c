//! The floors and doors of the crate, read from its sources (`src/lib.rs` has the table, ARCHITECTURE.md the reasons).
//!
//! The test reads what a compiler would: comments and the text inside strings do not count. Test modules are held to the
//! floors as well, but not to the rules on purity and on doors: tests may run a runtime, read a clock and play the
//! other side of a connection.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[test]
fn imports_point_down_only() {
    let floors = Floors::of_the_crate();
    let sources = sources();
    assert!(sources.len() > 80, "looked at {} files only", sources.len());
    let wrong: Vec<String> = sources.iter().flat_map(|source| floors.violations(source)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_and_rules_are_pure() {
    let floors = Floors::of_the_crate();
    let sources = sources();
    let low: Vec<&Source> = sources.iter().filter(|source| floors.of(&source.module()) <= Some(1)).collect();
    assert!(low.len() > 35, "looked at {} files only", low.len());
    let wrong: Vec<String> = low.iter().flat_map(|source| impurities(source, &floors)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_door_is_the_only_one() {
    let sources = sources();
    assert!(sources.len() > 80, "looked at {} files only", sources.len());
    let wrong: Vec<String> = sources.iter().flat_map(doors_forced).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A door that nothing goes through is a misspelt one.
    for (thing, door) in DOORS {
        let through = |source: &&Source| source.path.starts_with(door) && uses_crate(&source.product, thing);
        assert!(sources.iter().any(|source| through(&source)), "nothing in {door} uses {thing}");
    }
}

#[test]
fn no_file_names_the_host_of_a_package_registry() {
    let hosts = [["crates", "io"], ["pypi", "org"], ["npmjs", "org"], ["npmjs", "com"], ["golang", "org"]];
    let hosts = hosts.map(|parts| parts.join("."));
    let mut files = Vec::new();
    walk(&root(), &mut files);
    assert!(files.len() > 100, "looked at {} files only", files.len());
    for file in files {
        // Cargo writes its lock file itself.
        if file.file_name().is_some_and(|name| name == "Cargo.lock") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).to_lowercase();
        for host in &hosts {
            assert!(!text.contains(host), "{} names {host}", file.display());
        }
    }
}

#[test]
fn the_documents_name_what_is_there() {
    let mut checked = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"] {
        let text = std::fs::read_to_string(root().join(document)).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let path = quoted.split([' ', ':']).next().unwrap_or(quoted);
            let inside = ["src/", "tests/", "config/"].iter().any(|folder| path.starts_with(folder));
            let module = path.contains('/') && path.ends_with(".rs");
            if inside || module {
                let found = root().join(path).exists() || root().join("src").join(path).exists();
                assert!(found, "{document} names {path}, which is not there");
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "looked at {checked} paths only");
}

#[test]
fn every_event_and_dependency_is_explained() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let lines = ["src/observe/fate.rs", "src/observe/alarms.rs", "src/observe/clients.rs"];
    let fates = lines.map(|file| std::fs::read_to_string(root().join(file)).unwrap()).concat();
    let events: Vec<&str> = fates.split("event = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(events.len() > 15, "{events:?}");
    for event in events.iter().chain(&["held", "released", "deleted"]) {
        assert!(text.contains(&format!("\n| `{event}` | ")), "the table of log events lacks {event}");
    }
    let rows: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    for name in dependencies() {
        let named = |row: &&str| row.split(", ").any(|part| part.replace('-', "_") == name);
        assert!(rows.iter().any(named), "the table of dependencies lacks {name}");
    }
}

#[test]
fn each_module_of_the_tests_says_what_it_shows() {
    let suite = std::fs::read_to_string(root().join("tests/suite.rs")).unwrap();
    let text = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let named = |line: &str| line.strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned);
    let modules: Vec<String> = suite.lines().filter_map(named).filter(|module| module != "support").collect();
    assert!(modules.len() > 20, "{modules:?}");
    for module in modules {
        assert!(text.contains(&format!("\n| `{module}` | ")), "the table of tests lacks {module}");
    }
}

#[test]
fn made_up_violations_are_seen() {
    let floors = Floors::of_the_crate();
    let seen = |path: &str, text: &str| {
        let source = Source::new(path, text);
        let mut wrong = floors.violations(&source);
        if floors.of(&source.module()) <= Some(1) {
            wrong.extend(impurities(&source, &floors));
        }
        wrong.extend(doors_forced(&source));
        wrong.len()
    };
    let violations = [
        ("src/schedule/x.rs", "use crate::queue::Queue;"),
        ("src/schedule/x.rs", "fn f() -> crate::config::Config { todo!() }"),
        ("src/schedule/x.rs", "use crate::{ids::{A, B}, queue::{self}};"),
        ("src/schedule/x.rs", "use super::super::intake;"),
        ("src/schedule/x.rs", "#[cfg(test)]\nmod tests { use crate::deliver::Worker; }"),
        ("src/smtp/x.rs", "use crate::schedule::Plan;"),
        ("src/deliver/x.rs", "use crate::receive::Listener;"),
        ("src/queue/x.rs", "use crate::intake::Intake;"),
        ("src/intake.rs", "fn f() { crate::app::run() }"),
        ("src/session/x.rs", "async fn f() {}"),
        ("src/session/x.rs", "use std::{fmt, fs};"),
        ("src/session/x.rs", "fn f() { tracing::info!(\"x\") }"),
        ("src/route/x.rs", "fn f() { let x = fastrand::u8(..); }"),
        ("src/provider/x.rs", "use std::time::{Duration, Instant};"),
        ("src/deliver/x.rs", "fn f() { let now = std::time::SystemTime::now(); }"),
        ("src/deliver/upstream.rs", "use lettre::Address;"),
        ("src/receive/x.rs", "use governor::Quota;"),
        ("src/queue/mod.rs", "use rusqlite::Connection;"),
        ("src/control/x.rs", "const X: &str = \"SELECT 1 FROM message\";"),
        ("src/control/x.rs", "const X: &str = r#\"DELETE FROM message\"#;"),
    ];
    for (path, text) in violations {
        assert_eq!(seen(path, text), 1, "{path}: {text}");
    }
    let sound = [
        ("src/schedule/x.rs", "// use crate::queue::Queue;\n/* crate::app /* é */ crate::app */ use crate::ids::Id;"),
        ("src/schedule/x.rs", "const X: &str = \"crate::queue::Queue, async\"; const Q: char = '\"';"),
        ("src/schedule/x.rs", "fn f<'a>(x: &'a str) -> super::Plan { x }"),
        ("src/schedule/x.rs", "use crate::provider::Cap;"),
        ("src/receive/x.rs", "impl Clock for Ours { type Instant = Duration; }"),
        ("src/deliver/x.rs", "use super::lettre::Stream; use crate::queue::Queue;"),
        ("src/queue/sqlite/x.rs", "use rusqlite::Connection; const X: &str = \"SELECT 1 FROM message\";"),
    ];
    for (path, text) in sound {
        assert_eq!(seen(path, text), 0, "{path}: {text}");
    }
}

/// What only one file or folder may use.
const DOORS: [(&str, &str); 6] = [
    ("lettre", "src/deliver/lettre.rs"),
    ("rusqlite", "src/queue/sqlite/"),
    ("governor", "src/receive/admission.rs"),
    ("reqwest", "src/web.rs"),
    ("listenfd", "src/receive/inherited.rs"),
    ("nix", "src/users.rs"),
];

/// The crates that words and rules may use: they compute and do no I/O.
const PURE_CRATES: [&str; 6] = ["base64", "ipnet", "mail_parser", "secrecy", "serde", "thiserror"];

/// The crates that words may use.
const WORD_CRATES: [&str; 3] = ["secrecy", "serde", "thiserror"];
/// What `src/time.rs` has beyond them: it writes dates and reads clocks.
const CLOCK_CRATES: [&str; 2] = ["jiff", "rustix"];

/// A file of `src`.
struct Source {
    path: String,
    /// Its code without comments, with empty strings, and without its test module.
    product: String,
    /// The whole of it, likewise.
    code: String,
    /// The strings of the product part.
    strings: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let (code, strings) = lex(text);
        let whole_file_is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        let end = if whole_file_is_test { 0 } else { code.find("#[cfg(test)]\nmod tests").unwrap_or(code.len()) };
        let strings = strings.into_iter().filter(|(at, _)| *at < end).map(|(_, string)| string).collect();
        Self { path: path.into(), product: code[..end].into(), code, strings }
    }

    /// The module of the first level that it belongs to.
    fn module(&self) -> String {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").into()
    }

    /// How deep in the crate its module lies.
    fn depth(&self) -> usize {
        let parts = self.path.trim_start_matches("src/").split('/').count();
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    /// The modules of the first level that its code names.
    fn imports(&self) -> Vec<String> {
        let climb = "super::".repeat(self.depth());
        let mut found: Vec<String> = after(&self.code, "crate::").into_iter().collect();
        // One `super` fewer reaches no further than the module of the first level.
        if !self.path.ends_with("lib.rs") {
            found.extend(after(&self.product, &climb));
        }
        found
    }
}

/// The table of `src/lib.rs`.
struct Floors(BTreeMap<String, u8>);

impl Floors {
    fn of_the_crate() -> Self {
        let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
        let mut floors = BTreeMap::new();
        for row in text.lines().filter_map(|line| line.strip_prefix("//! | ")) {
            let mut cells = row.split(" | ");
            let (Some(floor), Some(modules)) = (cells.next(), cells.next()) else { continue };
            let Some(floor) = floor.split(' ').next().and_then(|number| number.parse().ok()) else { continue };
            for module in modules.split(", ") {
                floors.insert(module.trim_matches(['[', ']', '`']).to_owned(), floor);
            }
        }
        let declared: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
        assert!(declared.len() > 12, "{declared:?}");
        assert!(declared.iter().all(|module| floors.contains_key(*module)), "the table lacks one of {declared:?}");
        assert_eq!(declared.len(), floors.len(), "the table names what is not declared");
        floors.insert("main".into(), 5);
        Self(floors)
    }

    fn of(&self, module: &str) -> Option<u8> {
        self.0.get(module).copied()
    }

    /// Down always; sideways among words, rules, stores and in the assembly, whose modules are parts of one whole (the
    /// plan reads the caps of a provider, the store keeps what the plan decides on). Drivers never meet.
    fn allow(&self, from: &str, to: &str) -> bool {
        match (self.of(from), self.of(to)) {
            (Some(from_floor), Some(to_floor)) => {
                from == to || to_floor < from_floor || to_floor == from_floor && !matches!(from_floor, 3 | 4)
            }
            _ => false,
        }
    }

    fn violations(&self, source: &Source) -> Vec<String> {
        let from = source.module();
        if from == "lib" {
            return Vec::new();
        }
        let wrong = source.imports().into_iter().filter(|to| !self.allow(&from, to));
        wrong.map(|to| format!("{}: `{from}` may not use `{to}`", source.path)).collect()
    }
}

/// What a file of floor 0 or 1 holds that needs a runtime, a clock, a socket, a file, chance or a log.
fn impurities(source: &Source, floors: &Floors) -> Vec<String> {
    let clock = source.path == "src/time.rs";
    let is_word = floors.of(&source.module()) == Some(0);
    let mut wrong: Vec<String> = Vec::new();
    for name in dependencies() {
        let allowed = if is_word { WORD_CRATES.contains(&&*name) } else { PURE_CRATES.contains(&&*name) };
        let allowed = allowed || clock && CLOCK_CRATES.contains(&&*name);
        if !allowed && uses_crate(&source.product, &name) {
            wrong.push(name);
        }
    }
    for word in ["async", "await", "TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs", "println", "eprintln"] {
        if words(&source.product).any(|(_, found)| found == word) {
            wrong.push(word.into());
        }
    }
    let of_std = after(&source.product, "std::");
    wrong
        .extend(of_std.into_iter().filter(|part| matches!(&**part, "env" | "fs" | "io" | "os" | "process" | "thread")));
    wrong.into_iter().map(|what| format!("{}: `{what}` has no place on its floor", source.path)).collect()
}

/// What a file uses that has a door elsewhere.
fn doors_forced(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (thing, door) in DOORS {
        if !source.path.starts_with(door) && uses_crate(&source.product, thing) {
            wrong.push(format!("{}: {thing} is used in {door} only", source.path));
        }
    }
    for clock in ["Instant", "SystemTime"] {
        // A type of that name, which governor asks for, is no clock.
        let names_it = |at: usize| source.product[..at].trim_end().ends_with("type");
        let used = words(&source.product).any(|(at, word)| word == clock && !names_it(at));
        if source.path != "src/time.rs" && used {
            wrong.push(format!("{}: {clock} is used in src/time.rs only", source.path));
        }
    }
    let sql = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA "];
    for string in &source.strings {
        if !source.path.starts_with("src/queue/sqlite/") && sql.iter().any(|start| string.contains(start)) {
            wrong.push(format!("{}: SQL is in src/queue/sqlite only: {string}", source.path));
        }
    }
    wrong
}

/// The crates that Cargo.toml names, as code writes them.
fn dependencies() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let table = text.split("[dependencies]\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    let names: Vec<String> =
        table.lines().filter_map(|line| Some(line.split_once(" = ")?.0.replace('-', "_"))).collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

/// Whether the code has a path that begins with this crate's name.
fn uses_crate(code: &str, name: &str) -> bool {
    words(code).any(|(at, word)| {
        let before = code[..at].trim_end();
        let rooted = !before.ends_with("::") || before.trim_end_matches("::").ends_with([' ', '(', '<', '&']);
        word == name && rooted && !before.ends_with('.') && code[at + name.len()..].starts_with("::")
    })
}

/// The identifiers of code, and where each begins.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.split(move |c| !part_of_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - code.as_ptr() as usize, word))
}

/// The names that come right after `prefix`, each name of a group where a group does.
fn after(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let mut depth = 0;
        let mut first_of_part = true;
        for (index, c) in rest.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => first_of_part = true,
                c if c.is_whitespace() => {}
                _ if first_of_part && depth <= 1 => {
                    first_of_part = false;
                    found.extend(words(&rest[index..]).next().map(|(_, word)| word.to_owned()));
                }
                _ => {}
            }
            if depth <= 0 && !first_of_part {
                break;
            }
        }
    }
    found
}

/// The code without its comments and with empty strings; the strings, each with where it began in that code.
fn lex(text: &str) -> (String, Vec<(usize, String)>) {
    let (mut code, mut strings, mut rest) = (String::new(), Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let hashes =
            rest.trim_start_matches('b').strip_prefix('r').map(|raw| raw.len() - raw.trim_start_matches('#').len());
        let raw = hashes.filter(|hashes| !in_word && rest.trim_start_matches('b')[1 + hashes..].starts_with('"'));
        let taken = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(hashes) = raw {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').unwrap() + 1;
            let length = rest[open..].find(&close).unwrap();
            strings.push((code.len(), rest[open..open + length].to_owned()));
            open + length + close.len()
        } else if c == '"' {
            let length = string_length(&rest[1..]);
            strings.push((code.len(), rest[1..1 + length].to_owned()));
            length + 2
        } else if c == '\'' {
            char_length(rest)
        } else {
            code.push(c);
            c.len_utf8()
        };
        rest = &rest[taken..];
    }
    (code, strings)
}

fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..text.len().min(at + 2)] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// How long a string is up to its closing quote.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    panic!("a string without an end: {text}");
}

/// How long a character literal is, or the quote of a lifetime.
fn char_length(text: &str) -> usize {
    let inside = &text[1..];
    match inside.chars().next() {
        Some('\\') => 2 + inside[2..].find('\'').unwrap() + 2,
        Some(c) if inside[c.len_utf8()..].starts_with('\'') => c.len_utf8() + 2,
        _ => 1,
    }
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    walk(&root().join("src"), &mut files);
    let sources = files.into_iter().map(|file| {
        let path = file.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Source::new(&path, &std::fs::read_to_string(&file).unwrap())
    });
    sources.collect()
}

/// Every file below a folder that belongs to the repository.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !matches!(&*name, ".git" | "target" | "mailsluice-quickstart") {
            walk(&path, files);
        } else if path.is_file() {
            files.push(path);
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
