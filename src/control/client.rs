//! A command's end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::MAX_LINE;
use super::request::{Answer, Request};

/// Asks the daemon; none where there is no daemon. Blocking.
///
/// # Errors
/// What the system says, or that the daemon's answer cannot be read.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Option<Answer>> {
    let mut stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => return Ok(None),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", socket.display()))),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map(Some).map_err(|error| {
        io::Error::other(format!("the daemon's answer cannot be read (is it of another version, or stopping?): {error}"))
    })
}

/// Trying a million messages again takes the daemon a while.
const PATIENCE: Duration = Duration::from_secs(300);
