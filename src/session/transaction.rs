//! One transaction from MAIL to the end of data (RFC 5321 §3.3): whom it is from, and whom it goes to.

use super::contract::Policy;
use super::extensions::{Repertoire, mail_parameters};
use super::replies;
use crate::smtp::command::{ForwardPath, Parameter};
use crate::smtp::{Address, Envelope, Reply, ReversePath};

/// An open transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    repertoire: Repertoire,
}

impl Transaction {
    /// What an acceptable MAIL command begins.
    ///
    /// # Errors
    /// The reply that refuses it.
    pub(super) fn begin(from: &ReversePath, parameters: &[Parameter], policy: &Policy) -> Result<Self, Reply> {
        let repertoire = mail_parameters(parameters, policy)?;
        from.address().map_or(Ok(()), |address| fits(address, repertoire))?;
        Ok(Self { envelope: Envelope { reverse_path: from.clone(), recipients: Vec::new() }, repertoire })
    }

    /// Adds a recipient. One that is there already is accepted and gets the message once.
    ///
    /// # Errors
    /// The reply that refuses it, and the address; those accepted before stay.
    pub(super) fn add(
        &mut self,
        to: ForwardPath,
        parameters: &[Parameter],
        policy: &Policy,
    ) -> Result<(), (Reply, Option<Address>)> {
        let recipient = match to {
            ForwardPath::Mailbox(address) => address,
            ForwardPath::Postmaster => format!("postmaster@{}", policy.hostname)
                .parse()
                .map_err(|error| (replies::bad_recipient("postmaster", error), None))?,
        };
        if let Some(parameter) = parameters.first() {
            return Err((replies::unknown_parameter("RCPT", parameter), Some(recipient)));
        }
        if let Err(reply) = fits(&recipient, self.repertoire) {
            return Err((reply, Some(recipient)));
        }
        if self.envelope.recipients.contains(&recipient) {
            return Ok(());
        }
        if self.envelope.recipients.len() >= policy.max_recipients {
            return Err((replies::too_many_recipients(policy.max_recipients), Some(recipient)));
        }
        self.envelope.recipients.push(recipient);
        Ok(())
    }

    /// What `Received:` calls the protocol (RFC 3848, RFC 6531 §4.3).
    pub(super) fn protocol(&self, greeted: &'static str) -> &'static str {
        match self.repertoire {
            Repertoire::Ascii => greeted,
            Repertoire::Utf8 => "UTF8SMTP",
        }
    }
}

/// RFC 6531 §3.5: an address that is not ASCII needs SMTPUTF8 at MAIL.
fn fits(address: &Address, repertoire: Repertoire) -> Result<(), Reply> {
    match repertoire {
        Repertoire::Ascii if !address.is_ascii() => Err(replies::needs_smtputf8(address)),
        Repertoire::Ascii | Repertoire::Utf8 => Ok(()),
    }
}
