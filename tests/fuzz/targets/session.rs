//! Sessions: any octets in any pieces. The driver here does what `receive` does.
//!
//! Where the first 16 octets of the input hold LF, what stands before it chooses the policy, one letter for each deviation, and
//! its digits the sizes of pieces; the rest is what the client sends (`tests/fuzz/seeds` writes such inputs). In it, 0x1A begins
//! an order to the driver of three octets: 0x1A, N, X sends N × 1024 times X, and with N = 0: `D` the daemon stops, `N` at
//! once, `T` the deadline has come.

#![no_main]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use mailsluice::ids::MessageId;
use mailsluice::route::{Hidden, LocalMail};
use mailsluice::session::{Action, Answer, AuthRule, Handover, Manners, Policy, Question, Refusal, Session, Stop, Tls};
use mailsluice::time::Timestamp;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

fuzz_target!(|input: &[u8]| {
    let (options, input) = match input.iter().take(16).position(|octet| *octet == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (&b""[..], input),
    };
    let events = events(input);
    let whole = Conversation::of(options, &events, Pieces::chosen(options));
    let single = Conversation::of(options, &events, Pieces::Single);
    let ends = single.ends;
    assert!(single.messages <= ends, "{} messages, {ends} ends of content", single.messages);
    // What follows STARTTLS in its piece is thrown away, so that pieces matter.
    if !options.contains(&b't') {
        assert_eq!(whole.heard.finish(), single.heard.finish(), "another size of pieces, another conversation");
    }
});

/// What happens to a session.
#[derive(Clone)]
enum Event {
    Octets(Vec<u8>),
    Stop(Stop),
    Deadline,
}

fn events(input: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut room = REPEATED_OCTETS;
    let mut octets = Vec::new();
    let mut rest = input;
    while let Some((first, after)) = rest.split_first() {
        let event = match rest {
            [0x1A, 0, b'D', ..] => Event::Stop(Stop::AfterMessage),
            [0x1A, 0, b'A', ..] => Event::Stop(Stop::AfterTransaction),
            [0x1A, 0, b'N', ..] => Event::Stop(Stop::Now),
            [0x1A, 0, b'T', ..] => Event::Deadline,
            [0x1A, count, octet, after @ ..] => {
                let count = (usize::from(*count) << 10).min(room);
                room -= count;
                octets.extend(std::iter::repeat_n(*octet, count));
                rest = after;
                continue;
            }
            _ => {
                octets.push(*first);
                rest = after;
                continue;
            }
        };
        rest = &rest[3..];
        events.push(Event::Octets(std::mem::take(&mut octets)));
        events.push(event);
    }
    events.push(Event::Octets(octets));
    events
}

/// What of the octets that a client sends comes at once.
#[derive(PartialEq)]
enum Pieces {
    /// So many, and how many pieces there have been.
    Of(Vec<usize>, usize),
    /// One, or a run of the same one, within which nothing can happen.
    Single,
}

impl Pieces {
    /// `1` to `8` are so many octets, `9` is as many as the driver of `receive` hands over at most, `0` as many as it
    /// reads.
    fn chosen(options: &[u8]) -> Self {
        let size = |digit: &u8| match digit {
            b'0' => 16 * 1024,
            b'9' => 1024,
            digit => usize::from(digit - b'0'),
        };
        Self::Of(options.iter().filter(|octet| octet.is_ascii_digit()).map(size).collect(), 0)
    }

    fn next(&mut self, octets: &[u8]) -> usize {
        let size = match self {
            Self::Single => octets.iter().take(1025).take_while(|octet| **octet == octets[0]).count().max(2) - 1,
            Self::Of(sizes, count) => {
                *count += 1;
                let last = if *count < PIECES { sizes.last() } else { None };
                *sizes.get(*count - 1).or(last).unwrap_or(&1024)
            }
        };
        size.min(octets.len())
    }
}

