//! Refusals of one message or one recipient, for good.

use super::super::refusal::{Class, RECIPIENT_REFUSED, Row, TOO_LARGE};

pub(super) const ROWS: &[Row] = &[
    Row::new(&[552], &["5.3.4"], Class::Message, TOO_LARGE),
    Row::new(&[], &["5.2.3", "recipsizelimit"], Class::Recipient, "The message is larger than the recipient takes."),
    Row::new(&[], &["5.2.3"], Class::Message, "The message is larger than the mailbox may send.")
        .mended("An administrator may raise it: `Set-Mailbox -Identity MAILBOX -MaxSendSize 150MB`."),
    Row::new(&[501], &["5.1.7"], Class::Message, "The address of the sender is not one."),
    Row::new(&[], &["5.1.3"], Class::Recipient, "The address of the recipient is not one."),
    Row::new(&[], &["5.1.20"], Class::Message, "The message has several addresses in From: and none in Sender:."),
    Row::new(&[], &["5.1.1|5.1.10|recipientnotfound"], Class::Recipient, "There is no such recipient."),
    Row::new(&[], &["5.4.1", "recipient address rejected"], Class::Recipient, "There is no such recipient."),
    Row::new(
        &[],
        &["5.4.6|5.4.14"],
        Class::Message,
        "The message goes round in a loop: its recipient's domain leads back to where it came from.",
    ),
    Row::new(&[], &["5.6.0|5.6.11"], Class::Message, "Microsoft 365 cannot read the content of the message."),
    Row::new(
        &[],
        &["5.7.512"],
        Class::Message,
        "The message has no valid From: of one address, as RFC 5322 §3.6.2 wants it.",
    ),
    Row::new(
        &[],
        &["5.7.509"],
        Class::Message,
        "The domain of the sender has a DMARC policy that this mail does not pass.",
    )
    .mended("Send it by an account of that domain, or sign it there (https://aka.ms/dmarc)."),
    Row::new(
        &[],
        &["5.7.703"],
        Class::Message,
        "A recipient of the message is blocked by the tenant, and the message with it.",
    )
    .mended("See the Tenant Allow/Block List (https://security.microsoft.com/tenantAllowBlockList)."),
    Row::new(
        &[],
        &["5.7.12|5.7.124|5.7.133|5.7.134|5.7.136"],
        Class::Message,
        "The recipient or its group takes mail of certain senders only, and this is none of them.",
    ),
    Row::new(&[], &["5.7.1", "transport.rules"], Class::Message, "A mail flow rule of the tenant refuses the message.")
        .mended("See the rules at https://admin.exchange.microsoft.com (`Get-TransportRule`)."),
    Row::new(&[550], &["5.7.1", "resolver.rst"], Class::Recipient, RECIPIENT_REFUSED),
];
