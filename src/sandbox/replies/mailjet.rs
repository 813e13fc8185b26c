//! What Mailjet says: its servers are Postfix by their answer to EHLO, so the words are Postfix's.

use super::{Ending, Wording, microsoft365};

pub(in super::super) const CREDENTIALS: &str = "535 5.7.8 Error: authentication failed: authentication failure";
pub(in super::super) const TOO_BIG: &str = "552 5.3.4 Message size exceeds fixed limit";
pub(in super::super) const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Error: too many recipients";
pub(in super::super) const SENDER_REFUSED: &str =
    "550 5.1.8 <{sender}>: Sender address rejected: the sender is not validated";

pub(in super::super) const WORDING: Wording = Wording {
    banner: "220 in.mailjet.com ESMTP Mailjet",
    hello: "{host}",
    hello_first: "503 5.5.1 Error: send HELO/EHLO first",
    bad_hello: "501 Syntax: EHLO hostname",
    tls_ready: "220 2.0.0 Ready to start TLS",
    logged_in_already: "503 5.5.1 Error: already authenticated",
    bad_credentials: CREDENTIALS,
    bad_token: CREDENTIALS,
    bad_base64: "501 5.5.4 malformed authentication response",
    login_canceled: "501 5.7.0 Authentication aborted",
    unknown_mechanism: "535 5.7.8 Error: authentication failed: no mechanism available",
    not_authenticated: "530 5.7.0 Authentication required",
    sender_ok: "250 2.1.0 Ok",
    sender_given: "503 5.5.1 Error: nested MAIL command",
    bad_sender: "501 5.1.7 Bad sender address syntax",
    recipient_ok: "250 2.1.5 Ok",
    bad_recipient: "501 5.1.3 Bad recipient address syntax",
    unknown_recipient: "550 5.1.1 <{recipient}>: Recipient address rejected: User unknown",
    too_many_recipients: TOO_MANY_RECIPIENTS,
    need_mail: "503 5.5.1 Error: need MAIL command",
    need_rcpt: "554 5.5.1 Error: no valid recipients",
    bad_arguments: "501 5.5.4 Syntax error in parameters",
    start_input: "354 End data with <CR><LF>.<CR><LF>",
    accepted: "250 2.0.0 Ok: queued as {id}",
    id: "{mark}",
    concurrency: "450 4.7.1 Error: too many messages at a time",
    rate: "450 4.7.1 Error: too much mail from the account",
    quota: "450 4.7.1 Error: too much mail from the account today",
    too_big: TOO_BIG,
    no_from: "550 5.7.1 Error: the message has no From",
    sender_refused: SENDER_REFUSED,
    no_resources: "452 4.3.1 Insufficient system storage",
    too_many_connections: "421 4.7.0 {host} Error: too many connections",
    too_many_errors: "421 4.7.0 {host} Error: too many errors",
    idle: "421 4.4.2 {host} Error: timeout exceeded",
    unrecognized: "502 5.5.2 Error: command not recognized",
    reset: "250 2.0.0 Ok",
    noop: "250 2.0.0 Ok",
    vrfy: "252 2.0.0 Cannot verify",
    bye: "221 2.0.0 Bye",
    ending: Ending::Bare,
    ..microsoft365::WORDING
};
