//! Postfix and Mailsluice side by side: what each takes, holds and gives on this machine. `tests/bench/README.md` says
//! how each row is measured. Nothing is judged here: it measures and prints.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod case;
mod curve;
mod latency;
mod limits;
mod mailsluice;
mod peers;
mod plan;
mod postfix;
mod queued;
mod relay;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use mailsluice::Mailsluice;
use plan::Plan;
use postfix::Postfix;
use relay::Candidate;
use table::Table;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Measures Debian's Postfix and Mailsluice on this machine, in turn, and prints a table.
#[derive(Debug, Parser)]
#[command(name = "tests/bench/run")]
struct Arguments {
    /// How often everything is measured; the table has the medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only these groups of rows
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<Group>,
    /// Also what takes long: a million waiting messages, and a sink that is down for five minutes
    #[arg(long)]
    million: bool,
    /// A few messages of each kind, to see that everything works; the figures mean nothing
    #[arg(long)]
    smoke: bool,
    /// Where the queues lie, which must be a disk
    #[arg(long, value_name = "FOLDER", default_value = "target/bench/queues")]
    directory: PathBuf,
    /// The binary to measure, unless it is to be built; with a label, several beside one another
    #[arg(long, value_name = "[LABEL=]PATH", required = true)]
    mailsluice: Vec<Mailsluice>,
    /// Leave Postfix out
    #[arg(long)]
    no_postfix: bool,
}

/// Rows that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// What the machine can do at most
    Limits,
    /// Messages accepted while the sink is down
    Accept,
    /// Messages from client to sink
    Through,
    /// Time from the final dot to 250
    Latency,
    /// What waiting messages cost, and how they leave
    Queued,
    /// The first message out after five minutes without the sink
    Outage,
    /// From a thousand waiting messages to a million, in Mailsluice alone
    Million,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tests/bench/run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err("Postfix gives up root's rights by itself and needs them to start: run this as root".into());
    }
    std::fs::create_dir_all(&arguments.directory)?;
    let plan = if arguments.smoke { Plan::smoke() } else { Plan::full() };
    let plan = Plan { directory: arguments.directory.canonicalize()?, ..plan };
    let chosen = |group| {
        let long = matches!(group, Group::Outage | Group::Million);
        let usual = arguments.only.is_empty() && !long;
        usual || arguments.only.contains(&group) || (long && arguments.million)
    };

    let mut candidates: Vec<&dyn Candidate> = Vec::new();
    if !arguments.no_postfix {
        candidates.push(&Postfix);
    }
    candidates.extend(arguments.mailsluice.iter().map(|one| one as &dyn Candidate));
    let own = candidates[usize::from(!arguments.no_postfix)..].to_vec();
    let mut machine = Table::new("This machine", &["measured"]);
    let mut beside = Table::new("Side by side", &names(&candidates));
    let mut growing = Table::new("As the queue grows", &names(&own));
    let cases = case::cases(chosen);
    for round in 0..arguments.rounds as usize {
        eprintln!("round {} of {}", round + 1, arguments.rounds);
        if chosen(Group::Limits) {
            limits::measure(&plan, &mut machine)?;
        }
        for case in &cases {
            for column in alternating(round, candidates.len()) {
                case.measure(&plan, candidates[column], &mut |row, value| beside.record(row, column, value))?;
            }
        }
        if chosen(Group::Million) {
            for column in alternating(round, own.len()) {
                curve::measure(&plan, own[column], &mut |row, value| growing.record(row, column, value))?;
            }
        }
    }
    print!("{machine}{beside}{growing}");
    Ok(())
}

fn names<'a>(candidates: &[&'a dyn Candidate]) -> Vec<&'a str> {
    candidates.iter().map(|candidate| candidate.name()).collect()
}

/// Who is measured first, second and so on: each round begins with another one, so that none always has the machine as
/// the same other one left it.
fn alternating(round: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |at| (at + round) % count)
}
