//! MAIL, RCPT and DATA, and what becomes of the message.

use super::config::{SandboxConfig, Senders};
use super::connection::{Connection, Standing, Struck};
use super::fault::{Fault, FaultRule, Step};
use super::header;
use super::mailbox::{Admission, Delivery};
use super::profile::{BareLinefeed, ClearLogins, Extension, RepeatedFields};
use super::replies::{Wording, fill};
use super::wire::{Content, Leave};
use crate::smtp::{Address, Envelope, ReversePath};
use crate::time::Timestamp;

/// What MAIL began.
pub(super) struct Transaction {
    begun_at: Timestamp,
    envelope: Envelope,
    utf8: Utf8,
}

/// Whether the client said SMTPUTF8 (RFC 6531 §3.4).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Utf8 {
    Asked,
    Unasked,
}

impl Connection {
    /// `MAIL FROM:<path> [parameters]`.
    pub(super) fn mail(&mut self, argument: &str) -> Result<(), Leave> {
        if self.lacks_tls() && self.server.config.profile.clear_logins != ClearLogins::Take {
            return self.complain(self.words().starttls_first);
        }
        match &self.standing {
            Standing::New if self.server.config.profile.mechanisms.is_empty() => {
                return self.complain(self.words().hello_first);
            }
            Standing::New | Standing::Greeted => return self.complain(self.words().not_authenticated),
            Standing::Ready(Some(_)) => return self.complain(self.words().sender_given),
            Standing::Ready(None) => {}
        }
        let Some((path, parameters)) = path_of(argument, "FROM:") else {
            return self.complain(self.words().bad_arguments);
        };
        let reverse_path = match path.parse() {
            _ if path.is_empty() => ReversePath::Null,
            Ok(address) => ReversePath::Address(address),
            Err(_) => return self.complain(self.words().bad_sender),
        };
        let mut utf8 = Utf8::Unasked;
        for parameter in parameters.split_whitespace() {
            match self.parameter(parameter) {
                Ok(asked) if asked == Utf8::Asked => utf8 = asked,
                Ok(_) => {}
                Err(reply) => return self.say(reply),
            }
        }
        if utf8 == Utf8::Unasked && !path.is_ascii() {
            return self.say(self.words().needs_utf8);
        }
        if let Struck::Refused = self.strike(Step::Mail, |text| path.contains(text))? {
            return Ok(());
        }
        let envelope = Envelope { reverse_path, recipients: Vec::new() };
        let transaction = Transaction { begun_at: self.server.mailbox.now(), envelope, utf8 };
        self.standing = Standing::Ready(Some(transaction));
        self.server.mailbox.count(|counters| counters.transactions += 1);
        self.say(self.words().sender_ok)
    }

