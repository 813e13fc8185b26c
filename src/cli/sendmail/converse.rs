//! `sendmail -bs`: whoever called speaks SMTP on standard input and output, and the relay at the other end.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::Path;

use super::complaint::{Code, Complaint};
use super::wire::{Patience, connect};

/// Passes octets on in both directions until the relay has hung up. Its time limits are those that count.
///
/// # Errors
/// Nobody answers, which is told on standard output in words of SMTP as well; or standard output is closed.
pub(super) fn converse(socket: &Path, patience: Patience) -> Result<(), Complaint> {
    let mut stream = connect(socket, patience).inspect_err(|complaint| {
        // Whoever does not read it reads the exit code.
        let _ = writeln!(io::stdout(), "421 4.3.2 {}\r", complaint.text.lines().next().unwrap_or_default());
    })?;
    let cannot = |error: io::Error| Complaint::io("the connection to the relay fails", &error);
    let mut to_relay = stream.try_clone().map_err(cannot)?;
    std::thread::spawn(move || {
        // Where the relay has hung up, the other direction ends too, and with it this process.
        let _ = pass_on(&mut io::stdin().lock(), &mut to_relay);
        let _ = to_relay.shutdown(Shutdown::Write);
    });
    match pass_on(&mut stream, &mut io::stdout().lock()) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(Complaint::new(Code::Temporary, "the relay has hung up"))
        }
        Err(error) => Err(Complaint::io("standard output cannot be written", &error)),
        Ok(()) => Ok(()),
    }
}

/// Each piece at once: the other side waits for it.
fn pass_on(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_OCTETS];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(octets) => {
                to.write_all(&buffer[..octets])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

const BUFFER_OCTETS: usize = 16 * 1024;
