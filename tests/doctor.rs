//! `mailsluice doctor`: what is wrong with a machine is said, with what to do; what is right is said too.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use mailsluice::sandbox::Fault;
use serde_json::Value;

use crate::support::daemon::Site;
use crate::support::relay::{HEAD, PASSWORD, Upstream, WITHOUT_RATES, free_port, mailbox};

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_in_order_fails_nowhere() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let site = &upstream.site;
    let port = free_port();
    upstream
        .configure(&HEAD.replace("[\"127.0.0.1:0\", \"[::1]:0\"]", &format!("\"127.0.0.1:{port}\"")), WITHOUT_RATES);
    let daemon = site.serve();
    let before = files(site);
    let findings = findings(site, 0);
    assert_eq!(files(site), before, "doctor leaves nothing behind");
    for (check, seen) in [
        ("configuration", "is well-formed"),
        ("queue", "can be written by the daemon's user"),
        ("queue", "4 KiB are"),
        ("disk", "are free"),
        ("clock", "the clock shows 20"),
        ("daemon", &format!("the daemon answers (pid {})", daemon.pid())),
        ("account", "account m365 is open"),
        ("secret", "mode 0600"),
        ("listener", &format!("the daemon listens on 127.0.0.1:{port}")),
        ("trial", "account m365 at 127.0.0.1 can deliver"),
    ] {
        let found = findings.iter().find(|one| one["check"] == check && one["seen"].as_str().unwrap().contains(seen));
        assert_ne!(found.unwrap_or_else(|| panic!("{check}: {seen}: {findings:#?}"))["standing"], "failed");
    }
    let dates: Vec<&Value> = findings.iter().filter(|one| one["check"] == "dates").collect();
    let passwords =
        dates.iter().find(|one| one["seen"].as_str().unwrap().starts_with("Password logins at Microsoft 365"));
    assert_eq!(passwords.unwrap()["standing"], "warning", "{dates:?}");
    assert_eq!(dates.len(), 2, "and the ca_file: {dates:?}");
    assert!(upstream.sandbox.deliveries().is_empty());
    let told = site.run(&["doctor"]);
    assert!(told.status.success());
    let (out, err) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(out.contains("nothing failed in ") && !out.contains(PASSWORD) && err.is_empty(), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_another_program_has_is_named_with_that_program() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let site = &upstream.site;
    let other = Other::start();
    let head = HEAD.replace("[\"127.0.0.1:0\", \"[::1]:0\"]", &format!("\"127.0.0.1:{}\"", other.port));
    upstream.configure(&head, WITHOUT_RATES);
    let wanted = format!("127.0.0.1:{} is taken by {} (pid {})", other.port, other.name(), other.child.id());
    let findings = findings(site, 1);
    let listener = one(&findings, "listener");
    assert!(listener["standing"] == "failed" && listener["seen"] == *wanted, "{listener}");
    assert!(listener["advice"].as_str().unwrap().contains("or choose another port"), "{listener}");
    // The daemon says the same.
    let output = site.run(&["serve"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let wanted = format!("it is taken by {} (pid {})", other.name(), other.child.id());
    assert!(told.contains(&wanted) && told.contains("or choose another port"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_a_failure_with_what_to_do() {
    let upstream = Upstream::start(mailbox(), WITHOUT_RATES).await;
    let site = &upstream.site;
    // A stopped lane: the daemon's own word, and what a trial says now.
    upstream.sandbox.set_fault(Some(Fault::AuthIncorrect.into()));
    let daemon = site.serve();
    crate::support::relay::send(daemon.address(), "a@shop.example", &["b@example.org"], b"Subject: x\r\n\r\nx\r\n");
    daemon.wait_for("paused", |line| line["event"] == "paused");
    let found = findings(site, 1);
    let lane = one(&found, "account");
    assert!(lane["standing"] == "failed" && lane["seen"].as_str().unwrap().contains("is paused"), "{lane}");
    assert_eq!(lane["advice"], "mend it, then: mailsluice account resume m365");
    let trial = one(&found, "trial");
    let said = trial["seen"].as_str().unwrap();
    assert!(said.contains("AUTH failed") && said.contains("535 5.7.139"), "{trial}");
    drop(daemon);
    upstream.sandbox.set_fault(None);

    // A secret that others can read.
    fs::set_permissions(site.path().join("password"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = findings(site, 1);
    let secret = one(&found, "secret");
    assert!(
        secret["standing"] == "failed" && secret["seen"].as_str().unwrap().contains("open to everyone"),
        "{secret}"
    );
    assert!(secret["advice"].as_str().unwrap().contains("chmod"), "{secret}");
    assert_eq!(one(&found, "daemon")["standing"], "warning", "no daemon runs");
    fs::set_permissions(site.path().join("password"), fs::Permissions::from_mode(0o600)).unwrap();

    // A queue that is damaged, which no daemon starts with.
    let queue = fs::read(site.path().join("queue.db")).unwrap();
    let damaged = |file: &[u8], wanted: &str| {
        fs::write(site.path().join("queue.db"), file).unwrap();
        let found = findings(site, 1);
        let is_it = |one: &&Value| one["check"] == "queue" && one["standing"] == "failed";
        let it = found.iter().find(is_it).unwrap_or_else(|| panic!("{found:#?}"));
        assert!(it["seen"].as_str().unwrap().contains(wanted), "{it}");
        assert!(it["advice"].as_str().unwrap().contains("mailsluice queue recover"), "{it}");
    };
    damaged(&[b'x'; 8192], "is damaged: the file is not a database");
    let mut torn = queue.clone();
    torn[8 * 4096..12 * 4096].fill(0xA5);
    damaged(&torn, "of its pages cannot be read");
    damaged(&queue[..40], "cut off in its header");
    damaged(b"", "the file is empty");
    fs::write(site.path().join("queue.db"), &queue).unwrap();
    // A copy that was put back is a sound queue.
    let copy = site.path().join("copy.db");
    assert!(site.run(&["queue", "backup", copy.to_str().unwrap()]).status.success());
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(site.path().join(format!("queue.db{suffix}")));
    }
    fs::rename(&copy, site.path().join("queue.db")).unwrap();
    let before = files(site);
    assert!(findings(site, 0).iter().all(|one| one["standing"] != "failed"));
    assert_eq!(files(site), before);

    // A disk that is too full, and a configuration that is wrong: all of it is said.
    upstream.configure(&HEAD.replace("min_free = \"0B\"", "min_free = \"1000TiB\""), WITHOUT_RATES);
    let disk = findings(site, 1);
    assert_eq!(one(&disk, "disk")["standing"], "failed");
    site.configure(&format!("{HEAD}adress = 1\n[[client]]\nname = \"x\"\n"));
    let found = findings(site, 1);
    let problems: Vec<&Value> = found.iter().filter(|one| one["check"] == "configuration").collect();
    assert!(problems.len() >= 2 && problems.iter().all(|one| one["standing"] == "failed"), "{found:#?}");
    assert!(found.iter().any(|one| one["check"] == "queue"), "the machine is looked at all the same");
}

/// What doctor finds; it must end with this code, and never show the password.
fn findings(site: &Site, code: i32) -> Vec<Value> {
    let output = site.run(&["doctor", "--json"]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(!out.contains(PASSWORD) && !err.contains(PASSWORD), "{out}{err}");
    serde_json::from_str(&out).unwrap()
}

fn one<'a>(findings: &'a [Value], check: &str) -> &'a Value {
    let found: Vec<&Value> = findings.iter().filter(|one| one["check"] == check).collect();
    assert_eq!(found.len(), 1, "{check} in {findings:#?}");
    found[0]
}

/// The names in a site's folder, SQLite's own files apart: they come and go with the daemon's work.
fn files(site: &Site) -> Vec<String> {
    let entries = fs::read_dir(site.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names.sort();
    names
}

/// Another program that listens; killed when the value goes.
struct Other {
    child: Child,
    port: u16,
}

impl Other {
    fn start() -> Self {
        let program = "import socket, sys\ns = socket.create_server(('127.0.0.1', 0))\nprint(s.getsockname()[1], flush=True)\n\
                       sys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3: apt-get install python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap() }
    }

    /// As the system calls it.
    fn name(&self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.child.id())).unwrap().trim().to_owned()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
