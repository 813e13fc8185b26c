//! The daemon's end of the control socket.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::MAX_LINE;
use super::desk::Desk;
use super::request::{Answer, Request};

/// The control socket, bound.
#[derive(Debug)]
pub struct ControlServer {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlServer {
    /// Binds the socket, for the daemon's user and root alone. Whoever holds the queue's lock may take the place of a
    /// socket that a dead daemon left.
    ///
    /// # Errors
    /// What the system says, with the path.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let with_path = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(with_path(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(with_path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(with_path)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers commands for ever.
    pub async fn serve(self, desk: Arc<Desk>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let desk = Arc::clone(&desk);
                    tokio::spawn(async move { converse(stream, &desk).await });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One request, one answer. A client that does not want its answer any more is no news.
async fn converse(mut stream: UnixStream, desk: &Desk) {
    // The mode of the socket says the same; there was a moment before it was set.
    let me = rustix::process::geteuid().as_raw();
    if !stream.peer_cred().is_ok_and(|peer| peer.uid() == me || peer.uid() == 0) {
        return;
    }
    let (reading, mut writing) = stream.split();
    let mut line = String::new();
    let reading = BufReader::new(reading.take(MAX_LINE)).read_line(&mut line);
    if !matches!(tokio::time::timeout(PATIENCE, async { reading.await }).await, Ok(Ok(1..))) {
        return;
    }
    let answer = match serde_json::from_str::<Request>(&line) {
        Ok(request) => desk.answer(request).await,
        Err(error) => Answer::Refused(format!("the daemon does not know this request (is it of another version?): {error}")),
    };
    let mut line = serde_json::to_vec(&answer).unwrap_or_default();
    line.push(b'\n');
    let _ = writing.write_all(&line).await;
}

const PATIENCE: Duration = Duration::from_secs(10);
