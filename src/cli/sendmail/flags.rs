//! What was typed, as the callers of sendmail have typed it for forty years: options of one letter, put together (`-ti`), with
//! their values behind them or in them (`-fjane`, `-f jane`), before, between or behind the recipients. Read by hand, since
//! clap knows no `-oi`.
//!
//! Options that only tell another sendmail how to do its work are taken and not looked at. What would have it do something
//! else is refused, since a program that asked for it waits for that.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use super::complaint::{Code, Complaint};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) mode: Mode,
    /// The socket that was named.
    pub(super) socket: Option<PathBuf>,
    /// The configuration that was named.
    pub(super) config: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Hand in the message on standard input.
    Submit(Submission),
    /// Let standard input and output talk to the relay.
    Converse,
    /// Show what waits.
    ListQueue,
    /// Read the aliases again.
    ReadAliases,
    /// Try what waits, which the daemon does by itself.
    Flush,
    Help,
    Version,
}

/// How the message is to be handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submission {
    /// As they were typed, each perhaps a list.
    pub(super) recipients: Vec<Vec<u8>>,
    pub(super) named_by: NamedBy,
    pub(super) end: End,
    /// As it was typed; none: the calling user.
    pub(super) sender: Option<Vec<u8>>,
    /// Of the author, where the message names none.
    pub(super) full_name: Option<String>,
    pub(super) talk: Talk,
}

/// Who gets the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// Those that were typed.
    Arguments,
    /// Those and the ones in the header, as Postfix does it. Sendmail once took the typed ones away from the others, so
    /// nobody relies on either; here, nobody is left out.
    ArgumentsAndHeader,
}

/// Where the message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// At a dot alone on its line, or at the end of the input.
    LoneDot,
    /// At the end of the input.
    Input,
}

/// Whether the conversation with the relay is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    Silent,
    Shown,
}

/// By which name the program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Sendmail,
    Mailq,
    Newaliases,
}

impl Name {
    /// The name that is the last part of a path.
    pub(crate) fn of(program: &std::path::Path) -> Option<Self> {
        match program.file_name()?.to_str()? {
            "sendmail" => Some(Self::Sendmail),
            "mailq" => Some(Self::Mailq),
            "newaliases" => Some(Self::Newaliases),
            _ => None,
        }
    }

    /// As complaints begin.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sendmail => "sendmail",
            Self::Mailq => "mailq",
            Self::Newaliases => "newaliases",
        }
    }

    fn mode(self) -> Option<Mode> {
        match self {
            Self::Sendmail => None,
            Self::Mailq => Some(Mode::ListQueue),
            Self::Newaliases => Some(Mode::ReadAliases),
        }
    }
}

/// Reads what was typed behind the program's name.
///
/// # Errors
/// With [`Code::Usage`]: an option that is not known, lacks its value or cannot be had here.
pub(super) fn read(name: Name, arguments: impl IntoIterator<Item = OsString>) -> Result<Order, Complaint> {
    let mut rest = arguments.into_iter().map(OsString::into_vec);
    let mut reading = Reading { mode: name.mode(), socket: None, config: None, submission: Submission::default() };
    while let Some(argument) = rest.next() {
        match &argument[..] {
            b"--" => {
                reading.submission.recipients.extend(rest);
                break;
            }
            [b'-', b'-', word @ ..] => reading.word(word, &mut rest)?,
            [b'-', letters @ ..] if !letters.is_empty() => reading.letters(letters, &mut rest)?,
            _ => reading.submission.recipients.push(argument),
        }
    }
    let Reading { mode, socket, config, submission } = reading;
    Ok(Order { mode: mode.unwrap_or(Mode::Submit(submission)), socket, config })
}

impl Default for Submission {
    fn default() -> Self {
        Self {
            recipients: Vec::new(),
            named_by: NamedBy::Arguments,
            end: End::LoneDot,
            sender: None,
            full_name: None,
            talk: Talk::Silent,
        }
    }
}

struct Reading {
    mode: Option<Mode>,
    socket: Option<PathBuf>,
    config: Option<PathBuf>,
    submission: Submission,
}

impl Reading {
    /// `--socket PATH` and the like, which are ours.
    fn word(&mut self, word: &[u8], rest: &mut impl Iterator<Item = Vec<u8>>) -> Result<(), Complaint> {
        match word {
            b"help" => self.mode = Some(Mode::Help),
            b"version" => self.mode = Some(Mode::Version),
            b"socket" => match rest.next() {
                Some(path) => self.socket = Some(OsString::from_vec(path).into()),
                None => return Err(usage("--socket wants a path behind it")),
            },
            _ => match word.strip_prefix(b"socket=") {
                Some(path) => self.socket = Some(OsString::from_vec(path.to_vec()).into()),
                None => return Err(usage(format!("--{} is not known", String::from_utf8_lossy(word)))),
            },
        }
        Ok(())
    }

