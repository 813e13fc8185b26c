//! What Microsoft 365 answers and what it means: replies whose digits lie, matched by their text.
//!
//! Sources: Microsoft's pages on SMTP submission improvements, on non-delivery reports in Exchange Online, on sending
//! limits, and on Basic authentication for SMTP AUTH; the texts as seen on the wire in 2023 to 2026.

use super::refusal::{Class, Row};

/// The first row that matches counts.
pub(super) const ROWS: &[Row] = &[
    Row {
        codes: &[535],
        words: &["5.7.139", "smtpclientauthentication is disabled"],
        class: Class::Login,
        sentence: "SMTP AUTH is switched off for the mailbox or the tenant: an administrator runs `Set-CASMailbox \
                   -Identity MAILBOX -SmtpClientAuthenticationDisabled $false` (https://aka.ms/smtp_auth_disabled).",
    },
    Row {
        codes: &[535],
        words: &["5.7.139", "basic authentication is disabled"],
        class: Class::Login,
        sentence: "Password logins are switched off for this mailbox or tenant: an administrator enables them again, \
                   or the account moves to OAuth.",
    },
    Row {
        codes: &[535],
        words: &["5.7.139", "security defaults"],
        class: Class::Login,
        sentence: "Security Defaults of the tenant block password logins: replace them by Conditional Access that \
                   exempts this mailbox, or move the account to OAuth.",
    },
    Row {
        codes: &[535],
        words: &["5.7.139", "did not meet the criteria"],
        class: Class::Login,
        sentence: "A policy of the tenant (Conditional Access, multi-factor login) blocks the login: use an app \
                   password, exempt the mailbox, or move the account to OAuth.",
    },
    Row {
        codes: &[535],
        words: &["5.7.139", "account locked"],
        class: Class::Login,
        sentence: "The account is locked: find out who tried wrong passwords and unlock it.",
    },
    Row {
        codes: &[535],
        words: &["5.7.139", "user credentials were incorrect"],
        class: Class::Login,
        sentence: "User name or password are wrong: where the mailbox has multi-factor login, create an app password \
                   and put it into the account's secret.",
    },
    Row {
        codes: &[535],
        words: &[],
        class: Class::Login,
        sentence: "Microsoft 365 refuses the login: check user name and password (an app password where the mailbox \
                   has multi-factor login) and that SMTP AUTH is enabled for the mailbox.",
    },
    Row {
        codes: &[530],
        words: &["5.7.57"],
        class: Class::Login,
        sentence: "Microsoft 365 takes the session for one without a login: check the account's user name and \
                   password, and the tenant's policies on SMTP AUTH.",
    },
    Row {
        codes: &[550],
        words: &["5.7.30", "basic authentication is not supported"],
        class: Class::Login,
        sentence: "Microsoft 365 has ended password logins for this tenant: the account must move to OAuth.",
    },
    Row {
        codes: &[504],
        words: &["5.7.4"],
        class: Class::Login,
        sentence: "Microsoft 365 does not take this kind of login: a policy has withdrawn it.",
    },
    Row {
        codes: &[],
        words: &["submissionquotaexceeded"],
        class: Class::Quota,
        sentence: "The mailbox has spent its 10,000 recipients of 24 hours; mail flows again as they pass. Find out \
                   what else sends with it, or use another mailbox.",
    },
    Row {
        codes: &[],
        words: &["5.2.2", "submission quota exceeded"],
        class: Class::Quota,
        sentence: "The mailbox has spent its recipients of 24 hours; mail flows again as they pass.",
    },
    Row {
        codes: &[],
        words: &["5.1.90"],
        class: Class::Quota,
        sentence: "The mailbox has reached its daily limit of recipients; mail flows again as the day passes.",
    },
    Row {
        codes: &[552, 554],
        words: &["5.2.2"],
        class: Class::Account,
        sentence: "The sending mailbox is full: empty its Sent Items or give it a retention policy, or run \
                   `Set-Mailbox -MessageCopyForSMTPClientSubmissionEnabled $false` so that no copy is kept.",
    },
    Row {
        codes: &[],
        words: &["quotaexceededexception"],
        class: Class::Account,
        sentence: "The sending mailbox is full: empty its Sent Items or give it a retention policy.",
    },
    Row {
        codes: &[],
        words: &["5.1.8"],
        class: Class::Account,
        sentence: "Microsoft 365 has blocked the mailbox from sending (possibly abused): secure it, then remove it \
                   from Restricted entities in the Defender portal.",
    },
    Row {
        codes: &[],
        words: &["5.7.233"],
        class: Class::Quota,
        sentence: "The tenant has spent its external recipients of 24 hours: see the report Tenant Outbound External \
                   Recipients; more licences raise the limit.",
    },
    Row {
        codes: &[],
        words: &["5.7.232"],
        class: Class::Quota,
        sentence: "The trial tenant has spent its external recipients of 24 hours: licences raise the limit.",
    },
    Row { codes: &[], words: &["5.7.501"], class: Class::Account, sentence: BANNED },
    Row { codes: &[], words: &["5.7.502"], class: Class::Account, sentence: BANNED },
    Row { codes: &[], words: &["5.7.503"], class: Class::Account, sentence: BANNED },
    Row {
        codes: &[],
        words: &["5.7.705"],
        class: Class::Account,
        sentence: "Microsoft 365 has stopped the tenant's outgoing mail over a threshold: remove the cause (abuse, an \
                   expired subscription) and open a support ticket.",
    },
    Row {
        codes: &[],
        words: &["5.7.708"],
        class: Class::Account,
        sentence: "Microsoft 365 takes no mail of this tenant from this address, as with trial and new tenants: ask \
                   its support for an exception.",
    },
    Row {
        codes: &[],
        words: &["5.7.750"],
        class: Class::Account,
        sentence: "Microsoft 365 takes no mail from domains that are not registered: add and verify each sender's \
                   domain in the tenant.",
    },
    Row {
        codes: &[432],
        words: &["recipient thread limit"],
        class: Class::Wait,
        sentence: "A recipient's mailbox takes no more at a time; the message is tried again later.",
    },
    Row {
        codes: &[432],
        words: &[],
        class: Class::Rate,
        sentence: "Other programs send with this mailbox at the same time (Microsoft 365 allows three): give them \
                   mailboxes of their own, or lower the account's `caps.connections`.",
    },
    Row {
        codes: &[421],
        words: &["submission rate"],
        class: Class::Rate,
        sentence: "Microsoft 365 wants fewer messages a minute: other programs send with this mailbox.",
    },
    Row {
        codes: &[421],
        words: &["4.3.2", "concurrent"],
        class: Class::Rate,
        sentence: "Microsoft 365 wants fewer connections at a time.",
    },
    Row {
        codes: &[452],
        words: &["4.5.3"],
        class: Class::NextTransaction,
        sentence: "The transaction has as many recipients as the provider takes; the others follow in another one.",
    },
];

