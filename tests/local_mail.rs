//! Local users and their mail: who sends over a Unix socket, by the credentials that the kernel gives, and whom mail to users of
//! this machine goes to. The relay runs as a process.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::listeners::{activated, until, with_listeners};
use crate::support::daemon::{Daemon, Site};
use crate::support::tls::make_certificate;

const SUBMISSION: &str = "[[listener]]\naddress = [\"127.0.0.1:0\", \"unix:SITE/submission\"]\nhostname = \"relay.example\"\n\
                          socket_mode = \"0666\"\n";

/// Says this on a connection and returns all replies.
fn say(mut stream: impl Read + Write, lines: &[&str]) -> String {
    let said: String = lines.iter().flat_map(|line| [line, "\r\n"]).collect();
    stream.write_all(said.as_bytes()).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    heard
}

/// Sends a message to these as this user, who must be able to open the socket.
fn send_as(user: u32, socket: &Path, recipients: &[&str]) -> String {
    let script = r#"
import os, socket, sys
user = int(sys.argv[1])
if os.geteuid() != user:
    os.setgid(user)
    os.setuid(user)
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[2])
rcpt = "".join(f"RCPT TO:<{to}>\r\n" for to in sys.argv[3:])
peer.sendall(f"EHLO x\r\nMAIL FROM:<www-data>\r\n{rcpt}DATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n".encode())
while heard := peer.recv(65536):
    sys.stdout.write(heard.decode())
"#;
    let output = Command::new("python3").args(["-c", script, &user.to_string()]).arg(socket).args(recipients).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Another user than ours, where we may become one, and its name; else ourselves.
fn user() -> (u32, String) {
    let own = rustix::process::geteuid().as_raw();
    let user = if own == 0 { 33 } else { own };
    let named = Command::new("id").args(["-nu", &user.to_string()]).output().unwrap();
    (user, String::from_utf8(named.stdout).unwrap().trim().to_owned())
}

/// Lets everybody reach what lies in the site's folder.
fn open(site: &Site) -> std::path::PathBuf {
    fs::set_permissions(site.path(), fs::Permissions::from_mode(0o755)).unwrap();
    site.path().join("submission")
}

fn accepted(daemon: &Daemon, count: usize) -> Value {
    daemon.wait_for_count("accepted", count, |line| line["event"] == "accepted");
    daemon.log().into_iter().filter(|line| line["event"] == "accepted").nth(count - 1).unwrap()
}

fn told(line: &Value) -> [&str; 3] {
    ["client", "address", "to"].map(|field| line[field].as_str().unwrap_or_default())
}

