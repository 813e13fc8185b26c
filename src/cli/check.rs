//! `mailsluice check`.

use std::path::Path;

use ipnet::IpNet;

use super::Failure;
use super::output::say;
use crate::app::AppError;
use crate::config::{
    Auth, Config, ListenAddress, ListenerConfig, Provenance, ServerTls, ServerTlsMode, names_an_account,
};
use crate::doctor::{Standing, local};
use crate::route::Client;
use crate::session::Manners;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Look at nothing but whether there is an account yet, and fail where there is none: the unit asks this, so that the
    /// daemon waits for `mailsluice setup` instead of failing
    #[arg(long)]
    any_account: bool,
    /// Do not look at secrets: those that a service manager hands over are there for the daemon alone
    #[arg(long)]
    without_secrets: bool,
}

impl Check {
    pub(super) fn run(self, path: &Path) -> Result<(), Failure> {
        if !self.any_account {
            let config = if self.without_secrets { Config::load_without_secrets(path) } else { Config::load(path) };
            return tell(path, &config.map_err(AppError::from)?);
        }
        if names_an_account(path) {
            return Ok(());
        }
        let file = path.display();
        Err(Failure::Said(format!(
            "there is no account in {file} yet, so the daemon does not start: type `sudo mailsluice setup`"
        )))
    }
}

fn tell(path: &Path, config: &Config) -> Result<(), Failure> {
    say!("{}: fine", Provenance::of(path))?;
    say!("queue     {}", config.queue.path.display())?;
    for listener in &config.listeners {
        let (addresses, clients) = (listed(&listener.addresses), may_connect(listener));
        say!("listener  {addresses} for {clients}: {}", of_listener(listener).join(", "))?;
    }
    for client in &config.clients {
        let more: String = of_client(client).iter().map(|one| format!(", {one}")).collect();
        let fate = if is_let_in(client, &config.listeners) { "" } else { ": no [[listener]] lets it in" };
        say!("client    {} ({} priority{more}){fate}", client.name, client.priority.as_str())?;
    }
    for account in &config.accounts {
        let caps: Vec<String> =
            account.caps.windows.iter().map(|cap| format!("{cap} {}", cap.counted.as_str())).collect();
        let caps = if caps.is_empty() { "no rate cap".into() } else { caps.join(", ") };
        say!("account   {} ({}) to {}: {caps}", account.name, account.provider.as_str(), account.host())?;
    }
    of_local_mail(config)
}

/// What becomes of mail for users of this machine, and what of it should be looked at.
fn of_local_mail(config: &Config) -> Result<(), Failure> {
    let domains: Vec<&str> = config.local.domains().collect();
    let domains = if domains.is_empty() { "no domain".into() } else { domains.join(", ") };
    let aliases = match config.local.alias_count() {
        1 => "1 alias".into(),
        count => format!("{count} aliases"),
    };
    say!("local     mail for {domains} goes by {aliases}")?;
    let findings = local::look(config);
    findings
        .iter()
        .filter(|finding| finding.standing != Standing::Ok)
        .try_for_each(|one| say!("warning   {}", one.seen))
}

/// Who is let in. Networks count for TCP alone, and what the service manager hands over may be either.
fn may_connect(listener: &ListenerConfig) -> String {
    let is = |way: fn(&ListenAddress) -> bool| listener.addresses.iter().any(way);
    let by_tcp = is(|address| !matches!(address, ListenAddress::Unix(_)));
    let by_path = is(|address| matches!(address, ListenAddress::Unix(_)));
    let networks = by_tcp.then(|| listed(&listener.networks));
    let users = by_path.then(|| USERS.to_owned());
    networks.into_iter().chain(users).collect::<Vec<_>>().join(", ")
}

/// What clients meet at a listener.
fn of_listener(listener: &ListenerConfig) -> Vec<String> {
    let certificate = |tls: &ServerTls| tls.identity.certificate.display().to_string();
    let mut told = vec![match &listener.tls {
        None => "no TLS".into(),
        Some(tls) if tls.mode == ServerTlsMode::Implicit => format!("TLS at once ({})", certificate(tls)),
        Some(tls) => format!("STARTTLS ({})", certificate(tls)),
    }];
    told.push(match &listener.auth {
        Auth::None => "no login".into(),
        Auth::AcceptAny => "any login is accepted".into(),
        Auth::Required { plain_text, .. } if plain_text.is_empty() => "login required, over TLS".into(),
        Auth::Required { plain_text, .. } => {
            format!("login required, over TLS or in plain text from {}", listed(plain_text))
        }
    });
    if listener.manners == Manners::Strict {
        told.push("strict".into());
    }
    if listener.addresses.iter().any(|address| matches!(address, ListenAddress::Unix(_))) {
        told.push(format!("mode {:04o}", listener.socket_mode));
    }
    told
}

/// What holds for a client alone.
fn of_client(client: &Client) -> Vec<String> {
    let mut told = Vec::new();
    if !client.users.is_empty() {
        told.push(format!("user {}", listed(&client.users)));
    }
    told.extend(client.rate.map(|rate| format!("slower above {rate}")));
    told.extend(client.share.map(|share| format!("at most {share}% of each cap")));
    if !client.senders.is_empty() {
        told.push(format!("senders {}", listed(&client.senders)));
    }
    if !client.recipients.is_empty() {
        told.push(format!("recipients {}", listed(&client.recipients)));
    }
    told.extend(client.hidden.iter().map(|hidden| format!("{} hidden", hidden.as_str())));
    if client.lf_end {
        told.push("LF.LF ends its content".into());
    }
    told
}

/// Whether any machine or user of the client may connect. It is no fault, since a listener may be added later.
fn is_let_in(client: &Client, listeners: &[ListenerConfig]) -> bool {
    let by_network = |address: &ListenAddress| !matches!(address, ListenAddress::Unix(_));
    let by_user = |address: &ListenAddress| !matches!(address, ListenAddress::Tcp(_));
    let is_near = |may: &IpNet| client.networks.iter().any(|net| net.contains(may) || may.contains(net));
    let lets_in = |listener: &ListenerConfig| {
        let by = |way: fn(&ListenAddress) -> bool| listener.addresses.iter().any(way);
        by(by_network) && listener.networks.iter().any(is_near) || by(by_user) && !client.users.is_empty()
    };
    listeners.iter().any(lets_in)
}

fn listed<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

const USERS: &str = "users of this machine";