fn policy(options: &[u8]) -> Policy {
    let has = |option: u8| options.contains(&option);
    Policy {
        manners: if has(b's') { Manners::Strict } else { Manners::Tolerant },
        max_message_size: if has(b'm') { 5_000 } else { 1_000_000 },
        max_recipients: if has(b'r') { 2 } else { 20 },
        senders: if has(b'f') { vec!["*@example.com".parse().unwrap()] } else { vec![] },
        recipients: if has(b'g') { vec!["*@example.org".parse().unwrap()] } else { vec![] },
        hidden: if has(b'h') { vec![Hidden::StartTls, Hidden::Auth, Hidden::Size] } else { vec![] },
        tls: match (has(b't'), has(b'i')) {
            (true, _) => Tls::Offered,
            (false, true) => Tls::Active,
            (false, false) => Tls::Absent,
        },
        auth: match (has(b'a'), has(b'u')) {
            (true, _) => AuthRule::AcceptAny,
            (false, true) => AuthRule::Required { in_plain_text: has(b'p') },
            (false, false) => AuthRule::None,
        },
        lf_end: has(b'l'),
        local: if has(b'o') { local() } else { Arc::default() },
        ..Policy::new("relay.example")
    }
}

/// Aliases of which none, one and many stand for a recipient.
fn local() -> Arc<LocalMail> {
    let list = |count: usize| (0..count).map(|at| format!("{at}@example.org").parse().unwrap()).collect();
    let aliases = [("root".to_owned(), list(1)), ("all".to_owned(), list(30))].into_iter().collect();
    Arc::new(LocalMail::new(aliases, ["relay.example".to_owned(), "localhost".to_owned()]))
}

/// A conversation and what came out of it.
struct Conversation {
    session: Session,
    now: Timestamp,
    /// Questions about the queue are refused.
    full: bool,
    lf_end: bool,
    /// All replies and messages.
    heard: DefaultHasher,
    /// The chunks of the message that is arriving.
    stored: DefaultHasher,
    messages: usize,
    /// How often content has ended, as [`Ends`] sees it.
    ends: usize,
    content: Option<Ends>,
    chunks: u32,
    secured: bool,
    closed: bool,
}

impl Conversation {
    fn of(options: &[u8], events: &[Event], mut pieces: Pieces) -> Self {
        let before = ALLOCATED.current_usage();
        let now = Timestamp::from_secs(1_795_362_588);
        let policy = policy(options);
        let lf_end = policy.lf_end;
        let (session, banner) = Session::new(policy, now);
        let full = options.contains(&b'q');
        let (heard, stored, content) = (DefaultHasher::new(), DefaultHasher::new(), None);
        let (messages, ends, chunks, secured, closed) = (0, 0, 0, false, false);
        let mut talk =
            Self { session, now, full, lf_end, heard, stored, messages, ends, content, chunks, secured, closed };
        talk.perform(banner);
        for event in events {
            match event {
                Event::Octets(octets) => {
                    let mut rest = octets.as_slice();
                    while !rest.is_empty() {
                        let (piece, after) = rest.split_at(pieces.next(rest));
                        talk.send(piece, pieces == Pieces::Single);
                        let held = ALLOCATED.current_usage().saturating_sub(before);
                        assert!(held <= HELD_OCTETS, "a session holds {held} octets");
                        rest = after;
                    }
                }
                Event::Stop(stop) => {
                    let actions = talk.session.stop(*stop);
                    talk.perform(actions);
                }
                Event::Deadline => talk.deadline(),
            }
        }
        if options.contains(&b'w') && !talk.closed {
            talk.deadline();
            assert!(talk.closed, "a session ends when its time has come");
        }
        // A client that goes away is told nothing.
        let actions = talk.session.hung_up();
        assert!(actions.iter().all(|action| matches!(action, Action::Report(_) | Action::Abandon)), "{actions:?}");
        talk
    }

    fn send(&mut self, piece: &[u8], is_single: bool) {
        if is_single && !self.closed {
            if let Some(content) = &mut self.content {
                if content.end_with(piece[0], self.lf_end) {
                    self.ends += 1;
                    self.content = None;
                } else if piece.len() > 1 {
                    content.end_with(piece[0], self.lf_end);
                }
            }
        }
        let actions = self.session.handle(piece, self.now);
        self.perform(actions);
    }

