//! By what a token is asked for: the refresh token of a user, from the disk or from the configuration.

use std::path::Path;

use tokio::task::spawn_blocking;

use super::file::{self, Stored};
use super::request::{Denied, Granted, denied};
use crate::config::{Grant, OAuth};
use crate::ids::AccountName;
use crate::schedule::attempt::TroubleKind;

/// What a token is asked for by.
pub(super) enum Descent {
    /// By the application's proof alone.
    Application,
    /// By a refresh token.
    User {
        stored: Stored,
        /// Whether it is not on disk yet.
        fresh: bool,
    },
}

impl Descent {
    /// What is to be written down after this answer. An answer without a refresh token leaves the one that was shown.
    pub(super) fn replaced_by(self, granted: &Granted) -> Option<Stored> {
        match (self, &granted.refresh) {
            (Self::Application, _) => None,
            (Self::User { stored, .. }, Some(refresh)) => Some(Stored { refresh: refresh.clone(), ..stored }),
            (Self::User { stored, fresh }, None) => fresh.then_some(stored),
        }
    }
}

/// The refresh token to show, where one is needed: the stored one (which may not have been written yet), or the configured
/// one where that is newer. Newer is what is another one than the stored one descends from.
pub(super) async fn find(
    oauth: &OAuth,
    folder: &Path,
    account: &AccountName,
    unwritten: Option<Stored>,
) -> Result<Descent, Denied> {
    let Grant::User { seed } = &oauth.grant else { return Ok(Descent::Application) };
    let local = |why: String| denied(TroubleKind::Local, format!("no token for account {account}: {why}"));
    let is_unwritten = unwritten.is_some();
    let (seed, path, name) = (seed.clone(), folder.to_owned(), account.clone());
    let read = spawn_blocking(move || {
        let stored = match unwritten {
            Some(stored) => Some(stored),
            None => {
                file::read(&path, &name).map_err(|error| format!("{}: {error}", path.join(name.as_str()).display()))?
            }
        };
        Ok((seed.map(|seed| seed.read()), stored))
    });
    let (seed, stored) = read.await.unwrap_or_else(|broken| Err(broken.to_string())).map_err(local)?;
    let stored = stored.filter(|stored| stored.client_id == oauth.client_id);
    match (stored, seed) {
        // A seed that has sprouted may be taken away.
        (Some(stored), None | Some(Err(_))) => Ok(Descent::User { stored, fresh: is_unwritten }),
        (Some(stored), Some(Ok(seed))) if stored.seed == Some(file::mark(&seed)) => {
            Ok(Descent::User { stored, fresh: is_unwritten })
        }
        (_, Some(Ok(refresh))) => {
            let seed = Some(file::mark(&refresh));
            let stored = Stored { refresh, client_id: oauth.client_id.clone(), seed };
            Ok(Descent::User { stored, fresh: true })
        }
        (None, Some(Err(error))) => Err(local(format!("the refresh token cannot be read: {error}"))),
        (None, None) => Err(denied(
            TroubleKind::TokenRefused,
            format!("nobody has logged in yet: run `{}`", login_command(account)),
        )),
    }
}

/// The mark of the configured refresh token, from which a login does not descend but which it outlives.
pub(super) async fn mark(oauth: &OAuth) -> Option<String> {
    let Grant::User { seed: Some(seed) } = oauth.grant.clone() else { return None };
    spawn_blocking(move || seed.read().ok().map(|seed| file::mark(&seed))).await.ok().flatten()
}

/// What logs a user in.
pub(super) fn login_command(account: &AccountName) -> String {
    format!("mailsluice account login {account}")
}