#[test]
fn who_sends_by_a_unix_socket_is_known_by_user() {
    let (user, name) = user();
    let client = |more: &str| with_listeners(&format!("{SUBMISSION}{more}"));
    let site = Site::new(&client(""), "");
    let socket = open(&site);
    let daemon = site.serve();
    assert!(send_as(user, &socket, &["jane@example.com"]).contains("250 2.0.0 Ok: queued as "));
    let (own, address) = (format!("local:{name}"), format!("uid {user}"));
    assert_eq!(told(&accepted(&daemon, 1)), [own.as_str(), address.as_str(), "jane@example.com"]);

    for (count, shown) in [(2, format!("\"{name}\"")), (3, user.to_string())] {
        let policy = "senders = \"www-data@relay.example\"\nrecipients = \"*@example.com\"\nrate = \"100/min\"\n";
        site.configure(&client(&format!("[[client]]\nname = \"site\"\nuser = {shown}\n{policy}")));
        daemon.signal(Signal::HUP);
        daemon.wait_for_count("reloaded", count - 1, |line| line["event"] == "reloaded");
        let heard = send_as(user, &socket, &["jane@example.com", "jane@example.org"]);
        assert!(heard.contains("550 5.7.1 <jane@example.org> gets no mail from here"), "{heard}");
        assert_eq!(told(&accepted(&daemon, count)), ["site", &address, "jane@example.com"]);
    }
    let refused = daemon.wait_for("refused", |line| line["event"] == "refused");
    assert_eq!((&refused["client"], &refused["address"]), (&"site".into(), &address.as_str().into()));

    let shown = site.json(&["queue", "list", "--json"]);
    assert!(shown.to_string().contains(&own) && shown.to_string().contains("\"site\""), "{shown}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn connections_of_one_user_are_counted_apart_from_others() {
    let own = rustix::process::geteuid().as_raw();
    if own != 0 {
        return; // only root can become another
    }
    let site = Site::new(&with_listeners(&format!("{SUBMISSION}max_connections_per_client = 1\n")), "");
    let socket = open(&site);
    let daemon = site.serve();
    let mut holds = UnixStream::connect(&socket).unwrap();
    let mut banner = [0; 64];
    assert!(holds.read(&mut banner).unwrap() > 0);
    // Ours would wait for a minute.
    assert!(send_as(33, &socket, &["jane@example.com"]).contains("250 2.0.0 Ok: queued as "));
    drop(holds);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn who_sends_by_a_socket_that_was_handed_over_is_known_too() {
    let (user, name) = user();
    let site = Site::new(&with_listeners("[[listener]]\naddress = \"systemd\"\nhostname = \"relay.example\"\n"), "");
    let socket = open(&site);
    let daemon = Daemon::start(activated(&site, &[("submission", "SITE/submission")], &[]));
    drop(until(|| UnixStream::connect(&socket)));
    daemon.wait_for("started", |line| line["event"] == "started");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    assert!(send_as(user, &socket, &["jane@example.com"]).contains("250 2.0.0 Ok: queued as "));
    assert_eq!(accepted(&daemon, 1)["client"], format!("local:{name}"));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn mail_to_users_of_this_machine_goes_to_their_aliases_by_every_listener() {
    let aliases = "[aliases]\nroot = \"ops@example.com\"\n[local]\naliases_file = \"aliases\"\n";
    let site = Site::new(&with_listeners(&format!("{aliases}{SUBMISSION}")), "");
    fs::create_dir(site.path().join("out")).unwrap();
    // As Debian ships it.
    fs::write(site.path().join("aliases"), "# See man 5 aliases for format\npostmaster:    root\n").unwrap();
    let socket = open(&site);
    let daemon = site.serve();
    let started = daemon.wait_for("started", |line| line["event"] == "started");
    let address = started["listeners"].as_str().unwrap().split(", ").next().unwrap().to_owned();
    let message = [
        "EHLO x",
        "MAIL FROM:<root>",
        "RCPT TO:<root>",
        "RCPT TO:<Postmaster>",
        "RCPT TO:<root@localhost>",
        "RCPT TO:<ROOT@relay.example>",
        "RCPT TO:<nagios>",
        "DATA",
        "Subject: x",
        "",
        "y",
        ".",
        "QUIT",
    ];
    for (count, heard) in [
        (1, say(TcpStream::connect(&address).unwrap(), &message)),
        (2, say(UnixStream::connect(&socket).unwrap(), &message)),
    ] {
        assert_eq!(heard.matches("250 2.1.5 Ok").count(), 4, "{heard}");
        let refusal =
            "550 5.1.1 nagios has no address here: set nagios = \"you@example.com\" (or \"*\") under [aliases]";
        assert!(heard.contains(refusal), "{heard}");
        let line = accepted(&daemon, count);
        assert_eq!((&line["to"], &line["recipients"]), (&"ops@example.com".into(), &1.into()));
        assert_eq!(line["aliased"], "root, postmaster, root@localhost and 1 more");
        let delivered = |line: &Value| line["event"] == "delivered" && line["to"] == "ops@example.com";
        daemon.wait_for_count("delivered", count, delivered);
    }
    let refused = daemon.wait_for("refused", |line| line["event"] == "refused");
    assert_eq!((&refused["step"], &refused["status"]), (&"rcpt".into(), &"5.1.1".into()));
    assert_eq!(refused["to"], "nagios@relay.example");
    assert_eq!(
        site.json(&["queue", "stats", "--json"])["since_start"]["refused"],
        2,
        "each is counted as a possible loss"
    );
    let hint = |line: &Value| line["event"] == "alarm" && line["kind"] == "client_refused";
    let alarm = daemon.wait_for("alarm", hint);
    assert!(alarm["message"].as_str().unwrap().contains("set nagios = "), "{alarm}");

    // Both the table and the file are read again.
    fs::write(site.path().join("aliases"), "nagios: pager, root\npager: |/usr/bin/page\n").unwrap();
    site.configure(&with_listeners(&format!("{}{SUBMISSION}", aliases.replace("ops@", "new@"))));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    let heard = send_as(user().0, &socket, &["nagios", "postmaster"]);
    assert_eq!(heard.matches("250 2.1.5 Ok").count(), 2, "{heard}");
    let line = accepted(&daemon, 3);
    assert_eq!((&line["to"], &line["aliased"]), (&"new@example.com".into(), &"nagios, postmaster".into()));
    assert_eq!(daemon.stop(), 0);
}

/// A host may be called as a domain is in which people have mailboxes.
#[test]
fn mail_to_people_goes_out_whatever_the_machine_is_called() {
    let listener = SUBMISSION.replace("relay.example", "example.com");
    let site = Site::new(&with_listeners(&listener), "");
    let socket = open(&site);
    let daemon = site.serve();
    let heard = send_as(user().0, &socket, &["jane@example.com", "joe", "root@localhost"]);
    assert_eq!((heard.matches("250 2.1.5 Ok").count(), heard.matches("550 5.1.1").count()), (2, 1), "{heard}");
    assert_eq!(accepted(&daemon, 1)["to"], "jane@example.com, joe@example.com");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn starttls_is_not_offered_where_nothing_leaves_the_machine() {
    let tls = "[listener.tls]\ncertificate = \"relay.pem\"\nkey = { file = \"relay.key\" }\n";
    let site = Site::new(&with_listeners(&format!("{SUBMISSION}{tls}")), "");
    make_certificate(site.path());
    let socket = open(&site);
    let daemon = site.serve();
    let started = daemon.wait_for("started", |line| line["event"] == "started");
    let address = started["listeners"].as_str().unwrap().split(", ").next().unwrap().to_owned();
    let said = ["EHLO x", "QUIT"];
    assert!(say(TcpStream::connect(&address).unwrap(), &said).contains("250 STARTTLS"));
    let heard = say(UnixStream::connect(&socket).unwrap(), &["EHLO x", "STARTTLS", "QUIT"]);
    assert!(heard.contains("250-SIZE") && !heard.contains("250 STARTTLS") && heard.contains("\r\n502 "), "{heard}");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn check_tells_of_users_that_are_not_there_and_of_odd_aliases() {
    let more = "[local]\naliases_file = \"aliases\"\n[[client]]\nname = \"web\"\nuser = [\"no-such-user\", \"root\"]\n";
    let site = Site::new(&with_listeners(&format!("{more}{SUBMISSION}")), "");
    fs::write(site.path().join("aliases"), "postmaster: root\npage: |/usr/bin/page\n").unwrap();
    let output = site.run(&["check"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = site.path().join("aliases").display().to_string();
    for wanted in [
        format!("unix:{}/submission for 127.0.0.0/8, ::1/128, users of this machine: ", site.path().display()),
        "client    web (normal priority, user no-such-user, root)\n".to_owned(),
        "warning   client web: this machine has no user no-such-user\n".to_owned(),
        "local     mail for localhost, localhost.localdomain,".to_owned(),
        "warning   mail to root of this machine goes to nobody, and is refused\n".to_owned(),
        format!("warning   {file}:2: page: \"|/usr/bin/page\" is a program, which gets no mail from here\n"),
        format!("warning   {file}:1: postmaster leads to root, which no alias has; so it has no address\n"),
    ] {
        assert!(told.contains(&wanted), "{wanted}\n{told}");
    }
    let findings = site.run(&["doctor", "--json", "--offline"]);
    let findings: Vec<Value> = serde_json::from_slice(&findings.stdout).unwrap();
    let warned = |seen: &str| {
        findings.iter().any(|one| one["standing"] == "warning" && one["seen"].as_str().unwrap().contains(seen))
    };
    assert!(warned("has no user no-such-user") && warned("mail to root") && warned("aliases:2: page"), "{findings:?}");
}
