//! Mailsluice, in a binary that is named.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::Result;
use crate::relay::{Candidate, Place};

/// One build of it.
#[derive(Debug, Clone)]
pub(crate) struct Mailsluice {
    label: String,
    binary: PathBuf,
}

/// `PATH`, or `LABEL=PATH`.
impl FromStr for Mailsluice {
    type Err = Infallible;

    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        let (label, binary) = text.split_once('=').unwrap_or(("Mailsluice", text));
        Ok(Self { label: label.to_owned(), binary: binary.into() })
    }
}

/// Beside the defaults. README.md has each setting with its reason.
const CONFIG: &str = r#"
[queue]
path = "FOLDER/queue/queue.db"
max_bytes = "1TiB"
min_free = "0B"
ephemeral = true

[[listener]]
address = "LISTEN"
hostname = "relay.bench.example"

[[account]]
name = "sink"
provider = "smtp"
host = "127.0.0.1"
port = PORT
tls = "none"

[account.caps]
connections = CONNECTIONS
"#;

impl Candidate for Mailsluice {
    fn name(&self) -> &str {
        &self.label
    }

    fn prepare(&self, place: &Place) -> Result<()> {
        let config = CONFIG
            .replace("FOLDER", place.folder().to_str().ok_or("the path of the folder is no text")?)
            .replace("LISTEN", &place.listen.to_string())
            .replace("PORT", &place.sink.port().to_string())
            .replace("CONNECTIONS", &place.connections.to_string());
        fs::write(place.path("config.toml"), config)?;
        Ok(())
    }

    fn serve(&self, place: &Place) -> Command {
        let mut command = self.command(place);
        command.args(["serve", "--log-format", "json"]);
        command
    }

    fn ancestor(&self, _place: &Place, child: &Child) -> Option<u32> {
        Some(child.id())
    }

    fn flush(&self, place: &Place) -> Result<()> {
        self.ask(place, &["queue", "retry", "--all"])
    }

    fn list(&self, place: &Place) -> Result<Duration> {
        let began = Instant::now();
        self.ask(place, &["queue", "list"])?;
        Ok(began.elapsed())
    }
}

impl Mailsluice {
    fn command(&self, place: &Place) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").arg("--config").arg(place.path("config.toml"));
        command
    }

    fn ask(&self, place: &Place, arguments: &[&str]) -> Result<()> {
        let output = self.command(place).args(arguments).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("mailsluice {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into())
    }
}
