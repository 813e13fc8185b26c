//! What smtp.gmail.com says. A refused token is first explained in a challenge.

use super::{Ending, Wording, microsoft365};

pub(in super::super) const CREDENTIALS: &str = "535 5.7.8 Username and Password not accepted. For more information, go \
    to https://support.google.com/mail/?p=BadCredentials {mark} - gsmtp";
pub(in super::super) const DAILY_LIMIT: &str = "550 5.4.5 Daily user sending limit exceeded. {mark} - gsmtp";

pub(in super::super) const WORDING: Wording = Wording {
    banner: "220 {host} ESMTP {mark} - gsmtp",
    hello: "{host} at your service, [{peer}]",
    hello_first: "503 5.5.1 EHLO/HELO first. {mark} - gsmtp",
    starttls_first: "530 5.7.0 Must issue a STARTTLS command first. {mark} - gsmtp",
    tls_ready: "220 2.0.0 Ready to start TLS",
    logged_in: "235 2.7.0 Accepted",
    bad_credentials: CREDENTIALS,
    bad_token: CREDENTIALS,
    token_challenge: Some(r#"{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}"#),
    not_authenticated: "530 5.7.0 Authentication Required. {mark} - gsmtp",
    sender_ok: "250 2.1.0 OK {mark} - gsmtp",
    recipient_ok: "250 2.1.5 OK {mark} - gsmtp",
    unknown_recipient: "550 5.1.1 The email account that you tried to reach does not exist. {mark} - gsmtp",
    too_many_recipients: "452 4.5.3 Your message has too many recipients. {mark} - gsmtp",
    start_input: "354 Go ahead {mark} - gsmtp",
    accepted: "250 2.0.0 OK {id} - gsmtp",
    id: "{mark}",
    concurrency: "421 4.7.0 Too many concurrent connections, closing connection. {mark} - gsmtp",
    rate: "421 4.7.0 Try again later, closing connection. {mark} - gsmtp",
    quota: DAILY_LIMIT,
    too_big: "552 5.3.4 Your message exceeded Google's message size limits. {mark} - gsmtp",
    too_many_connections: "421 4.7.0 Try again later, closing connection. {mark} - gsmtp",
    idle: "451 4.4.2 Timeout - closing connection. {mark} - gsmtp",
    bye: "221 2.0.0 closing connection {mark} - gsmtp",
    ending: Ending::Bare,
    ..microsoft365::WORDING
};
