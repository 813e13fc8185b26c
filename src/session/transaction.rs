//! One transaction from MAIL to the end of data (RFC 5321 §3.3): whom it is from, and whom it goes to.

use super::contract::Policy;
use super::extensions::{Announced, Repertoire, forgive, mail_parameters};
use super::quirk::Quirk;
use super::replies;
use crate::smtp::command::{ForwardPath, Parameter};
use crate::smtp::{Address, AddressPattern, Envelope, Reply, ReversePath};
use crate::time::Timestamp;

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
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
        let mut transaction = Self { envelope, announced, until: now.after(policy.transaction_timeout) };
        if let Some(address) = from.address() {
            transaction.admit(address, policy, quirks)?;
            if !is_listed(address, &policy.senders) {
                return Err(replies::sender_not_listed(address, &policy.senders));
            }
        }
        Ok(transaction)
    }

    /// Adds the recipients of one RCPT, all or none. One that is there already is accepted and gets the message once.
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
        let before = self.envelope.recipients.len();
        let added = to.into_iter().try_for_each(|path| self.add_one(path, parameters, policy, quirks));
        if added.is_err() {
            self.envelope.recipients.truncate(before);
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
        let recipient = match to {
            ForwardPath::Mailbox(address) => address,
            ForwardPath::Postmaster => format!("postmaster@{}", policy.hostname)
                .parse()
                .map_err(|error| (replies::bad_recipient("postmaster", error), None))?,
        };
        match self.accept(&recipient, parameters, policy, quirks) {
            Ok(()) if self.envelope.recipients.contains(&recipient) => Ok(()),
            Ok(()) if self.envelope.recipients.len() >= policy.max_recipients => {
                Err((replies::too_many_recipients(policy.max_recipients), Some(recipient)))
            }
            Ok(()) => {
                self.envelope.recipients.push(recipient);
                Ok(())
            }
            Err(reply) => Err((reply, Some(recipient))),
        }
    }

    fn accept(
        &mut self,
        recipient: &Address,
        parameters: &[Parameter],
        policy: &Policy,
        quirks: &mut Vec<Quirk>,
    ) -> Result<(), Reply> {
        if let Some(parameter) = parameters.first() {
            forgive(Quirk::UnknownParameter, policy, quirks, || replies::unknown_parameter("RCPT", parameter))?;
        }
        self.admit(recipient, policy, quirks)?;
        if !is_listed(recipient, &policy.recipients) {
            return Err(replies::recipient_not_listed(recipient, &policy.recipients));
        }
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
