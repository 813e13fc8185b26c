//! The command line: what can be typed, and what each command does and returns.
//!
//! Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 65 the queue is damaged; 74 the queue failed; 75 somebody else has
//! the queue; 78 the configuration is wrong (the last four after sysexits.h). A restart may help after 74 and 75, and does
//! not after 65 and 78.

mod account;
mod check;
mod doctor;
mod health;
mod output;
mod pages;
mod queue;
mod quickstart;
mod reach;
mod reload;
mod sandbox;
mod sendmail;
mod serve;
mod setup;
mod table;
mod trial;
mod user;

use std::env;
use std::io::{self, ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::AppError;
use crate::observe::logging::{self, LogFormat, LogTarget};
use crate::queue::OpenError;

/// A mail relay for web sites and devices that cannot log in: it stores their mail, keeps to the provider's caps, and
/// delivers through an authenticated account.
#[derive(Debug, Parser)]
#[command(name = "mailsluice", version, max_term_width = 110)]
struct Arguments {
    /// The configuration file
    #[arg(long, global = true, default_value = CONFIG, value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay. SIGHUP reads the configuration again; SIGTERM and SIGINT stop it within 40 s
    Serve(serve::Serve),
    /// From nothing to a relay that has delivered its first mail: asks, writes the configuration, tests it. Every question
    /// is a flag too
    Setup(Box<setup::Setup>),
    /// Read the configuration and say everything that is wrong with it
    Check(check::Check),
    /// Let the daemon read its configuration again, as SIGHUP does, and say how that went; a bad one changes nothing
    Reload,
    /// Say whether the daemon is well: its queue works, its dispatcher looks, its listeners listen. Exit code 1 where not
    Health,
    /// Look at everything that mail depends on, here and at the providers, and say what is wrong. Changes nothing
    Doctor(doctor::Doctor),
    /// Try it out: a stand-in for Microsoft 365 and the relay in front of it, with nothing else installed
    Quickstart(quickstart::Quickstart),
    /// Run the stand-in for a provider alone (Microsoft 365, Amazon SES, Mailjet, Google), with a fault to rehearse if wanted
    Sandbox(sandbox::SandboxCommand),
    /// Look at the mail that waits, and decide about it
    #[command(subcommand)]
    Queue(queue::QueueCommand),
    /// Look at the accounts, and open or close them
    #[command(subcommand)]
    Account(account::AccountCommand),
    /// Add a user who may log in at a listener with auth = "required", or give it another password, which is asked for or
    /// read from standard input
    User(user::User),
    /// Hand in the message on standard input, as sendmail does, whose options it takes. Called as sendmail, mailq or newaliases,
    /// mailsluice is that program
    Sendmail(sendmail::Sendmail),
    /// Print what a shell needs to complete these commands: `mailsluice completions bash > FILE`
    Completions(pages::Completions),
    /// Write manual pages and completions into a folder, for packages
    #[command(hide = true)]
    Generate(pages::Generate),
}

/// The configuration, unless another is named.
const CONFIG: &str = "/etc/mailsluice/config.toml";

/// What a command ended with that is not success.
#[derive(Debug)]
enum Failure {
    /// It failed, or was refused; the text says what and what to do.
    Said(String),
    /// This user may not ask; the text says who may.
    Denied(String),
    /// Flags are missing or wrong; the text says which.
    Usage(String),
    /// The daemon's own reasons.
    App(AppError),
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}

/// What the control socket says.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        if error.kind() == ErrorKind::PermissionDenied { Self::Denied(text) } else { Self::Said(text) }
    }
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Said(_) | Self::Denied(_) => 1,
            Self::Usage(_) => 2,
            Self::App(AppError::Config(_)) => 78,
            Self::App(AppError::Open(OpenError::Locked { .. })) => 75,
            Self::App(AppError::Open(OpenError::Damaged { .. })) => 65,
            Self::App(AppError::Store(_) | AppError::Open(_)) => 74,
            Self::App(_) => 1,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Said(text) | Self::Denied(text) | Self::Usage(text) => text.clone(),
            Self::App(error) => error.to_string(),
        }
    }
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    if let Some(code) = as_sendmail() {
        return code;
    }
    let Arguments { config, command } = Arguments::parse();
    let done = match command {
        Command::Serve(serve) => serve.run(&config),
        Command::Setup(setup) => setup.run(&config),
        Command::Check(check) => check.run(&config),
        Command::Reload => reload::run(&config),
        Command::Health => health::run(&config),
        Command::Doctor(doctor) => doctor.run(&config),
        Command::Quickstart(quickstart) => quickstart.run(),
        Command::Sandbox(sandbox) => sandbox.run(),
        Command::Queue(command) => command.run(&config),
        Command::Account(command) => command.run(&config),
        Command::User(user) => user.run(&config),
        Command::Sendmail(sendmail) => return sendmail.run(&config),
        Command::Completions(completions) => completions.run(),
        Command::Generate(generate) => generate.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.text();
            for line in text.lines() {
                output::complain(format_args!("mailsluice: {line}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

/// Does what sendmail is to do, where the program is called by one of its names, or by its own with `sendmail` first. Clap does
/// not see what follows: it would take `--` away, which tells recipients from options.
fn as_sendmail() -> Option<ExitCode> {
    let mut typed = env::args_os();
    let name = match sendmail::Name::of(Path::new(&typed.next()?)) {
        Some(name) => name,
        None if typed.next()? == "sendmail" => sendmail::Name::Sendmail,
        None => return None,
    };
    Some(sendmail::run(name, typed, Path::new(CONFIG)))
}

/// A runtime for the daemon, or for a command that opens the queue itself.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Said(format!("threads cannot be started: {error}")))
}

/// Starts the log: JSON, or text where a person looks on.
fn start_log(format: Option<LogFormat>) {
    let text = std::io::stdout().is_terminal();
    logging::start(format.unwrap_or(if text { LogFormat::Text } else { LogFormat::Json }), LogTarget::Stdout);
}
