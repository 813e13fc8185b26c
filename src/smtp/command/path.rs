//! The paths of MAIL and RCPT, and what stands behind them (RFC 5321 §4.1.1.2, §4.1.1.3), in the forms in which devices and
//! handwritten clients give them.

use super::{Command, ForwardPath, Lapse, Lapses, Parameter, PathError, printable};
use crate::smtp::address::AddressError;
use crate::smtp::{Address, ReversePath};

/// Reads what follows the word MAIL.
pub(super) fn mail(text: &[u8], default_domain: &str, lapses: &mut Lapses) -> Result<Command, PathError> {
    let (paths, parameters) = paths_and_parameters(text, "FROM", lapses)?;
    let from = match paths.as_slice() {
        [""] => ReversePath::Null,
        [path] => match address(path, default_domain, lapses)? {
            Written::Whole(address) | Written::Completed(address) => ReversePath::Address(address),
        },
        _ => return Err(PathError::Form),
    };
    Ok(Command::Mail { from, parameters })
}

/// Reads what follows the word RCPT.
pub(super) fn rcpt(text: &[u8], default_domain: &str, lapses: &mut Lapses) -> Result<Command, PathError> {
    let (paths, parameters) = paths_and_parameters(text, "TO", lapses)?;
    let mut forward = |path: &&str| {
        if path.eq_ignore_ascii_case("postmaster") {
            Ok(ForwardPath::Postmaster)
        } else {
            address(path, default_domain, lapses).map(|written| match written {
                Written::Whole(address) => ForwardPath::Mailbox(address),
                Written::Completed(address) => ForwardPath::Bare(address),
            })
        }
    };
    Ok(Command::Rcpt { to: paths.iter().map(&mut forward).collect::<Result<_, _>>()?, parameters })
}

/// Splits ` FROM:<path> parameter …`. There is at least one path, and none that is empty beside others.
fn paths_and_parameters<'a>(
    text: &'a [u8],
    label: &str,
    lapses: &mut Lapses,
) -> Result<(Vec<&'a str>, Vec<Parameter>), PathError> {
    let text = std::str::from_utf8(text).map_err(|_| PathError::Encoding)?;
    let mut rest = behind_label(text, label, lapses)?;
    let mut paths = Vec::new();
    let parameters = loop {
        let behind = take_paths(rest, &mut paths, lapses)?.trim_ascii_start();
        let Some(more) = behind.strip_prefix(SEPARATORS) else { break behind };
        lapses.note(Lapse::SeveralPaths);
        rest = more.trim_ascii_start();
        if rest.is_empty() {
            break rest;
        }
    };
    if paths.iter().any(|path| !path.is_empty()) {
        paths.retain(|path| !path.is_empty());
    } else {
        paths.truncate(1);
    }
    Ok((paths, parameters.split_ascii_whitespace().map(parameter).collect::<Result<_, _>>()?))
}

/// What parts several paths of one command.
const SEPARATORS: [char; 2] = [',', ';'];

/// What stands behind ` FROM:`. White space elsewhere than before the word is against RFC 5321 §3.3, and in half of all
/// handwritten clients.
fn behind_label<'a>(text: &'a str, label: &str, lapses: &mut Lapses) -> Result<&'a str, PathError> {
    let (found, rest) = text.trim_ascii_start().split_at_checked(label.len()).ok_or(PathError::Form)?;
    let (between, path) = rest.split_once(':').ok_or(PathError::Form)?;
    if !found.eq_ignore_ascii_case(label) || !between.trim_ascii().is_empty() {
        return Err(PathError::Form);
    }
    let trimmed = path.trim_ascii_start();
    let spaces = text.len() - text.trim_ascii_start().len() + between.len() + path.len() - trimmed.len();
    if spaces > 1 {
        lapses.note(Lapse::SpaceInPath);
    }
    Ok(trimmed)
}

