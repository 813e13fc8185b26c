//! `mailsluice check`.

use std::path::Path;

use super::Failure;
use super::output::say;
use crate::app::AppError;
use crate::config::Config;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let config = Config::load(path).map_err(AppError::from)?;
    say!("{}: fine", path.display())?;
    say!("queue     {}", config.queue.path.display())?;
    for listener in &config.listeners {
        let addresses: Vec<String> = listener.addresses.iter().map(ToString::to_string).collect();
        let networks: Vec<String> = listener.networks.iter().map(ToString::to_string).collect();
        say!("listener  {} for {}", addresses.join(", "), networks.join(", "))?;
    }
    for client in &config.clients {
        say!("client    {} ({} priority)", client.name, client.priority.as_str())?;
    }
    for account in &config.accounts {
        let caps: Vec<String> =
            account.caps.windows.iter().map(|cap| format!("{cap} {}", cap.counted.as_str())).collect();
        let caps = if caps.is_empty() { "no rate cap".into() } else { caps.join(", ") };
        say!("account   {} ({}) to {}: {caps}", account.name, account.provider.as_str(), account.host())?;
    }
    Ok(())
}
