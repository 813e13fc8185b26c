//! A relay under test, whichever it is: started in a fresh folder, looked at from outside, stopped.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Result;
use crate::plan::Plan;

/// What can be measured.
pub(crate) trait Candidate {
    /// Its name in the tables.
    fn name(&self) -> &str;
    /// Writes what it needs to start.
    fn prepare(&self, place: &Place) -> Result<()>;
    /// What starts it in the foreground.
    fn serve(&self, place: &Place) -> Command;
    /// The process of which all others of the relay descend, once it is there.
    fn ancestor(&self, place: &Place, child: &Child) -> Option<u32>;
    /// Tells it to try everything now.
    fn flush(&self, place: &Place) -> Result<()>;
    /// Lists the first page of what waits, where that is to be measured.
    fn list(&self, place: &Place) -> Result<Duration>;
}

/// Where a relay lies, listens and sends to.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) listen: SocketAddr,
    pub(crate) sink: SocketAddr,
    /// Connections to the sink at a time.
    pub(crate) connections: usize,
}

impl Place {
    /// The folder of the queue, and of nothing else.
    pub(crate) fn queue(&self) -> PathBuf {
        self.path("queue")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A relay that runs; killed when the value goes.
pub(crate) struct Relay<'a> {
    candidate: &'a dyn Candidate,
    place: Place,
    child: Child,
    started: Instant,
}

impl<'a> Relay<'a> {
    /// Starts one in a fresh folder, in front of a sink that is down. It may not listen yet.
    pub(crate) fn start(candidate: &'a dyn Candidate, plan: &Plan, connections: usize) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("relay-").tempdir_in(&plan.directory)?;
        // Postfix's own user has to come in.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let place = Place { folder, listen: free_address()?, sink: free_address()?, connections };
        fs::create_dir(place.queue())?;
        candidate.prepare(&place)?;
        let (child, started) = spawn(candidate, &place)?;
        Ok(Self { candidate, place, child, started })
    }

    /// Starts one as [`Relay::start`], and waits until it listens.
    pub(crate) fn listening(candidate: &'a dyn Candidate, plan: &Plan, connections: usize) -> Result<Self> {
        let mut relay = Self::start(candidate, plan, connections)?;
        relay.banner()?;
        Ok(relay)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// When it was started last.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Waits for its banner; how long that took from its start.
    pub(crate) fn banner(&mut self) -> Result<Duration> {
        while self.started.elapsed() < Duration::from_secs(60) {
            match code(self.place.listen) {
                Ok(code) if code == *b"220" => return Ok(self.started.elapsed()),
                Ok(_) => return Err(self.trouble("its banner is not 220")),
                // Nobody listens yet, or the last of the old processes still had the connection in its backlog.
                Err(_) => {}
            }
            if self.child.try_wait()?.is_some() {
                return Err(self.trouble("it has ended"));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Err(self.trouble("it does not listen after a minute"))
    }

    /// Stops it and starts it again with what it has, without waiting until it listens.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.stop()?;
        (self.child, self.started) = spawn(self.candidate, &self.place)?;
        Ok(())
    }

    /// Stops it, and fails where it does not end by itself.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(60) {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(self.trouble("it does not stop"))
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.candidate.flush(&self.place)
    }

    pub(crate) fn list(&self) -> Result<Duration> {
        self.candidate.list(&self.place)
    }

    /// Waits until it is there and has nothing to do: its processes use less than a twentieth of a core for half a second.
    pub(crate) fn settle(&self) -> Result<()> {
        let began = Instant::now();
        let mut before = self.ticks();
        while began.elapsed() < Duration::from_secs(300) {
            std::thread::sleep(Duration::from_millis(500));
            let now = self.ticks();
            if now.saturating_sub(before) <= 2 && !self.processes().is_empty() {
                return Ok(());
            }
            before = now;
        }
        Err(self.trouble("it is still busy after five minutes"))
    }

    /// Octets of memory of all its processes, with its part of what several share (Pss in proc_pid_smaps_rollup(5)).
    pub(crate) fn memory(&self) -> u64 {
        let pss = |process: &u32| {
            let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        self.processes().iter().filter_map(pss).sum::<u64>() * 1024
    }

    /// Octets of the disk that its queue takes up.
    pub(crate) fn disk(&self) -> Result<u64> {
        allocated(&self.place.queue())
    }

    /// What has gone wrong, with the end of its log.
    pub(crate) fn trouble(&self, what: &str) -> Box<dyn std::error::Error> {
        let log = fs::read_to_string(self.place.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(10)..].join("\n");
        format!("{}: {what}; the end of its log:\n{end}", self.candidate.name()).into()
    }

    /// Hundredths of a second that its processes have computed (proc_pid_stat(5), utime and stime).
    fn ticks(&self) -> u64 {
        let used = |process: &u32| {
            let fields = stat(*process)?;
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        };
        self.processes().iter().filter_map(used).sum()
    }

    fn processes(&self) -> Vec<u32> {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let parents: Vec<(u32, u32)> = all
            .filter_map(|entry| {
                let process = entry.file_name().to_str()?.parse().ok()?;
                Some((process, stat(process)?.get(1)?.parse().ok()?))
            })
            .collect();
        let mut found: Vec<u32> = self.candidate.ancestor(&self.place, &self.child).into_iter().collect();
        let mut at = 0;
        while let Some(&parent) = found.get(at) {
            found.extend(parents.iter().filter(|of| of.1 == parent).map(|of| of.0));
            at += 1;
        }
        found
    }

    fn signal(&self, signal: Signal) {
        let process = self.candidate.ancestor(&self.place, &self.child);
        if let Some(process) = process.and_then(|id| Pid::from_raw(id.cast_signed())) {
            // It may have ended.
            let _ = kill_process(process, signal);
        }
    }
}

impl Drop for Relay<'_> {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Starts the relay with its log in a file of its own, as a service manager would keep it.
fn spawn(candidate: &dyn Candidate, place: &Place) -> Result<(Child, Instant)> {
    let log = File::options().create(true).append(true).open(place.path("log"))?;
    let mut command = candidate.serve(place);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let started = Instant::now();
    let child = command.spawn().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    Ok((child, started))
}

/// The code by which whoever listens there greets.
fn code(listener: SocketAddr) -> std::io::Result<[u8; 3]> {
    let mut stream = TcpStream::connect(listener)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut code = [0; 3];
    stream.read_exact(&mut code)?;
    Ok(code)
}

/// The fields of a process after its name: proc_pid_stat(5) from the third one on.
fn stat(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn allocated(path: &Path) -> Result<u64> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        // A queue moves its files about.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut octets = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            octets += allocated(&entry?.path())?;
        }
    }
    Ok(octets)
}

/// An address where nobody listens, below the ports that the system gives out.
pub(crate) fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() * 37;
    for _ in 0..PORTS {
        let offset = (first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(PORTS);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST_PORT + u16::try_from(offset)?));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    Err("no free port".into())
}

const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;