    fn deadline(&mut self) {
        if let Some(deadline) = self.session.deadline() {
            self.now = self.now.max(deadline);
        }
        let actions = self.session.timeout(self.now);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        let mut actions = actions.into_iter();
        while let Some(action) = actions.next() {
            assert!(!self.closed, "nothing follows Close: {action:?}");
            match action {
                Action::Send(bytes) => self.hear(&bytes),
                Action::Report(event) => drop(format!("{event:?}")),
                Action::Abandon => {
                    assert!(self.chunks > 0, "there is nothing to abandon");
                    self.chunks = 0;
                    self.stored = DefaultHasher::new();
                }
                Action::Close => {
                    assert!(actions.as_slice().is_empty() && self.session.deadline().is_none());
                    self.closed = true;
                }
                Action::StartTls => {
                    assert!(actions.as_slice().is_empty() && !self.secured);
                    self.secured = true;
                    actions = self.session.secured(self.now).into_iter();
                }
                Action::Ask(question) => {
                    assert!(actions.as_slice().is_empty(), "a question is the last action");
                    assert_eq!(self.session.deadline(), None, "no time limit runs while a question is open");
                    let answer = self.answer(question);
                    actions = self.session.answer(answer, self.now).into_iter();
                }
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        assert!(bytes.ends_with(b"\r\n"));
        self.heard.write(bytes);
        for line in bytes.split_inclusive(|octet| *octet == b'\n') {
            let text = line.strip_suffix(b"\r\n").expect("a line ends in CRLF");
            assert!(line.len() <= 512, "{} octets", line.len());
            assert!(text.len() >= 4 && text[..3].iter().all(u8::is_ascii_digit), "no code");
            assert!(matches!(text[3], b' ' | b'-') && text.iter().all(|octet| (b' '..=b'~').contains(octet)));
            if matches!(text[0], b'4' | b'5') {
                assert!(text[4..].starts_with(&[text[0], b'.']), "no enhanced status");
            }
            if text.starts_with(b"354") {
                self.content = Some(Ends::after_crlf());
            }
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        match question {
            Question::Authenticate(credentials) if credentials.username.len() % 2 == 0 => Answer::Authenticated,
            Question::Authenticate(_) => Answer::Denied,
            Question::Store { seq, bytes } => {
                assert_eq!(seq, self.chunks + 1, "chunks come without gaps");
                assert!(bytes.len() <= CHUNK_OCTETS + 16 * 1024 + 2, "a chunk of {} octets", bytes.len());
                self.chunks = seq;
                if self.full {
                    return Answer::Refused(Refusal::Full);
                }
                self.stored.write(&bytes);
                Answer::Stored
            }
            Question::Enqueue(handover) => {
                assert_eq!(handover.chunks, self.chunks);
                assert!(handover.head.len() <= CHUNK_OCTETS);
                assert!(!handover.envelope.recipients.is_empty());
                assert!(handover.chunks > 0 || handover.size == handover.head.len() as u64);
                let crlf = handover.head.windows(2).filter(|window| window == b"\r\n").count();
                for end in [b'\r', b'\n'] {
                    assert_eq!(handover.head.iter().filter(|octet| **octet == end).count(), crlf, "bare line ends");
                }
                // How many chunks there are depends on the pieces.
                format!("{:?}", Handover { chunks: 0, ..handover }).hash(&mut self.heard);
                self.heard.write_u64(std::mem::take(&mut self.stored).finish());
                self.messages += 1;
                if self.full {
                    return Answer::Refused(Refusal::Full);
                }
                self.chunks = 0;
                Answer::Enqueued(MessageId(1_795_362_588_000_000))
            }
        }
    }
}

/// The last five octets of content, from the line end of DATA on: whether they are the end that RFC 5321 §4.1.1.4 names.
struct Ends([u8; 5]);

impl Ends {
    fn after_crlf() -> Self {
        Self(*b"   \r\n")
    }

    fn end_with(&mut self, octet: u8, lf_end: bool) -> bool {
        self.0.rotate_left(1);
        self.0[4] = octet;
        self.0 == *b"\r\n.\r\n" || lf_end && (self.0.ends_with(b"\n.\n") || self.0.ends_with(b"\n.\r\n"))
    }
}

/// What orders may send in one conversation.
const REPEATED_OCTETS: usize = 600 << 10;
/// Pieces of one size, before they are as large as those of `receive`.
const PIECES: usize = 2_000;
/// What `session` keeps of content, and of a header block.
const CHUNK_OCTETS: usize = 256 << 10;
/// A header block and the chunk behind it, in vectors that may have doubled, and a transaction.
const HELD_OCTETS: usize = 4 * CHUNK_OCTETS + (64 << 10);
