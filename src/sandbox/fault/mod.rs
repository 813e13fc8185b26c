//! Faults that the sandbox can be told to have: by name for people, as a value for tests.

pub(super) mod entra;
mod list;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub(super) use entra::Denial;
pub use list::Fault;

use super::profile::Service;

/// Where in the conversation a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Greeting,
    Ehlo,
    /// EHLO under TLS.
    SecureEhlo,
    StartTls,
    Tls,
    /// A login of any kind.
    Auth,
    /// A login with a password.
    Password,
    /// A login with a bearer token.
    Bearer,
    Mail,
    Rcpt,
    Data,
    Content,
    /// At the end of data, before the message is stored.
    Dot,
    /// Any request for a token.
    Token,
    /// One with a refresh token.
    Refresh,
    /// One with a device code.
    Poll,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// This reply in place of the usual one; nothing is stored. `{sender}` and `{recipient}` stand for the transaction's.
    Refuse(Step, &'static str),
    /// The token endpoint denies the token.
    Deny(Step, &'static Denial),
    /// The connection closes without a reply; nothing is stored.
    Cut(Step),
    /// Something of its own, where the step is handled.
    Special(Step),
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Logins, permissions and ways in at Microsoft 365.
    Login,
    /// Rates, quotas and reputation at Microsoft 365.
    Quota,
    /// What passes by itself at Microsoft 365.
    Passing,
    /// The message or its recipients at Microsoft 365.
    Message,
    /// Amazon SES.
    Ses,
    /// Mailjet.
    Mailjet,
    /// Google.
    Google,
    /// The token endpoint of Microsoft 365, by which an account with OAuth gets its tokens.
    Tokens,
    /// What can happen at any smarthost.
    Anywhere,
}

impl Topic {
    /// The topic as a heading has it.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Login => "Microsoft 365: login and permission",
            Self::Quota => "Microsoft 365: rate, quota, reputation",
            Self::Passing => "Microsoft 365: what passes",
            Self::Message => "Microsoft 365: message and recipient",
            Self::Ses => "Amazon SES",
            Self::Mailjet => "Mailjet",
            Self::Google => "Google",
            Self::Tokens => "Tokens (OAuth)",
            Self::Anywhere => "any smarthost",
        }
    }

    /// The only service that knows such faults; none where any does.
    pub const fn service(self) -> Option<Service> {
        match self {
            Self::Login | Self::Quota | Self::Passing | Self::Message | Self::Tokens => Some(Service::Microsoft365),
            Self::Ses => Some(Service::Ses),
            Self::Mailjet => Some(Service::Mailjet),
            Self::Google => Some(Service::Google),
            Self::Anywhere => None,
        }
    }
}

impl Fault {
    pub(super) const fn step(self) -> Step {
        match self.effect() {
            Effect::Refuse(step, _) | Effect::Deny(step, _) | Effect::Cut(step) | Effect::Special(step) => step,
        }
    }

    /// Whether only who logs in with a password meets it.
    pub const fn is_about_passwords(self) -> bool {
        matches!(self.step(), Step::Password)
    }

    /// Whether `=SECONDS` may stand behind the name.
    const fn takes_seconds(self) -> bool {
        matches!(self, Self::SlowDot | Self::TokenSlow | Self::TokenThrottled)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no fault; wanted a name such as quota or slow-dot=20, and :N behind it for the first N times only")]
pub struct NotAFault(String);

impl FromStr for Fault {
    type Err = NotAFault;

    fn from_str(name: &str) -> Result<Self, NotAFault> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name).ok_or_else(|| NotAFault(name.to_owned()))
    }
}

/// A fault, and when it strikes: always, unless a field says less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// What goes wrong.
    pub fault: Fault,
    /// How many times more it strikes; then it is over. None: until it is cleared.
    pub remaining: Option<u32>,
    /// Strikes only where this is in the path of MAIL or RCPT, or at DATA and the end of data in any of them or in the
    /// header block; so never before MAIL.
    pub containing: Option<String>,
    /// How late the answers of `slow-dot` and `token-slow` come, and when `token-throttled` says to come again.
    pub delay: Duration,
}

impl FaultRule {
    /// Strikes `times` times, then is over.
    #[must_use]
    pub fn first(mut self, times: u32) -> Self {
        self.remaining = Some(times);
        self
    }

    /// Strikes only transactions that hold `text`.
    #[must_use]
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.containing = Some(text.into());
        self
    }

    /// Answers this late (`slow-dot`, `token-slow`), or asks for so much patience (`token-throttled`).
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

impl From<Fault> for FaultRule {
    fn from(fault: Fault) -> Self {
        Self { fault, remaining: None, containing: None, delay: Duration::from_secs(30) }
    }
}

impl FromStr for FaultRule {
    type Err = NotAFault;

    /// `NAME`, `NAME=SECONDS` where the fault takes time, and `:N` behind either for the first N times only.
    fn from_str(text: &str) -> Result<Self, NotAFault> {
        let refused = || NotAFault(text.to_owned());
        let (rest, times) = match text.split_once(':') {
            Some((rest, times)) => (rest, Some(times.parse().map_err(|_| refused())?)),
            None => (text, None),
        };
        let (name, seconds) = rest.split_once('=').map_or((rest, None), |(name, seconds)| (name, Some(seconds)));
        let mut rule = Self::from(name.parse::<Fault>().map_err(|_| refused())?);
        rule.remaining = times;
        if let Some(seconds) = seconds {
            if !rule.fault.takes_seconds() {
                return Err(refused());
            }
            rule.delay = Duration::from_secs(seconds.parse().map_err(|_| refused())?);
        }
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::EnhancedStatus;

    #[test]
    fn every_fault_is_found_by_its_name() {
        assert!(Fault::ALL.len() > 130, "{}", Fault::ALL.len());
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(*fault));
            assert!(fault.name().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        }
        assert!("quotas".parse::<Fault>().is_err());
    }

    #[test]
    fn every_refusal_is_a_reply_with_a_status_of_its_class() {
        for fault in Fault::ALL {
            if let Effect::Refuse(_, reply) = fault.effect() {
                let (code, text) = reply.split_once(' ').unwrap();
                if fault.topic() == Topic::Ses {
                    assert!(EnhancedStatus::split(text).is_none(), "{fault}: SES has none");
                    continue;
                }
                let (status, _) = EnhancedStatus::split(text).unwrap_or_else(|| panic!("{fault}: {reply}"));
                assert_eq!(code.parse::<u16>().unwrap() / 100, u16::from(status.class), "{fault}");
            }
        }
    }

    #[test]
    fn a_rule_is_read_from_text() {
        assert_eq!("quota:3".parse(), Ok(FaultRule::from(Fault::Quota).first(3)));
        assert_eq!("slow-dot=2".parse(), Ok(FaultRule::from(Fault::SlowDot).delayed(Duration::from_secs(2))));
        for text in ["", "quota:", "quota:x", "quota=3", "slow-dot=", "slow-dot:1=2", "slow-dot=-1"] {
            assert!(text.parse::<FaultRule>().is_err(), "{text}");
        }
    }
}
