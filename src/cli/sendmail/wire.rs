//! Our end of the conversation with the relay, over its Unix socket. Blocking, with a time limit for each step: whoever called
//! us waits.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::output::complain;
use super::complaint::{Code, Complaint};
use super::flags::Talk;
use crate::control::client;
use crate::smtp::Reply;
use crate::time::spoken;

/// How long is waited, and how often tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a reply, and until the relay takes what is written. RFC 5321 §4.5.3.2 has 5 minutes for most of them.
    pub(super) step: Duration,
    /// For the reply to the final dot (§4.5.3.2.6).
    pub(super) end: Duration,
    /// Before each new try, where the relay has no place now, or where a part of the recipients has the message already.
    pub(super) pauses: &'static [Duration],
}

impl Patience {
    pub(super) const USUAL: Self = Self {
        step: Duration::from_secs(300),
        end: Duration::from_secs(600),
        pauses: &[Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(10), Duration::from_secs(15)],
    };
}

/// An open session.
#[derive(Debug)]
pub(super) struct Relay {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
    patience: Patience,
    talk: Talk,
    /// In capitals, as EHLO was answered.
    offered: Vec<String>,
}

impl Relay {
    /// Connects, and says EHLO. Waits where the relay has no place now: every caller is a connection of its own, and most do
    /// not try again.
    ///
    /// # Errors
    /// What [`connect`] says, what the relay answers, or that it does not.
    pub(super) fn greet(socket: &Path, patience: Patience, talk: Talk) -> Result<Self, Complaint> {
        let mut pauses = patience.pauses.iter();
        let mut relay = loop {
            let stream = BufReader::new(connect(socket, patience)?);
            let mut relay = Self { stream, socket: socket.to_owned(), patience, talk, offered: Vec::new() };
            let banner = relay.reply(patience.step, "its greeting")?;
            match pauses.next() {
                Some(pause) if banner.code == 421 => std::thread::sleep(*pause),
                _ => {
                    relay.positive(banner, "its greeting")?;
                    break relay;
                }
            }
        };
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = if !node.is_empty() && node.bytes().all(is_host_octet) { &node } else { "localhost" };
        let reply = relay.command(&format!("EHLO {name}"))?;
        relay.offered = relay.positive(reply, "EHLO")?.lines.iter().skip(1).map(|line| line.to_uppercase()).collect();
        Ok(relay)
    }

    /// Whether EHLO offered it.
    pub(super) fn offers(&self, keyword: &str) -> bool {
        self.offered.iter().any(|line| line.split(' ').next() == Some(keyword))
    }

