//! `mailsluice quickstart`: the sandbox and the relay in front of it, in one process and one folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::output::complain;
use super::{Failure, runtime, start_log};
use crate::app::{App, AppError};
use crate::config::{Config, secret::quoted};
use crate::observe::logging::LogFormat;
use crate::receive::Inherited;
use crate::sandbox::{Sandbox, SandboxConfig};

#[derive(Debug, clap::Args)]
pub(super) struct Quickstart {
    /// Where everything it keeps goes
    #[arg(long, default_value = "mailsluice-quickstart", value_name = "DIR")]
    directory: PathBuf,
    /// Where the relay listens, on 127.0.0.1 and [::1]
    #[arg(long, default_value_t = 2525)]
    port: u16,
    /// The form of the log on standard output [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// What the relay is told, with the places filled in.
const TEMPLATE: &str = include_str!("../../config/quickstart.toml");

impl Quickstart {
    pub(super) fn run(self) -> Result<(), Failure> {
        let runtime = runtime()?;
        let done = runtime.block_on(self.play());
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        done
    }

    async fn play(self) -> Result<(), Failure> {
        let directory = std::path::absolute(&self.directory).map_err(|error| said(&self.directory, &error))?;
        std::fs::create_dir_all(&directory).map_err(|error| said(&directory, &error))?;
        let mail = directory.join("delivered");
        let settings = SandboxConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            authority: Some(directory.join("authority")),
            mail: Some(mail.clone()),
            ..SandboxConfig::default()
        };
        write_private(&directory.join("password"), settings.password.expose_secret())
            .map_err(|error| said(&directory, &error))?;
        let sandbox = Sandbox::start(settings).await.map_err(|error| said(&directory, &error))?;

        let text = self.configuration(sandbox.address().port());
        let file = directory.join("config.toml");
        write_private(&file, &text).map_err(|error| said(&file, &error))?;
        let config = Config::load(&file).map_err(AppError::from)?;
        start_log(self.log_format);
        let app = App::build(config, Some(&file), Inherited::default()).await?;
        self.explain(&file, &mail);
        let done = app.run().await;
        sandbox.stop().await;
        done.map_err(Failure::from)
    }

    /// The template with the ports of this run; without [::1] where the machine has no IPv6.
    fn configuration(&self, sandbox_port: u16) -> String {
        let text = match std::net::TcpListener::bind("[::1]:0") {
            Ok(_) => TEMPLATE.replace("[::1]:2525", &format!("[::1]:{}", self.port)),
            Err(_) => TEMPLATE.replace(", \"[::1]:2525\"", ""),
        };
        text.replace("127.0.0.1:2525", &format!("127.0.0.1:{}", self.port))
            .replace("port = 5870", &format!("port = {sandbox_port}"))
    }

    /// On standard error, so that the log on standard output stays one object a line.
    fn explain(&self, file: &Path, mail: &Path) {
        let port = self.port;
        complain(format_args!(
            "\
Mailsluice listens on 127.0.0.1:{port} and [::1]:{port}; behind it the sandbox plays Microsoft 365.

Send a mail (in another terminal):
  printf 'Subject: Hello\\n\\nIt works.\\n' | curl -sS --crlf smtp://127.0.0.1:{port} --mail-from shop@example.org --mail-rcpt you@example.com -T -
  swaks --server 127.0.0.1 --port {port} --from shop@example.org --to you@example.com

Delivered messages lie here, as .eml files:
  {mail}

Look at it:
  mailsluice --config {file} queue list
  mailsluice --config {file} account list

Go on with a real account: `mailsluice setup` asks for everything, writes the configuration, tries it out and sends a
test mail. README.md has it step by step.

Ctrl-C stops it; the next run finds this one's queue.
",
            mail = mail.display(),
            file = quoted(file),
        ));
    }
}

fn said(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Said(format!("quickstart cannot use {}: {error}", path.display()))
}

/// Readable by its owner alone, also where it was not before.
pub(super) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let _ = std::fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
