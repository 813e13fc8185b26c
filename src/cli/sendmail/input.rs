//! The message on standard input, read to its end before the relay is spoken to: cron hands over the first line of a job that
//! then runs for hours, and no relay waits so long for the next one; and a message for many goes over the wire more than once.
//!
//! What is long lies in a file without a name. Lines end in CRLF from here on; a CR that no LF follows stays, and is the
//! relay's to mend.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufWriter, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::complaint::{Code, Complaint};
use super::flags::End;

/// A message with CRLF at the ends of its lines.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The beginning, with the whole header block.
    pub(super) head: Vec<u8>,
    rest: Option<BufWriter<File>>,
    rest_octets: u64,
}

impl Message {
    /// Reads one. Lines in the form that mailboxes begin a message with (`From jane Mon …`) are dropped where they stand on top.
    ///
    /// # Errors
    /// It cannot be read or kept, or has no end.
    pub(super) fn read(mut input: impl BufRead, end: End) -> Result<Self, Complaint> {
        let mut message = Self::default();
        let mut piece = Vec::new();
        let (mut at, mut last) = (Place::Top, b'\n');
        loop {
            piece.clear();
            let read = input.by_ref().take(PIECE_OCTETS as u64).read_until(b'\n', &mut piece);
            if read.map_err(|error| Complaint::io("standard input cannot be read", &error))? == 0 {
                return Ok(message);
            }
            let begins_line = last == b'\n';
            if begins_line && end == End::LoneDot && matches!(&piece[..], b"." | b".\n" | b".\r\n") {
                return Ok(message);
            }
            if begins_line {
                at = at.next(&piece);
            }
            if at != Place::MailboxLine {
                message.keep(&piece, last)?;
            }
            last = piece.last().copied().unwrap_or(last);
        }
    }

    /// How much there is.
    pub(super) fn octets(&self) -> u64 {
        self.head.len() as u64 + self.rest_octets
    }

    /// Whether there is more than [`Message::head`].
    pub(super) fn goes_on(&self) -> bool {
        self.rest.is_some()
    }

    /// What follows the head, into `out`.
    ///
    /// # Errors
    /// What `out` says; of [`ErrorKind::Other`] what the file says.
    pub(super) fn write_rest(&mut self, out: &mut impl Write) -> io::Result<()> {
        let Some(rest) = &mut self.rest else { return Ok(()) };
        let ours = |error: io::Error| io::Error::other(format!("the file with the message cannot be read: {error}"));
        rest.flush().and_then(|()| rest.get_mut().seek(SeekFrom::Start(0))).map_err(ours)?;
        let mut piece = vec![0; PIECE_OCTETS];
        loop {
            match rest.get_mut().read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(octets) => out.write_all(&piece[..octets])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(ours(error)),
            }
        }
    }

    /// Keeps a piece that follows an octet `last`, its line end as CRLF.
    fn keep(&mut self, piece: &[u8], last: u8) -> Result<(), Complaint> {
        let Some(line) = piece.strip_suffix(b"\n") else { return self.put(piece) };
        self.put(line)?;
        let ends_in_cr = line.last().copied().unwrap_or(last) == b'\r';
        self.put(if ends_in_cr { b"\n" } else { b"\r\n" })
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), Complaint> {
        if self.rest.is_none() && self.head.len() + octets.len() <= HEAD_OCTETS {
            self.head.extend_from_slice(octets);
            return Ok(());
        }
        self.rest_octets += octets.len() as u64;
        if self.octets() > MOST_OCTETS {
            let text = format!(
                "the message is larger than {} MiB, and no relay takes that: it was not sent",
                MOST_OCTETS >> 20
            );
            return Err(Complaint::new(Code::Data, text));
        }
        let kept = match &mut self.rest {
            Some(rest) => rest.write_all(octets),
            none => nameless_file().and_then(|file| none.insert(BufWriter::new(file)).write_all(octets)),
        };
        kept.map_err(|error| Complaint::io("a long message needs a file in $TMPDIR or /var/tmp", &error))
    }
}

/// Where in the message a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Top,
    MailboxLine,
    Below,
}

impl Place {
    /// The place of the line that begins with `piece`, behind one at this place.
    fn next(self, piece: &[u8]) -> Self {
        let quoted = piece.iter().take_while(|byte| **byte == b'>').count();
        let is_mailbox_line = piece[quoted..].strip_prefix(b"From ").is_some_and(|rest| {
            // `From : jane` is a field, if an odd one.
            rest.trim_ascii_start().first() != Some(&b':')
        });
        if self != Self::Below && is_mailbox_line { Self::MailboxLine } else { Self::Below }
    }
}

