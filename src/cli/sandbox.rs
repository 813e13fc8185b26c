//! `mailsluice sandbox`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::output::say;
use super::quickstart::write_private;
use super::{Failure, runtime};
use crate::config::secret::quoted;
use crate::sandbox::{Fault, FaultRule, Mechanism, Sandbox, SandboxConfig, Service};

#[derive(Debug, clap::Args)]
pub(super) struct SandboxCommand {
    /// Whom it plays: microsoft365, ses, mailjet or google [default: whoever knows the fault, else microsoft365]
    #[arg(long, value_name = "NAME")]
    profile: Option<Service>,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:5870", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where to give out tokens for OAuth
    #[arg(long, default_value = "127.0.0.1:5871", value_name = "ADDRESS")]
    token_listen: SocketAddr,
    /// Where certificates, secrets and delivered messages go
    #[arg(long, default_value = "mailsluice-sandbox", value_name = "DIR")]
    directory: PathBuf,
    /// A fault to rehearse, such as `quota`, `quota:3` (three times) or `slow-dot=20` (seconds)
    #[arg(long, value_name = "NAME")]
    fault: Option<FaultRule>,
    /// The certificate of the application (PEM, RSA), for an account that shows one instead of a client secret
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Say which faults there are, and stop
    #[arg(long)]
    list_faults: bool,
}

impl SandboxCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.list_faults {
            return list_faults();
        }
        runtime()?.block_on(self.play())
    }

    async fn play(self) -> Result<(), Failure> {
        let service = self.service()?;
        let directory = std::path::absolute(&self.directory).map_err(|error| said(&self.directory, &error))?;
        let config = self.config(service, &directory)?;
        let fault = config.fault.as_ref().map(|rule| rule.fault);
        let account = Account { directory: &directory, service, config: config.clone() };
        let sandbox = Sandbox::start(config).await.map_err(|error| {
            Failure::Said(format!(
                "the sandbox cannot start at {} and {} with {}: {error}",
                self.listen,
                self.token_listen,
                self.directory.display()
            ))
        })?;
        account.write_secrets().map_err(|error| said(&directory, &error))?;
        let rehearsal = account.rehearsal_file();
        let relay = format!("{REHEARSAL}{}", account.table(&sandbox));
        write_private(&rehearsal, &relay).map_err(|error| said(&rehearsal, &error))?;
        say!("The sandbox plays {} on {}. It sends nothing anywhere.", service.host(), sandbox.address())?;
        if let Some(fault) = fault {
            say!("  fault          {fault}: {}", fault.about())?;
        }
        account.print(&sandbox)?;
        say!("Ctrl-C stops it.")?;
        let _ = tokio::signal::ctrl_c().await;
        sandbox.stop().await;
        Ok(())
    }

    /// Whom it plays; a fault that another one has never comes up.
    fn service(&self) -> Result<Service, Failure> {
        let knows = self.fault.as_ref().and_then(|rule| rule.fault.topic().service());
        match (self.profile, knows, &self.fault) {
            (Some(profile), Some(service), Some(rule)) if profile != service => Err(Failure::Said(format!(
                "{} is a fault of {service}, not of {profile}: leave --profile away, or see `mailsluice sandbox --list-faults`",
                rule.fault
            ))),
            (profile, service, _) => Ok(profile.or(service).unwrap_or(Service::Microsoft365)),
        }
    }

    fn config(&self, service: Service, directory: &Path) -> Result<SandboxConfig, Failure> {
        let mut config = SandboxConfig {
            listen: self.listen,
            authority: Some(directory.to_owned()),
            mail: Some(directory.join("mail")),
            fault: self.fault.clone(),
            ..SandboxConfig::of(service)
        };
        config.tokens.listen = self.token_listen;
        if let Some(path) = &self.certificate {
            config.tokens.certificate = Some(std::fs::read_to_string(path).map_err(|error| said(path, &error))?);
        }
        Ok(config)
    }
}

/// What a relay in front of the sandbox is told, up to its account.
const REHEARSAL: &str = "\
# Written by `mailsluice sandbox` whenever it starts: a relay in front of it, to rehearse with. Paths start at this folder.

[queue]
path = \"rehearsal.db\"
min_free = \"16MiB\"
ephemeral = true # to try it out anywhere; a real queue belongs on a disk

[[listener]]
address = \"127.0.0.1:2525\"

";

/// What a person needs to send through the sandbox.
struct Account<'a> {
    directory: &'a Path,
    service: Service,
    config: SandboxConfig,
}

