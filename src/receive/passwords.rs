//! Looks at passwords, slowly for who guesses: a wrong one is answered late, and later each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::admission::one_client;
use crate::config::Auth;
use crate::config::users::{MAX_MEMORY_KIB, Users};
use crate::route::Origin;
use crate::session::{Answer, AuthRule, Credentials, Refusal};
use crate::time::{Clock, Timestamp};

/// What is known of those who tried.
pub(super) struct Passwords {
    clock: Arc<dyn Clock>,
    /// Memory in KiB for those that are being looked at. It takes much, as it must, so that guessing is dear.
    memory: Semaphore,
    wrong: Mutex<HashMap<Origin, Wrong>>,
}

/// Wrong passwords of one address.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    count: u32,
    last: Timestamp,
}

impl Passwords {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, memory: Semaphore::new(MAX_MEMORY_KIB as usize), wrong: Mutex::default() }
    }

    /// Whether it is a user's password. Who else asks meanwhile waits for its turn; a wrong one waits for its answer.
    pub(super) async fn judge(&self, users: &Arc<Users>, credentials: Credentials, origin: Origin) -> Answer {
        // Two at a time at most, one of those that need more memory. Cannot fail: the semaphore is never closed.
        let Ok(_memory) = self.memory.acquire_many(users.memory_kib().max(MAX_MEMORY_KIB / 2)).await else {
            return Answer::Refused(Refusal::Unavailable);
        };
        let users = Arc::clone(users);
        let looked = spawn_blocking(move || users.have(&credentials.username, &credentials.password)).await;
        drop(_memory);
        match looked {
            Ok(true) => Answer::Authenticated,
            Ok(false) => {
                sleep(self.wrong(origin)).await;
                Answer::Denied
            }
            Err(_) => Answer::Refused(Refusal::Unavailable),
        }
    }

    /// Notes a wrong password, and how late it is answered.
    fn wrong(&self, origin: Origin) -> Duration {
        let now = self.clock.now();
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |one: &Wrong| now.since(one.last) < FORGOTTEN;
        if wrong.len() >= ADDRESSES {
            wrong.retain(|_, one| recent(one));
        }
        if wrong.len() >= ADDRESSES {
            wrong.clear();
        }
        let one = wrong.entry(one_client(origin)).or_insert(Wrong { count: 0, last: now });
        one.count = if recent(one) { one.count.saturating_add(1) } else { 1 };
        one.last = now;
        FIRST_DELAY.saturating_mul(2_u32.saturating_pow(one.count - 1)).min(LAST_DELAY)
    }
}

/// What this listener asks of who comes from `origin`.
pub(super) fn rule(auth: &Auth, origin: Origin) -> AuthRule {
    match auth {
        Auth::None => AuthRule::None,
        Auth::AcceptAny => AuthRule::AcceptAny,
        Auth::Required { plain_text, .. } => {
            let may_be_heard = |address| plain_text.iter().any(|network| network.contains(&address));
            AuthRule::Required { in_plain_text: origin.ip().is_none_or(may_be_heard) }
        }
    }
}

/// The users of a listener that asks for a login.
pub(super) fn users(auth: &Auth) -> Option<&Arc<Users>> {
    match auth {
        Auth::Required { users, .. } => Some(users),
        Auth::None | Auth::AcceptAny => None,
    }
}

/// A user name as it came over the wire, so that it does a log no harm.
pub(super) fn harmless(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || " .@_+-/\\=".contains(c) { c } else { '?' };
    let shown: String = name.chars().take(SHOWN).map(plain).collect();
    if name.chars().nth(SHOWN).is_some() { shown + "…" } else { shown }
}

/// Characters of a user name that a log line shows.
const SHOWN: usize = 64;
/// How late the first wrong password of an address is answered; each further one twice as late, up to the last.
const FIRST_DELAY: Duration = Duration::from_secs(2);
const LAST_DELAY: Duration = Duration::from_secs(30);
/// How long an address must be quiet to begin anew.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// Addresses that are remembered before those that have been quiet are forgotten, or, where none has, all.
const ADDRESSES: usize = 10_000;
