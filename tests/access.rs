//! `mailsluice user`, and logins with what it writes: whoever has no password gets nothing in, and no password is shown. What
//! the log says of clients: habits, probes, floods, waits.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::{Value, json};

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

#[test]
fn whoever_has_no_password_gets_nothing_in_and_the_log_says_who_tried() {
    let site = site();
    done(&site, &["scanner"], SECRET);
    let daemon = site.serve();
    let mut client = Client::connect(daemon.address());
    assert!(client.said_of("EHLO x").contains("AUTH PLAIN LOGIN"));
    assert!(client.said_of("MAIL FROM:<a@example.com>").starts_with("530 "));
    assert!(client.said_of(&plain("scanner", "hunter3")).starts_with("535 5.7.8 "));
    let refused = daemon.wait_for("refused", |line| line["event"] == "refused" && line["step"] == "auth");
    assert_eq!((&refused["user"], &refused["address"]), (&"scanner".into(), &"127.0.0.1".into()), "{refused}");
    assert!(client.said_of(&plain("scanner", SECRET)).starts_with("235 2.7.0 "));
    client.send();
    let accepted = daemon.wait_for("accepted", |line| line["event"] == "accepted");
    assert_eq!(accepted["user"], "scanner", "{accepted}");

    // A user that is taken out can log in until the configuration is read again, and then no more.
    done(&site, &["scanner", "--remove"], "");
    done(&site, &["shop"], SECRET);
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    let mut client = Client::connect(daemon.address());
    client.said_of("EHLO x");
    assert!(client.said_of(&plain("shop", SECRET)).starts_with("235 "));
    let mut client = Client::connect(daemon.address());
    client.said_of("EHLO x");
    assert!(client.said_of(&plain("scanner", SECRET)).starts_with("535 "));

    // What is wrong with the file changes nothing.
    fs::write(users(&site), "shop\n").unwrap();
    daemon.signal(Signal::HUP);
    let alarm = daemon.wait_for("alarm", |line| line["kind"] == "bad_configuration");
    assert!(alarm["message"].as_str().unwrap().contains("users:1, wanted name:$argon2id$"), "{alarm}");
    let mut client = Client::connect(daemon.address());
    client.said_of("EHLO x");
    assert!(client.said_of(&plain("shop", SECRET)).starts_with("235 "));

    let log = format!("{:?}", daemon.log());
    assert!(!log.contains("hunter") && !log.contains("argon2id$v") && !log.contains(&STANDARD.encode(SECRET)), "{log}");
}

#[test]
fn logins_leave_no_memory_taken() {
    let site = site();
    done(&site, &["scanner"], SECRET);
    let daemon = site.serve();
    let logins: Vec<_> = (0..LOGINS).map(|_| Client::connect(daemon.address())).collect();
    std::thread::scope(|scope| {
        for mut client in logins {
            scope.spawn(move || assert!(client.said_of(&plain("scanner", SECRET)).starts_with("235 ")));
        }
    });
    let resident = daemon.resident();
    assert!(resident < MEMORY, "{resident} KiB");
}

/// So many at once that each thread that looks at passwords has its turn.
const LOGINS: usize = 60;
/// Resident memory of the daemon in KiB, as much as it may have without sessions.
const MEMORY: u64 = 64 * 1024;