    /// Sends a command, and waits for the reply.
    ///
    /// # Errors
    /// The relay is gone or silent, or says 421.
    pub(super) fn command(&mut self, line: &str) -> Result<Reply, Complaint> {
        self.show("->", line);
        let verb = line.split([':', ' ']).next().unwrap_or_default();
        let written = self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes());
        let reply = self.answer(written, self.patience.step, verb)?;
        self.staying(reply, verb)
    }

    /// Sends content by `write`, then the final dot where all of it was written; waits for the reply.
    ///
    /// # Errors
    /// As [`Relay::command`]; the message may have been taken all the same.
    pub(super) fn content(
        &mut self,
        write: impl FnOnce(&mut Stuffed<&UnixStream>) -> io::Result<()>,
    ) -> Result<Reply, Complaint> {
        self.show("->", "(the message) .");
        let mut stuffed = Stuffed { out: self.stream.get_ref(), last: *b"\r\n" };
        let written = write(&mut stuffed).and_then(|()| stuffed.end());
        let reply =
            self.answer(written, self.patience.end, "the end of the message, which it may have taken all the same")?;
        self.staying(reply, END)
    }

    /// Says goodbye; what it answers does not matter any more.
    pub(super) fn quit(mut self) {
        let _ = self.command("QUIT");
    }

    /// The reply to what was written. Whoever has hung up while we wrote may have said why before.
    fn answer(&mut self, written: io::Result<()>, patience: Duration, step: &str) -> Result<Reply, Complaint> {
        if let Err(error) = written.as_ref()
            && !is_hung_up(error)
        {
            return Err(self.lost(error, self.patience.step, step));
        }
        self.reply(patience, step)
    }

    /// # Errors
    /// A reply of 421, behind which the relay hangs up (RFC 5321 §3.8).
    fn staying(&self, reply: Reply, step: &str) -> Result<Reply, Complaint> {
        if reply.code == 421 { Err(self.refused(&reply, step)) } else { Ok(reply) }
    }

    fn reply(&mut self, patience: Duration, step: &str) -> Result<Reply, Complaint> {
        let read = self.stream.get_ref().set_read_timeout(Some(patience)).and_then(|()| read_reply(&mut self.stream));
        let reply = read.map_err(|error| self.lost(&error, patience, step))?;
        for line in &reply.lines {
            self.show("<-", &format!("{} {line}", reply.code));
        }
        Ok(reply)
    }

    /// # Errors
    /// The reply, where it is a refusal.
    fn positive(&self, reply: Reply, step: &str) -> Result<Reply, Complaint> {
        if reply.is_positive() { Ok(reply) } else { Err(self.refused(&reply, step)) }
    }

    /// The relay has refused the message, in its own words, which say what to do.
    pub(super) fn refused(&self, reply: &Reply, step: &str) -> Complaint {
        let text =
            format!("the relay at {} refuses at {step}: {}", self.socket.display(), harmless(&reply.to_string()));
        Complaint::new(Code::of_refusal(reply), text)
    }

    fn lost(&self, error: &io::Error, patience: Duration, step: &str) -> Complaint {
        let happened = match error.kind() {
            ErrorKind::Other => return Complaint::io("sendmail fails", error),
            // A time limit of a socket is told as the former.
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("does not answer within {}", spoken(patience)),
            _ if is_hung_up(error) => "has hung up".into(),
            ErrorKind::InvalidData => "answers what is no SMTP".into(),
            _ => format!("cannot be reached any more ({error})"),
        };
        let code = if error.kind() == ErrorKind::InvalidData { Code::Software } else { Code::Temporary };
        let text = format!(
            "the relay at {} {happened}, at {step}: see its log, `journalctl -u mailsluice`",
            self.socket.display()
        );
        Complaint::new(code, text)
    }

    fn show(&self, direction: &str, line: &str) {
        if self.talk == Talk::Shown {
            complain(format_args!("{direction} {}", harmless(line)));
        }
    }
}

/// Connects to a socket, and waits while its backlog is full.
///
/// # Errors
/// Nobody answers, or this user may not; with what to do.
pub(super) fn connect(socket: &Path, patience: Patience) -> Result<UnixStream, Complaint> {
    client::connect(socket, patience.step).map_err(|error| {
        let path = socket.display();
        match error.kind() {
            ErrorKind::PermissionDenied => Complaint::new(
                Code::NoPermission,
                format!("this user may not hand in mail at {path}: its [[listener]] needs socket_mode = \"0666\", and its folder mode 0755"),
            ),
            ErrorKind::InvalidInput => Complaint::new(Code::Usage, format!("{path} is no path of a socket: {error}")),
            _ => Complaint::new(
                Code::Temporary,
                format!(
                    "nobody answers at {path} ({error}): is the daemon running? `systemctl start mailsluice` starts it, \
                     `mailsluice doctor` says what is wrong, and its configuration needs a [[listener]] with address = \"unix:{path}\""
                ),
            ),
        }
    })
}

fn read_reply(stream: &mut impl BufRead) -> io::Result<Reply> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        stream.by_ref().take(LINE_OCTETS).read_until(b'\n', &mut line)?;
        let Some(text) = line.strip_suffix(b"\n") else {
            let kind = if line.len() as u64 == LINE_OCTETS { ErrorKind::InvalidData } else { ErrorKind::UnexpectedEof };
            return Err(kind.into());
        };
        let text = String::from_utf8_lossy(text.trim_ascii_end()).into_owned();
        let code = text.get(..3).and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code));
        let code = code.filter(|_| lines.len() < MOST_LINES).ok_or(ErrorKind::InvalidData)?;
        lines.push(text.get(4..).unwrap_or_default().to_owned());
        match text.as_bytes().get(3) {
            Some(b'-') => {}
            None | Some(b' ') => return Ok(Reply { code, lines }),
            Some(_) => return Err(ErrorKind::InvalidData.into()),
        }
    }
}

/// Content on its way (RFC 5321 §4.5.2): a dot at the beginning of a line gets another one before it.
#[derive(Debug)]
pub(super) struct Stuffed<W> {
    out: W,
    /// The last octets written.
    last: [u8; 2],
}

