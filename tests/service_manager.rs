//! The units, what the daemon tells systemd, the watchdog, and `mailsluice health` and `reload`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mailsluice::config::SUBMISSION_SOCKET;
use rustix::process::Signal;

use crate::support::daemon::{Daemon, Site, mailsluice};
use crate::support::relay::free_port;
use crate::support::service_manager::Notified;

mod units;

/// A configuration with a listener on any free port; mail goes to this account.
fn with_account(account: &str) -> String {
    format!(
        "[queue]\npath = \"SITE/queue.db\"\nmin_free = \"0B\"\nephemeral = true\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nhostname = \"relay.example\"\n{account}"
    )
}

fn staging() -> String {
    with_account("[[account]]\nname = \"staging\"\nprovider = \"directory\"\npath = \"SITE/out\"\n")
}

/// The relay under a service manager, with more settings of its process.
fn notified(config: &str, set: impl FnOnce(&mut Command)) -> (Site, Notified, Daemon) {
    let site = Site::new(config, "");
    std::fs::create_dir(site.path().join("out")).unwrap();
    let notified = Notified::listen(site.path());
    let daemon = start(&site, &notified, set);
    (site, notified, daemon)
}

fn start(site: &Site, notified: &Notified, set: impl FnOnce(&mut Command)) -> Daemon {
    let mut command = mailsluice();
    command.arg("--config").arg(site.config()).args(["serve", "--log-format", "json"]);
    command.env("NOTIFY_SOCKET", notified.path()).env_remove("WATCHDOG_USEC");
    set(&mut command);
    Daemon::start(command)
}

/// Sends a message, which must be taken.
fn send(daemon: &Daemon) {
    let mut stream = TcpStream::connect(daemon.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
        .write_all(b"EHLO x\r\nMAIL FROM:<a@shop.example>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\ny\r\n.\r\nQUIT\r\n")
        .unwrap();
    let heard: Vec<String> = BufReader::new(stream).lines().map_while(Result::ok).collect();
    assert!(heard.iter().any(|line| line.starts_with("250 2.0.0 Ok: queued as ")), "{heard:?}");
}

fn is_ready(told: &str) -> bool {
    told.lines().any(|line| line == "READY=1")
}

fn status(told: &str) -> Option<&str> {
    told.lines().find_map(|line| line.strip_prefix("STATUS="))
}

#[test]
fn readiness_status_reload_and_stop_are_told() {
    let port = free_port();
    let account = format!(
        "[[account]]\nname = \"office\"\nprovider = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\nfrom = \"a@example.com\"\n"
    );
    let (site, notified, daemon) = notified(&with_account(&account), |_| {});
    let (_, before) = notified.wait_for("READY=1", is_ready);
    assert_eq!(before, [""; 0], "nothing is told before");
    // Whoever is told may connect at once.
    let mut banner = String::new();
    BufReader::new(TcpStream::connect(daemon.address()).unwrap()).read_line(&mut banner).unwrap();
    assert!(banner.starts_with("220 relay.example"), "{banner}");
    let idle = |told: &str| status(told) == Some("0 waiting; office open");
    notified.wait_for("idle status", idle);
    send(&daemon);
    let stopped = |told: &str| {
        status(told).is_some_and(|it| it.starts_with("1 waiting, the oldest ") && it.ends_with("; office paused"))
    };
    notified.wait_for("status with a message", stopped);

    let reload = |done: &dyn Fn() -> bool| {
        assert!(done());
        let (reloading, _) = notified.wait_for("RELOADING=1", |told| told.contains("RELOADING=1"));
        assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
        notified.wait_for("READY=1 after a reload", is_ready);
    };
    reload(&|| {
        daemon.signal(Signal::HUP);
        true
    });
    reload(&|| site.run(&["reload"]).status.success());
    site.configure(&with_account(&account.replace("office", "")));
    let refused = site.run(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said(&refused).contains("the configuration stays as it was") && said(&refused).contains("name"),
        "{}",
        said(&refused)
    );

    daemon.signal(Signal::TERM);
    notified.wait_for("STOPPING=1", |told| told.lines().any(|line| line == "STOPPING=1"));
    let stopped = daemon.wait_for("stopped", |line| line["event"] == "stopped");
    assert_eq!(daemon.log().last(), Some(&stopped));
    assert_eq!(daemon.ended(), 0);
    let nobody = site.run(&["reload"]);
    assert!(nobody.status.code() == Some(1) && said(&nobody).contains("no daemon runs"), "{}", said(&nobody));
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(|text| String::from_utf8_lossy(text).into_owned()).concat()
}

/// The watchdog of a unit with `WatchdogSec=` as short as this.
const LIMIT: Duration = Duration::from_secs(2);

fn watched(command: &mut Command) {
    command.env("WATCHDOG_USEC", LIMIT.as_micros().to_string());
}

/// Sees so many signs of life, none later than the limit.
fn lives(notified: &Notified, signs: usize) {
    let mut last = Instant::now();
    let mut seen = 0;
    while seen < signs {
        let told = notified.next(LIMIT.saturating_sub(last.elapsed()));
        let told = told.unwrap_or_else(|| panic!("after {seen} signs there was none for {LIMIT:?}"));
        if told.contains("WATCHDOG=1") {
            (last, seen) = (Instant::now(), seen + 1);
        }
    }
}

/// Holds the threads that write the queue, as a disk that hangs would, while the value lives.
struct Held(Child);

impl Held {
    fn of(daemon: &Daemon) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/hold_threads.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(daemon.pid().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut told = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
        assert_eq!(told, "held\n");
        Self(child)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn the_watchdog_is_fed_idle_and_busy_and_not_behind_a_queue_that_hangs() {
    let (site, notified, daemon) = notified(&staging(), watched);
    notified.wait_for("READY=1", is_ready);
    lives(&notified, 4);
    let busy = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while busy.load(Ordering::Relaxed) {
                    send(&daemon);
                }
            });
        }
        lives(&notified, 4);
        busy.store(false, Ordering::Relaxed);
    });
    daemon.wait_for("delivered", |line| line["event"] == "delivered");

    let held = Held::of(&daemon);
    let begun = Instant::now();
    let unwell = site.run(&["health"]);
    assert_eq!(unwell.status.code(), Some(1));
    for wanted in ["the queue has not answered for 3 s", "the dispatcher was woken and has not looked"] {
        assert!(said(&unwell).contains(wanted), "{}", said(&unwell));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    while notified.next(Duration::ZERO).is_some() {}
    let until = Instant::now() + 2 * LIMIT;
    while let Some(told) = notified.next(until.saturating_duration_since(Instant::now())) {
        assert!(!told.contains("WATCHDOG=1"), "{told}");
    }
    drop(held);
    notified.wait_for("WATCHDOG=1", |told| told.contains("WATCHDOG=1"));
    lives(&notified, 2);
    assert!(site.run(&["health"]).status.success());
}

