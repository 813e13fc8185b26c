//! Scripts of conversations: the files of `tests/data/session/` as values. Two drivers play them: the one without I/O
//! (`session_scripts.rs`) and one over real sockets.
//!
//! A script has one directive a line:
//!
//! | | |
//! |---|---|
//! | `# …` | says what the script shows |
//! | `P: key = value` | sets a key of the policy ([`set`]) |
//! | `C: line` | the client sends a line and CRLF; several in a row are sent at once |
//! | `R: bytes` | the client sends these bytes as they are; `\r`, `\n`, `\0` and `\xNN` as in Rust |
//! | `R: N * bytes` | … N times |
//! | `S: line` | the server's next line is this; `*` stands for any text |
//! | `A: good`, `full`, `hops`, `sender`, `unavailable`, `yes`, `no` | the answer to the next question that no `A:` before it answers; good, which is no to credentials, unless it is said |
//! | `G: user password` | these credentials were asked about |
//! | `M: from to,to protocol helo` | this message was handed over; ` as user` follows where somebody has logged in, ` aliased name, name` where recipients had aliases |
//! | `\| line` | … and this is the next line of its content, with escapes; left out where only size counts |
//! | `L: step from recipient reply` | this refusal was reported; `-` where something is not known; `*` as above |
//! | `Q: name` | this quirk was reported |
//! | `U: from` | content without an end was reported |
//! | `K: from` | content that was cut off was reported |
//! | `B:` | a probe was reported |
//! | `T: seconds` | so much time passes |
//! | `Z:` | the TLS handshake that the session asked for takes place |
//! | `D:` | the daemon stops |
//! | `H:` | the client hangs up |
//! | `X:` | the session has closed |
//!
//! What is sent before the first other directive comes before the banner. Messages, refusals, credentials, quirks and what
//! `U:` and `B:` say are expected in order among their own kind. At the end of a script nothing of any kind may be left
//! that was not expected.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mailsluice::message::repair::SenderField;
use mailsluice::message::sender::SenderRefused;
use mailsluice::route::aliases::Expanded;
use mailsluice::route::{Hidden, LocalMail};
use mailsluice::session::{Answer, AuthRule, Handover, Manners, Policy, Refusal, Refused, Tls};
use mailsluice::smtp::ReversePath;

/// A script, read.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The name of its file without `.txt`.
    pub(crate) name: String,
    /// What holds for its session.
    pub(crate) policy: Policy,
    /// What happens, and what has to have happened.
    pub(crate) steps: Vec<Step>,
}

/// A line of a script that does something.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) directive: Directive,
    /// For messages: the script, the number of the line and its text.
    pub(crate) place: String,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directive {
    /// `C:` and `R:`: the client sends this.
    Send(Vec<u8>),
    /// `S:`: a pattern for [`matches`].
    Reply(String),
    /// `A:`: nothing stands for `good`, which fits every question.
    Answer(Option<Answer>),
    /// `G:`
    Credentials { username: String, password: String },
    /// `M:`: as [`summary`] has it.
    Message(String),
    /// `|`: a line with its CRLF.
    Content(Vec<u8>),
    /// `L:`: a pattern for [`refused`].
    Refused(String),
    /// `Q:`: as `Quirk::as_str` has it.
    Quirk(String),
    /// `U:`: from whom the mail was.
    Unterminated(String),
    /// `K:`: from whom the mail was.
    CutOff(String),
    /// `B:`
    Probe,
    /// `T:`
    Pass(Duration),
    /// `Z:`
    Secured,
    /// `D:`
    Stop,
    /// `H:`
    HangUp,
    /// `X:`
    Closed,
}

/// All scripts, in the order of their names.
pub(crate) fn all() -> Vec<Script> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/session");
    let mut paths: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| Script::parse(&name(path), &fs::read_to_string(path).unwrap())).collect()
}

/// What holds in a script that does not say otherwise.
pub(crate) fn policy() -> Policy {
    Policy { max_message_size: 10_000_000, max_recipients: 100, ..Policy::new("relay.example") }
}

impl Script {
    /// Reads a script; one that is ill written panics, and says where.
    pub(crate) fn parse(name: &str, text: &str) -> Self {
        let (mut policy, mut steps) = (policy(), Vec::new());
        for (number, line) in text.lines().enumerate() {
            let place = format!("{name}: line {}: {line}", number + 1);
            let (word, text) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "#" | "" => {}
                "P:" => set(&mut policy, text, &place),
                _ => steps.push(Step { directive: directive(word, text, &place), place }),
            }
        }
        Self { name: name.to_owned(), policy, steps }
    }
}

fn directive(word: &str, text: &str, place: &str) -> Directive {
    match word {
        "C:" => Directive::Send(format!("{text}\r\n").into_bytes()),
        "R:" => Directive::Send(raw(text)),
        "S:" => Directive::Reply(text.to_owned()),
        "A:" => Directive::Answer(answer(text, place)),
        "G:" => {
            let (username, password) = text.split_once(' ').unwrap_or((text, ""));
            Directive::Credentials { username: username.to_owned(), password: password.to_owned() }
        }
        "M:" => Directive::Message(text.to_owned()),
        "|" => Directive::Content([unescape(text), b"\r\n".to_vec()].concat()),
        "L:" => Directive::Refused(text.to_owned()),
        "Q:" => Directive::Quirk(text.to_owned()),
        "U:" => Directive::Unterminated(text.to_owned()),
        "K:" => Directive::CutOff(text.to_owned()),
        "B:" => Directive::Probe,
        "T:" => Directive::Pass(seconds(text, place)),
        "Z:" => Directive::Secured,
        "D:" => Directive::Stop,
        "H:" => Directive::HangUp,
        "X:" => Directive::Closed,
        other => panic!("{place}: no such directive: {other}"),
    }
}

