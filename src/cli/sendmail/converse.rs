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
        let _ = pass_on(&mut io::stdin().lock(), &mut Lines { out: &mut to_relay, ends: Ends::Unknown });
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

/// What is said, with CRLF at the ends of its lines where the first one ends in a bare LF: so programs of this machine write, and the
/// relay would see no end of their message. Where the first one ends in CRLF nothing is touched: a bare LF is content there, and what
/// somebody else has written must not end the message (SMTP smuggling).
struct Lines<W> {
    out: W,
    ends: Ends,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// The first line has not ended.
    Unknown,
    /// It has not, and the last octet is a CR.
    AfterCr,
    Lf,
    CrLf,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        for octet in octets {
            self.ends = match (self.ends, octet) {
                (Ends::Unknown, b'\n') => Ends::Lf,
                (Ends::AfterCr, b'\n') => Ends::CrLf,
                (Ends::Unknown | Ends::AfterCr, b'\r') => Ends::AfterCr,
                (Ends::Unknown | Ends::AfterCr, _) => Ends::Unknown,
                (known, _) => known,
            };
        }
        if self.ends == Ends::Lf {
            let mut mended = Vec::with_capacity(octets.len() + octets.len() / 32);
            for octet in octets {
                if *octet == b'\n' {
                    mended.push(b'\r');
                }
                mended.push(*octet);
            }
            self.out.write_all(&mended)?;
        } else {
            self.out.write_all(octets)?;
        }
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

const BUFFER_OCTETS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pieces: &[&str]) -> String {
        let mut lines = Lines { out: Vec::new(), ends: Ends::Unknown };
        pieces.iter().for_each(|piece| lines.write_all(piece.as_bytes()).unwrap());
        String::from_utf8(lines.out).unwrap()
    }

    #[test]
    fn lines_end_as_the_first_one_does_and_bare_ends_are_mended() {
        assert_eq!(said(&["EHLO", " x\nMAIL\n", "\n.\n"]), "EHLO x\r\nMAIL\r\n\r\n.\r\n");
        assert_eq!(said(&["EHLO x\r", "\nDATA\r\n", "a\n.\n", "b\r\n"]), "EHLO x\r\nDATA\r\na\n.\nb\r\n");
        assert_eq!(said(&["QUIT"]), "QUIT");
    }
}