    /// Judges a parameter of MAIL: only what was offered may be used.
    fn parameter(&self, parameter: &str) -> Result<Utf8, &'static str> {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match key.to_ascii_uppercase().as_str() {
            "SIZE" if self.offers(Extension::Size) => match value.parse::<usize>() {
                Ok(size) if size > self.server.config.caps.size => Err(self.words().too_big),
                Ok(_) => Ok(Utf8::Unasked),
                Err(_) => Err(self.words().bad_arguments),
            },
            "BODY" if self.offers(Extension::EightBitMime) => match value.to_ascii_uppercase().as_str() {
                "7BIT" | "8BITMIME" => Ok(Utf8::Unasked),
                _ => Err(self.words().bad_arguments),
            },
            "SMTPUTF8" if self.offers(Extension::SmtpUtf8) => Ok(Utf8::Asked),
            "RET" | "ENVID" if self.offers(Extension::Dsn) => Ok(Utf8::Unasked),
            "AUTH" if !self.server.config.profile.mechanisms.is_empty() => Ok(Utf8::Unasked),
            _ => Err(self.words().unsupported),
        }
    }

    /// `RCPT TO:<path> [parameters]`.
    pub(super) fn rcpt(&mut self, argument: &str) -> Result<(), Leave> {
        let Standing::Ready(Some(transaction)) = &self.standing else {
            return self.complain(self.words().need_mail);
        };
        let Some((path, parameters)) = path_of(argument, "TO:") else {
            return self.complain(self.words().bad_arguments);
        };
        let Ok(recipient) = path.parse::<Address>() else { return self.complain(self.words().bad_recipient) };
        if !recipient.is_ascii() && transaction.utf8 == Utf8::Unasked {
            return self.say(&fill(self.words().needs_utf8, &[("recipient", path)]));
        }
        let dsn = |parameter: &str| {
            let key = parameter.split_once('=').map_or(parameter, |(key, _)| key);
            key.eq_ignore_ascii_case("NOTIFY") || key.eq_ignore_ascii_case("ORCPT")
        };
        if !parameters.split_whitespace().all(|parameter| self.offers(Extension::Dsn) && dsn(parameter)) {
            return self.complain(self.words().unsupported);
        }
        let count = transaction.envelope.recipients.len();
        let values = [("recipient", path)];
        if let Struck::Refused = self.strike_with(Step::Rcpt, |text| path.contains(text), &values)? {
            return Ok(());
        }
        if recipient.local_part().to_ascii_lowercase().starts_with("unknown") {
            return self.say(&fill(self.words().unknown_recipient, &values));
        }
        if count >= self.server.config.caps.recipients_per_message {
            return self.say(self.words().too_many_recipients);
        }
        if let Standing::Ready(Some(transaction)) = &mut self.standing {
            transaction.envelope.recipients.push(recipient);
        }
        self.say(self.words().recipient_ok)
    }

    /// `DATA`, the content, and the final reply.
    pub(super) async fn data(&mut self) -> Result<(), Leave> {
        let Standing::Ready(Some(transaction)) = &mut self.standing else {
            return self.complain(self.words().need_mail);
        };
        if transaction.envelope.recipients.is_empty() {
            return self.complain(self.words().need_rcpt);
        }
        let known = transaction.envelope_text();
        if let Struck::Refused = self.strike(Step::Data, |text| known.contains(text))? {
            return Ok(());
        }
        let Some(slot) = self.server.mailbox.begin_sending() else { return self.say(self.words().concurrency) };
        let Standing::Ready(Some(transaction)) = std::mem::replace(&mut self.standing, Standing::Ready(None)) else {
            return Err(Leave::Gone);
        };
        self.messages += 1;
        self.reply(self.words().start_input);
        if let Struck::Special(_) = self.strike(Step::Content, |text| known.contains(text))? {
            self.wire.fill().await?;
            return Err(Leave::Cut);
        }
        let content = self.wire.content(self.server.config.caps.size).await?;
        let ended = self.end_of_data(transaction, content).await;
        // The final reply waits in the wire until the next read, so nobody has read it before the slot is free again.
        drop(slot);
        ended
    }

    /// Judges and stores a message, and replies.
    async fn end_of_data(&mut self, transaction: Transaction, content: Content) -> Result<(), Leave> {
        let block = header::block(&content.bytes);
        let words = self.words();
        if let Some(refusal) = unfit(&self.server.config, words, &content, block) {
            return self.say(&refusal);
        }
        let special = match self.strike_at_dot(&transaction, block)? {
            Struck::Refused => return Ok(()),
            Struck::Special(rule) => Some(rule),
            Struck::No => None,
        };
        if let Some(refusal) = misuse(&self.server.config, words, &transaction.envelope, block) {
            return self.say(&refusal);
        }
        let (received_at, place) = match self.server.mailbox.admit(transaction.envelope.recipients.len()) {
            Admission::Accepted(received_at, place) => (received_at, place),
            Admission::Quota => return self.say(words.quota),
            Admission::Rate => {
                self.reply(words.rate);
                return if words.rate.starts_with("421") { Err(Leave::Bye) } else { Ok(()) };
            }
        };
        let message_id = header::fields(block, "Message-ID").into_iter().next();
        let assigned_id = fill(&self.filled(words.id), &[("place", &place.to_string())]);
        let echoed = message_id.clone().unwrap_or_else(|| format!("<{assigned_id}>"));
        let accepted = fill(words.accepted, &[("id", &assigned_id), ("message_id", &echoed)]);
        let delivery = Delivery {
            envelope: transaction.envelope,
            begun_at: transaction.begun_at,
            received_at,
            size: 0,
            digest: 0,
            content: None,
            file: None,
            message_id,
            assigned_id,
            subject: header::fields(block, "Subject").into_iter().next(),
            connection: self.number,
            index: self.messages,
        };
        let keep = self.server.config.content;
        if let Err(error) = self.server.mailbox.store(place, delivery, content.bytes, keep).await {
            tracing::warn!(event = "sandbox_store_failed", %error, "the sandbox cannot write a delivered message");
            return self.say(self.words().no_resources);
        }
        self.acknowledge(special.as_ref(), &accepted).await
    }

    fn strike_at_dot(&mut self, transaction: &Transaction, block: &[u8]) -> Result<Struck, Leave> {
        let poisoned = |fault| {
            let subjects = || header::fields(block, "Subject");
            fault != Fault::RejectSubject || subjects().iter().any(|subject| subject.to_lowercase().contains("poison"))
        };
        let holds =
            |text: &str| transaction.envelope_text().contains(text) || String::from_utf8_lossy(block).contains(text);
        let Some(rule) = self.server.mailbox.strike(Step::Dot, poisoned, holds) else { return Ok(Struck::No) };
        let from = header::fields(block, "From");
        let sender = from.first().map(|from| header::address(from)).unwrap_or_default();
        let recipient = transaction.envelope.recipients.first().map(Address::as_str).unwrap_or_default();
        self.struck(rule, &[("sender", sender), ("recipient", recipient)])
    }

    /// Replies to a message that is stored, unless the fault has it otherwise.
    async fn acknowledge(&mut self, special: Option<&FaultRule>, accepted: &str) -> Result<(), Leave> {
        match special.map(|rule| rule.fault) {
            Some(Fault::CutAtDot) => return Err(Leave::Cut),
            Some(Fault::Latin1Reply) => {
                self.wire.send(b"250 2.0.0 OK angenommen f\xfcr Z\xfcrich\r\n");
                return Ok(());
            }
            _ => {}
        }
        if let Some(rule) = special.filter(|rule| rule.fault == Fault::SlowDot) {
            tokio::time::sleep(rule.delay).await;
        }
        self.say(accepted)
    }
}

