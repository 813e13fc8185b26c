//! What a refusal is about: this recipient, this message, the moment, the rate, or the account.
//!
//! A provider's own table is asked first, then the rules that hold everywhere. What neither knows is [`Class::Unlisted`]
//! where believing it would lose mail, and taken at its word where it cannot.

use std::time::Duration;

use super::{Provider, google, mailjet, microsoft365, rest, ses};
use crate::ids::AccountName;
use crate::schedule::attempt::Step;
use crate::smtp::{Address, Reply};

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// This recipient, for good.
    Recipient,
    /// This message, for good.
    Message,
    /// The moment: the same may pass later; other mail is not concerned.
    Wait,
    /// As [`Class::Wait`], but not before so much time has passed.
    WaitAtLeast(Duration),
    /// This transaction has enough recipients; the others may go in the next one.
    NextTransaction,
    /// Too much at a time or in a minute: the account rests briefly.
    Rate(Rate),
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

/// What the provider wants less of, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Which pace is too fast.
    pub limits: Pace,
    /// How long to rest, where the provider says.
    pub rest: Option<Duration>,
}

/// Of what there can be too much at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Messages, or recipients, in windows below an hour.
    Messages,
    /// Connections at the same time.
    Connections,
}

/// A refusal in plain words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// What it is about.
    pub class: Class,
    /// What happened, in a sentence.
    pub sentence: &'static str,
    /// What a person can do, with the command or the page for it, where there is something to do.
    pub mend: Option<&'static str>,
}

impl Meaning {
    /// What happened and what to do, as one text: this is what is stored and printed.
    pub fn told(&self) -> String {
        match self.mend {
            Some(mend) => format!("{} {mend}", self.sentence),
            None => self.sentence.to_owned(),
        }
    }

    /// [`Meaning::told`] to the owner of this account.
    pub fn told_of(&self, account: &AccountName) -> String {
        naming(&self.told(), account)
    }
}

/// The same text with this account's name in the commands that want one.
pub fn naming(text: &str, account: &AccountName) -> String {
    text.replace(" NAME`", &format!(" {account}`"))
}

/// Who takes part in a transaction. Some providers name in a refusal whom they refuse.
#[derive(Clone, Debug, Default)]
pub struct Parties<'a> {
    /// Every address that it may be sent as.
    pub senders: Vec<&'a Address>,
    /// To whom.
    pub recipients: Vec<&'a Address>,
}

/// A row of a provider's table: a reply with one of these codes, or any where there is none, whose text holds every
/// one of these words, in any case.
///
/// A word may be several, parted by `|`, of which one is enough. One with `..` stands for the numbers between, both
/// included: `4.7.500..699`.
pub(super) struct Row {
    pub(super) codes: &'static [u16],
    pub(super) words: &'static [&'static str],
    pub(super) meaning: Meaning,
}

impl Row {
    /// A row that nobody can do anything about.
    pub(super) const fn new(
        codes: &'static [u16],
        words: &'static [&'static str],
        class: Class,
        sentence: &'static str,
    ) -> Self {
        Self { codes, words, meaning: Meaning { class, sentence, mend: None } }
    }

    /// The row with what a person can do.
    pub(super) const fn mended(mut self, mend: &'static str) -> Self {
        self.meaning.mend = Some(mend);
        self
    }

    /// Whether a reply with this code and this text, in small letters, is meant.
    pub(super) fn holds(&self, code: u16, text: &str) -> bool {
        (self.codes.is_empty() || self.codes.contains(&code))
            && self.words.iter().all(|word| word.split('|').any(|word| holds(text, word)))
    }
}

/// Reads the provider's refusal of `step`.
pub fn meaning(provider: Provider, step: Step, reply: &Reply) -> Meaning {
    let text = without_addresses(&reply.text().to_ascii_lowercase());
    // What the provider itself calls temporary fails nothing for good, whatever its text reminds of.
    let too_final = |row: &Row| {
        reply.is_transient() && matches!(row.meaning.class, Class::Recipient | Class::Message | Class::Unlisted)
    };
    let listed = rows(provider).find(|row| row.holds(reply.code, &text) && !too_final(row));
    let mut meaning = listed.map_or_else(|| by_step(provider, step, reply), |row| row.meaning);
    if let Class::Rate(rate) = &mut meaning.class {
        rate.rest = rest::said(&text).or(rate.rest);
    }
    meaning
}

