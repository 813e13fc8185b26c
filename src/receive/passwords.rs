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
        let Ok(memory) = self.memory.acquire_many(users.memory_kib().max(MAX_MEMORY_KIB / 2)).await else {
            return Answer::Refused(Refusal::Unavailable);
        };
        let users = Arc::clone(users);
        let looked = spawn_blocking(move || users.have(&credentials.username, &credentials.password)).await;
        drop(memory);
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

#[cfg(test)]
mod tests {
    use secrecy::SecretString;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::config::users;

    /// Shows the time of the paused runtime.
    struct RuntimeClock(Instant);

    impl Clock for RuntimeClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(1_795_362_588).after(self.0.elapsed())
        }
    }

    /// Who guesses, and how late it was answered.
    struct Desk {
        passwords: Arc<Passwords>,
        users: Arc<Users>,
    }

    impl Desk {
        fn open() -> Self {
            let line = users::line("scanner", &"right".into(), &[7; users::SALT_OCTETS]).unwrap();
            let passwords = Arc::new(Passwords::new(Arc::new(RuntimeClock(Instant::now()))));
            Self { passwords, users: Arc::new(Users::parse(&line).unwrap()) }
        }

        async fn try_from(&self, address: &str, username: &str, password: &str) -> (Answer, u64) {
            let begun = Instant::now();
            let credentials = Credentials { username: username.into(), password: SecretString::from(password) };
            let origin = Origin::of(address.parse().unwrap());
            let answer = self.passwords.judge(&self.users, credentials, origin).await;
            (answer, begun.elapsed().as_secs())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_guesses_is_answered_later_each_time_until_it_is_quiet() {
        let desk = Desk::open();
        assert_eq!(desk.try_from("10.0.0.5", "scanner", "right").await, (Answer::Authenticated, 0));
        for late in [2, 4, 8, 16, 30, 30] {
            assert_eq!(desk.try_from("10.0.0.5", "scanner", "wrong").await, (Answer::Denied, late));
        }
        assert_eq!(desk.try_from("10.0.0.5", "nobody", "right").await, (Answer::Denied, 30));
        assert_eq!(desk.try_from("10.0.0.5", "scanner", "right").await, (Answer::Authenticated, 0));
        assert_eq!(
            desk.try_from("10.0.0.6", "scanner", "wrong").await,
            (Answer::Denied, 2),
            "others do not pay for it"
        );
        sleep(FORGOTTEN).await;
        assert_eq!(desk.try_from("10.0.0.5", "scanner", "wrong").await, (Answer::Denied, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_host_of_ipv6_does_not_begin_anew_by_another_address() {
        let desk = Desk::open();
        for (address, late) in [("2001:db8::1", 2), ("2001:db8::2", 4), ("2001:db8:0:1::1", 2)] {
            assert_eq!(desk.try_from(address, "scanner", "wrong").await, (Answer::Denied, late), "{address}");
        }
    }

    #[test]
    fn any_number_of_addresses_costs_bounded_memory() {
        let passwords = Passwords::new(Arc::new(crate::time::ManualClock::at(Timestamp::from_secs(1))));
        for number in 0..25_000_u32 {
            let late = passwords.wrong(Origin::of(std::net::Ipv4Addr::from_bits(number).into()));
            assert_eq!(late, FIRST_DELAY);
        }
        assert!(passwords.wrong.lock().unwrap().len() <= ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_memory_is_taken_than_one_hash_may_need() {
        let desk = Desk::open();
        let all = desk.passwords.memory.acquire_many(MAX_MEMORY_KIB).await.unwrap();
        let attempt = desk.try_from("10.0.0.5", "scanner", "right");
        tokio::pin!(attempt);
        // The paused time stands while a password is looked at, and goes on where all wait.
        assert!(timeout(FIRST_DELAY, &mut attempt).await.is_err(), "it did not wait");
        drop(all);
        assert_eq!(attempt.await.0, Answer::Authenticated);
        assert_eq!(desk.passwords.memory.available_permits(), MAX_MEMORY_KIB as usize);
    }

    #[test]
    fn passwords_are_heard_in_plain_text_where_nobody_listens_or_it_was_said() {
        let auth = Auth::Required { users: Arc::default(), plain_text: vec!["10.0.0.0/8".parse().unwrap()] };
        for (origin, in_plain_text) in [
            (Origin::Local(33), true),
            (Origin::of("10.0.0.5".parse().unwrap()), true),
            (Origin::of("::ffff:10.0.0.5".parse().unwrap()), true),
            (Origin::of("192.0.2.1".parse().unwrap()), false),
        ] {
            assert_eq!(rule(&auth, origin), AuthRule::Required { in_plain_text }, "{origin}");
        }
        assert_eq!(rule(&Auth::AcceptAny, Origin::Local(33)), AuthRule::AcceptAny);
        assert_eq!((rule(&Auth::None, Origin::Local(33)), users(&Auth::None)), (AuthRule::None, None));
    }

    #[test]
    fn what_is_shown_of_a_user_name_does_no_harm() {
        assert_eq!(harmless("scanner@example.com"), "scanner@example.com");
        assert_eq!(harmless("DOMAIN\\user"), "DOMAIN\\user");
        assert_eq!(harmless("a\r\nb\u{1b}[31m\u{202e}\"c"), "a??b??31m??c");
        assert_eq!(harmless(&"x".repeat(5000)), format!("{}…", "x".repeat(64)));
    }
}