const BANNED: &str = "Microsoft 365 has banned the sender for abuse: secure the mailbox, then ask Microsoft's support.";

#[cfg(test)]
mod tests {
    use crate::provider::Provider;
    use crate::provider::refusal::{Class, meaning};
    use crate::schedule::attempt::Step;
    use crate::smtp::Reply;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn every_trap_is_known_by_its_text() {
        use Class::{Account, Login, NextTransaction, Quota, Rate, Unlisted, Wait};
        use Step::{Auth, Data, FinalReply, Mail, Rcpt};
        for (step, code, text, wanted) in [
            (Auth, 535, "5.7.3 Authentication unsuccessful [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]", Login),
            (
                Auth,
                535,
                "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information.",
                Login,
            ),
            (Auth, 535, "5.7.139 Authentication unsuccessful, basic authentication is disabled.", Login),
            (Auth, 535, "5.7.139 Authentication unsuccessful, the user credentials were incorrect.", Login),
            (Mail, 530, "5.7.57 Client not authenticated to send mail.", Login),
            (Auth, 550, "5.7.30 Basic authentication is not supported for Client Submission.", Login),
            (
                FinalReply,
                554,
                "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception",
                Quota,
            ),
            (
                FinalReply,
                550,
                "5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
                Quota,
            ),
            (
                FinalReply,
                554,
                "5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
                Account,
            ),
            (FinalReply, 550, "5.2.2 Submission quota exceeded", Quota),
            (FinalReply, 550, "5.1.8 Access denied, bad outbound sender AS(42004)", Account),
            (Rcpt, 550, "5.1.8 Access denied, bad outbound sender", Account),
            (
                FinalReply,
                550,
                "5.7.232 Your message can't be sent because your trial tenant has exceeded its daily limit",
                Quota,
            ),
            (
                FinalReply,
                550,
                "5.7.233 - Your message can't be sent because your tenant exceeded its daily limit",
                Quota,
            ),
            (Mail, 550, "5.7.501 Access denied, spam abuse detected", Account),
            (Mail, 550, "5.7.502 Access denied, banned sender", Account),
            (Mail, 550, "5.7.503 Access denied, banned sender", Account),
            (FinalReply, 550, "5.7.705 Access denied, tenant has exceeded threshold", Account),
            (FinalReply, 550, "5.7.708 Access denied, traffic not accepted from this IP", Account),
            (
                FinalReply,
                550,
                "5.7.750 Service unavailable. Client blocked from sending from unregistered domains",
                Account,
            ),
            (
                Data,
                432,
                "4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information. [Hostname=X]",
                Rate,
            ),
            (Data, 432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", Rate),
            (Data, 432, "4.3.2 STOREDRV.Deliver; recipient thread limit exceeded", Wait),
            (Rcpt, 452, "4.5.3 Too many recipients", NextTransaction),
            (FinalReply, 554, "5.2.252 SendAsDenied; a@b not allowed to send as c@d", Unlisted),
        ] {
            let meaning = meaning(Provider::Microsoft365, step, &Reply::new(code, text));
            assert_eq!(meaning.class, wanted, "{code} {text}");
            assert!(meaning.sentence.ends_with('.'), "{}", meaning.sentence);
        }
    }
}