#[test]
fn without_a_watchdog_none_is_fed() {
    // Another process is meant.
    let (_site, notified, daemon) = notified(&staging(), |command| {
        watched(command);
        command.env("WATCHDOG_PID", "1");
    });
    notified.wait_for("READY=1", is_ready);
    daemon.signal(Signal::TERM);
    let (_, before) = notified.wait_for("STOPPING=1", |told| told.contains("STOPPING=1"));
    assert!(!before.iter().any(|told| told.contains("WATCHDOG=1")), "{before:?}");
}

#[test]
fn health_says_whether_the_daemon_is_well_and_leaves_no_trace() {
    let site = Site::new(&staging(), "");
    let health = |code: i32, wanted: &str| {
        let output = site.run(&["health"]);
        assert!(output.status.code() == Some(code) && said(&output).contains(wanted), "{}", said(&output));
    };
    health(1, "no daemon runs with the queue");
    let daemon = site.serve_with(|command| {
        command.env("RUST_LOG", "debug");
    });
    let probes = || site.json(&["queue", "stats", "--json"])["since_start"]["probes"].clone();
    let (lines, before) = (daemon.log().len(), probes());
    health(0, &format!("well: it listens on {}\n", daemon.address()));
    for _ in 0..20 {
        health(0, "well");
    }
    assert_eq!((probes(), daemon.log().len()), (before, lines));
    // As one that hangs as a whole.
    daemon.signal(Signal::STOP);
    health(1, "the daemon did not answer within 5 s");
    daemon.signal(Signal::CONT);
    health(0, "well");
    assert_eq!(daemon.stop(), 0);
    std::fs::write(site.config(), "[queue\n").unwrap();
    health(1, "well-formed TOML");
}

#[test]
fn the_unit_learns_whether_there_is_an_account_yet() {
    let site = Site::new(&with_account(""), "");
    let asked = |code: i32| {
        let output = site.run(&["check", "--any-account"]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        said(&output)
    };
    assert!(asked(1).contains("type `sudo mailsluice setup`"));
    assert!(!site.run(&["check"]).status.success());
    // What is wrong beyond that is for the daemon to say, which then fails for good.
    for text in [&staging(), "[[account]]\n", "[[account]\n"] {
        site.configure(text);
        assert_eq!(asked(0), "");
    }
    std::fs::remove_file(site.config()).unwrap();
    assert!(asked(1).contains("mailsluice setup"));
}
