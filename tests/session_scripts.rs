//! Conversations with a session, without I/O: the scripts of `tests/data/session/`, each in several chunkings of the same
//! bytes, and properties of any conversation.
//!
//! A script has one directive a line:
//!
//! | | |
//! |---|---|
//! | `# …` | says what the script shows |
//! | `P: key = number` | sets `max_message_size` or `max_recipients` |
//! | `C: line` | the client sends a line and CRLF; several in a row are sent at once |
//! | `R: bytes` | the client sends these bytes as they are; `\r`, `\n`, `\0` and `\xNN` as in Rust |
//! | `R: N * bytes` | … N times |
//! | `S: line` | the server's next line is this; `*` stands for any text |
//! | `A: good`, `full`, `hops`, `sender`, `unavailable` | the answer to the next question; good unless it is said |
//! | `M: from to,to protocol helo` | this message was handed over |
//! | `\| line` | … and this is the next line of its content, with escapes; left out where only size counts |
//! | `L: step from recipient reply` | this refusal was reported; `-` where something is not known; `*` as above |
//! | `T: seconds` | so much time passes |
//! | `D:` | the daemon stops |
//! | `X:` | the session has closed |
//!
//! At its end every line, message and report of the session must have been expected.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mailsluice::ids::MessageId;
use mailsluice::message::repair::SenderField;
use mailsluice::message::sender::SenderRefused;
use mailsluice::session::{Action, Answer, Event, Handover, Policy, Question, Refusal, Refused, Session, Stop};
use mailsluice::smtp::{Reply, ReversePath};
use mailsluice::time::Timestamp;
use proptest::prelude::*;

/// A session, and everything that came out of it.
struct Conversation {
    session: Session,
    now: Timestamp,
    lines: VecDeque<String>,
    messages: VecDeque<(Handover, Vec<u8>)>,
    refusals: VecDeque<Refused>,
    chunks: Vec<Vec<u8>>,
    answers: VecDeque<Option<Refusal>>,
    handed_over: i64,
    abandoned: usize,
    closed: bool,
}

impl Conversation {
    fn new(policy: Policy) -> Self {
        let now = Timestamp::from_secs(1_795_362_588);
        let (session, actions) = Session::new(policy, now);
        let mut conversation = Self {
            session,
            now,
            lines: VecDeque::new(),
            messages: VecDeque::new(),
            refusals: VecDeque::new(),
            chunks: Vec::new(),
            answers: VecDeque::new(),
            handed_over: 0,
            abandoned: 0,
            closed: false,
        };
        conversation.perform(actions);
        conversation
    }

    fn send(&mut self, bytes: &[u8], chunk: usize) {
        for piece in bytes.chunks(chunk) {
            let actions = self.session.handle(piece, self.now);
            self.perform(actions);
        }
    }

    /// Does what a driver does, and holds the session to its contract.
    fn perform(&mut self, actions: Vec<Action>) {
        let mut actions = VecDeque::from(actions);
        while let Some(action) = actions.pop_front() {
            assert!(!self.closed, "nothing follows Close: {action:?}");
            match action {
                Action::Send(bytes) => self.take_lines(&bytes),
                Action::Report(Event::Refused(refused)) => self.refusals.push_back(refused),
                Action::Report(_) | Action::StartTls => {}
                Action::Abandon => {
                    self.chunks.clear();
                    self.abandoned += 1;
                }
                Action::Close => self.closed = true,
                Action::Ask(question) => {
                    assert!(actions.is_empty(), "a question is the last action");
                    assert_eq!(self.session.deadline(), None, "no time limit runs while a question is open");
                    let answer = self.answer(question);
                    actions.extend(self.session.answer(answer, self.now));
                }
            }
        }
    }

    fn take_lines(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            assert!(line.ends_with(b"\r\n") && line.len() <= 512, "a reply line: {line:?}");
            let line = std::str::from_utf8(line).expect("replies are ASCII").trim_end();
            let refusal = Reply::new(line[..3].parse().unwrap(), &line[4..]);
            assert!(refusal.is_positive() || refusal.status().is_some(), "its enhanced status: {line}");
            self.lines.push_back(line.to_owned());
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        if let Some(refusal) = self.answers.pop_front().flatten() {
            return Answer::Refused(refusal);
        }
        match question {
            Question::Store { seq, bytes } => {
                assert_eq!(seq as usize, self.chunks.len() + 1, "chunks come without gaps");
                self.chunks.push(bytes);
                Answer::Stored
            }
            Question::Authenticate(_) => Answer::Denied,
            Question::Enqueue(handover) => {
                let chunks = std::mem::take(&mut self.chunks);
                assert_eq!(handover.chunks as usize, chunks.len());
                let content = [handover.head.clone(), chunks.concat()].concat();
                assert_eq!(handover.size, content.len() as u64);
                self.messages.push_back((handover, content));
                self.handed_over += 1;
                Answer::Enqueued(MessageId(1_795_362_588_000_000 + self.handed_over))
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        self.now = self.now.after(span);
        let actions = self.session.timeout(self.now);
        self.perform(actions);
    }
}

fn policy() -> Policy {
    Policy { max_message_size: 10_000_000, max_recipients: 100, ..Policy::new("relay.example") }
}

#[test]
fn every_script_goes_as_written_in_any_chunking() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/session");
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let script = fs::read_to_string(&path).unwrap();
        for chunk in [usize::MAX, 1, 2, 3, 7, 1000] {
            Run::new(&script, chunk, format!("{} in pieces of {chunk}", path.display())).play(&script);
        }
        count += 1;
    }
    assert!(count >= 10, "only {count} scripts in {}", directory.display());
}

