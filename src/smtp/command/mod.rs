//! Command lines of a client (RFC 5321 §4.1.1). Decides what can be understood, and names what of it is beside the rules;
//! whether that is forgiven, the order of commands and what their parameters mean are the session's.

mod name;
mod path;
mod response;

use super::address::AddressError;
use super::{Address, ReversePath};
pub use response::Response;

/// A line, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What it says.
    pub command: Result<Command, CommandError>,
    /// What of it is beside the rules, each once, in the order of the line.
    pub lapses: Vec<Lapse>,
}

/// A command that can be understood.
#[derive(Debug, PartialEq, Eq)]
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
        /// To whom; never empty.
        to: Vec<ForwardPath>,
        /// What stands behind the paths.
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
    /// STARTTLS (RFC 3207 §4).
    StartTls,
    /// AUTH (RFC 4954 §4).
    Auth {
        /// In upper case (printable, at most 32 characters); empty where none is named.
        mechanism: String,
        /// What stands behind the mechanism.
        initial: Option<Response>,
    },
    /// QUIT, whatever follows it: a device that gets anything but 221 here believes that its mail failed and sends it
    /// again.
    Quit,
}

/// The path of a RCPT command, without the source route (RFC 5321 §4.1.1.3, appendix C).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain: whoever minds this host (RFC 5321 §4.5.1).
    Postmaster,
    /// A local part without a domain, with the one that completes it.
    Bare(Address),
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
    /// It is not `FROM:<…>` or `TO:<…>`, nor anything that can be understood so.
    Form,
    /// It is neither ASCII nor UTF-8.
    Encoding,
    /// What stands between the brackets (printable) is not an address, and why.
    Address(String, AddressError),
    /// This parameter (printable) is not `keyword` or `keyword=value`.
    Parameter(String),
}

/// What is beside the rules in a command that can be understood all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// White space before the command.
    SpaceBefore,
    /// White space behind it, which RFC 5321 §4.1.1 asks servers to bear.
    SpaceBehind,
    /// Something behind a command that stands alone.
    Argument(&'static str),
    /// The name at HELO or EHLO is missing, or neither a domain nor an address literal (RFC 5321 §4.1.1.1).
    OddName,
    /// White space before the path that RFC 5321 §3.3 does not allow, or inside its brackets.
    SpaceInPath,
    /// A path without angle brackets.
    NoBrackets,
    /// A display name in front of the path.
    DisplayName,
    /// A local part without a domain, which was completed.
    BareLocalPart,
    /// A source route, which was dropped; RFC 5321 §4.1.1.3 asks servers to bear it.
    SourceRoute,
    /// Several paths, or what parts them.
    SeveralPaths,
}

/// Commands of SMTP and its extensions that clients try, and that we do not have.
const NOT_IMPLEMENTED: [&str; 3] = ["BDAT", "EXPN", "ETRN"];

/// What is kept of a word that we do not know.
const WORD_OCTETS: usize = 32;

impl Command {
    /// Reads a line, given without its end, in any case. A local part without a domain is completed with
    /// `default_domain`.
    pub fn parse(line: &[u8], default_domain: &str) -> Parsed {
        let mut lapses = Lapses::default();
        let text = line.trim_ascii();
        if line.first().is_some_and(u8::is_ascii_whitespace) && !text.is_empty() {
            lapses.note(Lapse::SpaceBefore);
        }
        let command = command(text, default_domain, &mut lapses);
        if line.last().is_some_and(u8::is_ascii_whitespace) && !text.is_empty() {
            lapses.note(Lapse::SpaceBehind);
        }
        Parsed { command, lapses: lapses.0 }
    }
}

/// What is beside the rules, each once.
#[derive(Debug, Default)]
struct Lapses(Vec<Lapse>);

impl Lapses {
    fn note(&mut self, lapse: Lapse) {
        if !self.0.contains(&lapse) {
            self.0.push(lapse);
        }
    }
}

fn command(line: &[u8], default_domain: &str, lapses: &mut Lapses) -> Result<Command, CommandError> {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    let argument = rest.trim_ascii_start();
    let verb = verb.to_ascii_uppercase();
    let mut alone = |name, command| {
        if !argument.is_empty() {
            lapses.note(Lapse::Argument(name));
        }
        Ok(command)
    };
    match verb.as_slice() {
        b"HELO" => Ok(Command::Helo(name::read(argument, lapses))),
        b"EHLO" => Ok(Command::Ehlo(name::read(argument, lapses))),
        b"MAIL" => path::mail(rest, default_domain, lapses).map_err(CommandError::Mail),
        b"RCPT" => path::rcpt(rest, default_domain, lapses).map_err(CommandError::Rcpt),
        b"DATA" => alone("DATA", Command::Data),
        b"RSET" => alone("RSET", Command::Rset),
        b"QUIT" => alone("QUIT", Command::Quit),
        b"NOOP" => Ok(Command::Noop),
        b"VRFY" => Ok(Command::Vrfy),
        b"HELP" => Ok(Command::Help),
        b"STARTTLS" if argument.is_empty() => Ok(Command::StartTls),
        b"STARTTLS" => Err(CommandError::Argument("STARTTLS")),
        b"AUTH" => Ok(auth(argument)),
        verb if is_quit_and_more(verb) => {
            lapses.note(Lapse::Argument("QUIT"));
            Ok(Command::Quit)
        }
        verb => Err(match NOT_IMPLEMENTED.iter().find(|name| name.as_bytes() == verb) {
            Some(name) => CommandError::NotImplemented(name),
            None => CommandError::Unknown(printable(&verb[..verb.len().min(WORD_OCTETS)])),
        }),
    }
}

/// `QUIT.` and the like; not a longer word.
fn is_quit_and_more(verb: &[u8]) -> bool {
    verb.strip_prefix(b"QUIT").is_some_and(|more| more.first().is_some_and(|byte| !byte.is_ascii_alphanumeric()))
}

fn auth(argument: &[u8]) -> Command {
    let end = argument.iter().position(u8::is_ascii_whitespace).unwrap_or(argument.len());
    let initial = argument[end..].trim_ascii_start();
    Command::Auth {
        mechanism: printable(&argument[..end.min(WORD_OCTETS)]).to_uppercase(),
        initial: (!initial.is_empty()).then(|| Response::new(initial.to_vec())),
    }
}

/// Text that can stand in a log line, a header field or a reply.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
