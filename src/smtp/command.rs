//! Command lines of a client (RFC 5321 §4.1.1). Decides what is well formed; the order of commands and what their
//! parameters mean are the session's.

use super::address::AddressError;
use super::{Address, ReversePath};

/// A well-formed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// HELO with whatever the client calls itself; empty where it gives no name.
    Helo(String),
    /// EHLO likewise.
    Ehlo(String),
    /// MAIL.
    Mail {
        /// From whom.
        from: ReversePath,
        /// What stands behind the path.
        parameters: Vec<Parameter>,
    },
    /// RCPT.
    Rcpt {
        /// To whom.
        to: ForwardPath,
        /// What stands behind the path.
        parameters: Vec<Parameter>,
    },
    /// DATA.
    Data,
    /// RSET.
    Rset,
    /// NOOP; its argument means nothing.
    Noop,
    /// VRFY; we know no mailboxes, so its argument does not matter.
    Vrfy,
    /// HELP; there is one text, whatever the argument.
    Help,
    /// QUIT, whatever follows it: a device that gets anything but 221 here believes that its mail failed and sends it
    /// again.
    Quit,
}

/// The path of a RCPT command, without the source route (RFC 5321 §4.1.1.3, appendix C).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain: whoever minds this host (RFC 5321 §4.5.1).
    Postmaster,
    /// A mailbox.
    Mailbox(Address),
}

/// A parameter of MAIL or RCPT: `SIZE=1000`, `SMTPUTF8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// In upper case.
    pub keyword: String,
    /// What stands behind the `=`.
    pub value: Option<String>,
}

/// Why a line is not a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No command has this name (printable, at most 32 characters).
    Unknown(String),
    /// SMTP has this command, we do not.
    NotImplemented(&'static str),
    /// This command stands alone, but something follows it.
    Argument(&'static str),
    /// MAIL, ill formed.
    Mail(PathError),
    /// RCPT, ill formed.
    Rcpt(PathError),
}

/// What is wrong with a MAIL or RCPT command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathError {
    /// It is not `FROM:<…>` or `TO:<…>`.
    Form,
    /// It is neither ASCII nor UTF-8.
    Encoding,
    /// What stands between the brackets (printable) is not an address, and why.
    Address(String, AddressError),
    /// This parameter (printable) is not `keyword` or `keyword=value`.
    Parameter(String),
}

/// Commands of SMTP and its extensions that clients try, and that we do not have.
const NOT_IMPLEMENTED: [&str; 5] = ["AUTH", "STARTTLS", "BDAT", "EXPN", "ETRN"];

/// What is kept of the name that a client gives at HELO.
const NAME_OCTETS: usize = 512;

impl Command {
    /// Reads a line, given without its end. Any case; white space around it does not matter.
    ///
    /// # Errors
    /// Where the line is not one of our commands, or not in its form.
    pub fn parse(line: &[u8]) -> Result<Self, CommandError> {
        let line = line.trim_ascii();
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (verb, argument) = (&line[..end], line[end..].trim_ascii_start());
        let alone = |name, command| if argument.is_empty() { Ok(command) } else { Err(CommandError::Argument(name)) };
        match verb.to_ascii_uppercase().as_slice() {
            b"HELO" => Ok(Self::Helo(client_name(argument))),
            b"EHLO" => Ok(Self::Ehlo(client_name(argument))),
            b"MAIL" => mail(argument).map_err(CommandError::Mail),
            b"RCPT" => rcpt(argument).map_err(CommandError::Rcpt),
            b"DATA" => alone("DATA", Self::Data),
            b"RSET" => alone("RSET", Self::Rset),
            b"NOOP" => Ok(Self::Noop),
            b"VRFY" => Ok(Self::Vrfy),
            b"HELP" => Ok(Self::Help),
            b"QUIT" => Ok(Self::Quit),
            verb => Err(match NOT_IMPLEMENTED.iter().find(|name| name.as_bytes() == verb) {
                Some(name) => CommandError::NotImplemented(name),
                None => CommandError::Unknown(printable(&verb[..verb.len().min(32)])),
            }),
        }
    }
}

