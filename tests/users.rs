//! `mailsluice user`, and logins with what it writes: whoever has no password gets nothing in, and no password is shown.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::json;

use crate::support::daemon::{Site, mailsluice};

const SECRET: &str = "hunter2 hunter2";

/// A relay that asks for a login, which is heard in plain text from this machine.
const CONFIG: &str = r#"
[queue]
path = "SITE/queue.db"
min_free = "0B"
ephemeral = true

[[listener]]
address = "127.0.0.1:0"
hostname = "relay.example"
auth = "required"
users = "users"
auth_without_tls = "127.0.0.0/8"

[[account]]
name = "out"
provider = "directory"
path = "SITE/out"
"#;

fn site() -> Site {
    Site::new(CONFIG, "unused")
}

fn users(site: &Site) -> PathBuf {
    site.path().join("users")
}

/// Runs `mailsluice user …` with this on standard input.
fn user(site: &Site, arguments: &[&str], input: &str) -> Output {
    let mut command = mailsluice();
    command.arg("--config").arg(site.config()).arg("user").args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that is refused at once reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(!said(&output).contains("hunter2"), "{}", said(&output));
    output
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn done(site: &Site, arguments: &[&str], input: &str) -> String {
    let output = user(site, arguments, input);
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

/// What is refused, with this exit code.
fn refused(site: &Site, arguments: &[&str], input: &str, code: i32) -> String {
    let output = user(site, arguments, input);
    assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    said(&output)
}

#[test]
fn users_are_written_replaced_and_taken_out() {
    let site = site();
    assert!(said(&site.run(&["check"])).contains("listener.users: found no file"));
    let told = done(&site, &["scanner"], &format!("{SECRET}\nnot this\n"));
    assert!(told.contains("scanner: written to") && told.contains("systemctl reload mailsluice"), "{told}");
    let mode = users(&site).metadata().unwrap().permissions().mode() & 0o777;
    assert!(matches!(mode, 0o600 | 0o640), "{mode:o}");
    assert!(site.run(&["check"]).status.success());
    let first = fs::read_to_string(users(&site)).unwrap();
    assert!(first.starts_with("scanner:$argon2id$v=19$m=19456,t=2,p=1$") && first.lines().count() == 1, "{first}");

    fs::write(users(&site), format!("# the office\n{first}")).unwrap();
    fs::set_permissions(users(&site), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(done(&site, &["shop"], "short\n").contains("warning: a password of fewer than 8"));
    done(&site, &["scanner"], SECRET);
    let text = fs::read_to_string(users(&site)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0] == "# the office" && lines[2].starts_with("shop:$argon2id$") && lines.len() == 3, "{text}");
    assert!(lines[1].starts_with("scanner:$") && lines[1] != first.trim(), "the salt is another one each time");
    assert_eq!(users(&site).metadata().unwrap().permissions().mode() & 0o777, 0o400, "who may read it stays");

    assert!(done(&site, &["shop", "--remove"], "").contains("shop: taken out of"));
    assert!(refused(&site, &["shop", "--remove"], "", 1).contains("there is no user shop in"));
    assert_eq!(fs::read_to_string(users(&site)).unwrap().lines().count(), 2);
    let left = fs::read_dir(site.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".new")), "nothing else is left");
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let site = site();
    assert!(refused(&site, &["a:b"], SECRET, 2).contains("a name of 1 to 255 octets"));
    assert!(refused(&site, &["scanner"], "\n", 1).contains("the password is empty"));
    assert!(!users(&site).exists());
    done(&site, &["scanner"], SECRET);
    let kept = fs::read_to_string(users(&site)).unwrap();
    let broken = format!("{kept}shop\n");
    fs::write(users(&site), &broken).unwrap();
    let told = refused(&site, &["door"], SECRET, 1);
    assert!(told.contains("nothing was changed") && told.contains("users:2: found no colon"), "{told}");
    assert_eq!(fs::read_to_string(users(&site)).unwrap(), broken);
    fs::set_permissions(users(&site), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&site, &["door"], SECRET, 1).contains("mode 0644, open to everyone"));
    let lock = site.path().join("users.new");
    fs::write(&lock, "").unwrap();
    let told = refused(&site, &["door"], SECRET, 1);
    assert!(told.contains("another `mailsluice user` is changing") && told.contains("rm /"), "{told}");
    assert!(lock.exists(), "another's is left alone");
}

#[test]
fn the_file_is_the_one_of_the_configuration_where_that_names_one() {
    let site = site();
    let printed = user(&site, &["scanner", "--print"], SECRET);
    assert!(String::from_utf8_lossy(&printed.stdout).starts_with("scanner:$argon2id$"), "{}", said(&printed));
    assert!(!users(&site).exists());
    let other = site.path().join("other");
    done(&site, &["scanner", "--file", other.to_str().unwrap()], SECRET);
    assert!(other.exists() && !users(&site).exists());

    let second = "\n[[listener]]\naddress = \"127.0.0.1:0\"\nauth = \"required\"\nusers = \"others\"\nauth_without_tls = \"127.0.0.1\"\n";
    site.configure(&format!("{CONFIG}{second}"));
    let told = refused(&site, &["scanner"], SECRET, 2);
    assert!(told.contains("--file is missing") && told.contains("/users") && told.contains("/others"), "{told}");
    site.configure(&format!("{CONFIG}{}", second.replace("others", "users")));
    done(&site, &["scanner"], SECRET);
    assert!(users(&site).exists(), "one file of two listeners is one file");

    site.configure("[[listener]]\naddress = \"127.0.0.1:0\"\n");
    let told = done(&site, &["scanner"], SECRET);
    assert!(told.contains("scanner:$argon2id$") && told.contains("no [[listener]] of the configuration"), "{told}");
    refused(&site, &["scanner", "--remove"], "", 2);
}

#[test]
fn on_a_terminal_the_password_is_asked_twice_and_not_shown() {
    let site = site();
    for (again, code) in [("hunter3 hunter3", 1), (SECRET, 0)] {
        let answers = json!([["Password of scanner (it is not shown): ", SECRET], ["The same again: ", again]]);
        let mut python = Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/answers.py")).arg(answers.to_string());
        python.arg(env!("CARGO_BIN_EXE_mailsluice")).arg("--config").arg(site.config()).args(["user", "scanner"]);
        let output = python.stdin(Stdio::null()).output().expect("python3: apt-get install python3");
        let shown = said(&output);
        assert_eq!(output.status.code(), Some(code), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
        assert_eq!(users(&site).exists(), code == 0, "{shown}");
    }
}
