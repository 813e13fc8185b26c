//! One transaction from MAIL to the end of data (RFC 5321 §3.3): whom it is from, and whom it goes to.

use super::contract::Policy;
use super::extensions::{Announced, Repertoire, forgive, mail_parameters};
use super::quirk::Quirk;
use super::replies;
use crate::route::local::{Form, Resolved};
use crate::smtp::command::{ForwardPath, Parameter};
use crate::smtp::{Address, AddressPattern, Envelope, Reply, ReversePath};
use crate::time::Timestamp;

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    /// The recipients that have an alias, as they were written.
    pub(super) aliased: Vec<String>,
    announced: Announced,
    /// When it has to be at its end.
    pub(super) until: Timestamp,
}

impl Transaction {
    /// What an acceptable MAIL command begins at `now`. What the client was let do is added to `quirks`.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(super) fn begin(
        from: &ReversePath,
        parameters: &[Parameter],
        policy: &Policy,
        now: Timestamp,
        quirks: &mut Vec<Quirk>,
    ) -> Result<Self, Reply> {
        let announced = mail_parameters(parameters, policy, quirks)?;
        let envelope = Envelope { reverse_path: from.clone(), recipients: Vec::new() };
        let aliased = Vec::new();
        let mut transaction = Self { envelope, aliased, announced, until: now.after(policy.transaction_timeout) };
        if let Some(address) = from.address() {
            transaction.admit(address, policy, quirks)?;
            if !is_listed(address, &policy.senders) {
                return Err(replies::sender_not_listed(address, &policy.senders));
            }
        }
        Ok(transaction)
    }

    /// Adds the recipients of one RCPT, all or none. One that is there already is accepted and gets the message once; what has
    /// an alias stands for all addresses of that.
    ///
    /// # Errors
    /// The reply that refuses them, and the address that is to blame; those accepted before stay.
    pub(super) fn add(
        &mut self,
        to: Vec<ForwardPath>,
        parameters: &[Parameter],
        policy: &Policy,
        quirks: &mut Vec<Quirk>,
    ) -> Result<(), (Reply, Option<Address>)> {
        let before = (self.envelope.recipients.len(), self.aliased.len());
        let added = to.into_iter().try_for_each(|path| self.add_one(path, parameters, policy, quirks));
        if added.is_err() {
            self.envelope.recipients.truncate(before.0);
            self.aliased.truncate(before.1);
        }
        added
    }

    fn add_one(
        &mut self,
        to: ForwardPath,
        parameters: &[Parameter],
        policy: &Policy,
        quirks: &mut Vec<Quirk>,
    ) -> Result<(), (Reply, Option<Address>)> {
        let (recipient, form) = match to {
            ForwardPath::Mailbox(address) => (address, Form::Whole),
            ForwardPath::Bare(address) => (address, Form::Bare),
            ForwardPath::Postmaster => match format!("postmaster@{}", policy.hostname).parse() {
                Ok(address) => (address, Form::Bare),
                Err(error) => return Err((replies::bad_recipient("postmaster", error), None)),
            },
        };
        self.accept(&recipient, form, parameters, policy, quirks).map_err(|reply| (reply, Some(recipient)))
    }

    fn accept(
        &mut self,
        recipient: &Address,
        form: Form,
        parameters: &[Parameter],
        policy: &Policy,
        quirks: &mut Vec<Quirk>,
    ) -> Result<(), Reply> {
        if let Some(parameter) = parameters.first() {
            forgive(Quirk::UnknownParameter, policy, quirks, || replies::unknown_parameter("RCPT", parameter))?;
        }
        self.admit(recipient, policy, quirks)?;
        let addresses = match policy.local.resolve(recipient, form) {
            Resolved::Itself => std::slice::from_ref(recipient),
            Resolved::Aliased(addresses) => addresses,
            Resolved::Nobodys => return Err(replies::nobodys(recipient, form)),
        };
        // By what it comes to: no alias leads around a list.
        if !addresses.iter().all(|address| is_listed(address, &policy.recipients)) {
            let refused = match addresses {
                [address] if address == recipient => replies::recipient_not_listed,
                _ => replies::alias_not_listed,
            };
            return Err(refused(recipient, &policy.recipients));
        }
        let written = if form == Form::Bare { recipient.local_part() } else { recipient.as_str() };
        if self.aliased.iter().any(|before| before == written) {
            return Ok(());
        }
        let there = &self.envelope.recipients;
        let new: Vec<Address> = addresses.iter().filter(|address| !there.contains(address)).cloned().collect();
        // The first is taken whole, however many addresses its alias has: sent again it would have as many.
        let too_many = !there.is_empty() && there.len() + new.len() > policy.max_recipients && !new.is_empty();
        let is_alias = addresses != std::slice::from_ref(recipient);
        // Any number of names may stand for one address, and each is remembered.
        if too_many || is_alias && self.aliased.len() >= policy.max_recipients {
            return Err(replies::too_many_recipients(policy.max_recipients));
        }
        if is_alias {
            self.aliased.push(written.to_owned());
        }
        self.envelope.recipients.extend(new);
        Ok(())
    }

    /// RFC 6531 §3.5: an address that is not ASCII needs SMTPUTF8 at MAIL; a transaction that has one all the same is as
    /// if MAIL had said it.
    fn admit(&mut self, address: &Address, policy: &Policy, quirks: &mut Vec<Quirk>) -> Result<(), Reply> {
        if self.announced.repertoire == Repertoire::Ascii && !address.is_ascii() {
            forgive(Quirk::NoSmtpUtf8, policy, quirks, || replies::needs_smtputf8(address))?;
            self.announced.repertoire = Repertoire::Utf8;
        }
        Ok(())
    }

    /// Which characters its addresses may have.
    pub(super) fn repertoire(&self) -> Repertoire {
        self.announced.repertoire
    }

    /// Whether content of `size` octets is far from what was announced, which RFC 1870 §6.1 takes for an estimate.
    pub(super) fn has_wrong_size(&self, size: u64) -> bool {
        self.announced.size.is_some_and(|announced| {
            let (less, more) = (announced.min(size), announced.max(size));
            more - less > SIZE_SLACK && less < more / 2
        })
    }
}

/// What SIZE may be wrong by, however small the message.
const SIZE_SLACK: u64 = 1024;

/// An empty list allows all.
fn is_listed(address: &Address, allowed: &[AddressPattern]) -> bool {
    allowed.is_empty() || allowed.iter().any(|pattern| pattern.matches(address))
}
