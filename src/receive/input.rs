//! What was read of a client and not yet heard.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Octets read at a time.
const OCTETS: usize = 16 * 1024;
/// Octets given to the session at a time: a short command can have a long reply, and the replies to these have to fit
/// in memory. Also the most that the session keeps while a question is open.
const PIECE_OCTETS: usize = 1024;

/// A buffer that is used up before it is filled anew.
#[derive(Debug)]
pub(super) struct Input {
    octets: Vec<u8>,
    from: usize,
    to: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { octets: vec![0; OCTETS], from: 0, to: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// Whether more can be read behind what is there.
    pub(super) fn has_room(&self) -> bool {
        self.is_empty() || self.to < OCTETS
    }

    /// Reads behind what is there, where there is room; returns how much, nothing at the end of the stream. Where this is
    /// given up, nothing was read.
    pub(super) async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        if self.is_empty() {
            (self.from, self.to) = (0, 0);
        }
        let read = stream.read(&mut self.octets[self.to..]).await?;
        self.to += read;
        Ok(read)
    }

    /// What the session gets next; nothing where all was given.
    pub(super) fn piece(&mut self) -> &[u8] {
        let from = self.from;
        self.from = self.to.min(from + PIECE_OCTETS);
        &self.octets[from..self.from]
    }

    /// Throws away what was read.
    pub(super) fn clear(&mut self) {
        self.from = self.to;
    }

    /// Whether content may be in it, or a part of it.
    pub(super) fn may_hold_content(&self) -> bool {
        self.octets[self.from..self.to].windows(DATA.len()).any(|word| word.eq_ignore_ascii_case(DATA))
    }

    /// Whether the client wants to go.
    pub(super) fn begins_with_quit(&self) -> bool {
        let rest = self.octets[self.from..self.to].trim_ascii_start();
        rest.get(..QUIT.len()).is_some_and(|word| word.eq_ignore_ascii_case(QUIT))
    }
}

const QUIT: &[u8] = b"QUIT";
const DATA: &[u8] = b"DATA";
