//! Listeners on Unix sockets, and on sockets that a service manager hands over. The relay runs as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, Site};

/// A configuration with these listeners; what comes in is written to files.
pub(crate) fn with_listeners(listeners: &str) -> String {
    format!(
        "[queue]\npath = \"SITE/queue.db\"\nmin_free = \"0B\"\nephemeral = true\n{listeners}\n\
         [[account]]\nname = \"staging\"\nprovider = \"directory\"\npath = \"SITE/out\"\n"
    )
}

fn listener(address: &str, more: &str) -> String {
    format!("[[listener]]\naddress = \"{address}\"\nhostname = \"relay.example\"\n{more}")
}

/// Sends a message and says goodbye; what was heard.
fn send(mut stream: impl Read + Write) -> String {
    stream
        .write_all(b"EHLO x\r\nMAIL FROM:<a@shop.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n")
        .unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert!(heard.contains("250 2.0.0 Ok: queued as ") && heard.contains("221 2.0.0"), "{heard}");
    heard
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn mail_comes_in_by_a_unix_socket_from_whoever_may_open_it() {
    let site = Site::new(&with_listeners(&listener("unix:SITE/smtp", "socket_mode = \"0620\"")), "");
    let socket = site.path().join("smtp");
    let daemon = site.serve();
    assert_eq!(mode(&socket), 0o620);
    let started = daemon.wait_for("started", |line| line["event"] == "started");
    assert_eq!(started["listeners"], format!("unix:{}", socket.display()));
    send(UnixStream::connect(&socket).unwrap());
    let accepted = daemon.wait_for("accepted", |line| line["event"] == "accepted");
    let own = rustix::process::geteuid().as_raw();
    assert_eq!(accepted["address"], format!("uid {own}"));

    // The permissions are a setting as others are.
    site.configure(&with_listeners(&listener("unix:SITE/smtp", "socket_mode = \"0666\"")));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    assert_eq!(mode(&socket), 0o666);

    // A crash leaves the file behind, and the next start takes its place.
    daemon.kill();
    assert!(UnixStream::connect(&socket).is_err() && socket.exists());
    let daemon = site.serve();
    send(UnixStream::connect(&socket).unwrap());
    assert_eq!(daemon.stop(), 0);
    assert!(!socket.exists());
}

#[test]
fn a_path_that_cannot_be_had_is_told_with_what_to_do() {
    let site = Site::new(&with_listeners(&listener("unix:SITE/smtp", "")), "");
    let socket = site.path().join("smtp");
    let refused = |wanted: &str| {
        let output = site.run(&["serve"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(wanted), "{told}");
        assert!(told.contains(&format!("cannot listen on unix:{}", socket.display())), "{told}");
    };
    let holds = UnixListener::bind(&socket).unwrap();
    refused("another program listens there");
    assert!(socket.metadata().unwrap().file_type().is_socket());
    drop(holds);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "a letter").unwrap();
    refused("is no socket");
    assert_eq!(std::fs::read(&socket).unwrap(), b"a letter");
}

/// Starts the daemon as a service manager would, with these sockets (`tests/peers/handover.py`).
pub(crate) fn hand_over(site: &Site, sockets: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/handover.py"));
    command.args(sockets.iter().map(|socket| socket.replace("SITE", site.path().to_str().unwrap())));
    command.args(["--", env!("CARGO_BIN_EXE_mailsluice"), "--config"]).arg(site.config());
    command.args(["serve", "--log-format", "json"]).env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
    command
}

/// What is first heard there.
fn banner(stream: impl Read) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

fn named(address: &str, hostname: &str) -> String {
    format!("[[listener]]\naddress = \"{address}\"\nhostname = \"{hostname}\"\n")
}

#[test]
fn sockets_of_the_service_manager_are_served_by_their_names() {
    let both = [named("systemd:submission", "submission.example"), named("systemd", "rest.example")].concat();
    let site = Site::new(&with_listeners(&both), "");
    let sockets = ["smtp=tcp:127.0.0.1", "submission=tcp:127.0.0.1", "smtp=unix:SITE/handed"];
    let daemon = Daemon::start(hand_over(&site, &sockets));
    let started = daemon.wait_for("started", |line| line["event"] == "started");
    let handed = site.path().join("handed");
    let listening: Vec<String> = started["listeners"].as_str().unwrap().split(", ").map(str::to_owned).collect();
    let [submission, smtp, unix] = &listening[..] else { panic!("{started}") };
    assert_eq!(*unix, format!("unix:{}", handed.display()));
    assert!(banner(TcpStream::connect(submission).unwrap()).starts_with("220 submission.example"));
    assert!(banner(TcpStream::connect(smtp).unwrap()).starts_with("220 rest.example"));
    send(UnixStream::connect(&handed).unwrap());

    // A reload moves a socket to another listener, and no connection is refused meanwhile.
    let other = named("systemd:smtp", "smtp.example");
    site.configure(&with_listeners(&other));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    assert!(banner(TcpStream::connect(smtp).unwrap()).starts_with("220 smtp.example"));
    assert!(banner(UnixStream::connect(&handed).unwrap()).starts_with("220 smtp.example"));
    let unused = |line: &Value| line["kind"] == "unused_socket" && line["event"] == "alarm";
    let alarm = daemon.wait_for("alarm", unused);
    assert!(alarm["message"].as_str().unwrap().contains("address = \"systemd:submission\""), "{alarm}");
    daemon.signal(Signal::HUP);
    daemon.wait_for_count("reloaded", 2, |line| line["event"] == "reloaded");
    assert_eq!(daemon.log().into_iter().filter(unused).count(), 1, "it is told once");
    // Its socket is there still, and can be served again.
    let early = TcpStream::connect(submission).unwrap();
    site.configure(&with_listeners(&both));
    daemon.signal(Signal::HUP);
    assert!(banner(early).starts_with("220 submission.example"));

    // What the service manager has made, it removes.
    assert_eq!(daemon.stop(), 0);
    assert!(handed.exists());
}

#[test]
fn a_socket_that_was_not_handed_over_keeps_the_daemon_from_starting() {
    for (address, sockets, wanted) in [
        ("systemd:smtp", &["submission=tcp:127.0.0.1"][..], "other sockets only (submission)"),
        ("systemd", &[], "has handed over no socket"),
        ("systemd:smtp", &["smtp=udp:127.0.0.1"], "ListenStream="),
    ] {
        let site = Site::new(&with_listeners(&listener(address, "")), "");
        let output = hand_over(&site, sockets).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(&format!("cannot listen on {address}: ")), "{told}");
        assert!(told.contains(wanted), "{told}");
    }
    // What is meant for another process, or for nobody in particular, is not ours.
    let site = Site::new(&with_listeners(&listener("systemd", "")), "");
    for meant_for in ["LISTEN_PID=\"1\", ", ""] {
        let script = format!(
            "import os, sys; os.environ.update({meant_for}LISTEN_FDS=\"1\"); os.execv(sys.argv[1], sys.argv[1:])"
        );
        let mut command = Command::new("python3");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_mailsluice"), "--config"]).arg(site.config()).arg("serve");
        let output = command.env_remove("LISTEN_PID").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("has handed over no socket"), "{told}");
    }
}