    /// One argument of letters, of which one that wants a value takes all that follows.
    fn letters(&mut self, mut letters: &[u8], rest: &mut impl Iterator<Item = Vec<u8>>) -> Result<(), Complaint> {
        while let Some((letter, behind)) = letters.split_first() {
            letters = behind;
            match letter {
                b't' => self.submission.named_by = NamedBy::ArgumentsAndHeader,
                b'i' => self.submission.end = End::Input,
                b'v' => self.submission.talk = Talk::Shown,
                b'I' => self.mode = Some(Mode::ReadAliases),
                // Their values stand in them, where they have any.
                b'q' => {
                    self.mode = Some(Mode::Flush);
                    return Ok(());
                }
                b'd' => return Ok(()),
                letter if WITHOUT_VALUE.contains(letter) => {}
                letter if WITH_VALUE.contains(letter) => {
                    let value = if behind.is_empty() { rest.next() } else { Some(behind.to_vec()) };
                    let letter = char::from(*letter);
                    let value = value.ok_or_else(|| usage(format!("-{letter} wants a value behind it")))?;
                    return self.value(letter, value);
                }
                letter => return Err(usage(format!("-{} is not known", letter.escape_ascii()))),
            }
        }
        Ok(())
    }

    fn value(&mut self, letter: char, value: Vec<u8>) -> Result<(), Complaint> {
        let text = String::from_utf8_lossy(&value).into_owned();
        match letter {
            'f' | 'r' => self.submission.sender = Some(value),
            'F' => self.submission.full_name = Some(text),
            'C' => self.config = Some(OsString::from_vec(value).into()),
            'b' => self.mode = mode(&text)?,
            'o' => self.setting(&text),
            'O' if text.to_ascii_lowercase().starts_with("ignoredots") => self.ignore_dots(&text["ignoredots".len()..]),
            'N' if !is_notify(&text) => {
                return Err(usage(format!(
                    "-N {text}: never, or some of success, failure and delay, parted by commas"
                )));
            }
            'R' if !["full", "hdrs"].contains(&&*text.to_ascii_lowercase()) => {
                return Err(usage(format!("-R {text}: full or hdrs")));
            }
            'B' if !["7BIT", "8BITMIME"].contains(&&*text.to_ascii_uppercase()) => {
                return Err(usage(format!("-B {text}: 7BIT or 8BITMIME")));
            }
            _ => {}
        }
        Ok(())
    }

    /// `-oX`, the old way to set an option.
    fn setting(&mut self, text: &str) {
        match text.as_bytes() {
            [b'i', value @ ..] => self.ignore_dots(&String::from_utf8_lossy(value)),
            [b'v', ..] => self.submission.talk = Talk::Shown,
            _ => {}
        }
    }

    /// A value that says no is the only one that does.
    fn ignore_dots(&mut self, value: &str) {
        let no = value.trim_start_matches('=').to_ascii_lowercase();
        self.submission.end = if no.starts_with(['f', 'n', '0']) { End::LoneDot } else { End::Input };
    }
}

/// `-bX`; none is the usual: a message.
fn mode(letter: &str) -> Result<Option<Mode>, Complaint> {
    match letter {
        "m" => Ok(None),
        "s" => Ok(Some(Mode::Converse)),
        "p" => Ok(Some(Mode::ListQueue)),
        "i" => Ok(Some(Mode::ReadAliases)),
        "d" | "D" => {
            Err(usage("-bd: the daemon is `mailsluice serve`, which `systemctl enable --now mailsluice` starts"))
        }
        "v" => {
            Err(usage("-bv: addresses are not verified here; what becomes of a message `mailsluice queue show` says"))
        }
        "t" => {
            Err(usage("-bt: there are no rewriting rules to test here; `mailsluice check` looks at the configuration"))
        }
        other => Err(usage(format!("-b{other} is not known"))),
    }
}

fn is_notify(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text == "never" || text.split(',').all(|one| ["success", "failure", "delay"].contains(&one))
}

fn usage(text: impl Into<String>) -> Complaint {
    Complaint::new(Code::Usage, format!("{}; `sendmail --help` lists what is", text.into()))
}

/// Taken and not looked at.
const WITHOUT_VALUE: &[u8] = b"cGmnUx";
/// Those that want a value.
const WITH_VALUE: &[u8] = b"ABCFLNOpRVXbefhor";

pub(super) const HELP: &str = "\
usage: sendmail [options] [recipient ...] < message
       mailq | newaliases

Hands the message on standard input to the relay of this machine, and ends with 0 once it is on disk there.

  -t             the recipients are those of To:, Cc: and Bcc:, and those on the command line
  -i, -oi        a dot alone on its line does not end the message
  -f, -r ADDR    the sender; '' or '<>' is none; without it, the user
  -F NAME        the full name of the sender, for a message without From:
  -v             show the conversation with the relay
  -bs            speak SMTP on standard input and output
  -bp            what waits, as mailq
  -bi            read the aliases again, as newaliases
  --socket PATH  where the relay listens, before $MAILSLUICE_SOCKET and /run/mailsluice/submission
  -C FILE        the configuration, for -bp and -bi

Taken and not needed here: -bm -q[TIME] -N DSN -R hdrs|full -V ENVID -B TYPE -o... -O ... -A -c -d -e -G -h -L -m -n -p -U -X -x

It ends with 0: taken; 64: wrong usage; 65: no message that can be sent; 67: a recipient was refused; 69: refused; 70, 74: it
failed; 75: try again later; 77: not permitted; 78: the configuration is wrong.";

#[cfg(test)]
mod tests;
