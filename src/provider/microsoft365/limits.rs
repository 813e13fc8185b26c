//! Rates, quotas and the standing of the mailbox and its tenant.

use std::time::Duration;

use super::super::refusal::{Class, ENOUGH_RECIPIENTS, Pace, Rate, Row};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        &[],
        &["submissionquotaexceeded"],
        Class::Quota,
        "The mailbox has spent its 10,000 recipients of 24 hours; mail flows again as they pass.",
    )
    .mended(OTHER_SENDERS),
    Row::new(
        &[],
        &["5.2.2", "submission quota exceeded"],
        Class::Quota,
        "The mailbox has spent its recipients of 24 hours; mail flows again as they pass.",
    )
    .mended(OTHER_SENDERS),
    Row::new(
        &[],
        &["5.1.90"],
        Class::Quota,
        "The mailbox has reached its daily limit of recipients; mail flows again as the day passes.",
    )
    .mended(OTHER_SENDERS),
    Row::new(&[], &["5.7.233"], Class::Quota, "The tenant has spent its external recipients of 24 hours.").mended(
        "See the report Tenant Outbound External Recipients at https://admin.exchange.microsoft.com; more licences \
         raise the limit.",
    ),
    Row::new(&[], &["5.7.232"], Class::Quota, "The trial tenant has spent its external recipients of 24 hours.")
        .mended("Licences raise the limit (https://admin.microsoft.com)."),
    Row::new(&[552, 554], &["5.2.2"], Class::Account, MAILBOX_FULL).mended(EMPTY_IT),
    Row::new(&[], &["quotaexceededexception|shutoffquotaexceeded"], Class::Account, MAILBOX_FULL).mended(EMPTY_IT),
    Row::new(&[], &["5.1.8"], Class::Account, "Microsoft 365 has blocked the mailbox from sending: possibly abuse.")
        .mended(
            "Secure the mailbox, then take it out of Restricted entities (https://security.microsoft.com/restrictedentities); \
             it takes up to an hour.",
        ),
    Row::new(
        &[],
        &["5.7.501|5.7.502|5.7.503"],
        Class::Account,
        "Microsoft 365 has banned the sender for abuse.",
    )
    .mended("Secure the mailbox, then ask Microsoft's support (https://admin.microsoft.com)."),
    Row::new(
        &[],
        &["5.7.705"],
        Class::Account,
        "Microsoft 365 has stopped the tenant's outgoing mail over a threshold.",
    )
    .mended(
        "Remove the cause (abuse, an expired subscription), then open a support ticket (https://admin.microsoft.com).",
    ),
    Row::new(
        &[],
        &["5.7.708"],
        Class::Account,
        "Microsoft 365 takes no mail of this tenant from this address, as with trial and new tenants.",
    )
    .mended("Buy licences, or ask Microsoft's support for an exception (https://admin.microsoft.com)."),
    Row::new(
        &[],
        &["5.7.750"],
        Class::Account,
        "Microsoft 365 takes no mail from domains that the tenant has not registered.",
    )
    .mended("Add and verify each sender's domain in the tenant (https://admin.microsoft.com under Domains)."),
    Row::new(&[432], &["recipient thread limit"], Class::Wait, "A recipient's mailbox takes no more at a time."),
    Row::new(
        &[432],
        &[],
        AT_A_TIME,
        "Other programs send with this mailbox at the same time: Microsoft 365 allows three.",
    )
    .mended("Give them mailboxes of their own, or lower the account's `caps.connections`."),
    Row::new(&[421, 451], &["submission rate"], A_MINUTE, "Microsoft 365 wants fewer messages a minute.")
        .mended("Find out what else sends with this mailbox, or lower the account's `caps.messages`."),
    Row::new(&[421], &["4.3.2", "concurrent"], AT_A_TIME, "Microsoft 365 wants fewer connections at a time."),
    Row::new(
        &[],
        &["4.7.500..699|4.7.850..899"],
        FROM_HERE,
        "Microsoft 365 takes little mail from our address, which it does not know well or suspects.",
    )
    .mended("It passes by itself; an inbound connector of the tenant prevents it (`New-InboundConnector`)."),
    Row::new(&[452], &["4.5.3"], Class::NextTransaction, ENOUGH_RECIPIENTS),
    Row::new(
        &[],
        &["5.2.121|5.2.122"],
        Class::WaitAtLeast(Duration::from_secs(3600)),
        "The recipient has had as much mail of this hour as its mailbox takes; it follows after an hour.",
    )
    .mended("Send it less: a device in alarm may be the cause."),
];

const OTHER_SENDERS: &str = "Find out what else sends with it (`Get-MessageTraceV2`, or the message trace at \
                             https://admin.exchange.microsoft.com), or use another mailbox: the limit cannot be raised.";
const MAILBOX_FULL: &str = "The sending mailbox is full.";
const EMPTY_IT: &str = "Empty its Sent Items or give it a retention policy, or keep no copies: `Set-Mailbox -Identity \
                        MAILBOX -MessageCopyForSMTPClientSubmissionEnabled $false`.";
const A_MINUTE: Class = Class::Rate(Rate { limits: Pace::Messages, rest: None });
const AT_A_TIME: Class = Class::Rate(Rate { limits: Pace::Connections, rest: None });
/// Such greylisting lasts minutes to hours.
const FROM_HERE: Class = Class::Rate(Rate { limits: Pace::Messages, rest: Some(Duration::from_secs(5 * 60)) });
