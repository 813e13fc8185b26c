//! Parses the command line and picks the exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    mailsluice::cli::main()
}
