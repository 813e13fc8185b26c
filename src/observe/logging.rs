//! Where lines go and in which form.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::time::wall_clock;

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// For people.
    Text,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The daemon's own output.
    Stdout,
    /// Beside the output of a command.
    Stderr,
}

/// Starts logging for this process. `RUST_LOG` sets the levels (`debug`, or `warn,mailsluice::receive=debug`); the default,
/// also where that is not understood, is `info`. Text has colours on a terminal, unless `NO_COLOR` (no-color.org) asks for
/// none.
pub fn start(format: LogFormat, target: LogTarget) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
    let levels = wanted.and_then(|wanted| wanted.parse().ok());
    let levels = levels.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let terminal = match target {
        LogTarget::Stdout => std::io::stdout().is_terminal(),
        LogTarget::Stderr => std::io::stderr().is_terminal(),
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|asked| asked.is_empty());
    let writer = match target {
        LogTarget::Stdout => BoxMakeWriter::new(std::io::stdout),
        LogTarget::Stderr => BoxMakeWriter::new(std::io::stderr),
    };
    let lines = fmt::layer().with_timer(WallClock).with_target(false).with_ansi(colours).with_writer(writer);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        LogFormat::Text => lines.boxed(),
    };
    // A second start, as in tests, finds the first one's subscriber in place and leaves it.
    let _ = tracing_subscriber::registry().with(levels).with(lines).try_init();
}

/// RFC 3339 in UTC, to the millisecond.
struct WallClock;

impl FormatTime for WallClock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", wall_clock())
    }
}