/// Any text is a name: what devices say here (an address without brackets, a product's name, a URL) tells nothing, and
/// refusing it would lose their mail.
fn client_name(argument: &[u8]) -> String {
    let mut name = printable(&argument[..argument.len().min(NAME_OCTETS)]);
    // What is not UTF-8 has become longer.
    while name.len() > NAME_OCTETS {
        name.pop();
    }
    name
}

fn mail(argument: &[u8]) -> Result<Command, PathError> {
    let (path, parameters) = path_and_parameters(argument, "FROM:")?;
    let from = match path {
        "" => ReversePath::Null,
        _ => ReversePath::Address(address(path)?),
    };
    Ok(Command::Mail { from, parameters })
}

fn rcpt(argument: &[u8]) -> Result<Command, PathError> {
    let (path, parameters) = path_and_parameters(argument, "TO:")?;
    let to = match path {
        _ if path.eq_ignore_ascii_case("postmaster") => ForwardPath::Postmaster,
        _ => ForwardPath::Mailbox(address(path)?),
    };
    Ok(Command::Rcpt { to, parameters })
}

/// Splits `FROM:<path> parameter …`. A space behind the colon is against RFC 5321 §3.3, and in half of all handwritten
/// clients.
fn path_and_parameters<'a>(argument: &'a [u8], label: &str) -> Result<(&'a str, Vec<Parameter>), PathError> {
    let argument = std::str::from_utf8(argument).map_err(|_| PathError::Encoding)?;
    let (found, rest) = argument.split_at_checked(label.len()).ok_or(PathError::Form)?;
    if !found.eq_ignore_ascii_case(label) {
        return Err(PathError::Form);
    }
    let rest = rest.trim_start().strip_prefix('<').ok_or(PathError::Form)?;
    let end = end_of_path(rest).ok_or(PathError::Form)?;
    let (path, rest) = (&rest[..end], &rest[end + 1..]);
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return Err(PathError::Form);
    }
    Ok((without_route(path), rest.split_ascii_whitespace().map(parameter).collect::<Result<_, _>>()?))
}

/// Where the `>` stands that closes the path: not one inside a quoted local part.
fn end_of_path(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let closes = byte == b'>' && !quoted;
        if byte == b'"' && !escaped {
            quoted = !quoted;
        }
        escaped = byte == b'\\' && quoted && !escaped;
        closes
    })
}

/// A source route (`@a,@b:`) is dropped, as RFC 5321 appendix C asks for. Colons in address literals do not end it.
fn without_route(path: &str) -> &str {
    if !path.starts_with('@') {
        return path;
    }
    let mut literal = false;
    let colon = path.find(|c| {
        literal = c == '[' || literal && c != ']';
        c == ':' && !literal
    });
    colon.map_or(path, |colon| &path[colon + 1..])
}

fn address(path: &str) -> Result<Address, PathError> {
    path.parse().map_err(|error| PathError::Address(printable(path.as_bytes()), error))
}

fn parameter(text: &str) -> Result<Parameter, PathError> {
    let (keyword, value) = match text.split_once('=') {
        Some((keyword, value)) => (keyword, Some(value.to_owned())),
        None => (text, None),
    };
    if keyword.is_empty() || !keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(PathError::Parameter(printable(text.as_bytes())));
    }
    Ok(Parameter { keyword: keyword.to_ascii_uppercase(), value })
}

