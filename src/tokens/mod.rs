//! How accounts log in: access tokens, one source for each account, and which of password and token an account uses now.
//!
//! A token is fetched once for all connections of its account, well before the last one expires, and while that still
//! serves. Secrets, certificates and keys are read anew at each fetch. Called by the drivers; the assembly runs the
//! [`keeper`], which fetches before mail needs it.

mod assertion;
mod descent;
mod device;
mod echo;
mod file;
mod fingerprint;
pub mod keeper;
mod logins;
mod request;
mod source;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

pub use device::{Invitation, LoginProgress};
pub use echo::Hidden;
pub use logins::{Failure, Logins};
pub use source::{Source, Token};

use crate::config::OAuth;
use crate::ids::AccountName;
use crate::observe::Observer;
use crate::time::Clock;
use crate::web::{Web, WebError};

/// The token sources of all accounts.
pub struct Tokens {
    around: Arc<Around>,
    sources: Mutex<HashMap<AccountName, Arc<Source>>>,
    logins_under_way: Mutex<HashMap<AccountName, device::UnderWay>>,
}

/// What all sources share.
struct Around {
    /// Made when it is first needed: not every relay speaks HTTPS.
    web: OnceLock<Result<Web, WebError>>,
    clock: Arc<dyn Clock>,
    observer: Arc<Observer>,
    /// Where refresh tokens are kept.
    folder: PathBuf,
    /// Accounts that a user has just logged in to.
    logged_in: Mutex<HashSet<AccountName>>,
    /// Rung when the keeper should look again.
    changed: Notify,
}

impl Tokens {
    /// Sources that keep their refresh tokens in a folder beside the queue's database.
    pub fn beside(database: &Path, clock: Arc<dyn Clock>, observer: Arc<Observer>) -> Self {
        let mut folder = database.as_os_str().to_owned();
        folder.push("-tokens");
        let around = Around {
            web: OnceLock::new(),
            clock,
            observer,
            folder: folder.into(),
            logged_in: Mutex::default(),
            changed: Notify::new(),
        };
        Self { around: Arc::new(around), sources: Mutex::default(), logins_under_way: Mutex::default() }
    }

    /// The source of an account; a new one where its settings have changed.
    pub fn source(&self, account: &AccountName, oauth: &OAuth) -> Arc<Source> {
        let mut sources = locked(&self.sources);
        match sources.get(account) {
            Some(source) if source.has(oauth) => Arc::clone(source),
            before => {
                let source = Arc::new(match before {
                    Some(before) => before.under(oauth.clone()),
                    None => Source::new(Arc::clone(&self.around), account.clone(), oauth.clone()),
                });
                sources.insert(account.clone(), Arc::clone(&source));
                source
            }
        }
    }

    /// Waits until no token is being fetched, so that none is lost when the process ends.
    pub async fn at_rest(&self) {
        let sources: Vec<Arc<Source>> = locked(&self.sources).values().cloned().collect();
        for source in sources {
            source.at_rest().await;
        }
    }

    /// Forgets the sources of all other accounts.
    fn retain(&self, accounts: &[AccountName]) {
        let mut sources = locked(&self.sources);
        sources.extract_if(|account, _| !accounts.contains(account)).for_each(|(_, source)| source.end());
    }
}

impl Around {
    fn web(&self) -> Result<&Web, WebError> {
        self.web.get_or_init(Web::new).as_ref().map_err(Clone::clone)
    }
}

/// What a panic of another task left is whole: each change is one assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
