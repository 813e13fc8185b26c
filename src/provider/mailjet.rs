//! What Mailjet's SMTP relay answers. It publishes nothing and greets as Postfix does, so these are Postfix's words
//! (postfix.org, smtpd(8)); what it says to accounts that it slows down or blocks is not known.
//!
//! So an unknown 4xx is taken for a rate, since compliance problems put an hourly limit on the account
//! (documentation.mailjet.com, article 360042624754); an unknown 5xx is doubted, even of a recipient unless its status
//! speaks of the address: where it comes to everybody, it is the account's.

use super::refusal::{
    Class, ENOUGH_RECIPIENTS, Meaning, PUT_OFF, Pace, RECIPIENT_REFUSED, Rate, Row, TOO_LARGE, UNLISTED,
};
use crate::schedule::attempt::Step;
use crate::smtp::Reply;

/// The first row that holds counts.
pub(super) const ROWS: &[Row] = &[
    Row::new(&[535], &[], Class::Login, "Mailjet refuses the login.").mended(
        "`username` is the API key and `password` its secret key: see https://app.mailjet.com/account/apikeys, then \
         run `mailsluice account resume NAME`.",
    ),
    Row::new(&[552], &["5.3.4"], Class::Message, TOO_LARGE),
    Row::new(&[452], &["4.5.3"], Class::NextTransaction, ENOUGH_RECIPIENTS),
    Row::new(
        &[550, 553, 554],
        &["sender not allowed|sender address rejected"],
        Class::Unlisted,
        "Mailjet has not validated this sender.",
    )
    .mended("Validate its address or domain at https://app.mailjet.com/account/sender."),
    Row::new(&[421, 450], &["too many connections|too much concurrency"], AT_A_TIME, FEWER_CONNECTIONS),
    Row::new(&[450, 451, 452], &["4.3.0|4.3.1|4.3.5"], Class::Wait, PUT_OFF),
    Row::new(&[450, 451], &["4.4.2|timeout exceeded"], Class::Wait, PUT_OFF),
];

/// What is in no table, after the login.
pub(super) fn unlisted(step: Step, reply: &Reply) -> Meaning {
    let speaks_of_an_address = reply.status().is_some_and(|status| matches!(status.subject, 1 | 2));
    match (step, reply.is_transient()) {
        (Step::Rcpt, true) => Meaning { class: Class::Wait, sentence: PUT_OFF, mend: None },
        (_, true) => Meaning {
            class: Class::Rate(Rate { limits: Pace::Messages, rest: None }),
            sentence: "Mailjet put the message off without a reason that we know: perhaps it limits the account's rate.",
            mend: Some("See the account's state at https://app.mailjet.com/."),
        },
        (Step::Rcpt, false) if speaks_of_an_address => {
            Meaning { class: Class::Recipient, sentence: RECIPIENT_REFUSED, mend: None }
        }
        (_, false) => Meaning {
            class: Class::Unlisted,
            sentence: UNLISTED,
            mend: Some("See the account's state at https://app.mailjet.com/."),
        },
    }
}

const FEWER_CONNECTIONS: &str = "Mailjet wants fewer connections at a time.";
const AT_A_TIME: Class = Class::Rate(Rate { limits: Pace::Connections, rest: None });

#[cfg(test)]
mod tests {
    use super::super::refusal::tests::{are_read, rate};
    use super::*;
    use crate::provider::Provider;

    #[test]
    fn it_is_read_as_postfix_and_what_is_unknown_with_care() {
        use Class::{Account, Connect, Login, LoginLater, Message, NextTransaction, Recipient, Unlisted, Wait};
        use Step::{Auth, Data, FinalReply, Mail, Rcpt};
        let slower = rate(Pace::Messages, None);
        are_read(
            Provider::Mailjet,
            &[
                (Auth, "535 5.7.8 Error: authentication failed: authentication failure", Login),
                (Auth, "454 4.7.0 Temporary authentication failure: Connection lost", LoginLater),
                (Mail, "552 5.3.4 Message size exceeds fixed limit", Message),
                (FinalReply, "552 5.3.4 Error: message file too big", Message),
                (Rcpt, "452 4.5.3 Error: too many recipients", NextTransaction),
                (Mail, "530 5.7.0 Must issue a STARTTLS command first", Account),
                (Mail, "550 Sender not allowed", Unlisted),
                (Rcpt, "550 5.7.1 <shop@example.com>: Sender address rejected: not validated", Unlisted),
                (
                    Step::Greeting,
                    "421 4.7.0 in.mailjet.com Error: too many connections from 192.0.2.1",
                    rate(Pace::Connections, None),
                ),
                (Mail, "421 4.4.2 in.mailjet.com Error: timeout exceeded", Connect),
                (FinalReply, "451 4.3.0 Error: queue file write error", Wait),
                (Mail, "452 4.3.1 Insufficient system storage", Wait),
                (Mail, "450 4.7.1 Error: too much mail from 192.0.2.1", slower),
                (Mail, "451 something of its own", slower),
                (Data, "451 something of its own", slower),
                (FinalReply, "451 something of its own", slower),
                (FinalReply, "450 come back in 30 minutes", rate(Pace::Messages, Some(1800))),
                (Rcpt, "450 4.2.0 greylisted", Wait),
                (Rcpt, "550 5.1.1 no such user", Recipient),
                (Rcpt, "550 5.7.1 your account is blocked", Unlisted),
                (FinalReply, "554 your account is blocked", Unlisted),
            ],
        );
    }
}