/// A file that nobody else can open and that goes with the process.
fn nameless_file() -> io::Result<File> {
    let make = |folder: &Path| {
        let path = folder.join(format!("sendmail-{:016x}", fastrand::u64(..)));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    make(&env::temp_dir()).or_else(|_: io::Error| make(Path::new("/var/tmp")))
}

/// What is read at once; a line may be longer.
const PIECE_OCTETS: usize = 64 * 1024;
/// What of a message is kept in memory. The header must be in it: four times what the relay takes, since the blind recipients
/// go before it gets there.
pub(super) const HEAD_OCTETS: usize = 1 << 20;
/// The most that a configuration may allow as `max_message_size`.
const MOST_OCTETS: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;

    use super::*;

    fn read(input: &[u8], end: End) -> Vec<u8> {
        let mut message = Message::read(BufReader::with_capacity(7, input), end).unwrap();
        let mut all = message.head.clone();
        message.write_rest(&mut all).unwrap();
        assert_eq!(message.octets(), all.len() as u64);
        all
    }

    #[test]
    fn lines_end_in_crlf_whatever_they_ended_in() {
        for (given, wanted) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"a\rb\r\r\n\r\n", b"a\rb\r\r\n\r\n"),
            (b"\n\n", b"\r\n\r\n"),
            (b"a", b"a"),
            (b"", b""),
            (b"\0\xff\n", b"\0\xff\r\n"),
        ] {
            assert_eq!(read(given, End::Input), wanted, "{}", given.escape_ascii());
        }
    }

    #[test]
    fn a_lone_dot_ends_what_it_may_end() {
        for (given, wanted) in [
            (&b"a\n.\nb\n"[..], &b"a\r\n"[..]),
            (b"a\r\n.\r\nb", b"a\r\n"),
            (b"a\n.", b"a\r\n"),
            (b".\n", b""),
            (b"a\n..\n .\n.x\n.\n", b"a\r\n..\r\n .\r\n.x\r\n"),
            (b"a.\nb", b"a.\r\nb"),
        ] {
            assert_eq!(read(given, End::LoneDot), wanted, "{}", given.escape_ascii());
        }
        assert_eq!(read(b"a\n.\nb\n", End::Input), b"a\r\n.\r\nb\r\n");
    }

    #[test]
    fn the_line_of_a_mailbox_is_dropped_on_top_alone() {
        for (given, wanted) in [
            (&b"From jane Mon Jan  1\nSubject: x\n\nFrom here\n"[..], &b"Subject: x\r\n\r\nFrom here\r\n"[..]),
            (b">From jane\nFrom joe\nTo: x\n", b"To: x\r\n"),
            (b"From : jane\n", b"From : jane\r\n"),
            (b"From: jane\n", b"From: jane\r\n"),
            (b"\nFrom jane\n", b"\r\nFrom jane\r\n"),
        ] {
            assert_eq!(read(given, End::Input), wanted, "{}", given.escape_ascii());
        }
        let long = [b"From ".to_vec(), b"x".repeat(200_000), b"\nTo: x\n".to_vec()].concat();
        assert_eq!(read(&long, End::Input), b"To: x\r\n");
    }

    #[test]
    fn a_long_message_lies_on_disk_and_comes_back_whole() {
        let given: Vec<u8> = (0_u32..400_000).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        let mut message = Message::read(&given[..], End::Input).unwrap();
        assert!(message.goes_on() && message.head.len() <= HEAD_OCTETS);
        for _ in 0..2 {
            let mut all = message.head.clone();
            message.write_rest(&mut all).unwrap();
            assert!(all == String::from_utf8(given.clone()).unwrap().replace('\n', "\r\n").into_bytes());
        }
    }

    proptest! {
        #[test]
        fn nothing_but_line_ends_changes(given in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'.'), any::<u8>()], 0..60)) {
            let without = |octets: &[u8]| octets.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<u8>>();
            let got = read(&given, End::Input);
            prop_assert_eq!(without(&got), without(&given));
            let bare = |at: usize| got[at] == b'\n' && (at == 0 || got[at - 1] != b'\r');
            prop_assert!(!(0..got.len()).any(bare));
        }
    }
}