/// Reads the provider's refusal of `step` in a transaction of these parties.
pub fn meaning_in(provider: Provider, step: Step, reply: &Reply, parties: &Parties<'_>) -> Meaning {
    let meaning = meaning(provider, step, reply);
    match provider {
        Provider::Ses => ses::among(parties, meaning, reply),
        _ => meaning,
    }
}

/// Whether the refusal says that logins with a password are off, so that another kind of login may pass at once.
pub fn ends_passwords(provider: Provider, reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    match provider {
        Provider::Microsoft365 | Provider::Microsoft365Hve | Provider::Microsoft365Connector => {
            microsoft365::PASSWORDS_OFF.iter().any(|row| row.holds(reply.code, &text))
        }
        Provider::Ses | Provider::Mailjet | Provider::Smtp | Provider::Directory => false,
    }
}

/// Whether the refusal says that the connection had been idle for too long: it says nothing of what was asked.
pub fn was_idle(reply: &Reply) -> bool {
    let text = reply.text().to_ascii_lowercase();
    reply.is_transient() && ["timeout waiting for", "connection timed out"].iter().any(|words| text.contains(words))
}

/// The rows to read a provider's replies by; the first that holds counts.
pub(super) fn rows(provider: Provider) -> impl Iterator<Item = &'static Row> {
    let own: &[&[Row]] = match provider {
        Provider::Microsoft365 | Provider::Microsoft365Hve | Provider::Microsoft365Connector => microsoft365::ROWS,
        Provider::Ses => &[ses::ROWS],
        Provider::Mailjet => &[mailjet::ROWS],
        Provider::Smtp => &[google::ROWS],
        Provider::Directory => &[],
    };
    own.iter().copied().flatten().chain(ANYWHERE)
}

/// The text without the addresses that it repeats: they are a client's words, not the provider's.
fn without_addresses(text: &str) -> String {
    let mut own = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('@') {
        own.push_str(&before[..local_part(before)]);
        own.push(' ');
        let of_domain = |c: char| c.is_alphanumeric() || ".-_[]:".contains(c);
        rest = behind.trim_start_matches(of_domain);
    }
    own + rest
}

/// Where the local part begins that ends the text; one in quotes may hold anything.
fn local_part(text: &str) -> usize {
    let Some(quoted) = text.strip_suffix('"') else {
        let parts = |c: char| c.is_whitespace() || "<>()[],;:\"".contains(c);
        return text.len() - text.rsplit(parts).next().map_or(0, str::len);
    };
    let opens =
        |(at, _): &(usize, &str)| quoted[..*at].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0;
    quoted.rmatch_indices('"').find(opens).map_or(0, |(at, _)| at)
}

/// Whether the text holds the word. A number must stand alone: 5.2.2 is not in 5.2.252, nor in an address such as
/// 5.2.2.10.
fn holds(text: &str, word: &str) -> bool {
    let Some((from, to)) = word.split_once("..") else {
        let is_number = word.ends_with(|c: char| c.is_ascii_digit());
        return text.match_indices(word).any(|(at, _)| !is_number || stands_alone(text, at, at + word.len()));
    };
    let (stem, from) = from.rsplit_once('.').unwrap_or(("", from));
    let range = from.parse::<u32>().unwrap_or(u32::MAX)..=to.parse().unwrap_or(0);
    text.match_indices(stem).any(|(at, _)| {
        let Some(behind) = text[at + stem.len()..].strip_prefix('.') else { return false };
        let digits = behind.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        let end = at + stem.len() + 1 + digits.len();
        digits.parse().is_ok_and(|number| range.contains(&number)) && stands_alone(text, at, end)
    })
}

/// Whether the number between is not a part of a longer one.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let before = text[..start].ends_with(|c: char| c.is_ascii_digit() || c == '.');
    let behind = text[end..].strip_prefix('.').unwrap_or(&text[end..]).starts_with(|c: char| c.is_ascii_digit());
    !before && !behind
}

