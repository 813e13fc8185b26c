//! What the SMTP interface of Amazon SES answers: without enhanced status codes, so by code and text alone.
//!
//! Sources: docs.aws.amazon.com/ses, *Troubleshooting SMTP issues* and *Troubleshooting error messages*; the texts as
//! seen on the wire. What is wrong with a sender or a recipient comes at the end of data, after MAIL and RCPT were taken.

use std::time::Duration;

use super::refusal::{Class, LOGIN_LATER, Meaning, Pace, Parties, Rate, Row, TOO_LARGE};
use crate::smtp::{Address, Reply};

/// The first row that holds counts.
pub(super) const ROWS: &[Row] = &[
    Row::new(&[421], &["concurrent"], AT_A_TIME, "Amazon SES wants fewer connections at a time.")
        .mended("Lower the account's `caps.connections`."),
    Row::new(&[454], &["throttling failure", "daily"], Class::Quota, "The account has spent its recipients of 24 hours.")
        .mended(RAISE_QUOTAS),
    Row::new(
        &[421, 451, 454],
        &["sending rate exceeded|throttling failure"],
        A_SECOND,
        "Amazon SES wants fewer recipients a second.",
    )
    .mended(
        "Write the account's own rate into `caps.recipients`, or raise it (https://console.aws.amazon.com/servicequotas/).",
    ),
    Row::new(&[454], &["authentication failure"], Class::LoginLater, LOGIN_LATER).mended(SMTP_PASSWORD),
    Row::new(&[451], &["timeout waiting for data"], Class::Wait, "The connection was too slow for Amazon SES."),
    Row::new(&[530], &["authentication required"], Class::Login, "Amazon SES takes the session for one without a login.")
        .mended(SMTP_PASSWORD),
    Row::new(&[535], &["not subscribed"], Class::Account, "The AWS account has not signed up for Amazon SES.")
        .mended("Sign up at https://console.aws.amazon.com/ses/ in this region."),
    Row::new(&[535], &[], Class::Login, "Amazon SES refuses the login.").mended(SMTP_PASSWORD),
    Row::new(&[552], &["too long"], Class::Message, TOO_LARGE),
    Row::new(&[553], &["address unknown"], Class::Recipient, "There is no such recipient."),
    Row::new(&[553], &["invalid email address"], Class::Message, "An address of the message is not one."),
    Row::new(&[554], &["access denied", "not authorized"], Class::Account, "The user of AWS may not send by Amazon SES.")
        .mended(
            "Allow it `ses:SendRawEmail` on the identity in its IAM policy (https://console.aws.amazon.com/iam/).",
        ),
    Row { codes: &[554], words: &["email address is not verified"], meaning: SENDER_UNVERIFIED },
    Row::new(
        &[554],
        &["mail from domain", "not verified"],
        Class::Account,
        "Amazon SES has not verified the account's own MAIL FROM domain.",
    )
    .mended("Mend its MX and SPF records, as https://console.aws.amazon.com/ses/ shows them under Identities."),
    Row::new(
        &[],
        &["paused", "sending|account"],
        Class::Account,
        "Amazon SES has paused the account's sending: too many bounces or complaints, or somebody switched it off.",
    )
    .mended("See why, and ask for a review, at https://console.aws.amazon.com/ses/ under Account dashboard."),
    Row::new(
        &[],
        &["configuration set", "does not exist|doesn't exist|not found"],
        Class::Unlisted,
        "There is no configuration set of the name that the message carries.",
    )
    .mended("Mend `X-SES-CONFIGURATION-SET` in the account's `headers.add`, or where the message comes from."),
    Row::new(
        &[554],
        &["transaction failed"],
        Class::Message,
        "Amazon SES cannot read the message: a field twice, or broken MIME.",
    ),
];

/// The meaning of a refusal in a transaction of these parties: in its sandbox Amazon SES wants recipients verified as
/// well, and names those that are not.
pub(super) fn among(parties: &Parties<'_>, meaning: Meaning, reply: &Reply) -> Meaning {
    if meaning != SENDER_UNVERIFIED {
        return meaning;
    }
    let text = reply.text();
    let named: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c == ',')
        .map(|word| word.trim_matches(|c: char| "<>()\"';:.".contains(c)))
        .filter(|word| word.contains('@'))
        .collect();
    let is = |one: &str, all: &[&Address]| all.iter().any(|it| it.as_str().eq_ignore_ascii_case(one));
    let a_recipient = |one: &&str| is(one, &parties.recipients) && !is(one, &parties.senders);
    match !named.is_empty() && named.iter().all(a_recipient) {
        true => RECIPIENT_UNVERIFIED,
        false => meaning,
    }
}

