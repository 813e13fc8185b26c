//! Conversations with a session, without I/O: the scripts of `tests/data/session/` ([`script`] says how they are written), each
//! in several chunkings of the same bytes, and properties of any conversation.

pub(crate) mod script;

use std::collections::VecDeque;
use std::time::Duration;

use mailsluice::ids::MessageId;
use mailsluice::session::{
    Action, Answer, AuthRule, Event, Handover, Manners, Policy, Question, Quirk, Refused, Session, Stop, Tls,
};
use mailsluice::smtp::{Reply, ReversePath};
use mailsluice::time::Timestamp;
use proptest::prelude::*;
use secrecy::ExposeSecret;

use self::script::{Directive, Script, matches, policy};

/// A session, and everything that came out of it.
struct Conversation {
    session: Session,
    now: Timestamp,
    lines: VecDeque<String>,
    messages: VecDeque<(Handover, Vec<u8>)>,
    refusals: VecDeque<Refused>,
    quirks: VecDeque<Quirk>,
    endings: VecDeque<Ending>,
    credentials: VecDeque<(String, String)>,
    chunks: Vec<Vec<u8>>,
    answers: VecDeque<Option<Answer>>,
    handed_over: i64,
    abandoned: usize,
    handshake: Handshake,
    closed: bool,
}

/// What is told of the end of a session.
#[derive(Debug, PartialEq)]
enum Ending {
    Unterminated(String),
    CutOff(String),
    Probe,
}

