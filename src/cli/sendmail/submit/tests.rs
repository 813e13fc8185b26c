use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

use super::super::caller::Caller;
use super::super::flags::{End, Submission};
use super::super::input::Message;
use super::*;

/// What a relay does at one step, counted from 1 within its kind.
type Script = fn(verb: &str, count: usize) -> Option<&'static str>;

/// A relay that takes everything, unless its script has another reply; an empty one hangs up.
struct Stand {
    _folder: TempDir,
    socket: PathBuf,
    relay: JoinHandle<Vec<String>>,
}

impl Stand {
    /// Serves sessions until one says END, and then tells what was said in them.
    fn start(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let relay = std::thread::spawn(move || {
            let (mut said, mut counts) = (Vec::new(), std::collections::HashMap::new());
            while said.last().is_none_or(|line| line != "END") {
                let _ = serve(listener.accept().unwrap().0, script, &mut counts, &mut said);
            }
            said.pop();
            said
        });
        Self { _folder: folder, socket, relay }
    }

    fn submit(self, recipients: usize) -> (Outcome, Vec<String>) {
        let to = (0..recipients).map(|number| format!("r{number}@x.org").into_bytes()).collect();
        let submission = Submission { recipients: to, ..Submission::default() };
        let message = Message::read(&b"Subject: x\n\n.dot\n"[..], End::Input).unwrap();
        let caller = Caller { name: "jane".into(), full_name: String::new() };
        let mut letter = Letter::new(&submission, message, &caller).unwrap();
        let patience =
            Patience { step: Duration::from_secs(30), end: Duration::from_secs(30), pauses: &[Duration::ZERO; 2] };
        let outcome = submit(&mut letter, &self.socket, patience, Talk::Silent);
        UnixStream::connect(&self.socket).unwrap().write_all(b"END\r\n").unwrap();
        (outcome, self.relay.join().unwrap())
    }
}

fn serve(
    stream: UnixStream,
    script: Script,
    counts: &mut std::collections::HashMap<String, usize>,
    said: &mut Vec<String>,
) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    // Whoever says END does not wait for it.
    let _ = out.write_all(b"220 relay.example\r\n");
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next().transpose()? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        said.push(line);
        let mut reply = |verb: &str| {
            let count = counts.entry(verb.to_owned()).or_default();
            *count += 1;
            script(verb, *count).unwrap_or(if verb == "DATA" { "354 go" } else { "250 2.0.0 Ok" })
        };
        let mut heard = reply(&verb);
        if verb == "DATA" && heard.starts_with("354") {
            out.write_all(b"354 go\r\n")?;
            said.extend(lines.by_ref().map_while(Result::ok).take_while(|line| line != "."));
            heard = reply("end");
        }
        if heard.is_empty() {
            return Ok(());
        }
        out.write_all(format!("{heard}\r\n").as_bytes())?;
    }
    Ok(())
}

fn complaint(outcome: Outcome) -> (Code, String) {
    outcome.complaint(&[]).map(|complaint| (complaint.code, complaint.text)).unwrap()
}

#[test]
fn all_of_it_goes_over_the_wire_and_the_end_is_said() {
    let (outcome, said) = Stand::start(|_, _| None).submit(2);
    assert_eq!((outcome.taken.len(), outcome.complaint(&[])), (2, None));
    let said: Vec<&str> = said.iter().map(String::as_str).skip(1).collect();
    let wanted =
        ["MAIL FROM:<jane>", "RCPT TO:<r0@x.org>", "RCPT TO:<r1@x.org>", "DATA", "Subject: x", "", "..dot", "QUIT"];
    assert_eq!(said, wanted);
}

#[test]
fn who_is_refused_is_named_with_those_who_are_not() {
    let (outcome, _) =
        Stand::start(|verb, count| (verb == "RCPT" && count == 2).then_some("550 5.1.1 no such user")).submit(3);
    let (code, text) = complaint(outcome);
    assert_eq!(code, Code::NoUser);
    assert_eq!(
        text,
        "not sent to r1@x.org: 550 5.1.1 no such user\n\
         the message goes to r0@x.org, r2@x.org: do not send it to them again"
    );
    let (outcome, said) = Stand::start(|verb, _| (verb == "RCPT").then_some("451 4.3.0 later")).submit(30);
    let (code, text) = complaint(outcome);
    assert_eq!(code, Code::Temporary);
    assert!(text.contains("\nnot sent to 10 recipients more\nnobody gets the message"), "{text}");
    assert!(!said.contains(&"DATA".to_owned()));
}

