//! Device codes (RFC 8628): given to a device, approved by a person, redeemed once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::sandbox::fault::{Denial, entra};
use crate::sandbox::random;
use crate::time::Timestamp;

/// The codes that wait.
#[derive(Default)]
pub(super) struct Codes(Mutex<Vec<Code>>);

struct Code {
    device_code: String,
    user_code: String,
    ends_at: Timestamp,
    /// The poll before which the next one is too early, and how long that is.
    polled_at: Option<Timestamp>,
    interval: Duration,
    approval: Approval,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Approval {
    Pending,
    Approved,
}

/// So many codes wait at a time; one more puts out the oldest.
const MOST: usize = 100;
/// What is added to the interval of a device that polls too fast (RFC 8628 §3.5).
const SLOWER: Duration = Duration::from_secs(5);

impl Codes {
    /// A new device code and its user code.
    pub(super) fn issue(&self, now: Timestamp, lifetime: Duration, interval: Duration) -> (String, String) {
        let (device_code, user_code) = (random::token(64), random::user_code());
        let mut codes = self.lock();
        codes.retain(|code| now < code.ends_at);
        if codes.len() >= MOST {
            codes.remove(0);
        }
        codes.push(Code {
            device_code: device_code.clone(),
            user_code: user_code.clone(),
            ends_at: now.after(lifetime),
            polled_at: None,
            interval,
            approval: Approval::Pending,
        });
        (device_code, user_code)
    }

    /// A person enters a user code, in any case and with blanks or hyphens.
    pub(super) fn approve(&self, user_code: &str, now: Timestamp) -> bool {
        let typed: String = user_code.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut codes = self.lock();
        let found = codes.iter_mut().find(|code| code.user_code.eq_ignore_ascii_case(&typed) && now < code.ends_at);
        found.is_some_and(|code| {
            code.approval = Approval::Approved;
            true
        })
    }

    /// A device polls: the code is redeemed, or it is said why not.
    pub(super) fn redeem(&self, device_code: &str, now: Timestamp) -> Result<(), &'static Denial> {
        let mut codes = self.lock();
        let found = codes.iter_mut().enumerate().find(|(_, code)| code.device_code == device_code);
        let (place, code) = found.ok_or(&entra::CODE_UNKNOWN)?;
        if code.ends_at <= now {
            return Err(&entra::CODE_EXPIRED);
        }
        if code.polled_at.is_some_and(|last| now < last.after(code.interval)) {
            code.interval += SLOWER;
            code.polled_at = Some(now);
            return Err(&entra::SLOW_DOWN);
        }
        code.polled_at = Some(now);
        if code.approval == Approval::Pending {
            return Err(&entra::PENDING);
        }
        codes.remove(place);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Code>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_pending_then_good_once() {
        let codes = Codes::default();
        let at = Timestamp::from_secs;
        let (device, user) = codes.issue(at(0), Duration::from_secs(900), SLOWER);
        assert_eq!(codes.redeem(&device, at(0)), Err(&entra::PENDING));
        assert_eq!(codes.redeem(&device, at(4)), Err(&entra::SLOW_DOWN), "sooner than the interval");
        assert_eq!(codes.redeem(&device, at(13)), Err(&entra::SLOW_DOWN), "which has grown");
        assert!(!codes.approve("WRONG", at(14)));
        let typed = format!("{} {}", user[..4].to_lowercase(), &user[4..]);
        assert!(codes.approve(&typed, at(14)));
        assert_eq!(codes.redeem(&device, at(28)), Ok(()));
        assert_eq!(codes.redeem(&device, at(60)), Err(&entra::CODE_UNKNOWN));
    }

    #[test]
    fn a_code_ends() {
        let codes = Codes::default();
        let (device, user) = codes.issue(Timestamp::EPOCH, Duration::from_secs(900), SLOWER);
        assert!(!codes.approve(&user, Timestamp::from_secs(900)));
        assert_eq!(codes.redeem(&device, Timestamp::from_secs(900)), Err(&entra::CODE_EXPIRED));
    }
}