/// Whether the session waits for TLS.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Handshake {
    NotAskedFor,
    AskedFor,
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
            quirks: VecDeque::new(),
            endings: VecDeque::new(),
            credentials: VecDeque::new(),
            chunks: Vec::new(),
            answers: VecDeque::new(),
            handed_over: 0,
            abandoned: 0,
            handshake: Handshake::NotAskedFor,
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
                Action::Report(event) => self.take_event(event),
                Action::StartTls => {
                    assert!(actions.is_empty(), "the handshake is the last action");
                    self.handshake = Handshake::AskedFor;
                }
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
        assert_eq!(self.handshake, Handshake::NotAskedFor, "nothing is said during a handshake");
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            assert!(line.ends_with(b"\r\n") && line.len() <= 512, "a reply line: {line:?}");
            let line = std::str::from_utf8(line).expect("replies are ASCII").trim_end_matches("\r\n");
            let refusal = Reply::new(line[..3].parse().unwrap(), &line[4..]);
            assert!(refusal.is_positive() || refusal.status().is_some(), "its enhanced status: {line}");
            self.lines.push_back(line.to_owned());
        }
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::Refused(refused) => self.refusals.push_back(refused),
            Event::Quirk(quirk) => self.quirks.push_back(quirk),
            Event::Unterminated { from, .. } => self.endings.push_back(Ending::Unterminated(from.to_string())),
            Event::CutOff { from } => self.endings.push_back(Ending::CutOff(from.to_string())),
            Event::Probe => self.endings.push_back(Ending::Probe),
        }
    }

    fn answer(&mut self, question: Question) -> Answer {
        let given = self.answers.pop_front().flatten();
        if let Question::Authenticate(asked) = &question {
            self.credentials.push_back((asked.username.clone(), asked.password.expose_secret().to_owned()));
        }
        if let Some(answer) = given {
            return answer;
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

    fn secure(&mut self) {
        assert_eq!(std::mem::replace(&mut self.handshake, Handshake::NotAskedFor), Handshake::AskedFor);
        let actions = self.session.secured(self.now);
        self.perform(actions);
    }
}

#[test]
fn every_script_goes_as_written_in_any_chunking() {
    let scripts = script::all();
    for script in &scripts {
        for chunk in [usize::MAX, 1, 2, 3, 7, 1000] {
            Run::new(script, chunk).play(script);
        }
    }
    assert!(scripts.len() >= 75, "only {} scripts", scripts.len());
    let without: Vec<u32> = (1..=30).filter(|number| !scripts.iter().any(|script| shows(script, *number))).collect();
    assert_eq!(without, [] as [u32; 0], "quirks without a script");
}

/// Whether the script is the one of this quirk of devices.
fn shows(script: &Script, quirk: u32) -> bool {
    script.name.starts_with(&format!("quirk_{quirk:02}_"))
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
    fn new(script: &Script, chunk: usize) -> Self {
        let mut conversation = Conversation::new(script.policy.clone());
        if matches!(script.steps.first(), Some(step) if matches!(step.directive, Directive::Send(_))) {
            conversation.session.early();
        }
        Self { conversation, chunk, input: Vec::new(), content: None, told: false, place: String::new() }
    }

    fn play(mut self, script: &Script) {
        for step in &script.steps {
            self.place = format!("{} in pieces of {}", step.place, self.chunk);
            if !matches!(step.directive, Directive::Send(_)) {
                let input = std::mem::take(&mut self.input);
                self.conversation.send(&input, self.chunk);
            }
            if !matches!(step.directive, Directive::Content(_)) {
                self.end_of_content();
            }
            self.directive(&step.directive);
        }
        self.place = format!("{} in pieces of {}: at its end", script.name, self.chunk);
        let input = std::mem::take(&mut self.input);
        self.conversation.send(&input, self.chunk);
        self.end_of_content();
        let (left, place) = (&self.conversation, &self.place);
        assert_eq!(left.lines, [""; 0], "{place}: unexpected lines");
        assert!(left.messages.is_empty(), "{place}: unexpected messages {:?}", left.messages);
        assert_eq!(left.refusals, [], "{place}: unexpected reports");
        assert_eq!(left.quirks, [], "{place}: unexpected quirks");
        assert_eq!(left.endings, [], "{place}: unexpected endings");
        assert_eq!(left.credentials, [], "{place}: unexpected credentials");
        assert!(left.answers.is_empty(), "{place}: a question was expected");
        assert!(left.chunks.is_empty(), "{place}: chunks were left behind");
    }

    fn directive(&mut self, directive: &Directive) {
        let (place, conversation) = (&self.place, &mut self.conversation);
        match directive {
            Directive::Send(bytes) => self.input.extend_from_slice(bytes),
            Directive::Reply(pattern) => {
                let line = conversation.lines.pop_front().unwrap_or_else(|| panic!("{place}: the server is silent"));
                assert!(matches(pattern, &line), "{place}: the server says {line}");
            }
            Directive::Answer(answer) => conversation.answers.push_back(answer.clone()),
            Directive::Credentials { username, password } => {
                let asked = conversation.credentials.pop_front();
                assert_eq!(asked.as_ref(), Some(&(username.clone(), password.clone())), "{place}");
            }
            Directive::Message(text) => {
                let message = conversation.messages.pop_front();
                let (handover, content) = message.unwrap_or_else(|| panic!("{place}: no message was handed over"));
                assert_eq!(script::summary(&handover), *text, "{place}");
                self.content = Some(content);
            }
            Directive::Content(line) => {
                let content = self.content.as_mut().unwrap_or_else(|| panic!("{place}: no message is open"));
                let found = String::from_utf8_lossy(content);
                assert!(content.starts_with(line), "{place}: the content goes on {found:?}");
                content.drain(..line.len());
                self.told = true;
            }
            Directive::Refused(pattern) => {
                let refused = conversation.refusals.pop_front();
                let found = script::refused(&refused.unwrap_or_else(|| panic!("{place}: nothing was reported")));
                assert!(matches(pattern, &found), "{place}: reported was {found}");
            }
            Directive::Quirk(name) => {
                assert_eq!(conversation.quirks.pop_front().map(Quirk::as_str), Some(name.as_str()), "{place}");
            }
            Directive::Unterminated(from) => {
                assert_eq!(conversation.endings.pop_front(), Some(Ending::Unterminated(from.clone())), "{place}");
            }
            Directive::CutOff(from) => {
                assert_eq!(conversation.endings.pop_front(), Some(Ending::CutOff(from.clone())), "{place}");
            }
            Directive::Probe => assert_eq!(conversation.endings.pop_front(), Some(Ending::Probe), "{place}"),
            Directive::Pass(span) => conversation.pass(*span),
            Directive::Secured => conversation.secure(),
            Directive::Stop => {
                let actions = conversation.session.stop(Stop::AfterMessage);
                conversation.perform(actions);
            }
            Directive::HangUp => {
                let actions = conversation.session.hung_up();
                conversation.perform(actions);
            }
            Directive::Closed => assert!(conversation.closed, "{place}: the session goes on"),
        }
    }

    /// A message whose content the script begins to tell must be told to its end.
    fn end_of_content(&mut self) {
        let content = self.content.take().filter(|_| std::mem::take(&mut self.told)).unwrap_or_default();
        assert!(content.is_empty(), "{}: {:?} was not expected", self.place, String::from_utf8_lossy(&content));
    }
}

/// Pieces of conversations, sensible and not.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    const KNOWN: [&str; 36] = [
        "EHLO box\r\n",
        "HELO\r\n",
        "HELO my_box \n",
        "MAIL FROM:<a@example.org>\r\n",
        "MAIL FROM:<>\n",
        " mail from : A <a> SIZE=5 X=1\r\n",
        "MAIL FROM:<ü@example.org>\r\n",
        "RCPT TO:<b@example.net>\r\n",
        "RCPT TO:<postmaster>\r\n",
        "RCPT TO:b@example.net; c\r\n",
        "DATA\r\n",
        "DATA\r\n",
        "DATA now\r\n",
        "RSET\r\n",
        "NOOP\r\n",
        "QUITE\r\n",
        "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n",
        "AUTH PLAIN\r\n",
        "AUTH LOGIN\r\n",
        "dXNlcg==\r\n",
        "*\r\n",
        "\r\n.\r\n",
        ".\r\n",
        "\n.\n",
        "\n..\n",
        "\n.\nQUIT\n",
        "\r\n.\n",
        "\r.\r",
        ".",
        "\r",
        "\n",
        "\0",
        "\r\n",
        "Subject: x\r\n\r\nbody\r\n",
        "Subject: ü\r\nbody ü\r\n",
        "\r\n.\r\r\n",
    ];
    // What ends a session, or all that can be read of it, must not come in most of them.
    const LAST: [&str; 4] = ["QUIT\r\n", "STARTTLS\r\n", "GET / HTTP/1.1\r\n", "\x16\x03\x01\x02"];
    prop_oneof![
        1 => proptest::sample::select(&LAST[..]).prop_map(|text: &str| text.as_bytes().to_vec()),
        50 => proptest::sample::select(&KNOWN[..]).prop_map(|text: &str| text.as_bytes().to_vec()),
        5 => proptest::collection::vec(any::<u8>(), 0..40),
        5 => (any::<u8>(), 1000_usize..3000).prop_map(|(byte, count)| vec![byte; count]),
    ]
}

