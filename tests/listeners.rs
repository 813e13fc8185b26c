//! Listeners on Unix sockets, and on sockets that a service manager hands over. The relay runs as a process.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, Site, mailsluice};
use crate::support::relay::free_port;

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

/// What a client speaks over.
trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Sends a message and waits for each reply, as most devices do; each must be good.
fn send_one(stream: Box<dyn Stream>) {
    let mut stream = BufReader::new(stream);
    let steps =
        ["", "EHLO x", "MAIL FROM:<a@shop.example>", "RCPT TO:<b@example.org>", "DATA", "Subject: x\r\n\r\ny\r\n."];
    for step in steps {
        if !step.is_empty() {
            stream.get_mut().write_all(format!("{step}\r\n").as_bytes()).unwrap();
        }
        let mut line = String::new();
        while line.get(3..4).is_none_or(|after| after != " ") {
            line.clear();
            assert_ne!(stream.read_line(&mut line).unwrap(), 0, "hung up at {step}");
        }
        assert!(line.starts_with(['2', '3']), "{step}: {line}");
    }
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

/// The daemon under systemd-socket-activate, with these sockets by name and address. It starts with the first connection.
pub(crate) fn activated(site: &Site, sockets: &[(&str, &str)], more: &[&str]) -> Command {
    let mut command = Command::new("systemd-socket-activate");
    for (_, address) in sockets {
        command.args(["-l", &address.replace("SITE", site.path().to_str().unwrap())]);
    }
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    command.arg(format!("--fdname={}", names.join(":"))).args(more);
    command.args([env!("CARGO_BIN_EXE_mailsluice"), "--config"]).arg(site.config());
    command.args(["serve", "--log-format", "json"]).env_remove("NOTIFY_SOCKET").env_remove("RUST_LOG");
    command
}

/// Tries until it is taken: the other side may not be so far yet.
pub(crate) fn until<T>(mut tried: impl FnMut() -> std::io::Result<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match tried() {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
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
    let [smtp, submission] = [(); 2].map(|()| local(free_port()));
    let sockets = [("smtp", &*smtp), ("submission", &*submission), ("smtp", "SITE/handed")];
    let daemon = Daemon::start(activated(&site, &sockets, &[]));
    let first = until(|| TcpStream::connect(&smtp));
    assert!(banner(first).starts_with("220 rest.example"));
    let started = daemon.wait_for("started", |line| line["event"] == "started");
    let handed = site.path().join("handed");
    assert_eq!(started["listeners"], format!("{submission}, {smtp}, unix:{}", handed.display()));
    assert!(banner(TcpStream::connect(&submission).unwrap()).starts_with("220 submission.example"));
    send(UnixStream::connect(&handed).unwrap());

    // A reload moves a socket to another listener, and no connection is refused meanwhile.
    let other = named("systemd:smtp", "smtp.example");
    site.configure(&with_listeners(&other));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    assert!(banner(TcpStream::connect(&smtp).unwrap()).starts_with("220 smtp.example"));
    assert!(banner(UnixStream::connect(&handed).unwrap()).starts_with("220 smtp.example"));
    let unused = |line: &Value| line["kind"] == "unused_socket" && line["event"] == "alarm";
    let alarm = daemon.wait_for("alarm", unused);
    let message = alarm["message"].as_str().unwrap();
    assert!(message.contains(&format!("address = \"{submission}\"")), "{alarm}");
    assert!(message.contains("`systemctl edit mailsluice.socket`"), "{alarm}");
    daemon.signal(Signal::HUP);
    daemon.wait_for_count("reloaded", 2, |line| line["event"] == "reloaded");
    assert_eq!(daemon.log().into_iter().filter(unused).count(), 1, "it is told once");
    // Its socket is there still, and can be served again.
    let early = TcpStream::connect(&submission).unwrap();
    site.configure(&with_listeners(&both));
    daemon.signal(Signal::HUP);
    assert!(banner(early).starts_with("220 submission.example"));

    // What the service manager has made, it removes.
    assert_eq!(daemon.stop(), 0);
    assert!(handed.exists());
}

#[test]
fn a_handed_over_socket_is_taken_wherever_an_address_is_its_own() {
    let (smtp, extra) = (local(free_port()), local(free_port()));
    let tcp = named(&smtp, "tcp.example");
    let unix = format!("{}socket_mode = \"0600\"\n", named("unix:SITE/handed", "unix.example"));
    let site = Site::new(&with_listeners(&[&*tcp, &unix, &named(&extra, "own.example")].concat()), "");
    let sockets = [("mail", &*smtp), ("mail", "SITE/handed")];
    let daemon = Daemon::start(activated(&site, &sockets, &[]));
    assert!(banner(until(|| TcpStream::connect(&smtp))).starts_with("220 tcp.example"));
    let handed = site.path().join("handed");
    let before = mode(&handed);
    assert!(banner(UnixStream::connect(&handed).unwrap()).starts_with("220 unix.example"));
    assert!(
        banner(TcpStream::connect(&extra).unwrap()).starts_with("220 own.example"),
        "it binds what it was not given"
    );
    assert_eq!(daemon.events("alarm"), [Value::Null; 0]);

    // The file is the service manager's, and its mode with it. By name it is the same socket.
    site.configure(&with_listeners(&[&*unix.replace("0600", "0666"), &named("systemd:mail", "rest.example")].concat()));
    daemon.signal(Signal::HUP);
    daemon.wait_for("reloaded", |line| line["event"] == "reloaded");
    assert_eq!(mode(&handed), before);
    assert!(banner(TcpStream::connect(&smtp).unwrap()).starts_with("220 rest.example"));
    assert!(banner(UnixStream::connect(&handed).unwrap()).starts_with("220 unix.example"));
    assert_eq!(daemon.stop(), 0);
    assert!(handed.exists());

    // The same configuration serves where nobody hands anything over.
    std::fs::remove_file(&handed).unwrap();
    site.configure(&with_listeners(&[tcp, unix].concat()));
    let daemon = site.serve();
    assert!(banner(TcpStream::connect(&smtp).unwrap()).starts_with("220 tcp.example"));
    assert_eq!((mode(&handed), daemon.stop()), (0o600, 0));
}

#[test]
fn a_socket_unit_with_a_narrower_or_wider_address_is_told_with_what_to_do() {
    for (handed, wanted) in [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")] {
        let port = free_port();
        let (handed, wanted) = (format!("{handed}:{port}"), format!("{wanted}:{port}"));
        let listener = format!("{}networks = \"192.168.0.0/16\"\n", named(&wanted, "relay.example"));
        let site = Site::new(&with_listeners(&listener), "");
        let told = refused(activated(&site, &[("smtp", &handed)], &[]), || TcpStream::connect(local(port)).map(drop));
        for part in [
            format!("cannot listen on {wanted}: the .socket unit has handed over {handed}"),
            "`systemctl edit mailsluice.socket`".into(),
            "`systemctl disable --now mailsluice.socket`".into(),
        ] {
            assert!(told.contains(&part), "{told}");
        }
    }
}

/// What a daemon says that does not start, woken by `wake`.
fn refused(mut command: Command, wake: impl Fn() -> std::io::Result<()>) -> String {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    until(|| match child.try_wait()? {
        Some(_) => Ok(()),
        None => wake().and(Err(ErrorKind::WouldBlock.into())),
    });
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_socket_that_was_not_handed_over_keeps_the_daemon_from_starting() {
    let port = free_port();
    let site = Site::new(&with_listeners(&listener("systemd:smtp", "")), "");
    let told =
        refused(activated(&site, &[("submission", &local(port))], &[]), || TcpStream::connect(local(port)).map(drop));
    assert!(
        told.contains("cannot listen on systemd:smtp: ") && told.contains("only (submission at 127.0.0.1:"),
        "{told}"
    );
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let told = refused(activated(&site, &[("smtp", &local(port))], &["--datagram"]), || {
        datagrams.send_to(b"x", local(port)).map(drop)
    });
    assert!(told.contains("cannot listen on systemd:smtp: ") && told.contains("ListenStream="), "{told}");

    // What is meant for another process, or for nobody in particular, is not ours.
    let site = Site::new(&with_listeners(&listener("systemd", "")), "");
    for meant_for in [Some("1"), None] {
        let mut command = mailsluice();
        command.arg("--config").arg(site.config()).arg("serve").env("LISTEN_FDS", "1").env_remove("LISTEN_PID");
        command.envs(meant_for.map(|process| ("LISTEN_PID", process)));
        let output = command.output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains("has handed over no socket"), "{told}");
    }
}

/// Restarts the daemon with the sockets that it was started with, which this shell holds meanwhile, as systemd does.
const AGAIN: &str = "for run in 1 2 3 4; do sh -c 'LISTEN_PID=$$; export LISTEN_PID; exec setpriv --pdeathsig TERM \"$@\"' again \"$@\" || exit 1; done";

/// Lets senders end, also where the test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_restart_behind_handed_over_sockets_refuses_nobody() {
    let smtp = local(free_port());
    let both = format!("[[listener]]\naddress = [\"{smtp}\", \"unix:SITE/handed\"]\n");
    let site = Site::new(&with_listeners(&both), "");
    std::fs::create_dir(site.path().join("out")).unwrap();
    let sockets = [("mail", &*smtp), ("mail", "SITE/handed")];
    let daemon = Daemon::start(activated(&site, &sockets, &["sh", "-c", AGAIN, "sh"]));
    let handed = site.path().join("handed");
    until(|| UnixStream::connect(&handed));
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let sends = |connect: &dyn Fn() -> Box<dyn Stream>| {
        while !stop.load(Ordering::Relaxed) {
            send_one(connect());
            sent.fetch_add(1, Ordering::Relaxed);
        }
    };
    let by_tcp = || -> Box<dyn Stream> {
        let stream = TcpStream::connect(&smtp).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Box::new(stream)
    };
    let by_unix = || -> Box<dyn Stream> {
        let stream = UnixStream::connect(&handed).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Box::new(stream)
    };
    // The process that has the queue is the daemon of the moment.
    let terminate = || {
        let lock = std::fs::read_to_string(site.path().join("queue.db-lock")).unwrap();
        let process = rustix::process::Pid::from_raw(lock.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process(process, Signal::TERM).unwrap();
    };
    std::thread::scope(|scope| {
        let ends = Ends(&stop);
        for _ in 0..2 {
            scope.spawn(|| sends(&by_tcp));
            scope.spawn(|| sends(&by_unix));
        }
        for run in 1..=4 {
            daemon.wait_for_count("started", run, |line| line["event"] == "started");
            let accepted = daemon.events("accepted").len();
            daemon.wait_for_count("accepted", accepted + 20, |line| line["event"] == "accepted");
            if run < 4 {
                terminate();
            }
        }
        drop(ends);
    });
    terminate();
    daemon.wait_for_count("stopped", 4, |line| line["event"] == "stopped");
    assert_eq!(daemon.events("refused"), [Value::Null; 0]);
    assert_eq!(daemon.events("accepted").len(), sent.load(Ordering::Relaxed));
}

#[test]
fn the_loopback_of_ipv6_is_passed_over_where_there_is_none() {
    let script = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && exec \"$@\"";
    let without_ipv6 = |site: &Site| {
        let mut command = Command::new("unshare");
        command.args([
            "--map-root-user",
            "--net",
            "sh",
            "-ec",
            script,
            "sh",
            env!("CARGO_BIN_EXE_mailsluice"),
            "--config",
        ]);
        command.arg(site.config()).args(["serve", "--log-format", "json"]).env_remove("NOTIFY_SOCKET");
        command
    };
    let both = "[[listener]]\naddress = [\"127.0.0.1:2525\", \"[::1]:2525\"]\n";
    let site = Site::new(&with_listeners(both), "");
    let daemon = Daemon::start(without_ipv6(&site));
    let started = daemon.wait_for("started", |line| line["event"] == "started");
    assert_eq!(started["listeners"], "127.0.0.1:2525");
    // But it is no excuse for a listener that would be nowhere.
    let site = Site::new(&with_listeners(&listener("[::1]:2525", "")), "");
    let output = without_ipv6(&site).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("cannot listen on [::1]:2525"), "{told}");
}
