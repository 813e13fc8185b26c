//! `mailsluice check`.

use std::path::Path;

use super::Failure;
use super::output::say;
use crate::app::AppError;
use crate::config::{Auth, Config, ListenAddress, ListenerConfig, Provenance, ServerTls, ServerTlsMode};
use crate::route::Client;
use crate::session::Manners;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path).map_err(AppError::from)?;
    say!("{}: fine", Provenance::of(path))?;
    say!("queue     {}", config.queue.path.display())?;
    for listener in &config.listeners {
        let (addresses, networks) = (listed(&listener.addresses), listed(&listener.networks));
        say!("listener  {addresses} for {networks}: {}", of_listener(listener).join(", "))?;
    }
    for client in &config.clients {
        let more: String = of_client(client).iter().map(|one| format!(", {one}")).collect();
        let fate = if is_let_in(client, &config.listeners) { "" } else { ": no [[listener]] has its `networks`" };
        say!("client    {} ({} priority{more}){fate}", client.name, client.priority.as_str())?;
    }
    for account in &config.accounts {
        let caps: Vec<String> =
            account.caps.windows.iter().map(|cap| format!("{cap} {}", cap.counted.as_str())).collect();
        let caps = if caps.is_empty() { "no rate cap".into() } else { caps.join(", ") };
        say!("account   {} ({}) to {}: {caps}", account.name, account.provider.as_str(), account.host())?;
    }
    Ok(())
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

/// Whether any machine of the client may connect. It is no fault, since a listener may be added later.
fn is_let_in(client: &Client, listeners: &[ListenerConfig]) -> bool {
    let by_network = |address: &ListenAddress| !matches!(address, ListenAddress::Unix(_));
    listeners
        .iter()
        .filter(|listener| listener.addresses.iter().any(by_network))
        .flat_map(|listener| &listener.networks)
        .any(|may| client.networks.iter().any(|net| net.contains(may) || may.contains(net)))
}

fn listed<T: ToString>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
