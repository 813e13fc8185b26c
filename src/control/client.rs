//! A command's end of the control socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::MAX_LINE;
use super::request::{Answer, Request};
use crate::time::spoken;

/// Asks the daemon; none where there is no daemon. Blocking.
///
/// # Errors
/// What is in the way and what to do, or that the daemon's answer cannot be read.
pub fn ask(socket: &Path, request: &Request) -> io::Result<Option<Answer>> {
    ask_for(PATIENCE, socket, request)
}

/// [`ask`], but each step may take so long and no longer.
///
/// # Errors
/// As for [`ask`].
pub fn ask_for(patience: Duration, socket: &Path, request: &Request) -> io::Result<Option<Answer>> {
    let stream = match connect(socket, patience) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(explained(&error, socket, patience)),
    };
    let answer = converse(&stream, request, patience).map_err(|error| explained(&error, socket, patience))?;
    serde_json::from_str(&answer).map(Some).map_err(|error| {
        io::Error::other(format!(
            "the daemon's answer cannot be read (is it of another version, or stopping?): {error}"
        ))
    })
}

/// Connects to a Unix socket. A daemon that hangs takes no connections, and where enough have come, connecting waits too: for as
/// long as writing may.
///
/// # Errors
/// Nobody listens there, this user may not, or the time is over.
pub fn connect(path: &Path, patience: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(patience))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

fn converse(mut stream: &UnixStream, request: &Request, patience: Duration) -> io::Result<String> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_LINE)).read_line(&mut answer)?;
    Ok(answer)
}

/// The same error in words that say what to do.
fn explained(error: &io::Error, socket: &Path, patience: Duration) -> io::Error {
    let socket = socket.display();
    let text = match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{socket}: this user may not ask the daemon: run the command as the daemon's user or as root")
        }
        // A timeout of a socket is told as the former.
        ErrorKind::WouldBlock | ErrorKind::TimedOut => format!(
            "{socket}: the daemon did not answer within {}; it may still do what it was asked: see its log",
            spoken(patience)
        ),
        _ => format!("{socket}: {error}"),
    };
    io::Error::new(error.kind(), text)
}

/// Trying a million messages again takes the daemon a while.
const PATIENCE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_is_told_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control");
        assert!(ask(&socket, &Request::Stats).unwrap().is_none(), "no daemon");
        let _listener = UnixListener::bind(&socket).unwrap();
        let told = ask_for(Duration::from_millis(1), &socket, &Request::Stats).unwrap_err().to_string();
        assert!(told.contains("the daemon did not answer within"), "{told}");
    }

    #[test]
    fn who_may_not_ask_is_told_who_may() {
        let denied = io::Error::from(ErrorKind::PermissionDenied);
        let told = explained(&denied, Path::new("/q/queue.db-control"), PATIENCE).to_string();
        assert_eq!(
            told,
            "/q/queue.db-control: this user may not ask the daemon: run the command as the daemon's user or as root"
        );
    }
}
