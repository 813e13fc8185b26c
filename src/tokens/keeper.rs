//! Keeps tokens fresh while the daemon runs: before mail needs them, and also where none does, since a refresh token dies
//! of idleness. So trouble shows before it delays a message.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Logins;
use crate::config::{Config, Destination};

/// Fetches for every account with `[account.oauth]`, at once and whenever that is due. For ever.
pub async fn keep(logins: Arc<Logins>, mut config: watch::Receiver<Arc<Config>>) {
    let tokens = logins.tokens();
    loop {
        let settings = Arc::clone(&config.borrow_and_update());
        let changed = tokens.around.changed.notified();
        let mut tending = JoinSet::new();
        let mut names = Vec::new();
        for account in &settings.accounts {
            let Destination::Smtp(endpoint) = &account.destination else { continue };
            let Some(oauth) = endpoint.login.as_ref().and_then(|login| login.oauth.as_ref()) else { continue };
            let source = tokens.source(&account.name, oauth);
            tending.spawn(async move { source.tend().await });
            names.push(account.name.clone());
        }
        tokens.retain(&names);
        let next = tending.join_all().await.into_iter().min().unwrap_or(LONGEST).min(LONGEST);
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = changed => {}
            changed = config.changed() => if changed.is_err() { return },
        }
    }
}

/// A look at least this often, whatever was planned: scheduling time stands still while a machine sleeps.
const LONGEST: Duration = Duration::from_secs(60);
