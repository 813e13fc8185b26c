//! What Microsoft 365 answers and what it means: replies whose digits lie, matched by their text.
//!
//! Sources: Microsoft's pages on SMTP submission improvements, on printers and applications that send mail, on
//! non-delivery reports in Exchange Online, on sending limits, and on Basic authentication for SMTP AUTH; the texts as
//! seen on the wire in 2023 to 2026.

mod limits;
mod messages;
#[cfg(test)]
mod tests;

use super::refusal::{Class, LOGIN_LATER, Row};

/// The first row that holds counts.
pub(super) const ROWS: &[&[Row]] = &[PASSWORDS_OFF, LOGIN, WAY_IN, SENDER, limits::ROWS, messages::ROWS];

/// Logins with a password are off: another kind of login may pass.
pub(super) const PASSWORDS_OFF: &[Row] = &[
    Row::new(
        &[535],
        &["5.7.139", "basic authentication is disabled"],
        Class::Login,
        "Password logins are switched off for this mailbox or tenant.",
    )
    .mended(
        "Move the account to OAuth (README, \"Move to OAuth\"; `mailsluice account login NAME`); until Microsoft \
         removes them for good an administrator may enable them again.",
    ),
    Row::new(
        &[550],
        &["5.7.30", "basic authentication is not supported"],
        Class::Login,
        "Microsoft 365 has ended password logins for this tenant.",
    )
    .mended("Move the account to OAuth (README, \"Move to OAuth\"; `mailsluice account login NAME`)."),
];

const LOGIN: &[Row] = &[
    Row::new(
        &[535],
        &["5.7.139", "smtpclientauthentication is disabled for the tenant"],
        Class::Login,
        "SMTP AUTH is switched off for the tenant; the password is not the problem.",
    )
    .mended(SET_CAS_MAILBOX),
    Row::new(
        &[535],
        &["5.7.139", "smtpclientauthentication is disabled"],
        Class::Login,
        "SMTP AUTH is switched off for the mailbox; the password is not the problem.",
    )
    .mended(SET_CAS_MAILBOX),
    Row::new(
        &[535],
        &["5.7.139", "security defaults"],
        Class::Login,
        "Security Defaults of the tenant block password logins.",
    )
    .mended(
        "Move the account to OAuth (README, \"Move to OAuth\"), or replace Security Defaults by Conditional Access \
         that exempts this mailbox (https://aka.ms/securitydefaults).",
    ),
    Row::new(
        &[535],
        &["5.7.139", "did not meet the criteria"],
        Class::Login,
        "A policy of the tenant (Conditional Access, multi-factor login) blocks the login.",
    )
    .mended(
        "Move the account to OAuth (README, \"Move to OAuth\"), use an app password, or exempt the mailbox: the \
         sign-in logs at https://entra.microsoft.com name the policy.",
    ),
    Row::new(&[535], &["5.7.139", "account locked"], Class::Login, "The account is locked.").mended(
        "Find out who tried wrong passwords (sign-in logs at https://entra.microsoft.com), unlock it, then run \
         `mailsluice account resume NAME`.",
    ),
    Row::new(&[535], &["5.7.139", "user credentials were incorrect"], Class::Login, "User name or password are wrong.")
        .mended(
            "Put the right password into the account's secret, an app password where the mailbox has multi-factor \
             login (https://aka.ms/mysecurityinfo), or move to OAuth (README, \"Move to OAuth\").",
        ),
    Row::new(
        &[535],
        &["5.7.139", "federated sts", "unreachable"],
        Class::LoginLater,
        "The organisation's own login service (AD FS) does not answer Microsoft 365.",
    )
    .mended("Where it lasts: mend the federation service, or move to OAuth (README, \"Move to OAuth\")."),
    Row::new(
        &[535],
        &["5.7.139", "federated sts"],
        Class::Login,
        "The organisation's own login service (AD FS) does not speak HTTPS as Microsoft 365 wants it.",
    )
    .mended("Give it TLS 1.2 (`Get-AdfsProperties`), or move to OAuth (README, \"Move to OAuth\")."),
    Row::new(&[535], &[], Class::Login, "Microsoft 365 refuses the login without a reason.").mended(
        "With a password: check `username` and `password`, and that SMTP AUTH is on (`Get-CASMailbox -Identity \
         MAILBOX`). With OAuth: check that the service principal has the enterprise application's object id and access \
         to the mailbox (`Get-MailboxPermission -Identity MAILBOX`); a change takes up to an hour.",
    ),
    Row::new(&[530], &["5.7.57"], Class::Login, "Microsoft 365 takes the session for one without a login.").mended(
        "Give the account `username` and `password` or `oauth`, and check the tenant's policies on SMTP AUTH \
         (https://aka.ms/smtp_auth_disabled).",
    ),
    Row::new(
        &[504],
        &["5.7.4"],
        Class::Login,
        "Microsoft 365 does not take this kind of login: a policy has withdrawn it, or `mechanisms` names another than \
         LOGIN and XOAUTH2.",
    )
    .mended("Leave `mechanisms` out, or move to OAuth (README, \"Move to OAuth\")."),
    Row::new(
        &[501],
        &["5.5.124"],
        Class::Login,
        "Microsoft 365 does not know the user for whom the token is to count.",
    )
    .mended("Set `username` to the address of the mailbox."),
    Row::new(&[454], &["4.7.0", "authentication failure"], Class::LoginLater, LOGIN_LATER),
];

