//! Faults that the sandbox can be told to have: by name for people, as a value for tests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Where in the conversation a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Greeting,
    Ehlo,
    StartTls,
    Tls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Content,
    /// At the end of data, before the message is stored.
    Dot,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// This reply in place of the usual one; nothing is stored.
    Refuse(Step, &'static str),
    /// The connection closes without a reply; nothing is stored.
    Cut(Step),
    /// Something of its own, where the step is handled.
    Special(Step),
}

macro_rules! faults {
    ($($variant:ident, $name:literal, $about:literal, $effect:expr;)*) => {
        /// What goes wrong. Each has a stable name ([`Fault::name`]) that commands and scripts use.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Fault {
            $(#[doc = $about] $variant,)*
        }

        impl Fault {
            /// Every fault, in the order in which a help page lists them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, in kebab case.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }

            pub(super) const fn effect(self) -> Effect {
                use Effect::{Cut, Refuse, Special};
                match self { $(Self::$variant => $effect,)* }
            }
        }
    };
}

faults! {
    AuthIncorrect, "auth-incorrect", "the password is wrong (535 5.7.139 at AUTH)",
        Refuse(Step::Auth, "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.");
    AuthUnsuccessful, "auth-unsuccessful", "the login is refused without a reason (535 5.7.3 at AUTH)",
        Refuse(Step::Auth, "535 5.7.3 Authentication unsuccessful");
    AuthDisabledTenant, "auth-disabled-tenant", "SMTP AUTH is off in the tenant (535 5.7.139 at AUTH)",
        Refuse(Step::Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the \
            Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.");
    AuthDisabledMailbox, "auth-disabled-mailbox", "SMTP AUTH is off for the mailbox (535 5.7.139 at AUTH)",
        Refuse(Step::Auth, "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the \
            Mailbox. Visit https://aka.ms/smtp_auth_disabled for more information.");
    BasicAuthDisabled, "basic-auth-disabled", "passwords are switched off (535 5.7.139 at AUTH)",
        Refuse(Step::Auth, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.");
    BasicAuthRetired, "basic-auth-retired", "passwords are gone for good (550 5.7.30 at AUTH)",
        Refuse(Step::Auth, "550 5.7.30 Basic authentication is not supported for Client Submission.");
    AuthLocked, "auth-locked", "security defaults lock the user (535 5.7.139 at AUTH)",
        Refuse(Step::Auth, "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security \
            defaults policy. Contact your administrator.");
    AuthCriteria, "auth-criteria", "a policy blocks the login (535 5.7.139 at AUTH)",
        Refuse(Step::Auth, "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be \
            authenticated successfully. Contact your administrator.");
    AuthTempfail, "auth-tempfail", "logins fail for a while (454 4.7.0 at AUTH)",
        Refuse(Step::Auth, "454 4.7.0 Temporary authentication failure");
    NotAuthenticated, "not-authenticated", "the login is forgotten (530 5.7.57 at MAIL)",
        Refuse(Step::Mail, "530 5.7.57 Client not authenticated to send mail.");
    Quota, "quota", "the day's recipients are used up (554 5.2.0 at end of data)",
        Refuse(Step::Dot, super::replies::QUOTA);
    DailyLimit, "daily-limit", "the day's recipients are used up, other words (550 5.1.90 at end of data)",
        Refuse(Step::Dot, "550 5.1.90 Your message can't be sent because you've reached your daily limit for message \
            recipients");
    MailboxFull, "mailbox-full", "the sending mailbox is full (554 5.2.2 at end of data)",
        Refuse(Step::Dot, "554 5.2.2 mailbox full; \
            STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded");
    BadOutboundSender, "bad-outbound-sender", "the sender is restricted for spam (550 5.1.8 at end of data)",
        Refuse(Step::Dot, "550 5.1.8 Access denied, bad outbound sender AS(42004)");
    TenantLimit, "tenant-limit", "the tenant's external recipients are used up (550 5.7.233 at end of data)",
        Refuse(Step::Dot, "550 5.7.233 - Your message can't be sent because your tenant exceeded its daily limit for \
            sending email to external recipients (tenant external recipient rate limit)");
    TrialLimit, "trial-limit", "the trial tenant's day is used up (550 5.7.232 at end of data)",
        Refuse(Step::Dot, "550 5.7.232 - Your message can't be sent because your trial tenant has exceeded its daily \
            limit for sending email to external recipients (tenant external recipient rate limit)");
    Banned501, "banned-501", "spam was seen (550 5.7.501 at end of data)",
        Refuse(Step::Dot, "550 5.7.501 Access denied, spam abuse detected");
    Banned502, "banned-502", "the sender is banned (550 5.7.502 at end of data)",
        Refuse(Step::Dot, "550 5.7.502 Access denied, banned sender");
    Banned503, "banned-503", "the sender is banned, other number (550 5.7.503 at end of data)",
        Refuse(Step::Dot, "550 5.7.503 Access denied, banned sender");
    TenantThreshold, "tenant-threshold", "the tenant is over its threshold (550 5.7.705 at end of data)",
        Refuse(Step::Dot, "550 5.7.705 Access denied, tenant has exceeded threshold");
    IpRefused, "ip-refused", "the address is not liked (550 5.7.708 at end of data)",
        Refuse(Step::Dot, "550 5.7.708 Access denied, traffic not accepted from this IP");
    UnregisteredDomain, "unregistered-domain", "the sender's domain is not the tenant's (550 5.7.750 at end of data)",
        Refuse(Step::Dot, "550 5.7.750 Service unavailable. Client blocked from sending from unregistered domains");
    SendAs, "send-as", "no permission for this sender (550 5.7.60 at end of data)",
        Refuse(Step::Dot, "550 5.7.60 SMTP; Client does not have permissions to send as this sender");
    Rate, "rate", "too many messages (421 4.4.2 at end of data, then closed)",
        Refuse(Step::Dot, super::replies::RATE);
    Concurrency, "concurrency", "too many at a time (432 4.3.2 at DATA)",
        Refuse(Step::Data, super::replies::CONCURRENCY);
    ConcurrencyOld, "concurrency-old", "too many at a time, older words (432 4.3.2 at DATA)",
        Refuse(Step::Data, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded");
    TooManyRecipients, "too-many-recipients", "every recipient is one too many (452 4.5.3 at RCPT)",
        Refuse(Step::Rcpt, super::replies::TOO_MANY_RECIPIENTS);
    RejectRecipient, "reject-recipient", "every recipient is unknown (550 5.1.10 at RCPT)",
        Refuse(Step::Rcpt, super::replies::UNKNOWN_RECIPIENT);
    RejectSubject, "reject-subject", "a Subject with the word poison is refused (554 5.3.0 at end of data)",
        Refuse(Step::Dot, UNLISTED);
    Unlisted, "unlisted", "a 5xx that nobody knows (554 5.3.0 at end of data)",
        Refuse(Step::Dot, UNLISTED);
    UnlistedMail, "unlisted-mail", "a 5xx that nobody knows (554 5.3.0 at MAIL)",
        Refuse(Step::Mail, UNLISTED);
    Tempfail, "tempfail", "a passing fault (451 4.7.0 at MAIL)",
        Refuse(Step::Mail, "451 4.7.0 Temporary server error. Please try again later. PRX2");
    TempfailDot, "tempfail-dot", "a passing fault (451 4.7.0 at end of data)",
        Refuse(Step::Dot, "451 4.7.0 Temporary server error. Please try again later. PRX2");
    ServiceUnavailable, "service-unavailable", "the banner is a refusal (421 4.3.2), then closed",
        Refuse(Step::Greeting, "421 4.3.2 Service not available");
    Down, "down", "connections are accepted and closed at once",
        Cut(Step::Connect);
    NoBanner, "no-banner", "the server stays silent",
        Special(Step::Greeting);
    CutAtGreeting, "cut-at-greeting", "closes in the middle of the banner",
        Special(Step::Greeting);
    CutAtEhlo, "cut-at-ehlo", "closes at EHLO",
        Cut(Step::Ehlo);
    CutAtStarttls, "cut-at-starttls", "closes at STARTTLS",
        Cut(Step::StartTls);
    CutAtTls, "cut-at-tls", "closes in the TLS handshake",
        Special(Step::Tls);
    CutAtAuth, "cut-at-auth", "closes at AUTH",
        Cut(Step::Auth);
    CutAtMail, "cut-at-mail", "closes at MAIL",
        Cut(Step::Mail);
    CutAtRcpt, "cut-at-rcpt", "closes at RCPT",
        Cut(Step::Rcpt);
    CutAtData, "cut-at-data", "closes at DATA",
        Cut(Step::Data);
    CutAtContent, "cut-at-content", "closes while the content comes",
        Special(Step::Content);
    CutAtDot, "cut-at-dot", "stores the message, then closes without a reply",
        Special(Step::Dot);
    CutBeforeDotStored, "cut-before-dot-stored", "closes at the end of data, and the message is lost",
        Cut(Step::Dot);
    SlowDot, "slow-dot", "stores the message, and answers late (30 s, or slow-dot=SECONDS)",
        Special(Step::Dot);
    Latin1Reply, "latin1-reply", "stores the message, and answers 250 with bytes that are not UTF-8",
        Special(Step::Dot);
    BytesAfterStarttls, "bytes-after-starttls", "plain text follows the 220 to STARTTLS (injection)",
        Special(Step::StartTls);
    NoStarttls, "no-starttls", "STARTTLS is not offered",
        Special(Step::Ehlo);
    BadCertificate, "bad-certificate", "the certificate is from an authority nobody knows",
        Special(Step::Tls);
}

const UNLISTED: &str = "554 5.3.0 The moon is in the wrong house for this message";

impl Fault {
    pub(super) const fn step(self) -> Step {
        match self.effect() {
            Effect::Refuse(step, _) | Effect::Cut(step) | Effect::Special(step) => step,
        }
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
    /// How late the reply of `slow-dot` comes.
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

    /// Answers this late (`slow-dot`).
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

    /// `NAME`, `slow-dot=SECONDS`, and `:N` behind either for the first N times only.
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
            if rule.fault != Fault::SlowDot {
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
        assert!(Fault::ALL.len() > 50, "{}", Fault::ALL.len());
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