#[test]
fn a_refusal_of_the_message_has_its_own_code() {
    let cases: [(Script, Code); 6] = [
        (|verb, _| (verb == "MAIL").then_some("550 5.7.1 not this sender"), Code::NoPermission),
        (|verb, _| (verb == "MAIL").then_some("552 5.3.4 too large"), Code::Unavailable),
        (|verb, _| (verb == "DATA").then_some("451 4.3.0 later"), Code::Temporary),
        (|verb, _| (verb == "end").then_some("452 4.3.1 full"), Code::Temporary),
        (|verb, _| (verb == "end").then_some("554 5.6.0 no"), Code::Unavailable),
        (|verb, _| (verb == "end").then_some("hello"), Code::Software),
    ];
    for (script, code) in cases {
        let (outcome, _) = Stand::start(script).submit(1);
        let (got, text) = complaint(outcome);
        assert_eq!(got, code, "{text}");
        assert!(text.contains("nobody gets the message") && text.contains("not sent to r0@x.org"), "{text}");
    }
    for step in ["EHLO", "MAIL", "DATA", "end"] {
        let (outcome, _) = match step {
            "EHLO" => Stand::start(|verb, _| (verb == "EHLO").then_some("")),
            "MAIL" => Stand::start(|verb, _| (verb == "MAIL").then_some("421 4.3.2 stopping")),
            "DATA" => Stand::start(|verb, _| (verb == "DATA").then_some("")),
            _ => Stand::start(|verb, _| (verb == "end").then_some("")),
        }
        .submit(1);
        assert_eq!(complaint(outcome).0, Code::Temporary, "{step}");
    }
}

#[test]
fn many_recipients_are_parted_as_the_relay_takes_them_and_none_is_lost() {
    let (outcome, said) = Stand::start(|_, _| None).submit(2500);
    assert_eq!((outcome.taken.len(), outcome.complaint(&[])), (2500, None));
    assert_eq!(said.iter().filter(|line| line.starts_with("MAIL")).count(), 3);

    // The relay's limit is met once, and kept from then on.
    let (outcome, said) =
        Stand::start(|verb, count| (verb == "RCPT" && count == 101).then_some("452 4.5.3 too many")).submit(250);
    assert_eq!(outcome.taken.len(), 250);
    assert_eq!(outcome.taken.iter().collect::<std::collections::BTreeSet<_>>().len(), 250);
    assert_eq!(said.iter().filter(|line| line.starts_with("RCPT")).count(), 251);
    assert_eq!(said.iter().filter(|line| *line == "DATA").count(), 3);
}

#[test]
fn what_is_left_is_tried_again_where_a_part_has_it() {
    // The second transaction fails at its end, and again after a new connection, and then not.
    let (outcome, _) = Stand::start(|verb, count| match (verb, count) {
        ("end", 2) => Some(""),
        ("end", 3) => Some("452 4.3.1 full"),
        _ => None,
    })
    .submit(1500);
    assert_eq!((outcome.taken.len(), outcome.complaint(&[])), (1500, None));

    // In the end it is told who has it and who has not.
    let (outcome, _) =
        Stand::start(|verb, count| (verb == "end" && count > 1).then_some("451 4.3.0 later")).submit(1002);
    let (code, text) = complaint(outcome);
    assert_eq!(code, Code::Temporary);
    assert!(text.contains("not sent to r1000@x.org, r1001@x.org\nthe message goes to r0@x.org, r1@x.org"), "{text}");
    assert!(text.contains(" and 980 more: do not send it to them again"), "{text}");

    // A refusal for good is not tried again.
    let (outcome, _) =
        Stand::start(|verb, count| (verb == "MAIL" && count == 2).then_some("550 5.7.1 no")).submit(1002);
    assert_eq!(complaint(outcome).0, Code::NoPermission);
}

#[test]
fn who_finds_no_place_now_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let busy = std::thread::spawn(move || {
        for greeting in ["421 4.7.0 too many", "421 4.7.0 too many", "220 relay.example", "421 4.3.2 stopping"] {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(format!("{greeting}\r\n250 relay.example\r\n").as_bytes()).unwrap();
        }
    });
    let greet = |pauses| {
        let patience = Patience { pauses, ..Patience::USUAL };
        Relay::greet(&socket, patience, Talk::Silent).map(|_| ()).map_err(|complaint| complaint.code)
    };
    assert_eq!(greet(&[Duration::ZERO; 2]), Ok(()));
    assert_eq!(greet(&[]), Err(Code::Temporary));
    busy.join().unwrap();
}