/// What is true of every smarthost. Below the provider's own rows.
const ANYWHERE: &[Row] = &[
    Row::new(
        &[530],
        &["starttls"],
        Class::Account,
        "The provider takes no mail without TLS, and the session had none.",
    )
    .mended("Set `tls = \"starttls\"` in the account."),
    Row::new(&[530, 535, 538, 534], &[], Class::Login, LOGIN_REFUSED).mended(CHECK_LOGIN),
    Row::new(&[504], &["authentication"], Class::Login, "The provider does not take this kind of login.")
        .mended("Name one that it offers in the account's `mechanisms`, or leave that key out."),
    Row::new(
        &[],
        &["relay access denied|relaying denied|unable to relay"],
        Class::Account,
        "The smarthost does not relay for this account.",
    )
    .mended("Give the account a login (`username` and `password`), or our address to the smarthost."),
    Row::new(&[452], &["too many recipients"], Class::NextTransaction, ENOUGH_RECIPIENTS),
    Row::new(&[552], &["size"], Class::Message, TOO_LARGE),
    Row::new(&[552, 554], &["5.3.4"], Class::Message, TOO_LARGE),
];

fn by_step(provider: Provider, step: Step, reply: &Reply) -> Meaning {
    let (class, sentence) = match (step, reply.is_transient()) {
        (Step::Auth, true) => (Class::LoginLater, LOGIN_LATER),
        (Step::Auth, false) => {
            return Meaning { class: Class::Login, sentence: LOGIN_REFUSED, mend: Some(CHECK_LOGIN) };
        }
        // RFC 5321 §3.8: the service closes, whatever was asked.
        _ if reply.code == 421 => (Class::Connect, "The provider's host closes the session for now."),
        (Step::Token | Step::Resolve | Step::Connect | Step::Greeting | Step::Ehlo | Step::StartTls | Step::Tls, _) => {
            (Class::Connect, "The provider's host does not open a session: its reply says why.")
        }
        _ if provider == Provider::Mailjet => return mailjet::unlisted(step, reply),
        (_, true) => (Class::Wait, PUT_OFF),
        (Step::Rcpt, false) => (Class::Recipient, RECIPIENT_REFUSED),
        (Step::Mail | Step::Data | Step::Content | Step::FinalReply, false) => (Class::Unlisted, UNLISTED),
    };
    Meaning { class, sentence, mend: None }
}

const LOGIN_REFUSED: &str = "The provider refuses the login.";
const CHECK_LOGIN: &str = "Check `username` and `password` of the account, then run `mailsluice account resume NAME`.";
pub(super) const LOGIN_LATER: &str = "The provider cannot check the login just now.";
pub(super) const ENOUGH_RECIPIENTS: &str =
    "The transaction has as many recipients as the provider takes; the others follow in another one.";