/// One run of a script.
struct Run {
    conversation: Conversation,
    chunk: usize,
    input: Vec<u8>,
    /// Of the message that was expected last, what no line has told yet.
    content: Option<Vec<u8>>,
    told: bool,
    place: String,
}

impl Run {
    fn new(script: &str, chunk: usize, place: String) -> Self {
        let mut policy = policy();
        for (key, value) in script.lines().filter_map(|line| line.strip_prefix("P: ")?.split_once(" = ")) {
            match key {
                "max_message_size" => policy.max_message_size = value.parse().unwrap(),
                "max_recipients" => policy.max_recipients = value.parse().unwrap(),
                other => panic!("{place}: no such key: {other}"),
            }
        }
        Self { conversation: Conversation::new(policy), chunk, input: Vec::new(), content: None, told: false, place }
    }

    fn play(mut self, script: &str) {
        let title = self.place.clone();
        for (number, line) in script.lines().enumerate() {
            self.place = format!("{title}: line {}: {line}", number + 1);
            let (directive, text) = line.split_once(' ').unwrap_or((line, ""));
            if !matches!(directive, "C:" | "R:") {
                let input = std::mem::take(&mut self.input);
                self.conversation.send(&input, self.chunk);
            }
            if directive != "|" {
                self.end_of_content();
            }
            self.directive(directive, text);
        }
        self.place = format!("{title}: at its end");
        self.end_of_content();
        let left = &self.conversation;
        assert_eq!(left.lines, [""; 0], "{}: unexpected lines", self.place);
        assert!(left.messages.is_empty(), "{}: unexpected messages {:?}", self.place, left.messages);
        assert_eq!(left.refusals, [], "{}: unexpected reports", self.place);
        assert!(left.answers.is_empty(), "{}: a question was expected", self.place);
        assert!(left.chunks.is_empty(), "{}: chunks were left behind", self.place);
    }

    fn directive(&mut self, directive: &str, text: &str) {
        let place = &self.place;
        match directive {
            "#" | "P:" | "" => {}
            "C:" => self.input.extend_from_slice(format!("{text}\r\n").as_bytes()),
            "R:" => self.input.extend(raw(text)),
            "S:" => {
                let line =
                    self.conversation.lines.pop_front().unwrap_or_else(|| panic!("{place}: the server is silent"));
                assert!(matches(text, &line), "{place}: the server says {line}");
            }
            "A:" => self.conversation.answers.push_back(refusal(text)),
            "M:" => {
                let message = self.conversation.messages.pop_front();
                let (handover, content) = message.unwrap_or_else(|| panic!("{place}: no message was handed over"));
                assert_eq!(summary(&handover), text, "{place}");
                self.content = Some(content);
            }
            "|" => {
                let content = self.content.as_mut().unwrap_or_else(|| panic!("{place}: no message is open"));
                let line = [unescape(text), b"\r\n".to_vec()].concat();
                assert!(
                    content.starts_with(&line),
                    "{place}: the content goes on {:?}",
                    String::from_utf8_lossy(content)
                );
                content.drain(..line.len());
                self.told = true;
            }
            "L:" => {
                let refused = self.conversation.refusals.pop_front();
                let refused = refused.unwrap_or_else(|| panic!("{place}: nothing was reported"));
                let found = format!(
                    "{} {} {} {}",
                    refused.step.as_str(),
                    refused.from.as_ref().map_or("-".into(), ReversePath::to_string),
                    refused.recipient.as_ref().map_or("-".into(), ToString::to_string),
                    refused.reply
                );
                assert!(matches(text, &found), "{place}: reported was {found}");
            }
            "T:" => self.conversation.pass(Duration::from_secs(text.parse().unwrap())),
            "D:" => {
                let actions = self.conversation.session.stop(Stop::AfterContent);
                self.conversation.perform(actions);
            }
            "X:" => assert!(self.conversation.closed, "{place}: the session goes on"),
            other => panic!("{place}: no such directive: {other}"),
        }
    }

    /// A message whose content the script begins to tell must be told to its end.
    fn end_of_content(&mut self) {
        let content = self.content.take().filter(|_| std::mem::take(&mut self.told)).unwrap_or_default();
        assert!(content.is_empty(), "{}: {:?} was not expected", self.place, String::from_utf8_lossy(&content));
    }
}