/// What a listener may ask and forgive.
fn some_policy() -> impl Strategy<Value = Policy> {
    let manners = proptest::sample::select(vec![Manners::Tolerant, Manners::Tolerant, Manners::Strict]);
    let tls = proptest::sample::select(vec![Tls::Absent, Tls::Offered, Tls::Active]);
    let auth = proptest::sample::select(vec![
        AuthRule::None,
        AuthRule::AcceptAny,
        AuthRule::Required { in_plain_text: true },
        AuthRule::Required { in_plain_text: false },
    ]);
    (manners, tls, auth, any::<bool>()).prop_map(|(manners, tls, auth, lf_end)| Policy {
        max_message_size: 5000,
        max_recipients: 2,
        manners,
        tls,
        auth,
        lf_end,
        ..policy()
    })
}

/// All that came out of a conversation.
#[derive(Debug, PartialEq)]
struct Outcome {
    lines: VecDeque<String>,
    messages: VecDeque<(Handover, Vec<u8>)>,
    refusals: VecDeque<Refused>,
    quirks: VecDeque<Quirk>,
    endings: VecDeque<Ending>,
    credentials: VecDeque<(String, String)>,
    abandoned: usize,
    handshake: Handshake,
    closed: bool,
}

fn outcome(policy: &Policy, input: &[u8], cuts: &[usize]) -> Outcome {
    let mut conversation = Conversation::new(policy.clone());
    if input.len().is_multiple_of(2) {
        conversation.session.early();
    }
    let mut rest = input;
    for cut in cuts.iter().chain([&usize::MAX]) {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        conversation.send(piece, usize::MAX);
        rest = after;
    }
    let actions = conversation.session.hung_up();
    conversation.perform(actions);
    let Conversation { lines, messages, refusals, quirks, endings, credentials, abandoned, handshake, closed, .. } =
        conversation;
    Outcome { lines, messages, refusals, quirks, endings, credentials, abandoned, handshake, closed }
}

