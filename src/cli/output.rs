//! What commands print. Whoever reads it may stop when it has seen enough, as `head` does: that is no failure, and what
//! the command does goes on.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use super::Failure;

/// Prints a line on standard output; what it takes is what `format!` takes.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::line(format_args!($($text)*)) };
}
pub(super) use say;

/// A line on standard output.
pub(super) fn line(line: impl Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Said(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// So many of them, in words.
pub(super) fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A line on standard error. Where that cannot be written, there is nowhere to say so.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