fn summary(handover: &Handover) -> String {
    let recipients: Vec<_> = handover.envelope.recipients.iter().map(ToString::to_string).collect();
    let Handover { helo, protocol, envelope, .. } = handover;
    format!("{} {} {protocol} {helo}", envelope.reverse_path, recipients.join(","))
}

fn refusal(name: &str) -> Option<Refusal> {
    Some(match name {
        "good" => return None,
        "full" => Refusal::Full,
        "hops" => Refusal::TooManyHops,
        "sender" => Refusal::SenderNotAllowed {
            refused: SenderRefused::Header { field: SenderField::From, text: "visitor@example.net".into() },
            allowed: vec!["webmaster@example.com".parse().unwrap(), "*@shop.example".parse().unwrap()],
        },
        "unavailable" => Refusal::Unavailable,
        other => panic!("no such refusal: {other}"),
    })
}

fn raw(text: &str) -> Vec<u8> {
    match text.split_once(" * ").and_then(|(count, bytes)| Some((count.parse::<usize>().ok()?, bytes))) {
        Some((count, bytes)) => unescape(bytes).repeat(count),
        None => unescape(text),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (kind, after) = rest.split_first().expect("something behind the backslash");
        rest = after;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b'0' => 0,
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap()
            }
            other => panic!("no such escape: {other}"),
        });
    }
    bytes
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }),
    }
}

/// Pieces of conversations, sensible and not.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: [&str; 21] = [
        "EHLO box\r\n",
        "HELO\r\n",
        "MAIL FROM:<a@example.org>\r\n",
        "MAIL FROM:<>\n",
        "RCPT TO:<b@example.net>\r\n",
        "RCPT TO:<postmaster>\r\n",
        "DATA\r\n",
        "DATA\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUITE\r\n",
        "\r\n.\r\n",
        ".\r\n",
        "\n.\n",
        "\r\n.\n",
        "\r.\r",
        ".",
        "\r",
        "\n",
        "\0",
        "Subject: x\r\n\r\nbody\r\n",
    ];
    prop_oneof![
        8 => proptest::sample::select(&KNOWN[..]).prop_map(|text: &str| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 1000_usize..3000).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

/// All that came out of a conversation.
#[derive(Debug, PartialEq)]
struct Outcome {
    lines: VecDeque<String>,
    messages: VecDeque<(Handover, Vec<u8>)>,
    refusals: VecDeque<Refused>,
    abandoned: usize,
    closed: bool,
}

fn outcome(input: &[u8], cuts: &[usize]) -> Outcome {
    let mut conversation = Conversation::new(Policy { max_message_size: 5000, max_recipients: 2, ..policy() });
    let mut rest = input;
    for cut in cuts.iter().chain([&usize::MAX]) {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        conversation.send(piece, usize::MAX);
        rest = after;
    }
    let Conversation { lines, messages, refusals, abandoned, closed, .. } = conversation;
    Outcome { lines, messages, refusals, abandoned, closed }
}

#[test]
fn a_flood_of_refusals_is_reported_up_to_a_bound_until_a_message_is_taken() {
    for flood in ["DATA\r\n", "RSET\r\nDATA\r\n", "MAIL FROM:<x\r\n", "MAIL FROM:<a@b> X=1\r\n", "RCPT TO:<x\r\n"] {
        let mut conversation = Conversation::new(policy());
        conversation.send(flood.repeat(1000).as_bytes(), usize::MAX);
        assert!(conversation.lines.len() >= 1000);
        let reported = conversation.refusals.len();
        assert!((1..=21).contains(&reported), "{flood:?}: {reported}");
        let last = conversation.refusals.back().unwrap().reply.text();
        assert_eq!(last.contains("more refusals are not reported"), reported == 21, "{last}");

        conversation.refusals.clear();
        conversation
            .send(b"RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\nMAIL FROM:<x\r\n", usize::MAX);
        assert_eq!((conversation.messages.len(), conversation.refusals.len()), (1, 1), "{flood:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_chunking_of_a_conversation_gives_the_same(
        fragments in proptest::collection::vec(fragment(), 0..40),
        cuts in proptest::collection::vec(1_usize..30, 0..200),
    ) {
        let input = fragments.concat();
        prop_assert_eq!(outcome(&input, &[]), outcome(&input, &cuts));
    }

    #[test]
    fn a_long_message_arrives_whole_in_any_chunking(
        lines in proptest::collection::vec((any::<u8>(), 1_usize..200_000), 1..8),
        chunk in 1000_usize..100_000,
    ) {
        let mut content = b"Subject: long\r\n\r\n".to_vec();
        for (byte, count) in lines {
            content.extend(vec![if matches!(byte, b'\r' | b'\n' | b'.') { b'x' } else { byte }; count]);
            content.extend_from_slice(b"\r\n");
        }
        let mut conversation = Conversation::new(policy());
        let start = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
        conversation.send(&[start, content.as_slice(), b".\r\nNOOP\r\n"].concat(), chunk);
        prop_assert_eq!(conversation.lines.len(), 6);
        prop_assert_eq!(&conversation.messages[0].1, &content);
    }
}
