//! Command lines: whatever is read of one can be written on a line again, and means the same there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mailsluice::smtp::command::{Command, ForwardPath, Parsed};
use mailsluice::smtp::{Address, ReversePath};

/// As the session hands it over: without LF, of limited length.
fn is_line(input: &[u8]) -> bool {
    input.len() <= 4096 && !input.contains(&b'\n')
}

fuzz_target!(|line: &[u8]| {
    if !is_line(line) {
        return;
    }
    let Ok(command) = Command::parse(line, DOMAIN).command else { return };
    match &command {
        // Of Latin-1 each octet becomes two.
        Command::Helo(name) | Command::Ehlo(name) => assert!(name.len() <= 3 * 512, "{} octets", name.len()),
        Command::Mail { from: ReversePath::Address(address), .. } => check(address),
        Command::Rcpt { to, .. } => {
            assert!(!to.is_empty() && to.len() <= line.len());
            to.iter().for_each(|path| {
                if let ForwardPath::Bare(address) | ForwardPath::Mailbox(address) = path {
                    check(address)
                }
            });
        }
        _ => {}
    }
    let spaced = [b" \t", line, b" "].concat();
    assert_eq!(Command::parse(&spaced, DOMAIN).command.as_ref(), Ok(&command), "white space around it");
});

/// What goes upstream must be one address on one line, and read there as it was read here.
fn check(address: &Address) {
    let text = address.as_str();
    assert!(text.len() <= 256 + 1 + 255 && !text.chars().any(char::is_control), "{text:?}");
    assert_eq!(text.parse::<Address>().as_ref(), Ok(address));
    let written = format!("MAIL FROM:<{text}>");
    let read = Command::parse(written.as_bytes(), DOMAIN);
    let wanted = Command::Mail { from: ReversePath::Address(address.clone()), parameters: vec![] };
    assert_eq!(read, Parsed { command: Ok(wanted), lapses: vec![] }, "{written}");
}

const DOMAIN: &str = "relay.example";
