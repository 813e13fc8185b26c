//! Which of password and token each account uses now, and what it has met with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fingerprint::Fingerprint;
use super::{Token, Tokens, locked};
use crate::config::{Config, Destination, Login, Method, OAuth};
use crate::ids::AccountName;
use crate::observe::Observer;
use crate::schedule::attempt::Trouble;
use crate::time::{Clock, Timestamp};

/// How the accounts log in, shared by all who do.
pub struct Logins {
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    observer: Arc<Observer>,
    accounts: Mutex<HashMap<AccountName, Standing>>,
}

/// What an account has met with.
#[derive(Default)]
struct Standing {
    /// The method of the last login; none before the first.
    using: Option<Method>,
    /// The methods that have failed since they last worked.
    failed: HashMap<Method, Failed>,
    /// The settings of the last login, where it failed.
    troubled: Option<Login>,
    /// Logins that were refused since the last one passed, or since somebody took account of them.
    refusals: u32,
    /// The file of the password, as it was before it was last read.
    read: Option<Fingerprint>,
}

/// A method did not open the account.
struct Failed {
    at: Timestamp,
    how: Failure,
    /// What was said.
    said: String,
}

/// How a method failed to open an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may work again by itself.
    Perhaps,
    /// The provider takes it no more.
    ForGood,
}

impl Logins {
    /// Logins with the tokens kept beside the queue's database.
    pub fn beside(database: &Path, clock: Arc<dyn Clock>, observer: Arc<Observer>) -> Self {
        let tokens = Tokens::beside(database, Arc::clone(&clock), Arc::clone(&observer));
        Self { tokens, clock, observer, accounts: Mutex::default() }
    }

    /// The accounts' tokens.
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// The methods to try now, in this order: the preferred one first, but not for a while after it has failed. Who is told
    /// to try one again is alone with that: the others leave it alone meanwhile.
    pub fn methods(&self, account: &AccountName, login: &Login) -> Vec<Method> {
        let (preferred, other) = match (&login.password, &login.oauth) {
            (Some(_), Some(_)) => (login.prefer, other(login.prefer)),
            (Some(_), None) => return vec![Method::Password],
            (None, _) => return vec![Method::OAuth],
        };
        let now = self.clock.now();
        self.standing(account, |standing| {
            let ended = |method| standing.failed.get(&method).is_some_and(|it| it.how == Failure::ForGood);
            let rests = |method| {
                ended(method) || standing.failed.get(&method).is_some_and(|it| now.since(it.at) < TRIED_AGAIN_AFTER)
            };
            let (methods, again) = match (rests(preferred), rests(other)) {
                (false, false) => (vec![preferred, other], Some(preferred)),
                (false, true) => (vec![preferred], Some(preferred)),
                (true, false) if ended(preferred) => (vec![other], None),
                (true, false) => (vec![other, preferred], None),
                (true, true) if ended(preferred) => (vec![other], None),
                (true, true) => (vec![preferred], None),
            };
            if let Some(failed) = again.and_then(|method| standing.failed.get_mut(&method)) {
                failed.at = now;
            }
            methods
        })
    }

    /// Remembers what the secrets' files are, just before they are read for a login.
    pub fn reading(&self, account: &AccountName, login: &Login) {
        self.standing(account, |standing| standing.read = Some(Fingerprint::of_password(login)));
    }

    /// The account was opened by this method. Says so once where it is another one than before.
    pub fn opened(&self, account: &AccountName, login: &Login, method: Method) {
        let (before, said) = self.standing(account, |standing| {
            (standing.troubled, standing.refusals) = (None, 0);
            standing.failed.remove(&method);
            let before = standing.using.replace(method).unwrap_or_else(|| login.first());
            (before, standing.failed.get(&before).map(|failed| failed.said.clone()))
        });
        if before != method {
            self.observer.login_switched(account, before, method, said.as_deref());
        }
    }

    /// The method of the account's last login; before the first one, that which will be tried.
    pub fn method(&self, account: &AccountName, login: &Login) -> Method {
        let using = locked(&self.accounts).get(account).and_then(|standing| standing.using);
        using.unwrap_or_else(|| login.first())
    }

    /// The method that the account should be opened by, where the last login was by the other one, and what was said.
    pub fn stood_in_for(&self, account: &AccountName, login: &Login) -> Option<(Method, String)> {
        let first = login.first();
        let accounts = locked(&self.accounts);
        let standing = accounts.get(account).filter(|standing| standing.using == Some(other(first)))?;
        Some((first, standing.failed.get(&first).map(|failed| failed.said.clone()).unwrap_or_default()))
    }

