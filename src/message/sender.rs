//! Sender repair: makes reverse path, `From:` and `Sender:` what the account's provider accepts. Microsoft answers
//! content from anyone but the mailbox with 554 5.2.252 SendAsDenied, and a contact form writes its visitor into `From:`.
//!
//! Pure in (content, reverse path, rule): applied at each attempt, since routes may change while mail waits. Repairing
//! twice is repairing once. The body is never touched.

use std::borrow::Cow;

use super::header::{Field, HeaderBlock};
use super::mailbox::{Form, Mailbox, read_list, write_name};
use super::repair::{Repair, SenderField};
use super::submission::DAEMON;
use crate::smtp::{Address, AddressPattern, ReversePath};

/// Which senders an account may use, and what happens to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRule {
    /// What happens to a sender that is not allowed.
    pub mode: SenderMode,
    /// The account's own address; `rewrite` always has one.
    pub from: Option<Address>,
    /// Senders left as they are; `from` is always among them.
    pub allowed: Vec<AddressPattern>,
}

/// What happens to a sender that is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderMode {
    /// It becomes the account's own.
    Rewrite,
    /// It stays.
    Keep,
    /// The message is refused.
    Refuse,
}

/// Content and reverse path as the account may send them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderRepair<'a> {
    /// Borrowed where nothing had to change.
    pub content: Cow<'a, [u8]>,
    /// For MAIL.
    pub reverse_path: ReversePath,
    /// What was changed, for the log.
    pub repairs: Vec<Repair>,
}

/// A sender that the account may not use, under `sender = "refuse"`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderRefused {
    /// The address of MAIL.
    #[error("the account may not send for the reverse path <{0}>: add it to `allowed`, or set sender = \"rewrite\"")]
    ReversePath(Address),
    /// A field of the header.
    #[error("the account may not send for {field}: {text:?}: add it to `allowed`, or set sender = \"rewrite\"")]
    Header {
        /// Which field.
        field: SenderField,
        /// The address in it, or what stands in its place.
        text: String,
    },
    /// Neither the envelope nor the header names anyone.
    #[error("the message names no sender: it has no From: address and a null reverse path")]
    Nobody,
}

impl SenderRule {
    /// Whether the account may send for this address.
    pub fn allows(&self, address: &Address) -> bool {
        self.from.as_ref().is_some_and(|from| from.as_str().eq_ignore_ascii_case(address.as_str()))
            || self.allowed.iter().any(|pattern| pattern.matches(address))
    }

    fn allows_all(&self, mailboxes: &[Mailbox]) -> bool {
        !mailboxes.is_empty()
            && mailboxes.iter().all(|mailbox| mailbox.address().is_some_and(|address| self.allows(&address)))
    }
}

/// Whether an account that refuses foreign senders takes this message; any other account does. Needs only the beginning
/// of the content with its whole header block, so that the intake can ask before it answers the client.
///
/// # Errors
/// The first sender that is not allowed. A null reverse path is fine where `From:` is.
pub fn judge(head: &[u8], reverse_path: &ReversePath, rule: &SenderRule) -> Result<(), SenderRefused> {
    if rule.mode != SenderMode::Refuse {
        return Ok(());
    }
    let (block, _) = HeaderBlock::split(head);
    if let Some(address) = reverse_path.address().filter(|address| !rule.allows(address)) {
        return Err(SenderRefused::ReversePath(address.clone()));
    }
    for field in SenderField::answering(&block) {
        for found in block.all(field.name()).take(field.topmost()) {
            let mailboxes = read_list(&found.value());
            if !rule.allows_all(&mailboxes) {
                let foreign = mailboxes.iter().find(|mailbox| !rule.allows_all(std::slice::from_ref(mailbox)));
                return Err(SenderRefused::Header {
                    field,
                    text: foreign.map(Mailbox::as_written).unwrap_or_default(),
                });
            }
        }
    }
    let named = SenderField::answering(&block).into_iter().any(|field| block.find(field.name()).is_some());
    if *reverse_path == ReversePath::Null && !named { Err(SenderRefused::Nobody) } else { Ok(()) }
}

/// Applies the rule to a message.
///
/// # Errors
/// As [`judge`]. An account that should rewrite but has no address of its own keeps what it gets.
pub fn repair<'a>(
    content: &'a [u8],
    reverse_path: &ReversePath,
    rule: &SenderRule,
) -> Result<SenderRepair<'a>, SenderRefused> {
    judge(content, reverse_path, rule)?;
    let untouched = SenderRepair { content: content.into(), reverse_path: reverse_path.clone(), repairs: Vec::new() };
    let (SenderMode::Rewrite, Some(from)) = (rule.mode, &rule.from) else {
        return Ok(untouched);
    };
    let (block, body) = HeaderBlock::split(content);
    let mut rewrite = Rewrite { rule, from, block, repairs: Vec::new() };
    let resent = SenderField::answering(&rewrite.block).contains(&SenderField::ResentFrom);
    if resent {
        rewrite.resent_sender();
    } else {
        rewrite.from();
        rewrite.sender();
        rewrite.sender_of_several();
    }
    let content = if rewrite.repairs.is_empty() { untouched.content } else { rewrite.block.join(body).into() };
    let mut repairs = rewrite.repairs;
    let mut path = untouched.reverse_path;
    if path.address().is_none_or(|address| !rule.allows(address)) {
        repairs.insert(0, Repair::ReversePath { was: path });
        path = ReversePath::Address(from.clone());
    }
    Ok(SenderRepair { content, reverse_path: path, repairs })
}

