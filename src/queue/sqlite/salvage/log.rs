//! The write-ahead log as SQLite's file format has it (section 4): which pages it holds, and whether it was damaged.
//!
//! SQLite reads a log up to the first frame that is not whole, and takes the rest for what a crash has left half written.
//! That is right for the last transaction. Each one before it was synced before the next began, so where more than one
//! follows, the log was damaged and acknowledged mail is in what SQLite would pass over.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::image::PAGE;

/// What a log holds.
#[derive(Debug, Default)]
pub(super) struct Log {
    file: Option<File>,
    /// Where the newest committed state of a page lies.
    frames: HashMap<u32, u64>,
    /// How many pages the database has after the last commit; none where there was none.
    pub(super) pages: Option<u32>,
    /// Pages whose newest state cannot be read.
    pub(super) lost: HashSet<u32>,
    pub(super) torn: Torn,
}

/// Whether something of a log was lost that had been synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::queue::sqlite) enum Torn {
    /// It is whole, but for what a crash may leave.
    #[default]
    No,
    /// Of known pages.
    Known,
    /// Of pages that nobody can name.
    Unknown,
}

/// A frame: a page as a transaction left it.
struct Frame {
    /// Where its page begins.
    at: u64,
    page: u32,
    /// Pages of the database, where a transaction ends with it; else 0.
    commit: u32,
    salts: [u8; 8],
    sound: bool,
}

impl Log {
    /// Reads it; a log that is not there, or empty, holds nothing.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut file = match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            file => file?,
        };
        if file.metadata()?.len() < HEADER as u64 {
            return Ok(Self::default());
        }
        let mut header = [0; HEADER];
        file.read_exact(&mut header)?;
        let frames = frames(&mut file, &header)?;
        let mut log = Self { file: Some(file), ..Self::default() };
        log.take(&header, &frames);
        Ok(log)
    }

    pub(super) fn frame(&self, page: u32) -> Option<u64> {
        self.frames.get(&page).copied()
    }

    /// The highest number of a page that it holds, or has lost.
    pub(super) fn highest_page(&self) -> u32 {
        self.frames.keys().chain(&self.lost).copied().max().unwrap_or(0)
    }

    pub(super) fn read_at(&self, page: &mut [u8], at: u64) -> io::Result<()> {
        self.file.as_ref().ok_or(ErrorKind::NotFound)?.read_exact_at(page, at)
    }

    fn take(&mut self, header: &[u8; HEADER], frames: &[Frame]) {
        // The log that is being written; what lies behind it is of an older one.
        let header_sound = sound_header(header);
        let salts = if header_sound { salts(&header[16..24]) } else { frames.first().map_or([0; 8], |one| one.salts) };
        let current = frames.iter().rposition(|frame| frame.sound && frame.salts == salts).map_or(0, |last| last + 1);
        let frames = &frames[..current];
        let ours = |frame: &Frame| frame.sound && frame.salts == salts;
        let bad = frames.iter().position(|frame| !ours(frame)).unwrap_or(frames.len());
        let commits = |of: &[Frame]| of.iter().filter(|frame| ours(frame) && frame.commit > 0).count();
        // Of what follows the bad frame, the first commit may be its own transaction's, which was not synced yet.
        let torn = !header_sound && !frames.is_empty() || commits(&frames[bad..]) > 1;
        let readable = if torn { frames } else { &frames[..bad] };
        let Some(last) = readable.iter().rposition(|frame| ours(frame) && frame.commit > 0) else {
            self.torn = if torn { Torn::Unknown } else { Torn::No };
            return;
        };
        for frame in &readable[..=last] {
            let known = (1..=readable[last].commit).contains(&frame.page) && frame.salts == salts;
            if ours(frame) {
                self.frames.insert(frame.page, frame.at);
                self.lost.remove(&frame.page);
            } else if known {
                self.frames.remove(&frame.page);
                self.lost.insert(frame.page);
            } else {
                self.torn = Torn::Unknown;
            }
        }
        self.pages = Some(readable[last].commit);
        if torn && self.torn == Torn::No {
            self.torn = Torn::Known;
        }
    }
}

/// All frames of the file, each judged by the sum of the one before it.
fn frames(file: &mut File, header: &[u8; HEADER]) -> io::Result<Vec<Frame>> {
    // The last bit of the magic number is the order of the octets that sums are made of.
    let big = header[3] & 1 == 1;
    let mut before = sums_at(&header[24..32]);
    let mut found = Vec::new();
    let mut frame = vec![0; FRAME + PAGE];
    file.seek(SeekFrom::Start(HEADER as u64))?;
    let mut reader = io::BufReader::with_capacity(1 << 20, file);
    let mut at = HEADER as u64;
    loop {
        match reader.read_exact(&mut frame) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(found),
            read => read?,
        }
        let told = sums_at(&frame[16..24]);
        let sums = sum(big, sum(big, before, &frame[..8]), &frame[FRAME..]);
        let number = |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        found.push(Frame {
            at: at + FRAME as u64,
            page: number(0),
            commit: number(4),
            salts: salts(&frame[8..16]),
            sound: sums == told && number(0) > 0,
        });
        before = told;
        at += (FRAME + PAGE) as u64;
    }
}

fn sound_header(header: &[u8; HEADER]) -> bool {
    let big = header[3] & 1 == 1;
    matches!(header[..4], [0x37, 0x7f, 0x06, 0x82 | 0x83])
        && header[8..12] == (PAGE as u32).to_be_bytes()
        && sum(big, [0, 0], &header[..24]) == sums_at(&header[24..32])
}

fn salts(octets: &[u8]) -> [u8; 8] {
    octets.try_into().unwrap_or_default()
}

fn sums_at(octets: &[u8]) -> [u32; 2] {
    [0, 4].map(|at| u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]))
}

/// The sums of section 4.2, going on from those of what came before.
fn sum(big: bool, [mut one, mut two]: [u32; 2], octets: &[u8]) -> [u32; 2] {
    let word = |octets: &[u8]| {
        let octets = [octets[0], octets[1], octets[2], octets[3]];
        if big { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
    };
    for pair in octets.chunks_exact(8) {
        one = one.wrapping_add(word(&pair[..4])).wrapping_add(two);
        two = two.wrapping_add(word(&pair[4..])).wrapping_add(one);
    }
    [one, two]
}

const HEADER: usize = 32;
const FRAME: usize = 24;
