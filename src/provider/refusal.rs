//! What a refusal is about: this recipient, this message, the moment, the rate, or the account.
//!
//! A provider's own table is asked first, then the rules that hold everywhere. What neither knows is [`Class::Unlisted`]
//! where believing it would lose mail, and taken at its word where it cannot.

use super::{Provider, microsoft365};
use crate::schedule::attempt::Step;
use crate::smtp::Reply;

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// This recipient, for good.
    Recipient,
    /// This message, for good.
    Message,
    /// The moment: the same may pass later; other mail is not concerned.
    Wait,
    /// This transaction has enough recipients; the others may go in the next one.
    NextTransaction,
    /// Too much at a time or in a minute: the account rests briefly.
    Rate,
    /// A quota of hours or a day is spent: the account rests long.
    Quota,
    /// The login: wrong, locked, or of a kind that is switched off.
    Login,
    /// The login, for a reason that the provider calls temporary.
    LoginLater,
    /// The account or its tenant.
    Account,
    /// The way in: this host does not let us have a session just now.
    Connect,
    /// Permanent by its code, but nobody has said that it is the message's fault.
    Unlisted,
}

/// A refusal in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What it is about.
    pub class: Class,
    /// What happened and what a person can do, in a sentence.
    pub sentence: &'static str,
}

impl Meaning {
    /// As it is told.
    pub fn told(&self) -> String {
        self.sentence.to_owned()
    }
}

/// A row of a provider's table: a reply with one of these codes, or any where there is none, whose text holds every
/// one of these words, in any case.
pub(super) struct Row {
    pub(super) codes: &'static [u16],
    pub(super) words: &'static [&'static str],
    pub(super) class: Class,
    pub(super) sentence: &'static str,
}

/// Reads the provider's refusal of `step`.
pub fn meaning(provider: Provider, step: Step, reply: &Reply) -> Meaning {
    let text = reply.text().to_ascii_lowercase();
    let rows = match provider {
        Provider::Microsoft365 | Provider::Microsoft365Hve | Provider::Microsoft365Connector => microsoft365::ROWS,
        Provider::Ses | Provider::Mailjet | Provider::Smtp | Provider::Directory => &[],
    };
    let listed = rows.iter().chain(ANYWHERE).find(|row| {
        (row.codes.is_empty() || row.codes.contains(&reply.code)) && row.words.iter().all(|word| holds(&text, word))
    });
    match listed {
        Some(row) => Meaning { class: row.class, sentence: row.sentence },
        None => by_step(step, reply),
    }
}

/// Whether the refusal of a login says that the provider takes no password any more, so that only a token opens the
/// account.
pub fn ends_passwords(provider: Provider, reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    let microsoft = matches!(provider, Provider::Microsoft365 | Provider::Microsoft365Hve);
    let disabled = reply.code == 535 && holds(&text, "5.7.139") && text.contains("basic authentication is disabled");
    microsoft && (disabled || reply.code == 550 && holds(&text, "5.7.30"))
}

/// Whether the text holds the word; one that ends in a digit, such as 5.2.2, not as the beginning of 5.2.252.
fn holds(text: &str, word: &str) -> bool {
    let digit_at = |index: usize| text.as_bytes().get(index).is_some_and(u8::is_ascii_digit);
    let number = word.ends_with(|c: char| c.is_ascii_digit());
    text.match_indices(word).any(|(index, _)| !number || !digit_at(index + word.len()))
}

/// What is true of every smarthost. Below the provider's own rows.
const ANYWHERE: &[Row] = &[
    Row {
        codes: &[530, 535, 538, 534],
        words: &[],
        class: Class::Login,
        sentence: "The provider refuses the login: check user name and password of the account.",
    },
    Row {
        codes: &[504],
        words: &["authentication"],
        class: Class::Login,
        sentence: "The provider does not take this kind of login: check which mechanisms it offers.",
    },
    Row {
        codes: &[],
        words: &["relay access denied"],
        class: Class::Account,
        sentence: "The smarthost does not relay for this account: give it a login, or our address to the smarthost.",
    },
    Row {
        codes: &[],
        words: &["relaying denied"],
        class: Class::Account,
        sentence: "The smarthost does not relay for this account: give it a login, or our address to the smarthost.",
    },
    Row {
        codes: &[452],
        words: &["too many recipients"],
        class: Class::NextTransaction,
        sentence: "The transaction has as many recipients as the provider takes; the others follow in another one.",
    },
    Row {
        codes: &[552],
        words: &["size"],
        class: Class::Message,
        sentence: "The message is larger than the provider takes: send less, or raise the provider's limit.",
    },
    Row {
        codes: &[552, 554],
        words: &["5.3.4"],
        class: Class::Message,
        sentence: "The message is larger than the provider takes: send less, or raise the provider's limit.",
    },
];

fn by_step(step: Step, reply: &Reply) -> Meaning {
    let (class, sentence) = match (step, reply.is_transient()) {
        (Step::Auth, true) => (Class::LoginLater, "The provider cannot check the login just now."),
        (Step::Auth, false) => {
            (Class::Login, "The provider refuses the login: check user name and password of the account.")
        }
        // RFC 5321 §3.8: the service closes, whatever was asked.
        _ if reply.code == 421 => (Class::Connect, "The provider's host closes the session for now."),
        (Step::Token | Step::Resolve | Step::Connect | Step::Greeting | Step::Ehlo | Step::StartTls | Step::Tls, _) => {
            (Class::Connect, "The provider's host does not open a session: its reply says why.")
        }
        (_, true) => (Class::Wait, "The provider put the message off; it is tried again later."),
        (Step::Rcpt, false) => (Class::Recipient, "The provider refuses this recipient."),
        (Step::Mail | Step::Data | Step::Content | Step::FinalReply, false) => (
            Class::Unlisted,
            "The provider refuses the message with a reply that is not known to be the message's fault.",
        ),
    };
    Meaning { class, sentence }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(step: Step, text: &str) -> Class {
        let (code, text) = text.split_once(' ').unwrap();
        meaning(Provider::Smtp, step, &Reply::new(code.parse().unwrap(), text)).class
    }

    #[test]
    fn a_plain_smarthost_is_read_by_step_and_code() {
        for (step, reply, wanted) in [
            (Step::Auth, "535 5.7.8 Error: authentication failed", Class::Login),
            (Step::Auth, "454 4.7.0 Temporary authentication failure", Class::LoginLater),
            (Step::Auth, "550 no", Class::Login),
            (Step::Greeting, "554 5.7.1 go away", Class::Connect),
            (Step::Mail, "530 Authentication required", Class::Login),
            (Step::Mail, "552 5.3.4 Message size exceeds fixed limit", Class::Message),
            (Step::Mail, "550 5.7.1 not today", Class::Unlisted),
            (Step::Rcpt, "550 5.1.1 no such user", Class::Recipient),
            (Step::Rcpt, "554 5.7.1 <a@b>: Relay access denied", Class::Account),
            (Step::Rcpt, "450 4.2.1 busy", Class::Wait),
            (Step::Rcpt, "452 4.5.3 Error: too many recipients", Class::NextTransaction),
            (Step::Data, "554 5.5.1 no", Class::Unlisted),
            (Step::Mail, "421 4.3.2 shutting down", Class::Connect),
            (Step::Auth, "421 4.7.0 too many errors", Class::LoginLater),
            (Step::FinalReply, "451 4.3.0 later", Class::Wait),
            (Step::FinalReply, "554 5.7.1 looks like spam", Class::Unlisted),
        ] {
            assert_eq!(class(step, reply), wanted, "{step}: {reply}");
        }
    }
}