/// A header block on its way to the account's senders.
struct Rewrite<'a, 'r> {
    rule: &'r SenderRule,
    from: &'r Address,
    block: HeaderBlock<'a>,
    repairs: Vec<Repair>,
}

impl Rewrite<'_, '_> {
    /// `From:` names the account, or mailboxes that the account may use, in one field that nobody can misread.
    fn from(&mut self) {
        let fields: Vec<_> = self.block.all("From").map(|field| read_list(&field.value())).collect();
        let mailboxes = fields.concat();
        if !self.rule.allows_all(&mailboxes) {
            self.block.set(self.account_field("From", &mailboxes));
            self.repairs.push(Repair::Rewritten { field: SenderField::From, was: as_written(&mailboxes) });
            self.reply_to(&mailboxes);
            return;
        }
        let first = fields.into_iter().find(|mailboxes| !mailboxes.is_empty()).unwrap_or_default();
        if self.block.count("From") > 1 {
            self.block.set(list_field("From", &first));
            self.repairs.push(Repair::Folded { field: SenderField::From, kept: as_written(&first) });
        } else if first.iter().any(|mailbox| mailbox.form == Form::Misleading) {
            self.block.set(list_field("From", &first));
            self.repairs.push(Repair::Quoted { field: SenderField::From, was: as_written(&first) });
        } else if first.iter().any(|mailbox| mailbox.form == Form::Bare) {
            self.block.set(list_field("From", &first));
            self.repairs.push(Repair::Bracketed { field: SenderField::From, was: as_written(&first) });
        }
    }

    /// Answers still go to those who wrote the message; nobody reads those to a daemon.
    fn reply_to(&mut self, authors: &[Mailbox]) {
        let answers = |address: Address| !address.local_part().eq_ignore_ascii_case(DAEMON);
        let authors: Vec<Mailbox> =
            authors.iter().filter(|mailbox| mailbox.address().is_some_and(answers)).cloned().collect();
        if authors.is_empty() || self.block.all("Reply-To").any(|field| !read_list(&field.value()).is_empty()) {
            return;
        }
        self.block.set(list_field("Reply-To", &authors));
        self.repairs.push(Repair::ReplyTo { to: as_written(&authors) });
    }

    /// The provider refuses `Sender:` as it refuses `From:`, and the account's own address says as much without it.
    fn sender(&mut self) {
        let rule = self.rule;
        let foreign = |field: &Field<'_>| field.is("Sender") && !rule.allows_all(&read_list(&field.value()));
        let Some(was) = self.block.fields().iter().find(|field| foreign(field)).map(Field::value) else {
            return;
        };
        self.block.remove_where(foreign);
        self.repairs.push(Repair::Dropped { field: SenderField::Sender, was: as_written(&read_list(&was)) });
    }

    /// RFC 5322 §3.6.2 wants to know who of several authors sends, and Microsoft refuses them without (550 5.1.20).
    fn sender_of_several(&mut self) {
        let authors = self.block.find("From").map(|field| read_list(&field.value()).len());
        if authors.is_some_and(|count| count > 1) && self.block.find("Sender").is_none() {
            self.block.append(list_field("Sender", &[Mailbox::new(b"", self.from)]));
            self.repairs.push(Repair::SenderAdded);
        }
    }

    /// Of a message sent on (RFC 5322 §3.6.6) only the last sender, in the topmost fields, is ours to repair.
    fn resent_sender(&mut self) {
        for field in [SenderField::ResentSender, SenderField::ResentFrom] {
            let Some(mailboxes) = self.block.find(field.name()).map(|found| read_list(&found.value())) else {
                continue;
            };
            if self.rule.allows_all(&mailboxes) {
                continue;
            }
            let account = self.account_field(field.name(), &mailboxes);
            self.block.replace_topmost(account);
            self.repairs.push(Repair::Rewritten { field, was: as_written(&mailboxes) });
        }
    }

    /// The account's address under the display name of the first foreign one of these: an address as a name would pass for the
    /// sender's, and Microsoft refuses it, so it says on whose behalf.
    fn account_field(&self, field: &str, mailboxes: &[Mailbox]) -> Field<'static> {
        let via = format!(" via {}", self.from.domain());
        let foreign = |mailbox: &&Mailbox| !self.rule.allows_all(std::slice::from_ref(*mailbox));
        let Some(first) = mailboxes.iter().find(foreign) else {
            return list_field(field, &[Mailbox::new(b"", self.from)]);
        };
        let name = match first.name() {
            name if name.contains('@') => Some(name),
            name if name.trim().is_empty() => Some(first.as_written()),
            _ => None,
        };
        let mailbox = match name {
            Some(name) if name.ends_with(&via) => Mailbox::new(&write_name(&name), self.from),
            Some(name) => Mailbox::new(&write_name(&(name + &via)), self.from),
            None => first.with_address(self.from),
        };
        list_field(field, &[mailbox])
    }
}

fn list_field(name: &str, mailboxes: &[Mailbox]) -> Field<'static> {
    let written: Vec<Vec<u8>> = mailboxes.iter().map(Mailbox::write).collect();
    Field::folded(name, &written.join(&b", "[..]))
}

fn as_written(mailboxes: &[Mailbox]) -> String {
    mailboxes.iter().map(Mailbox::as_written).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
