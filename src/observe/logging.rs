//! Where lines go and in which form.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

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

/// Starts logging for this process. `RUST_LOG` sets the levels; the default is `info`. Text has colours on a terminal,
/// unless `NO_COLOR` (no-color.org) asks for none.
pub fn start(format: LogFormat, target: LogTarget) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = match target {
        LogTarget::Stdout => std::io::stdout().is_terminal(),
        LogTarget::Stderr => std::io::stderr().is_terminal(),
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|asked| asked.is_empty());
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_timer(WallClock).with_target(false).with_ansi(colours);
    // A second start, as in tests, finds the first one's subscriber in place and leaves it.
    let _ = match (format, target) {
        (LogFormat::Json, LogTarget::Stdout) => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
        (LogFormat::Json, LogTarget::Stderr) => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(std::io::stderr)
            .try_init(),
        (LogFormat::Text, LogTarget::Stdout) => builder.try_init(),
        (LogFormat::Text, LogTarget::Stderr) => builder.with_writer(std::io::stderr).try_init(),
    };
}

/// RFC 3339 in UTC, to the millisecond.
struct WallClock;

impl FormatTime for WallClock {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{}", wall_clock())
    }
}