/// What keeps us from having a session at all.
const WAY_IN: &[Row] = &[
    Row::new(
        &[421, 550, 554],
        &["4.7.66|5.7.66|4.7.67|5.7.67"],
        Class::Account,
        "Microsoft 365 takes no session with a TLS older than 1.2.",
    )
    .mended("Mailsluice speaks TLS 1.2 and 1.3: look for a proxy in between (https://aka.ms/smtp_auth_tls)."),
    Row::new(
        &[],
        &["5.7.64|tenantattribution; relay access denied"],
        Class::Account,
        "No connector of the tenant knows our address or certificate.",
    )
    .mended(
        "Put our public address or the certificate's name into the connector (`Get-InboundConnector`, or \
         https://admin.exchange.microsoft.com under Mail flow, Connectors).",
    ),
    Row::new(
        &[],
        &["4.4.62|wrong office 365 region"],
        Class::Account,
        "The mail goes to a region of Microsoft 365 that is not the tenant's.",
    )
    .mended("Set `host` to the tenant's own MX name, as https://admin.microsoft.com shows it under Domains."),
    Row::new(
        &[],
        &["5.7.68"],
        Class::Account,
        "The tenant rejects Direct Send, and no connector knows our address or certificate.",
    )
    .mended(
        "Make an inbound connector for our address or certificate (https://admin.exchange.microsoft.com), or use \
         `provider = \"microsoft365\"` with a login.",
    ),
    Row::new(&[], &["5.7.506"], Class::Account, "Microsoft 365 does not like the name that we give in EHLO.")
        .mended("Set the listener's `hostname` to a name of this machine, not one of Microsoft's or the tenant's."),
];

/// May it send as this one? Mostly the message's fault; where it happens to every message, the account's.
const SENDER: &[Row] = &[Row::new(
    &[],
    &["5.7.60|5.2.252|sendasdenied"],
    Class::Unlisted,
    "The mailbox may not send as this sender.",
)
.mended(
    "Let the account rewrite senders (`sender = \"rewrite\"`), or grant it: `Add-RecipientPermission SENDER -Trustee \
     MAILBOX -AccessRights SendAs`.",
)];

const SET_CAS_MAILBOX: &str = "An administrator runs `Set-CASMailbox -Identity MAILBOX \
                               -SmtpClientAuthenticationDisabled $false` (https://aka.ms/smtp_auth_disabled); it takes \
                               up to an hour.";