impl Transaction {
    /// Its paths, one a line.
    fn envelope_text(&self) -> String {
        let recipients = self.envelope.recipients.iter().map(Address::as_str);
        let mut text = self.envelope.reverse_path.to_string();
        recipients.for_each(|recipient| {
            text.push('\n');
            text.push_str(recipient);
        });
        text
    }
}

/// Why the content cannot be taken whoever sends it.
fn unfit(config: &SandboxConfig, words: &Wording, content: &Content, block: &[u8]) -> Option<String> {
    if content.size > config.caps.size {
        return Some(words.too_big.to_owned());
    }
    if content.bare_linefeeds > 0 && config.profile.bare_linefeed == BareLinefeed::Refuse {
        return Some(words.bare_linefeed.to_owned());
    }
    if config.profile.repeated_fields == RepeatedFields::Refuse
        && let Some(field) = ONCE.into_iter().find(|name| header::fields(block, name).len() > 1)
    {
        return Some(fill(words.repeated_field, &[("field", field)]));
    }
    let eight_bit = config.profile.extensions.contains(&Extension::EightBitMime);
    (!eight_bit && !content.bytes.is_ascii()).then(|| words.eight_bit.to_owned())
}

/// The fields of which a message has one at most (RFC 5322 §3.6; of SES's list, those that clients write).
const ONCE: [&str; 12] = [
    "Date",
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Subject",
    "Content-Type",
];

/// Why the mailbox may not send this: the sender in MAIL or in From is another one.
fn misuse(config: &SandboxConfig, words: &Wording, envelope: &Envelope, block: &[u8]) -> Option<String> {
    if let Senders::Any = config.caps.senders {
        return None;
    }
    let from = header::fields(block, "From");
    let [from] = from.as_slice() else { return Some(words.no_from.to_owned()) };
    let reverse_path = envelope.reverse_path.address().map(Address::as_str);
    let mut senders = reverse_path.into_iter().chain([header::address(from)]);
    let refused = senders.find(|sender| !config.caps.senders.allow(&config.user, sender))?;
    Some(fill(words.sender_refused, &[("user", &config.user), ("sender", refused)]))
}

/// The path after `keyword`, without its brackets, and what follows it.
fn path_of<'a>(argument: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let head = argument.get(..keyword.len()).filter(|head| head.eq_ignore_ascii_case(keyword))?;
    let rest = argument[head.len()..].trim_start().strip_prefix('<')?;
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some((&rest[..index], rest[index + 1..].trim())),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_at_its_bracket() {
        assert_eq!(path_of("FROM:<a@b> SIZE=3", "FROM:"), Some(("a@b", "SIZE=3")));
        assert_eq!(path_of("from: <>", "FROM:"), Some(("", "")));
        assert_eq!(path_of("TO:<\"a>\\\"b\"@c>", "TO:"), Some(("\"a>\\\"b\"@c", "")));
        for argument in ["", "FROM", "FROM:a@b", "FROM:<a@b", "TO:<a@b>", "FRO\u{e9}:<a@b>"] {
            assert_eq!(path_of(argument, "FROM:"), None, "{argument}");
        }
    }
}