#[test]
fn habits_are_told_once_and_probes_not_at_all() {
    let site = Site::new(&CONFIG.replace(REQUIRED, ""), "unused");
    let daemon = site.serve_with(|command| {
        command.env("RUST_LOG", "debug");
    });
    for _ in 0..2 {
        let mut client = Client::connect(daemon.address());
        client.stream.get_mut().write_all(b"HELO bad_name\n").unwrap();
        client.reply();
        client.send();
        // Gone without QUIT.
    }
    daemon.wait_for_count("accepted", 2, |line| line["event"] == "accepted");
    let dropped = daemon.wait_for("quirk", |line| line["quirk"] == "no_quit");
    assert_eq!(dropped["level"], "DEBUG", "{dropped}");
    let quirks: Vec<_> = daemon.events("quirk").into_iter().filter(|line| line["quirk"] == "bare_lf_command").collect();
    assert_eq!(quirks.len(), 1, "{quirks:?}");
    let told = (&quirks[0]["level"], &quirks[0]["client"], &quirks[0]["address"]);
    assert_eq!(told, (&"INFO".into(), &"127.0.0.1".into(), &"127.0.0.1".into()));
    assert!(quirks[0]["message"].as_str().unwrap().contains("127.0.0.1 ends commands in a bare LF"), "{quirks:?}");

    Client::connect(daemon.address()).said_of("QUIT");
    drop(Client::connect(daemon.address()));
    let probes = daemon.wait_for_count("probes", 2, |line| line["event"] == "probe");
    assert!(probes.iter().all(|line| line["level"] == "DEBUG"), "{probes:?}");

    let mut client = Client::connect(daemon.address());
    for command in ["HELO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA"] {
        client.said_of(command);
    }
    client.stream.get_mut().write_all(b"Subject: x\n\nx\n.\n").unwrap();
    drop(client);
    let lost = daemon.wait_for("unterminated", |line| line["event"] == "unterminated");
    assert_eq!((&lost["level"], &lost["from"]), (&"WARN".into(), &"a@example.com".into()), "{lost}");
    assert!(lost["message"].as_str().unwrap().contains("`lf_end = true` in a [[client]]"), "{lost}");

    // Here that would not help.
    let mut client = Client::connect(daemon.address());
    for command in ["HELO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA"] {
        client.said_of(command);
    }
    client.stream.get_mut().write_all(b"Subject: x\n\nx\n.\r\n").unwrap();
    drop(client);
    let lost = &daemon.wait_for_count("unterminated", 2, |line| line["event"] == "unterminated")[1];
    let told = lost["message"].as_str().unwrap();
    assert!(
        told.contains("client 127.0.0.1 ") && !told.contains("lf_end") && told.contains("has to send CRLF"),
        "{lost}"
    );

    let counts = &site.json(&["queue", "stats", "--json"])["since_start"];
    assert_eq!((&counts["probes"], &counts["unterminated"], &counts["refused"]), (&2.into(), &2.into(), &2.into()));
    assert!(counts["quirks"].as_u64() > Some(4), "each session counts: {counts}");
    assert!(said(&site.run(&["queue", "stats"])).contains("unterminated"));
}

#[test]
fn a_flood_of_refusals_is_counted_and_does_not_fill_the_log() {
    let site = Site::new(&CONFIG.replace(REQUIRED, ""), "unused");
    let daemon = site.serve();
    for _ in 0..100 {
        let mut client = Client::connect(daemon.address());
        assert!(client.said_of("MAIL FROM:<a@example.com> BODY=BINARYMIME").starts_with("555 "));
        client.said_of("QUIT");
    }
    assert_eq!(site.json(&["queue", "stats", "--json"])["since_start"]["refused"], 100);
    let is_last =
        |line: &Value| line["message"].as_str().is_some_and(|said| said.contains("more of this client are counted"));
    daemon.wait_for("the last line of the flood", is_last);
    let lines = daemon.events("refused");
    assert!((20..50).contains(&lines.len()), "{}", lines.len());
}

#[test]
fn a_client_above_its_rate_waits_and_is_told_of_once() {
    let client = "\n[[client]]\nname = \"camera\"\nnetworks = \"127.0.0.1\"\nrate = \"2/2s\"\n";
    let site = Site::new(&format!("{}{client}", CONFIG.replace(REQUIRED, "")), "unused");
    let daemon = site.serve();
    let begun = Instant::now();
    for _ in 0..5 {
        let mut client = Client::connect(daemon.address());
        client.said_of("HELO x");
        client.send();
        assert!(client.said_of("QUIT").starts_with("221 "), "who wants to go need not wait");
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2900), "two at once, then one a second: {took:?}");
    daemon.wait_for("wait", |line| line["event"] == "slowed");
    let slowed = daemon.events("slowed");
    assert_eq!(slowed.len(), 1, "{slowed:?}");
    assert_eq!((&slowed[0]["client"], &slowed[0]["level"]), (&"camera".into(), &"INFO".into()), "{slowed:?}");
    assert!(slowed[0]["seconds"].as_f64() > Some(0.1), "{slowed:?}");
}

const REQUIRED: &str = "auth = \"required\"\nusers = \"users\"\nauth_without_tls = \"127.0.0.0/8\"\n";

/// AUTH with everything in one command.
fn plain(user: &str, password: &str) -> String {
    format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{user}\0{password}")))
}

struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// A client that was greeted.
    fn connect(relay: SocketAddr) -> Self {
        let stream = TcpStream::connect(relay).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Self { stream: BufReader::new(stream) };
        assert!(client.reply().starts_with("220 "));
        client
    }

    /// The reply to a command.
    fn said_of(&mut self, command: &str) -> String {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    /// Hands in a message.
    fn send(&mut self) {
        for command in ["MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA"] {
            let said = self.said_of(command);
            assert!(said.starts_with(['2', '3']), "{command}: {said}");
        }
        assert!(self.said_of("Subject: x\r\n\r\nx\r\n.").starts_with("250 2.0.0 "));
    }

    fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            assert!(self.stream.read_line(&mut line).unwrap() > 0, "gone after {reply:?}");
            reply.push_str(&line);
            if line.as_bytes().get(3) == Some(&b' ') {
                return reply;
            }
        }
    }
}
