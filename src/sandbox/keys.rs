//! What opens the mailbox: its user with the password, or with a bearer token that is known or was issued and has not
//! expired. Nothing of it is ever logged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use super::config::{SandboxConfig, UsedTokens};
use crate::time::Timestamp;

/// Shared by the connections and the token endpoint.
pub(super) struct Keys {
    user: String,
    password: Mutex<SecretString>,
    token: Option<SecretString>,
    used: UsedTokens,
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    /// Each access token, and when it ends.
    access: HashMap<String, Timestamp>,
    /// Refresh tokens, the oldest first.
    refresh: VecDeque<Refresh>,
}

struct Refresh {
    token: String,
    grant: Grant,
}

/// How a refresh token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    /// It gets tokens.
    Good,
    /// It got them once.
    Revoked,
    /// Nobody issued it.
    Unknown,
}

/// So many tokens of a kind are remembered.
const MOST: usize = 10_000;

impl Keys {
    pub(super) fn new(config: &SandboxConfig) -> Self {
        Self {
            user: config.user.clone(),
            password: Mutex::new(config.password.clone()),
            token: config.token.clone(),
            used: config.tokens.used,
            issued: Mutex::default(),
        }
    }

    pub(super) fn set_password(&self, password: SecretString) {
        *lock(&self.password) = password;
    }

    pub(super) fn password_opens(&self, user: &[u8], password: &[u8]) -> bool {
        self.is_user(user) && password == lock(&self.password).expose_secret().as_bytes()
    }

    /// Reads what XOAUTH2 sends: `user=` and the user, `auth=Bearer ` and the token, each ended by 0x01, and one more.
    pub(super) fn token_opens(&self, response: &[u8], now: Timestamp) -> bool {
        let parts: Vec<&[u8]> = response.split(|byte| *byte == 1).collect();
        let [user, token, b"", b""] = parts[..] else { return false };
        let Some(user) = user.strip_prefix(b"user=") else { return false };
        let Some(token) = token.strip_prefix(b"auth=Bearer ").and_then(|token| std::str::from_utf8(token).ok()) else {
            return false;
        };
        let known = self.token.as_ref().is_some_and(|known| known.expose_secret() == token);
        self.is_user(user) && (known || lock(&self.issued).access.get(token).is_some_and(|end| now < *end))
    }

    /// A new access token, good until `end`.
    pub(super) fn issue_access(&self, now: Timestamp, end: Timestamp) -> String {
        let token = super::random::token(48);
        let mut issued = lock(&self.issued);
        issued.access.retain(|_, end| now < *end);
        if issued.access.len() < MOST {
            issued.access.insert(token.clone(), end);
        }
        token
    }

    /// A new refresh token.
    pub(super) fn issue_refresh(&self) -> String {
        let token = super::random::token(96);
        let mut issued = lock(&self.issued);
        if issued.refresh.len() >= MOST {
            issued.refresh.pop_front();
        }
        issued.refresh.push_back(Refresh { token: token.clone(), grant: Grant::Good });
        token
    }

    /// Presents a refresh token, which may thereby be used up.
    pub(super) fn present(&self, token: &str) -> Grant {
        let mut issued = lock(&self.issued);
        let Some(found) = issued.refresh.iter_mut().find(|one| one.token == token) else { return Grant::Unknown };
        let grant = found.grant;
        if self.used == UsedTokens::Void {
            found.grant = Grant::Revoked;
        }
        grant
    }

    /// Ends every token that was issued.
    pub(super) fn revoke(&self) {
        let mut issued = lock(&self.issued);
        issued.access.clear();
        issued.refresh.iter_mut().for_each(|one| one.grant = Grant::Revoked);
    }

    fn is_user(&self, user: &[u8]) -> bool {
        user.eq_ignore_ascii_case(self.user.as_bytes())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn bearer(user: &str, token: &str) -> Vec<u8> {
        format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}").into_bytes()
    }

    #[test]
    fn an_access_token_opens_until_it_ends_or_is_revoked() {
        let keys = Keys::new(&SandboxConfig { token: Some("known".into()), ..SandboxConfig::default() });
        let now = Timestamp::from_secs(100);
        let end = now.after(Duration::from_secs(10));
        let token = keys.issue_access(now, end);
        let open = |user: &str, token: &str, now| keys.token_opens(&bearer(user, token), now);
        assert!(open("WEBMASTER@example.com", &token, now) && open("webmaster@example.com", "known", end));
        assert!(!open("other@example.com", &token, now) && !open("webmaster@example.com", &token, end));
        assert!(!open("webmaster@example.com", "other", now));
        for broken in ["", "user=webmaster@example.com\u{1}auth=Bearer known", "\u{1}\u{1}\u{1}"] {
            assert!(!keys.token_opens(broken.as_bytes(), now), "{broken:?}");
        }
        keys.revoke();
        assert!(!open("webmaster@example.com", &token, now) && open("webmaster@example.com", "known", now));
    }

    #[test]
    fn a_refresh_token_is_used_up_where_the_service_has_it_so() {
        for (used, second) in [(UsedTokens::Kept, Grant::Good), (UsedTokens::Void, Grant::Revoked)] {
            let mut config = SandboxConfig::default();
            config.tokens.used = used;
            let keys = Keys::new(&config);
            let token = keys.issue_refresh();
            assert_eq!(
                (keys.present(&token), keys.present(&token), keys.present("x")),
                (Grant::Good, second, Grant::Unknown)
            );
            keys.revoke();
            assert_eq!(keys.present(&token), Grant::Revoked);
        }
    }

    #[test]
    fn the_password_can_be_changed() {
        let keys = Keys::new(&SandboxConfig::default());
        assert!(keys.password_opens(b"webmaster@EXAMPLE.com", b"open-sesame"));
        keys.set_password("other".into());
        assert!(!keys.password_opens(b"webmaster@example.com", b"open-sesame"));
        assert!(keys.password_opens(b"webmaster@example.com", b"other"));
    }
}
