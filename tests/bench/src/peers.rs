//! Who sends and who takes: smtp-source and smtp-sink, of the package postfix.

use std::fmt;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;
use crate::plan::Plan;

/// Messages as a client sends them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Octets of each.
    pub(crate) size: usize,
    /// Sessions at a time.
    pub(crate) sessions: usize,
    pub(crate) connections: Connections,
}

/// How many messages a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// All of the session's.
    Kept,
    /// One.
    ForEach,
}

impl Load {
    /// As many messages as one wishes, at a time as many as one ever sends here.
    pub(crate) fn filling(size: usize) -> Self {
        Self { size, sessions: 50, connections: Connections::Kept }
    }

    /// Sends so many messages; how long that took. Each of them was taken with 250, or this fails.
    pub(crate) fn send(&self, to: SocketAddr, count: usize) -> Result<Duration> {
        let mut command = Command::new("smtp-source");
        command.args(["-4", "-M", "client.bench.example", "-f", "client@bench.example", "-t", "sink@bench.example"]);
        command.args(["-s", &self.sessions.to_string(), "-m", &count.to_string(), "-l", &self.size.to_string()]);
        if self.connections == Connections::Kept {
            command.arg("-d");
        }
        command.arg(to.to_string()).stdin(Stdio::null());
        let began = Instant::now();
        let status = command.status().map_err(|error| format!("smtp-source: {error}: is postfix installed?"))?;
        let took = began.elapsed();
        if status.success() { Ok(took) } else { Err(format!("smtp-source to {to}: {status}").into()) }
    }

    /// How many messages take about a stretch, as `send` took some before.
    pub(crate) fn count_for(&self, plan: &Plan, send: impl FnOnce(usize) -> Result<Duration>) -> Result<usize> {
        let pilot = plan.pilot.max(self.sessions);
        let took = send(pilot)?;
        let count = per_second(pilot, took) * plan.stretch.as_secs_f64();
        // Not negative, and nothing takes so many.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of messages")]
        let count = count as usize;
        Ok(count.max(pilot))
    }
}

/// As in the names of rows.
impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.sessions == 1 { "" } else { "s" };
        write!(f, "{} KB, {} session{plural}", self.size >> 10, self.sessions)?;
        match self.connections {
            Connections::Kept => Ok(()),
            Connections::ForEach => write!(f, ", a connection each message"),
        }
    }
}

/// A rate.
pub(crate) fn per_second(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = count as f64;
    count / took.as_secs_f64()
}

/// Takes whatever comes, and counts; killed when the value goes.
pub(crate) struct Sink {
    child: Child,
    /// What it prints.
    counts: File,
    /// Since when it listens.
    pub(crate) since: Instant,
}

impl Sink {
    /// Starts one and waits until it listens. The counter is kept in a file in this folder.
    pub(crate) fn start(at: SocketAddr, folder: &Path) -> Result<Self> {
        let path = folder.join("sink");
        let mut command = Command::new("smtp-sink");
        // With root's rights it wants to be told whose it shall take.
        command.args(["-4", "-c", "-u", "nobody", &at.to_string(), "1000"]);
        command.stdin(Stdio::null()).stdout(File::create(&path)?);
        let child = command.spawn().map_err(|error| format!("smtp-sink: {error}: is postfix installed?"))?;
        let mut sink = Self { child, counts: File::open(path)?, since: Instant::now() };
        while TcpStream::connect(at).is_err() {
            if let Some(status) = sink.child.try_wait()? {
                return Err(format!("smtp-sink at {at}: {status}").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        sink.since = Instant::now();
        Ok(sink)
    }

    /// How many messages it has taken.
    pub(crate) fn taken(&self) -> Result<usize> {
        // "sess=1 quit=0 mesg=7\r", again and again.
        let mut end = [0; 128];
        let from = self.counts.metadata()?.len().saturating_sub(end.len() as u64);
        let read = self.counts.read_at(&mut end, from)?;
        let text = String::from_utf8_lossy(&end[..read]);
        let last = text.trim_end_matches(|letter| letter != '\r').trim_end_matches('\r');
        match last.rsplit_once("mesg=") {
            Some((_, count)) => Ok(count.parse()?),
            None => Ok(0),
        }
    }

    /// Waits until it has taken so many; when that was, to a millisecond. None where that is not so at `until`, or in two
    /// minutes without a message.
    pub(crate) fn wait_for(&self, count: usize, until: Option<Instant>) -> Result<Option<Instant>> {
        let (mut seen, mut last) = (0, Instant::now());
        loop {
            let (taken, now) = (self.taken()?, Instant::now());
            if taken >= count {
                return Ok(Some(now));
            }
            if taken > seen {
                (seen, last) = (taken, now);
            }
            if until.is_some_and(|until| now >= until) || now - last > Duration::from_secs(120) {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