const SENDER_UNVERIFIED: Meaning = Meaning {
    class: Class::Account,
    sentence: "Amazon SES has not verified this sender in this region.",
    mend: Some(
        "Verify its address or domain at https://console.aws.amazon.com/ses/ under Identities, in the account's \
         `region`.",
    ),
};
const RECIPIENT_UNVERIFIED: Meaning = Meaning {
    class: Class::Message,
    sentence: "The account is in the sandbox of Amazon SES, where recipients must be verified, and one of these is not.",
    mend: Some(
        "Ask for production access at https://console.aws.amazon.com/ses/, then run `mailsluice queue retry ID`.",
    ),
};
const SMTP_PASSWORD: &str = "The SMTP password is not the IAM secret, and belongs to one region: make SMTP credentials at \
                             https://console.aws.amazon.com/ses/ under SMTP settings, or set `iam_secret` and `region`.";
const RAISE_QUOTAS: &str = "Mail flows again as they pass; raise the quota at \
                            https://console.aws.amazon.com/servicequotas/, and write it into `caps.recipients`.";
const AT_A_TIME: Class = Class::Rate(Rate { limits: Pace::Connections, rest: None });
/// What AWS advises first.
const A_SECOND: Class = Class::Rate(Rate { limits: Pace::Messages, rest: Some(Duration::from_secs(5)) });

#[cfg(test)]
mod tests {
    use super::super::refusal::tests::{are_read, rate, reply};
    use super::*;
    use crate::provider::Provider;
    use crate::provider::refusal::meaning_in;
    use crate::schedule::attempt::Step;

    #[test]
    fn every_reply_of_its_pages_is_known() {
        use Class::{Account, Login, LoginLater, Message, Quota, Recipient, Unlisted, Wait};
        use Step::{Auth, FinalReply, Greeting, Mail, Rcpt};
        are_read(
            Provider::Ses,
            &[
                (Greeting, "421 Too many concurrent SMTP connections", rate(Pace::Connections, None)),
                (FinalReply, "451 Temporary service failure", Wait),
                (FinalReply, "454 Temporary service failure", Wait),
                (FinalReply, "451 Timeout waiting for data from client", Wait),
                (FinalReply, "451 4.4.2 Timeout waiting for data from client.", Wait),
                (FinalReply, "454 Throttling failure: Maximum sending rate exceeded", rate(Pace::Messages, Some(5))),
                (
                    FinalReply,
                    "454 Throttling failure: Maximum SigV2 SMTP sending rate exceeded",
                    rate(Pace::Messages, Some(5)),
                ),
                (FinalReply, "454 Throttling failure: Daily message quota exceeded", Quota),
                (Auth, "454 Temporary authentication failure", LoginLater),
                (Mail, "530 Authentication required", Login),
                (Auth, "535 Authentication Credentials Invalid", Login),
                (Auth, "535 Account not subscribed to SES", Account),
                (FinalReply, "552 Message is too long.", Message),
                (Mail, "553 <a b@example.com> Invalid email address", Message),
                (Rcpt, "553 <b@example.com> address unknown", Recipient),
                (
                    FinalReply,
                    "554 Access denied: User arn:aws:iam::123456789012:user/relay is not authorized to perform \
                     ses:SendRawEmail on resource arn:aws:ses:eu-west-1:123456789012:identity/example.com",
                    Account,
                ),
                (
                    FinalReply,
                    "554 Message rejected: Email address is not verified. The following identities failed the check \
                     in region EU-WEST-1: shop@example.com",
                    Account,
                ),
                (FinalReply, "554 MAIL FROM domain not verified: bounce.example.com", Account),
                (FinalReply, "554 Account is paused", Account),
                (FinalReply, "554 Sending paused for this account.", Account),
                (FinalReply, "554 Configuration set does not exist", Unlisted),
                (FinalReply, "554 Configuration set <news> does not exist.", Unlisted),
                (FinalReply, "554 Transaction failed: Duplicate header 'Subject'.", Message),
            ],
        );
    }

    #[test]
    fn an_unverified_recipient_is_the_message_s_fault_and_any_other_identity_the_account_s() {
        let [shop, a, b]: [Address; 3] =
            ["shop@example.com", "a@example.org", "b@example.org"].map(|it| it.parse().unwrap());
        let class = |identities: &str, recipients: &[&Address]| {
            let text = format!(
                "554 Message rejected: Email address is not verified. The following identities failed the check in \
                 region EU-WEST-1: {identities}"
            );
            let parties = Parties { senders: vec![&shop], recipients: recipients.to_vec() };
            meaning_in(Provider::Ses, Step::FinalReply, &reply(&text), &parties).class
        };
        assert_eq!(class("A@example.org", &[&a, &b]), Class::Message);
        assert_eq!(class("a@example.org, Bob <b@example.org>, b@example.org.", &[&a, &b]), Class::Message);
        assert_eq!(class("shop@example.com", &[&a]), Class::Account);
        assert_eq!(class("a@example.org, shop@example.com", &[&a]), Class::Account);
        assert_eq!(class("shop@example.com", &[&shop]), Class::Account, "who writes to himself is the sender");
        assert_eq!(class("example.com", &[&a]), Class::Account);
        assert_eq!(class("", &[&a]), Class::Account);
    }
}
