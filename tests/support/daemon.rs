//! The relay as a process of its own, with its log read line by line.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration, a secret and a queue; survives the daemons that run in it.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    /// Writes the configuration. In it `SITE` stands for the folder, which holds the file `password` with `password`.
    pub(crate) fn new(config: &str, password: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.add_secret("password", password);
        site.configure(config);
        site
    }

    /// Writes a file that nobody else may read.
    pub(crate) fn add_secret(&self, name: &str, secret: &str) {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(self.path().join(name)).unwrap();
        std::io::Write::write_all(&mut file, secret.as_bytes()).unwrap();
    }

    /// Writes another configuration.
    pub(crate) fn configure(&self, config: &str) {
        let text = config.replace("SITE", self.path().to_str().unwrap());
        std::fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path().join("config.toml")
    }

    /// Starts `mailsluice serve` here and waits until it listens.
    pub(crate) fn serve(&self) -> Daemon {
        self.serve_with(|_| {})
    }

    /// Starts it with more settings of the process, such as its environment.
    pub(crate) fn serve_with(&self, set: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = mailsluice();
        command.arg("--config").arg(self.config()).args(["serve", "--log-format", "json"]);
        set(&mut command);
        let daemon = Daemon::start(command);
        daemon.wait_for("started", |line| line["event"] == "started");
        daemon
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        mailsluice().arg("--config").arg(self.config()).args(arguments).output().unwrap()
    }

    /// Runs a command that must succeed and print JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

pub(crate) fn mailsluice() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailsluice"));
    command.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
    command
}

type Lines = Arc<(Mutex<Vec<Value>>, Condvar)>;

/// A running daemon; killed when the value goes.
pub(crate) struct Daemon {
    child: Child,
    lines: Lines,
}

impl Daemon {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let lines: Lines = Arc::default();
        let written = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|_| panic!("a line that is not JSON: {line}"));
                written.0.lock().unwrap().push(line);
                written.1.notify_all();
            }
        });
        Self { child, lines }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most that was ever resident, in KiB.
    pub(crate) fn peak(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The lines so far.
    pub(crate) fn log(&self) -> Vec<Value> {
        self.lines.0.lock().unwrap().clone()
    }

    /// The lines so far of this event.
    pub(crate) fn events(&self, event: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Waits for a line, which may have come before; fails the test with the log where it does not come in a minute.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_count(what, 1, wanted).remove(0)
    }

    /// Waits for so many lines.
    pub(crate) fn wait_for_count(&self, what: &str, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut lines = self.lines.0.lock().unwrap();
        loop {
            let found: Vec<Value> = lines.iter().filter(|line| wanted(line)).cloned().collect();
            if found.len() >= count {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} {what} came; the log ends:\n{}", found.len(), tail(&lines));
            lines = self.lines.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// Where it listens, as its first line says.
    pub(crate) fn address(&self) -> SocketAddr {
        let started = self.wait_for("started", |line| line["event"] == "started");
        started["listeners"].as_str().unwrap().split(", ").next().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL: a crash.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Waits until it ends on its own; its exit code.
    pub(crate) fn ended(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tail(lines: &[Value]) -> String {
    let from = lines.len().saturating_sub(20);
    lines[from..].iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
