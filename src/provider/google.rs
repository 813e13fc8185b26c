//! What Gmail (`smtp.gmail.com`) and the relay of Google Workspace (`smtp-relay.gmail.com`) answer. They have no preset of
//! their own, so these rows are read for any smarthost: their words are Google's alone.
//!
//! Sources: support.google.com, *Gmail sending limits in Google Workspace*, *SMTP relay service error messages*.

use super::refusal::{Class, Pace, Rate, Row};

/// The first row that holds counts.
pub(super) const ROWS: &[Row] = &[
    Row::new(
        &[534],
        &["5.7.9", "application-specific password"],
        Class::Login,
        "Google wants an app password, as the account has two-step verification.",
    )
    .mended(
        "Create one at https://myaccount.google.com/apppasswords and put it into the account's secret, or move to OAuth \
         (README, \"Move to OAuth\").",
    ),
    Row::new(&[535], &["username and password not accepted"], Class::Login, "Google refuses user name and password.")
        .mended(
            "Google takes app passwords only (https://myaccount.google.com/apppasswords), or a token: README, \"Move to \
             OAuth\".",
        ),
    Row::new(&[454], &["too many login attempts"], Class::LoginLater, "Google wants fewer logins for a while."),
    Row::new(
        &[550],
        &["daily smtp relay limit exceeded for customer"],
        Class::Quota,
        "The organisation has spent what Google's relay takes of it in 24 hours.",
    )
    .mended(WORKSPACE),
    Row::new(
        &[550],
        &["daily smtp relay limit exceeded|daily smtp relay sending limit exceeded"],
        Class::Quota,
        "The user has spent what Google's relay takes of one in 24 hours.",
    )
    .mended(WORKSPACE),
    Row::new(
        &[550],
        &["daily user sending limit exceeded|daily user sending quota exceeded"],
        Class::Quota,
        "The mailbox has spent its messages of 24 hours: 500, or 2,000 with Google Workspace.",
    )
    .mended("Mail flows again as they pass; the limits are at https://support.google.com/a/answer/166852."),
    Row::new(
        &[450, 421],
        &["peak smtp relay limit exceeded"],
        SLOWER,
        "The organisation sends more at once than Google's relay takes.",
    )
    .mended("Lower the account's `caps.messages`."),
    Row::new(&[421], &["try again later, closing connection"], SLOWER, "Google wants less mail for a while."),
];

const WORKSPACE: &str =
    "Mail flows again as the day passes; the limits are at https://support.google.com/a/answer/2956491.";
const SLOWER: Class = Class::Rate(Rate { limits: Pace::Messages, rest: None });

#[cfg(test)]
mod tests {
    use super::super::refusal::tests::{are_read, rate};
    use super::*;
    use crate::provider::Provider;
    use crate::schedule::attempt::Step;

    #[test]
    fn its_limits_and_logins_are_known_by_their_words() {
        use Class::{Login, LoginLater, Quota};
        use Step::{Auth, FinalReply, Greeting, Mail, Rcpt};
        let slower = rate(Pace::Messages, None);
        are_read(
            Provider::Smtp,
            &[
                (Mail, "550 5.4.5 Daily SMTP relay limit exceeded for user", Quota),
                (Rcpt, "550 5.7.1 Daily SMTP relay limit exceeded for customer", Quota),
                (Mail, "450 4.2.1 Peak SMTP relay limit exceeded for customer", slower),
                (
                    Auth,
                    "535 5.7.8 Username and Password not accepted. For more information, go to \
                     https://support.google.com/mail/?p=BadCredentials x - gsmtp",
                    Login,
                ),
                (Auth, "534 5.7.9 Application-specific password required", Login),
                (Auth, "454 4.7.0 Too many login attempts, please try again later", LoginLater),
                (FinalReply, "550 5.4.5 Daily user sending limit exceeded", Quota),
                (Greeting, "421 4.7.0 Try again later, closing connection", slower),
                (Auth, "421 4.7.0 Try again later, closing connection. (EHLO) x - gsmtp", slower),
                (FinalReply, "550 5.7.1 something of another smarthost", Class::Unlisted),
            ],
        );
    }
}