/// Takes what stands between one pair of brackets, or what has none; returns what follows it.
fn take_paths<'a>(text: &'a str, paths: &mut Vec<&'a str>, lapses: &mut Lapses) -> Result<&'a str, PathError> {
    let Some(open) = opening_bracket(text) else {
        lapses.note(Lapse::NoBrackets);
        let text = without_route(text, lapses);
        let ends = |byte: u8| byte.is_ascii_whitespace() || SEPARATORS.contains(&char::from(byte));
        let end = unquoted(text).find(|(_, byte)| ends(*byte)).map_or(text.len(), |(end, _)| end);
        paths.push(&text[..end]);
        return Ok(&text[end..]);
    };
    if open > 0 {
        lapses.note(Lapse::DisplayName);
    }
    let text = &text[open + 1..];
    let (close, _) = unquoted(text).find(|(_, byte)| *byte == b'>').ok_or(PathError::Form)?;
    let (mut inside, mut behind) = (&text[..close], &text[close + 1..]);
    if let Some((open, _)) = unquoted(inside).filter(|(_, byte)| *byte == b'<').last() {
        let name = &inside[..open];
        // Another path is no name: whoever it is would get nothing.
        if last_separator(name).is_some() && name.contains('@') {
            return Err(PathError::Form);
        }
        lapses.note(Lapse::DisplayName);
        inside = &inside[open + 1..];
        behind = behind.strip_prefix('>').unwrap_or(behind);
    }
    if !behind.is_empty() && !behind.starts_with([' ', '\t', ',', ';']) {
        return Err(PathError::Form);
    }
    split(without_route(trimmed(inside, lapses), lapses), paths, lapses);
    Ok(behind)
}

/// Splits what stands between two brackets where separators part it.
fn split<'a>(mut inside: &'a str, paths: &mut Vec<&'a str>, lapses: &mut Lapses) {
    while let Some((end, _)) = unquoted(inside).find(|(_, byte)| SEPARATORS.contains(&char::from(*byte))) {
        lapses.note(Lapse::SeveralPaths);
        paths.push(inside[..end].trim_ascii());
        inside = inside[end + 1..].trim_ascii_start();
    }
    paths.push(inside);
}

fn trimmed<'a>(inside: &'a str, lapses: &mut Lapses) -> &'a str {
    let trimmed = inside.trim_ascii();
    if trimmed.len() < inside.len() {
        lapses.note(Lapse::SpaceInPath);
    }
    trimmed
}

/// Where the bracket stands that opens the first path: behind nothing or a display name, not behind another path, nor in
/// a parameter such as `AUTH=<>`. The first bracket behind a comma opens the first path only where the comma is a name's,
/// as in `Doe, Jane <a@b>`.
fn opening_bracket(text: &str) -> Option<usize> {
    let (open, _) = unquoted(text).find(|(_, byte)| *byte == b'<')?;
    let before = &text[..open];
    let word = before.rsplit(|c: char| c.is_ascii_whitespace()).next().unwrap_or_default();
    let in_parameter = word.strip_suffix('=').is_some_and(is_keyword);
    let behind_path =
        last_separator(before).is_some_and(|at| before.contains('@') || before[at + 1..].trim().is_empty());
    (!in_parameter && !behind_path).then_some(open)
}

fn last_separator(text: &str) -> Option<usize> {
    unquoted(text).filter(|(_, byte)| SEPARATORS.contains(&char::from(*byte))).map(|(at, _)| at).last()
}

/// The octets outside of quoted strings (RFC 5321 §4.1.2), and where they stand.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().enumerate().filter(move |(_, byte)| {
        let is_outside = !quoted && *byte != b'"';
        if *byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = *byte == b'\\' && quoted && !escaped;
        is_outside
    })
}

/// A source route (`@a,@b:`) is dropped, as RFC 5321 appendix C asks for. Colons in address literals do not end it.
fn without_route<'a>(path: &'a str, lapses: &mut Lapses) -> &'a str {
    if !path.starts_with('@') {
        return path;
    }
    let mut literal = false;
    let colon = path.find(|c| {
        literal = c == '[' || literal && c != ']';
        c == ':' && !literal
    });
    let Some(colon) = colon else { return path };
    lapses.note(Lapse::SourceRoute);
    &path[colon + 1..]
}

/// An address, and how much of it the client has written.
enum Written {
    Whole(Address),
    /// The local part.
    Completed(Address),
}

fn address(path: &str, default_domain: &str, lapses: &mut Lapses) -> Result<Written, PathError> {
    let parsed = match path.parse::<Address>() {
        Err(AddressError::NoDomain) if !path.is_empty() => {
            let completed = format!("{path}@{default_domain}").parse();
            completed.map(Written::Completed).inspect(|_| lapses.note(Lapse::BareLocalPart))
        }
        parsed => parsed.map(Written::Whole),
    };
    parsed.map_err(|error| PathError::Address(printable(path.as_bytes()), error))
}

fn parameter(text: &str) -> Result<Parameter, PathError> {
    let (keyword, value) = match text.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value.to_owned())),
        None => (text, None),
    };
    if !is_keyword(keyword) {
        return Err(PathError::Parameter(printable(text.as_bytes())));
    }
    Ok(Parameter { keyword: keyword.to_ascii_uppercase(), value })
}

fn is_keyword(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