/// Reads `key = value` of a `P:` line into the policy.
fn set(policy: &mut Policy, text: &str, place: &str) {
    let (key, value) = text.split_once(" = ").unwrap_or_else(|| panic!("{place}: not key = value"));
    let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{place}: not a number: {value}"));
    let patterns = || value.split(' ').map(|pattern| pattern.parse().unwrap()).collect();
    match key {
        "local" => {
            let (aliases, domains) = value.split_once(" at ").unwrap_or_else(|| panic!("{place}: aliases at domains"));
            policy.local = Arc::new(LocalMail::new(expanded(aliases), domains.split(' ').map(str::to_owned)));
        }
        "max_message_size" => policy.max_message_size = number(),
        "max_recipients" => policy.max_recipients = usize::try_from(number()).unwrap(),
        "default_domain" => policy.default_domain = value.to_owned(),
        "manners" => {
            policy.manners = one_of(value, place, &[("tolerant", Manners::Tolerant), ("strict", Manners::Strict)])
        }
        "timeout" => policy.timeout = seconds(value, place),
        "transaction_timeout" => policy.transaction_timeout = seconds(value, place),
        "senders" => policy.senders = patterns(),
        "recipients" => policy.recipients = patterns(),
        "hide" => {
            let known = [("starttls", Hidden::StartTls), ("auth", Hidden::Auth), ("size", Hidden::Size)];
            policy.hidden = value.split(' ').map(|word| one_of(word, place, &known)).collect();
        }
        "tls" => policy.tls = one_of(value, place, &[("offered", Tls::Offered), ("active", Tls::Active)]),
        "auth" => {
            let known = [
                ("accept-any", AuthRule::AcceptAny),
                ("required", AuthRule::Required { in_plain_text: false }),
                ("required-in-plain-text", AuthRule::Required { in_plain_text: true }),
            ];
            policy.auth = one_of(value, place, &known);
        }
        "lf_end" => policy.lf_end = one_of(value, place, &[("true", true), ("false", false)]),
        other => panic!("{place}: no such key: {other}"),
    }
}

/// `root:a@b,c@d jane:e@f`
fn expanded(text: &str) -> Expanded {
    let one = |text: &str| {
        let (name, addresses) = text.split_once(':').unwrap();
        (name.to_owned(), addresses.split(',').map(|address| address.parse().unwrap()).collect())
    };
    text.split(' ').filter(|text| !text.is_empty()).map(one).collect()
}

fn one_of<T: Copy>(word: &str, place: &str, known: &[(&str, T)]) -> T {
    let found = known.iter().find(|(name, _)| *name == word);
    found.unwrap_or_else(|| panic!("{place}: no such value: {word}")).1
}

fn seconds(text: &str, place: &str) -> Duration {
    Duration::from_secs(text.parse().unwrap_or_else(|_| panic!("{place}: not a number of seconds: {text}")))
}

fn answer(name: &str, place: &str) -> Option<Answer> {
    let refusal = match name {
        "good" => return None,
        "yes" => return Some(Answer::Authenticated),
        "no" => return Some(Answer::Denied),
        "full" => Refusal::Full,
        "hops" => Refusal::TooManyHops,
        "sender" => Refusal::SenderNotAllowed {
            refused: SenderRefused::Header { field: SenderField::From, text: "visitor@example.net".into() },
            allowed: vec!["webmaster@example.com".parse().unwrap(), "*@shop.example".parse().unwrap()],
        },
        "unavailable" => Refusal::Unavailable,
        other => panic!("{place}: no such answer: {other}"),
    };
    Some(Answer::Refused(refusal))
}

/// A message as `M:` names it.
pub(crate) fn summary(handover: &Handover) -> String {
    let recipients: Vec<_> = handover.envelope.recipients.iter().map(ToString::to_string).collect();
    let Handover { helo, protocol, envelope, user, aliased, .. } = handover;
    let user = user.as_ref().map_or(String::new(), |user| format!(" as {user}"));
    let aliased = if aliased.is_empty() { String::new() } else { format!(" aliased {}", aliased.join(", ")) };
    format!("{} {} {protocol} {helo}{user}{aliased}", envelope.reverse_path, recipients.join(","))
}

/// A refusal as `L:` names it.
pub(crate) fn refused(refused: &Refused) -> String {
    format!(
        "{} {} {} {}",
        refused.step.as_str(),
        refused.from.as_ref().map_or("-".into(), ReversePath::to_string),
        refused.recipient.as_ref().map_or("-".into(), ToString::to_string),
        refused.reply
    )
}

/// Whether `text` is `pattern`, in which `*` stands for any text.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
        }),
    }
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