/// Text that can stand in a log line, a header field or a reply.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes())
    }

    fn sender(line: &str) -> String {
        match parse(line) {
            Ok(Command::Mail { from, .. }) => from.to_string(),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn paths_are_read_in_all_their_forms() {
        for (line, path) in [
            ("MAIL FROM:<a@b.example>", "a@b.example"),
            ("mail from: <a@b.example> ", "a@b.example"),
            ("MAIL FROM:<>", "<>"),
            ("MAIL FROM:<\"a>b\"@c.example> SIZE=5", "\"a>b\"@c.example"),
            ("MAIL FROM:<\"a\\\">b\"@c.example>", "\"a\\\">b\"@c.example"),
            ("MAIL FROM:<@x.example,@y.example:a@b.example>", "a@b.example"),
            ("MAIL FROM:<@[IPv6:::1]:a@b.example>", "a@b.example"),
            ("MAIL FROM:<jürgen@müller.example> SMTPUTF8", "jürgen@müller.example"),
        ] {
            assert_eq!(sender(line), path, "{line}");
        }
        for line in ["RCPT TO:<Postmaster>", "rcpt to:<POSTMASTER>", "RCPT TO:<@relay.example:postmaster>"] {
            assert_eq!(parse(line), Ok(Command::Rcpt { to: ForwardPath::Postmaster, parameters: vec![] }), "{line}");
        }
    }

    #[test]
    fn parameters_keep_their_values() {
        let Ok(Command::Mail { parameters, .. }) = parse("MAIL FROM:<> size=10  SMTPUTF8 X=") else { panic!() };
        let parameters: Vec<_> = parameters.iter().map(|p| (p.keyword.as_str(), p.value.as_deref())).collect();
        assert_eq!(parameters, [("SIZE", Some("10")), ("SMTPUTF8", None), ("X", Some(""))]);
    }

    #[test]
    fn what_is_ill_formed_is_told_apart() {
        let mail = |error| Err(CommandError::Mail(error));
        let rcpt = |error| Err(CommandError::Rcpt(error));
        for (line, result) in [
            ("", Err(CommandError::Unknown(String::new()))),
            ("FROB x", Err(CommandError::Unknown("FROB".into()))),
            ("STARTTLS", Err(CommandError::NotImplemented("STARTTLS"))),
            ("DATA now", Err(CommandError::Argument("DATA"))),
            ("MAIL", mail(PathError::Form)),
            ("MAIL TO:<a@b>", mail(PathError::Form)),
            ("MAIL FROM:a@b", mail(PathError::Form)),
            ("MAIL FROM:<a@b", mail(PathError::Form)),
            ("MAIL FROM:<a@b>SIZE=1", mail(PathError::Form)),
            ("MAIL FROM:<a@b> =1", mail(PathError::Parameter("=1".into()))),
            ("MAIL FROM:<root>", mail(PathError::Address("root".into(), AddressError::NoDomain))),
            ("RCPT TO:<>", rcpt(PathError::Address(String::new(), AddressError::NoDomain))),
            ("RCPT TO:<a\u{7}@b>", rcpt(PathError::Address("a?@b".into(), AddressError::LocalPart))),
        ] {
            assert_eq!(parse(line), result, "{line:?}");
        }
        assert_eq!(Command::parse(b"MAIL FROM:<j\xFCrgen@b>"), mail(PathError::Encoding));
    }

    #[test]
    fn any_name_is_taken_at_helo() {
        for (line, name) in
            [("HELO", ""), ("EHLO my_cam 2.0", "my_cam 2.0"), ("helo fe80::1", "fe80::1"), ("HELO a\tb\0", "a?b?")]
        {
            let (Ok(Command::Helo(found)) | Ok(Command::Ehlo(found))) = parse(line) else { panic!("{line}") };
            assert_eq!(found, name);
        }
        let long = [b"EHLO ".as_slice(), &[0xE9; 4000]].concat();
        let Ok(Command::Ehlo(name)) = Command::parse(&long) else { panic!() };
        assert!(name.len() <= NAME_OCTETS && name.len() > NAME_OCTETS - 3);
    }

    proptest! {
        #[test]
        fn no_line_panics(start in "(HELO |MAIL FROM:<|RCPT TO:<@|MAIL FROM:<>)?", rest: Vec<u8>) {
            let _ = Command::parse(&[start.as_bytes(), &rest].concat());
        }
    }
}