pub(super) const TOO_LARGE: &str = "The message is larger than the provider takes.";
pub(super) const PUT_OFF: &str = "The provider put the message off; it is tried again later.";
pub(super) const RECIPIENT_REFUSED: &str = "The provider refuses this recipient.";
pub(super) const UNLISTED: &str =
    "The provider refuses the message with a reply that is not known to be the message's fault.";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Reads each of these replies, `CODE TEXT`, and holds what it is about against what is wanted.
    pub(crate) fn are_read(provider: Provider, table: &[(Step, &str, Class)]) {
        for (step, text, wanted) in table {
            let meaning = meaning(provider, *step, &reply(text));
            assert_eq!(meaning.class, *wanted, "{step}: {text}");
            assert!(meaning.sentence.ends_with('.'), "{}", meaning.sentence);
        }
    }

    pub(crate) fn reply(text: &str) -> Reply {
        let (code, text) = text.split_once(' ').unwrap();
        Reply::new(code.parse().unwrap(), text)
    }

    pub(crate) const fn rate(limits: Pace, secs: Option<u64>) -> Class {
        let rest = match secs {
            Some(secs) => Some(Duration::from_secs(secs)),
            None => None,
        };
        Class::Rate(Rate { limits, rest })
    }

    #[test]
    fn commands_name_the_account() {
        let refused = meaning(Provider::Smtp, Step::Auth, &reply("535 5.7.8 no"));
        let told = refused.told_of(&"office".into());
        assert!(told.contains("`mailsluice account resume office`") && !told.contains("NAME"), "{told}");
    }

    #[test]
    fn a_plain_smarthost_is_read_by_step_and_code() {
        are_read(
            Provider::Smtp,
            &[
                (Step::Auth, "535 5.7.8 Error: authentication failed", Class::Login),
                (Step::Auth, "454 4.7.0 Temporary authentication failure", Class::LoginLater),
                (Step::Auth, "550 no", Class::Login),
                (Step::Greeting, "554 5.7.1 go away", Class::Connect),
                (Step::Mail, "530 Authentication required", Class::Login),
                (Step::Mail, "530 5.7.0 Must issue a STARTTLS command first", Class::Account),
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
            ],
        );
    }

    #[test]
    fn whoever_can_mend_a_fault_is_told_how() {
        let mut looked_at = 0;
        for (_, provider) in Provider::WORDS {
            for row in rows(provider) {
                let Meaning { class, sentence, mend } = row.meaning;
                assert!(sentence.ends_with('.'), "{sentence}");
                if matches!(class, Class::Login | Class::Account | Class::Quota) {
                    let mend = mend.unwrap_or_else(|| panic!("nothing mends: {sentence}"));
                    let names_something = ["`", "https://", "README"].iter().any(|mark| mend.contains(mark));
                    assert!(names_something && mend.ends_with(['.', ')']), "neither a command nor a page: {mend}");
                    looked_at += 1;
                }
            }
            let by_step = by_step(provider, Step::Auth, &Reply::new(599, "no"));
            assert!(by_step.mend.is_some());
        }
        assert!(looked_at > 100, "{looked_at}");
    }

    #[test]
    fn an_address_that_a_refusal_repeats_says_nothing() {
        use Class::{Account, Recipient};
        are_read(
            Provider::Smtp,
            &[
                (Step::Rcpt, r#"550 5.1.1 <"relay access denied"@example.org>: no such user"#, Recipient),
                (Step::Rcpt, r#"550 5.1.1 "relaying denied \" so"@example.org no such user"#, Recipient),
                (Step::Rcpt, "550 5.7.1 <a@example.org>: Relay access denied", Account),
                (Step::Rcpt, "550 5.7.1 a@[192.0.2.1]: Relay access denied", Account),
            ],
        );
        are_read(
            Provider::Microsoft365,
            &[
                (Step::Rcpt, "550 5.1.1 <5.7.64@example.org>: no such user", Recipient),
                (
                    Step::Rcpt,
                    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient 5.1.8@5.7.705.example.com",
                    Recipient,
                ),
                (Step::Rcpt, "550 5.7.64@ TenantAttribution; Relay Access Denied", Account),
            ],
        );
    }

    #[test]
    fn a_word_is_found_whole_and_a_number_within_its_range() {
        assert!(holds("554 5.2.2 full", "5.2.2") && holds("was 5.2.2.", "5.2.2"));
        for text in ["5.2.252 denied", "15.2.2", "4.5.2.2", "from [5.2.2.10]"] {
            assert!(!holds(text, "5.2.2"), "{text}");
        }
        for (text, within) in [("4.7.500 x", true), ("a 4.7.699", true), ("4.7.499", false), ("4.7.700", false)] {
            assert_eq!(holds(text, "4.7.500..699"), within, "{text}");
        }
        assert!(!holds("4.7.5", "4.7.500..699") && !holds("no number", "4.7.500..699"));
    }

    #[test]
    fn what_is_called_temporary_fails_nothing_for_good() {
        for text in ["450 4.1.1 unknown for now (5.1.1)", "451 4.3.0 5.7.60 not as this sender", "452 4.3.1 x 5.6.0"] {
            assert_eq!(meaning(Provider::Microsoft365, Step::FinalReply, &reply(text)).class, Class::Wait, "{text}");
        }
    }

    #[test]
    fn what_was_idle_is_not_what_was_refused() {
        for text in [
            "421 4.4.1 Connection timed out. Total session duration: 00:05:00.1",
            "451 4.7.0 Timeout waiting for client input",
            "451 4.4.2 Timeout waiting for data from client.",
        ] {
            assert!(was_idle(&reply(text)), "{text}");
        }
        assert!(!was_idle(&reply("451 4.3.0 later")) && !was_idle(&reply("550 5.4.4 connection timed out")));
    }
}
