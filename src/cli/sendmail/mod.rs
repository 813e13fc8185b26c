//! `mailsluice sendmail`, `sendmail`, `mailq` and `newaliases`: the relay for programs of this machine, which call these names
//! and nothing else.
//!
//! It knows nothing but where the relay's socket is, since its callers may not read the configuration, and it keeps nothing: it
//! ends with 0 once the relay has the whole message on disk, and with a code and a sentence else. Who the caller is the relay
//! sees by the socket; which of its names may be used, what a local part becomes, and whether the message is taken is decided
//! there.

mod caller;
mod complaint;
mod converse;
mod daemon;
mod flags;
mod input;
mod letter;
mod submit;
mod wire;

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use self::caller::Caller;
use self::complaint::Complaint;
pub(super) use self::flags::Name;
use self::flags::{HELP, Mode, Order, Submission};
use self::input::Message;
use self::letter::Letter;
use self::wire::Patience;
use super::output::{complain, say};
use crate::config::SUBMISSION_SOCKET;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Sendmail {
    /// As sendmail has them; `mailsluice sendmail --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS AND RECIPIENTS")]
    arguments: Vec<OsString>,
}

impl Sendmail {
    /// Does what was typed behind `mailsluice --config FILE sendmail`.
    pub(super) fn run(self, config: &Path) -> ExitCode {
        run(Name::Sendmail, self.arguments, config)
    }
}

/// Does what was typed behind one of the names, with this configuration where no other is named.
pub(super) fn run(name: Name, arguments: impl IntoIterator<Item = OsString>, config: &Path) -> ExitCode {
    match flags::read(name, arguments).and_then(|order| obey(order, config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Complaint { code, text }) => {
            for line in text.lines() {
                complain(format_args!("{}: {line}", name.as_str()));
            }
            ExitCode::from(code as u8)
        }
    }
}

fn obey(order: Order, config: &Path) -> Result<(), Complaint> {
    let Order { mode, socket, config: named } = order;
    let config = named.as_deref().unwrap_or(config);
    match mode {
        Mode::Submit(submission) => submit(&submission, &place(socket)),
        Mode::Converse => converse::converse(&place(socket), Patience::USUAL),
        Mode::ListQueue => daemon::list_queue(config),
        Mode::ReadAliases => daemon::read_aliases(config),
        // The daemon tries by itself, as soon as it may: nobody has to have it hurry.
        Mode::Flush => Ok(()),
        Mode::Help => Ok(say!("{HELP}")?),
        Mode::Version => Ok(say!("mailsluice {}", env!("CARGO_PKG_VERSION"))?),
    }
}

fn submit(submission: &Submission, socket: &Path) -> Result<(), Complaint> {
    let message = Message::read(io::stdin().lock(), submission.end)?;
    let mut letter = Letter::new(submission, message, &Caller::own())?;
    let outcome = submit::submit(&mut letter, socket, Patience::USUAL, submission.talk);
    outcome.complaint(&letter.unreadable).map_or(Ok(()), Err)
}

/// Where the relay listens: as was typed, as the environment says, or where it usually does.
fn place(typed: Option<PathBuf>) -> PathBuf {
    let set = || env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    typed.or_else(set).unwrap_or_else(|| SUBMISSION_SOCKET.into())
}

/// For those who cannot type, as the callers of `/usr/sbin/sendmail`.
const VARIABLE: &str = "MAILSLUICE_SOCKET";
