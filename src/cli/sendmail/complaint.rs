//! What sendmail ends with that is not success: a code that programs know, and a text for whoever reads it.

use std::io;

use super::super::Failure;
use crate::app::AppError;
use crate::queue::OpenError;
use crate::smtp::Reply;

/// The codes of sysexits.h that sendmail ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The command line is wrong.
    Usage = 64,
    /// There is no message that could be sent.
    Data = 65,
    /// A recipient was refused.
    NoUser = 67,
    /// The relay refuses the message.
    Unavailable = 69,
    /// This program or the relay is at fault.
    Software = 70,
    /// A file or standard input fails.
    Io = 74,
    /// Later it may work.
    Temporary = 75,
    /// This user, or this sender, may not.
    NoPermission = 77,
    /// The configuration is wrong.
    Config = 78,
}

/// Why it was not done, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) code: Code,
    /// What happened, where, and what to do; perhaps several lines.
    pub(super) text: String,
}

impl Complaint {
    pub(super) fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Standard input or a file of ours fails.
    pub(super) fn io(what: &str, error: &io::Error) -> Self {
        Self::new(Code::Io, format!("{what}: {error}: the message was not sent"))
    }
}

impl Code {
    /// What a refusal other than of a recipient comes to. Status 5.7 is policy (RFC 3463 §3.8).
    pub(super) fn of_refusal(reply: &Reply) -> Self {
        match reply.status() {
            _ if reply.is_transient() => Self::Temporary,
            Some(status) if status.subject == 7 => Self::NoPermission,
            _ if reply.is_permanent() => Self::Unavailable,
            // Neither: the relay says what has no place there.
            _ => Self::Software,
        }
    }
}

impl From<Failure> for Complaint {
    fn from(failure: Failure) -> Self {
        let code = match &failure {
            Failure::Denied(_) | Failure::App(AppError::Open(OpenError::Owner { .. })) => Code::NoPermission,
            Failure::App(AppError::Config(_)) => Code::Config,
            Failure::App(AppError::Open(OpenError::Locked { .. })) => Code::Temporary,
            Failure::App(AppError::Store(_) | AppError::Open(_)) => Code::Io,
            Failure::App(_) | Failure::Said(_) => Code::Unavailable,
            Failure::Usage(_) => Code::Usage,
        };
        Self::new(code, failure.text())
    }
}