impl Account<'_> {
    fn has_tokens(&self) -> bool {
        self.config.profile.mechanisms.contains(&Mechanism::Xoauth2)
    }

    fn password_file(&self) -> PathBuf {
        self.directory.join("password")
    }

    fn client_secret_file(&self) -> PathBuf {
        self.directory.join("client_secret")
    }

    fn rehearsal_file(&self) -> PathBuf {
        self.directory.join("rehearsal.toml")
    }

    /// The relay reads secrets from files that nobody else may read, even of a play.
    fn write_secrets(&self) -> std::io::Result<()> {
        write_private(&self.password_file(), self.config.password.expose_secret())?;
        if self.has_tokens() {
            write_private(&self.client_secret_file(), self.config.tokens.client_secret.expose_secret())?;
        }
        Ok(())
    }

    fn print(&self, sandbox: &Sandbox) -> Result<(), Failure> {
        let SandboxConfig { user, password, tokens, .. } = &self.config;
        say!("  user           {user}")?;
        // Not a secret: it opens nothing but this play, and so below.
        say!("  password       {}", password.expose_secret())?;
        say!("  authority      {}", self.directory.join("ca.pem").display())?;
        say!("  delivered to   {}", self.directory.join("mail").display())?;
        if self.has_tokens() {
            say!("  token_url      {}", sandbox.token_url())?;
            say!("  client id      {}", tokens.client_id)?;
            say!("  client secret  {}", tokens.client_secret.expose_secret())?;
        }
        let relay = quoted(&self.rehearsal_file());
        say!("\nA relay in front of it, in another terminal, and a mail to send:\n")?;
        say!("  mailsluice --config {relay} serve")?;
        say!("  swaks --server 127.0.0.1 --port 2525 --from shop@example.org --to you@example.com")?;
        say!("  mailsluice --config {relay} account list")?;
        say!("\nIts account, to paste into another configuration:\n")?;
        say!("{}", self.table(sandbox))
    }

    /// The account as the relay's configuration has it.
    fn table(&self, sandbox: &Sandbox) -> String {
        let provider = match self.service {
            Service::Google => "smtp",
            other => other.name(),
        };
        let address = sandbox.address();
        let (ca, password) = (self.directory.join("ca.pem"), self.password_file());
        let mut lines = vec![
            "[[account]]".to_owned(),
            "name = \"sandbox\"".to_owned(),
            format!("provider = \"{provider}\""),
            format!("host = \"{}\"", address.ip()),
            format!("port = {}", address.port()),
            format!("ca_file = {}", toml(&ca)),
            format!("username = \"{}\"", self.config.user),
            format!("password = {{ file = {} }}", toml(&password)),
        ];
        if matches!(self.service, Service::Ses | Service::Mailjet) {
            lines.push(
                "from = \"webmaster@example.com\"   # of the domain that is verified here: example.com".to_owned(),
            );
        }
        if self.has_tokens() {
            // Where tokens go first, a fault of passwords is never met.
            if self.config.fault.as_ref().is_some_and(|rule| rule.fault.is_about_passwords()) {
                lines.push("prefer = \"password\"   # so that the fault is met".to_owned());
            }
            lines.extend([
                "[account.oauth]   # or leave this away, to log in with the password alone".to_owned(),
                format!("token_url = \"{}\"", sandbox.token_url()),
                format!("client_id = \"{}\"", self.config.tokens.client_id),
            ]);
            lines.push(if self.service == Service::Google {
                format!("device_url = \"{}\"\nissuer = \"google\"", sandbox.device_url())
            } else {
                format!(
                    "client_secret = {{ file = {} }}   # or leave this away, for `mailsluice account login sandbox`",
                    toml(&self.client_secret_file())
                )
            });
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// One table for each topic.
fn list_faults() -> Result<(), Failure> {
    for faults in Fault::ALL.chunk_by(|one, other| one.topic() == other.topic()) {
        let rows: Vec<Vec<String>> =
            faults.iter().map(|fault| vec![fault.name().into(), fault.about().into()]).collect();
        let heading = faults.first().map_or("", |fault| fault.topic().heading());
        say!("{heading}")?;
        super::table::print(&["FAULT", "WHAT HAPPENS"], &rows)?;
        say!("")?;
    }
    Ok(())
}

/// A path as TOML has it.
fn toml(path: &Path) -> String {
    serde_json::Value::from(path.display().to_string()).to_string()
}

fn said(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::Said(format!("the sandbox cannot use {}: {error}", quoted(path)))
}