#[test]
fn a_flood_of_refusals_is_reported_up_to_a_bound_until_a_message_is_taken() {
    for flood in [
        "DATA\r\n",
        "RSET\r\nDATA\r\n",
        "MAIL FROM:<x y>\r\n",
        "MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
        "RCPT TO:<x y>\r\n",
        "AUTH LOGIN\r\n",
    ] {
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

#[test]
fn a_flood_of_what_are_no_commands_ends_the_session_unless_messages_come_between() {
    let message = "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx\r\n.\r\n";
    for (fault, needs_auth) in [
        ("FROB\r\n", false),
        ("\r\n", false),
        ("MAIL FROM:<x\r\n", false),
        ("RCPT TO:<a@b> =\r\n", false),
        ("STARTTLS now\r\n", false),
        ("AUTH PLAIN !\r\n", true),
    ] {
        let auth = if needs_auth { AuthRule::Required { in_plain_text: true } } else { AuthRule::None };
        let mut conversation = Conversation::new(Policy { auth, ..policy() });
        if !needs_auth {
            let faults = format!("{}{message}", fault.repeat(20));
            conversation.send(faults.as_bytes(), usize::MAX);
            assert_eq!((conversation.messages.len(), conversation.closed), (1, false), "{fault:?}");
        }
        conversation.send(fault.repeat(20).as_bytes(), usize::MAX);
        assert!(!conversation.closed, "{fault:?}");
        conversation.send(fault.as_bytes(), usize::MAX);
        assert!(conversation.closed && conversation.lines.back().unwrap().starts_with("421 4.7.0 "), "{fault:?}");
    }
}

#[test]
fn ten_thousand_commands_in_one_packet_are_each_answered() {
    let mut conversation = Conversation::new(policy());
    conversation.send("RSET\r\n".repeat(10_000).as_bytes(), usize::MAX);
    assert_eq!(conversation.lines.iter().filter(|line| *line == "250 2.0.0 Ok").count(), 10_000);
}

/// Only where it goes on: a client that has sent all of it would be answered, were it still there.
#[test]
fn content_that_is_cut_off_while_a_chunk_is_stored_is_told_where_it_goes_on() {
    let now = Timestamp::from_secs(1_795_362_588);
    let begun = "HELO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nSubject: x\r\n\r\n";
    let content = "12345678\r\n".repeat(40_000);
    let (mut session, _) = Session::new(policy(), now);
    let asked = session.handle(format!("{begun}{content}").as_bytes(), now);
    assert!(matches!(asked.last(), Some(Action::Ask(Question::Store { seq: 1, .. }))), "{asked:?}");
    let from = ReversePath::Address("a@example.com".parse().unwrap());
    assert_eq!(session.hung_up(), [Action::Abandon, Action::Report(Event::CutOff { from })]);

    let (mut session, _) = Session::new(policy(), now);
    session.handle(format!("{begun}{content}.\r\n").as_bytes(), now);
    let asked = session.answer(Answer::Stored, now);
    assert!(matches!(asked.last(), Some(Action::Ask(Question::Store { seq: 2, .. }))), "{asked:?}");
    assert_eq!(session.hung_up(), [Action::Abandon]);
}

#[test]
fn a_password_is_in_nothing_that_can_be_printed() {
    let logins = [
        "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n",
        "AUTH LOGIN\r\ndXNlcg==\r\nc2VjcmV0\r\n",
        "AUTH AHVzZXIAc2VjcmV0\r\n",
        // The second waits while the first is looked at.
        "AUTH PLAIN AHVzZXIAeA==\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\n",
    ];
    let rules = [AuthRule::AcceptAny, AuthRule::Required { in_plain_text: true }];
    for (login, auth) in logins.into_iter().flat_map(|login| rules.map(|auth| (login, auth))) {
        for cut in 0..=login.len() {
            let now = Timestamp::from_secs(1_795_362_588);
            let (mut session, _) = Session::new(Policy { auth, ..policy() }, now);
            let actions = session.handle(&login.as_bytes()[..cut], now);
            let printed = format!("{session:?} {actions:?}");
            // As text, as base64, and as the numbers of their octets.
            let numbers = |text: &str| format!("{:?}", text.as_bytes()).trim_matches(['[', ']']).to_owned();
            for secret in ["secret", "c2VjcmV0", "c2Vjc", "C2VJCMV0"] {
                assert!(!printed.contains(secret) && !printed.contains(&numbers(secret)), "{printed}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_chunking_of_a_conversation_gives_the_same(
        policy in some_policy(),
        fragments in proptest::collection::vec(fragment(), 0..40),
        cuts in proptest::collection::vec(1_usize..30, 0..200),
    ) {
        let input = fragments.concat();
        prop_assert_eq!(outcome(&policy, &input, &[]), outcome(&policy, &input, &cuts));
    }

    #[test]
    fn one_message_that_was_sent_is_one_message(
        body in proptest::collection::vec(fragment(), 0..40),
        cuts in proptest::collection::vec(1_usize..30, 0..200),
    ) {
        // Found by search, in all of it: what a stricter or laxer reader would take for the end is body.
        let framed = [b"\r\n", body.concat().as_slice(), b"\r\n.\r\n"].concat();
        let end = framed.windows(5).position(|window| window == b"\r\n.\r\n").unwrap() + 5;
        let start = b"EHLO x\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
        let input = [start, &framed[2..end]].concat();
        let Outcome { lines, messages, closed, .. } = outcome(&policy(), &input, &cuts);
        prop_assert_eq!((lines.len(), messages.len(), closed), (11, 1, false));
        prop_assert_eq!(&messages[0].0.envelope.recipients[0].to_string(), "b@example.net");
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