impl<W: Write> Stuffed<W> {
    /// Supplies the last line end where it is missing, and the dot that ends content.
    fn end(&mut self) -> io::Result<()> {
        let line_end: &[u8] = if self.last == *b"\r\n" { b"" } else { b"\r\n" };
        self.out.write_all(&[line_end, b".\r\n"].concat())
    }
}

impl<W: Write> Write for Stuffed<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut stuffed = Vec::with_capacity(octets.len() + octets.len() / 32);
        for octet in octets {
            if *octet == b'.' && self.last[1] == b'\n' {
                stuffed.push(b'.');
            }
            stuffed.push(*octet);
            self.last = [self.last[1], *octet];
        }
        self.out.write_all(&stuffed)?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The step behind the content.
pub(super) const END: &str = "the end of the message";

/// What a terminal can show.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn is_hung_up(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)
}

fn is_host_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.')
}

/// Longer lines and replies are no relay's; RFC 5321 §4.5.3.1.5 has 512 octets for a line.
const LINE_OCTETS: u64 = 4096;
const MOST_LINES: usize = 100;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    fn stuffed(pieces: &[&[u8]]) -> Vec<u8> {
        let mut stuffed = Stuffed { out: Vec::new(), last: *b"\r\n" };
        pieces.iter().for_each(|piece| stuffed.write_all(piece).unwrap());
        stuffed.end().unwrap();
        stuffed.out
    }

    #[test]
    fn dots_are_stuffed_at_the_beginning_of_lines_in_any_pieces() {
        assert_eq!(stuffed(&[b".\r\n", b"..x\r\na.\r", b"\n", b".b"]), b"..\r\n...x\r\na.\r\n..b\r\n.\r\n");
        assert_eq!(stuffed(&[]), b".\r\n");
        assert_eq!(stuffed(&[b"a\r"]), b"a\r\r\n.\r\n");
    }

    #[test]
    fn replies_are_read_to_their_last_line_and_what_is_none_is_told() {
        let read = |text: &str| read_reply(&mut text.as_bytes());
        assert_eq!(read("250-a\r\n250 b\r\n").unwrap(), Reply { code: 250, lines: vec!["a".into(), "b".into()] });
        assert_eq!(read("354\n").unwrap(), Reply::new(354, ""));
        let long = format!("250 {}", "x".repeat(5000));
        let many = "250-x\r\n".repeat(200);
        for (text, kind) in [
            ("", ErrorKind::UnexpectedEof),
            ("250-a\r\n25", ErrorKind::UnexpectedEof),
            ("HTTP/1.1 400\r\n", ErrorKind::InvalidData),
            ("999 x\r\n", ErrorKind::InvalidData),
            ("250x\r\n", ErrorKind::InvalidData),
            (&long, ErrorKind::InvalidData),
            (&many, ErrorKind::InvalidData),
        ] {
            assert_eq!(read(text).unwrap_err().kind(), kind, "{text:.20}");
        }
    }

    #[test]
    fn who_does_not_answer_is_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let _listener = UnixListener::bind(&socket).unwrap();
        let patience = Patience { step: Duration::from_millis(10), ..Patience::USUAL };
        let complaint = Relay::greet(&socket, patience, Talk::Silent).unwrap_err();
        assert_eq!(complaint.code, Code::Temporary);
        assert!(complaint.text.contains("does not answer within"), "{}", complaint.text);
    }

    proptest! {
        /// What the relay's own reader makes of what is sent is what was to be sent.
        #[test]
        fn only_the_end_ends(lines in prop::collection::vec("[.a\r]{0,4}", 0..8), split in any::<prop::sample::Index>()) {
            let content = lines.iter().map(|line| format!("{line}\r\n")).collect::<String>().into_bytes();
            let (one, two) = content.split_at(split.index(content.len() + 1));
            let sent = stuffed(&[one, two]);
            let body = sent.strip_suffix(b".\r\n").unwrap();
            prop_assert!(!body.starts_with(b".\r\n") && !body.windows(5).any(|octets| octets == b"\r\n.\r\n"));
            let text = String::from_utf8(body.to_vec()).unwrap();
            let back: String = text.split_inclusive('\n').map(|line| line.strip_prefix('.').unwrap_or(line)).collect();
            prop_assert_eq!(back.into_bytes(), content);
        }
    }
}
