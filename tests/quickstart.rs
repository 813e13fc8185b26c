//! `mailsluice quickstart` as a newcomer meets it: what it prints is typed, and works.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, mailsluice};
use crate::support::relay::{Arrived, free_port, run};

#[test]
fn what_quickstart_prints_works_and_a_second_run_finds_the_queue_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("try it");
    let port = free_port();

    let (daemon, told) = start(&directory, port);
    let curl = line_with(&told, "curl ");
    assert!(curl.contains(&format!("smtp://127.0.0.1:{port}")), "{curl}");
    typed("curl", curl);
    typed("swaks", line_with(&told, "swaks "));
    let delivered = daemon.wait_for_count("delivered", 2, |line| line["event"] == "delivered");
    assert!(delivered.iter().all(|line| line["to"] == "you@example.com"), "{delivered:?}");
    let mail = PathBuf::from(told.lines().skip_while(|line| !line.contains(".eml files")).nth(1).unwrap().trim());
    let arrived = messages(&mail);
    assert_eq!(arrived.len(), 2);
    let hello = arrived.iter().find(|mail| mail.fields("Subject") == ["Hello"]).expect("curl's message");
    assert_eq!(hello.body, b"It works.\r\n");
    assert!(hello.field("From").ends_with("<webmaster@example.com>"), "{}", hello.header);

    // What is not sent when it stops is sent by the next run.
    let look = line_with(&told, "account list");
    assert!(asked(look).contains("sandbox"));
    asked(&look.replace("account list", "account pause sandbox"));
    typed("curl", curl);
    daemon.wait_for_count("accepted", 3, |line| line["event"] == "accepted");
    assert_eq!(interrupted(daemon), 0);

    let (daemon, told) = start(&directory, port);
    assert_eq!(daemon.events("started")[0]["waiting"], 1);
    let listed = asked(line_with(&told, "queue list"));
    assert!(listed.contains("waiting") && listed.contains("you@example.com"), "{listed}");
    assert_eq!(messages(&mail).len(), 2);
    asked(&look.replace("account list", "account resume sandbox"));
    daemon.wait_for("delivered", |line: &Value| line["event"] == "delivered");
    assert_eq!(messages(&mail).len(), 3);
    assert_eq!(interrupted(daemon), 0);
}

/// Starts it, and returns what it prints for people when that is complete.
fn start(directory: &Path, port: u16) -> (Daemon, String) {
    let told = directory.with_extension("stderr");
    let mut command = mailsluice();
    command.arg("quickstart").arg("--directory").arg(directory).args(["--port", &port.to_string()]);
    command.stderr(fs::File::create(&told).unwrap());
    let daemon = Daemon::start(command);
    // It explains itself before it says that it has started.
    daemon.wait_for("started", |line| line["event"] == "started");
    (daemon, fs::read_to_string(told).unwrap())
}

/// SIGINT, and its exit code.
fn interrupted(daemon: Daemon) -> i32 {
    daemon.signal(Signal::INT);
    daemon.ended()
}

fn line_with<'t>(told: &'t str, text: &str) -> &'t str {
    told.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no line with {text:?} in:\n{told}")).trim()
}

/// Types a line into a shell, where `mailsluice` is the program under test; returns what it prints.
fn typed(package: &str, line: &str) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_mailsluice"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("set -e; {line}")]).env("PATH", path);
    String::from_utf8(run(package, shell, b"").stdout).unwrap()
}

fn asked(line: &str) -> String {
    typed("mailsluice", line)
}

fn messages(mail: &Path) -> Vec<Arrived> {
    let entries = fs::read_dir(mail).unwrap().map(|entry| entry.unwrap().path());
    let messages = entries.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
    messages.map(|path| Arrived::of(&fs::read(path).unwrap())).collect()
}