    /// This method did not open the account, and this was said.
    pub fn failed(&self, account: &AccountName, method: Method, how: Failure, said: String) {
        let at = self.clock.now();
        self.standing(account, |standing| drop(standing.failed.insert(method, Failed { at, how, said })));
    }

    /// These accounts wait for their login since the last process: from now on a change of their secrets counts. Blocking,
    /// brief.
    pub fn take_up(&self, config: &Config, waiting: &[AccountName]) {
        for account in config.accounts.iter().filter(|account| waiting.contains(&account.name)) {
            let Destination::Smtp(endpoint) = &account.destination else { continue };
            let Some(login) = &endpoint.login else { continue };
            self.reading(&account.name, login);
            self.refused(&account.name, login);
            if let Some(oauth) = &login.oauth {
                self.tokens.source(&account.name, oauth).reading();
            }
        }
    }

    /// No method of this login has opened the account.
    pub fn refused(&self, account: &AccountName, login: &Login) {
        self.standing(account, |standing| standing.troubled = Some(login.clone()));
    }

    /// The smarthost has refused a login.
    pub fn count_refusal(&self, account: &AccountName) {
        self.standing(account, |standing| standing.refusals = standing.refusals.saturating_add(1));
    }

    /// How many logins were refused of which nobody has taken account yet: providers lock accounts that fail too often.
    pub fn take_refusals(&self, account: &AccountName) -> u32 {
        self.standing(account, |standing| std::mem::take(&mut standing.refusals))
    }

    /// A token of the account.
    ///
    /// # Errors
    /// At [`Step::Token`](crate::schedule::attempt::Step::Token), with what to do.
    pub async fn token(&self, account: &AccountName, oauth: &OAuth) -> Result<Token, Trouble> {
        self.tokens.source(account, oauth).token().await
    }

    /// The smarthost has refused this token: it is not shown again.
    pub fn forget_token(&self, account: &AccountName, oauth: &OAuth, token: &Token) {
        self.tokens.source(account, oauth).forget(token);
    }

    /// The scheduling time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A person has opened the account, or its settings were read again: what it has met with counts no more.
    pub fn forgive(&self, account: &AccountName) {
        self.standing(account, |standing| standing.failed.clear());
        if let Some(source) = locked(&self.tokens.sources).get(account) {
            source.forgive();
        }
        self.tokens.around.changed.notify_one();
    }

    /// The accounts in trouble with their login whose secrets have changed since they were read, or whose settings have, or
    /// to which a user has logged in. What they have met with counts no more, and no account is named twice for one
    /// change. Blocking, brief.
    pub fn mended(&self, config: &Config) -> Vec<AccountName> {
        let logged_in = std::mem::take(&mut *locked(&self.tokens.around.logged_in));
        let mut mended = Vec::new();
        for account in &config.accounts {
            let Destination::Smtp(endpoint) = &account.destination else { continue };
            let Some(login) = &endpoint.login else { continue };
            let source = login.oauth.as_ref().map(|oauth| self.tokens.source(&account.name, oauth));
            let failing = source.as_ref().is_some_and(|source| source.is_failing());
            let changed = {
                let accounts = locked(&self.accounts);
                let standing = accounts.get(&account.name);
                let refused = standing.and_then(|standing| standing.troubled.as_ref());
                let troubled = refused.is_some() || standing.is_some_and(|standing| !standing.failed.is_empty());
                let read = standing.and_then(|standing| standing.read.as_ref());
                (troubled || failing)
                    && (refused.is_some_and(|refused| refused != login)
                        || read.is_some_and(|read| *read != Fingerprint::of_password(login))
                        || source.as_ref().is_some_and(|source| source.has_changed_secrets()))
            };
            if !changed && !logged_in.contains(&account.name) {
                continue;
            }
            self.reading(&account.name, login);
            self.standing(&account.name, |standing| {
                if let Some(refused) = &mut standing.troubled {
                    refused.clone_from(login);
                }
            });
            if let Some(source) = source.filter(|_| changed) {
                source.begin_anew();
            }
            self.forgive(&account.name);
            mended.push(account.name.clone());
        }
        mended
    }

    fn standing<T>(&self, account: &AccountName, change: impl FnOnce(&mut Standing) -> T) -> T {
        change(locked(&self.accounts).entry(account.clone()).or_default())
    }
}

impl Login {
    /// The method that is used where both work.
    fn first(&self) -> Method {
        match (&self.password, &self.oauth) {
            (Some(_), Some(_)) => self.prefer,
            (Some(_), None) => Method::Password,
            (None, _) => Method::OAuth,
        }
    }
}

fn other(method: Method) -> Method {
    match method {
        Method::OAuth => Method::Password,
        Method::Password => Method::OAuth,
    }
}

/// A method that has failed is left alone for so long while the other one works.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(15 * 60);
