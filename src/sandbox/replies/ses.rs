//! What Amazon SES says: from its page on SMTP response codes and from transcripts. Replies have no enhanced status codes.
//! What only a broken client hears is worded as the server's own style has it.

use super::{Ending, Wording, microsoft365};

pub(in super::super) const RATE: &str = "454 Throttling failure: Maximum sending rate exceeded";
pub(in super::super) const QUOTA: &str = "454 Throttling failure: Daily message quota exceeded";
pub(in super::super) const CREDENTIALS: &str = "535 Authentication Credentials Invalid";
pub(in super::super) const NOT_AUTHENTICATED: &str = "530 Authentication required";
pub(in super::super) const NOT_VERIFIED: &str = "554 Message rejected: Email address is not verified. The following \
    identities failed the check in region US-EAST-1: {sender}";
pub(in super::super) const TOO_LONG: &str = "552 Message is too long.";
pub(in super::super) const CONNECTIONS: &str = "421 Too many concurrent SMTP connections";
pub(in super::super) const IDLE: &str = "451 Timeout waiting for data from client";
pub(in super::super) const INVALID_ADDRESS: &str = "553 <{recipient}> Invalid email address";
pub(in super::super) const REPEATED_FIELD: &str = "554 Transaction failed: Duplicate header '{field}'.";

pub(in super::super) const WORDING: Wording = Wording {
    banner: "220 {host} ESMTP SimpleEmailService-d-{mark}",
    hello: "{host}",
    hello_first: "503 Bad sequence: say EHLO first",
    bad_hello: "501 Syntax: EHLO hostname",
    starttls_first: "530 Must issue a STARTTLS command first",
    tls_ready: "220 Ready to start TLS",
    logged_in: "235 Authentication successful.",
    logged_in_already: "503 Already authenticated",
    bad_credentials: CREDENTIALS,
    bad_token: CREDENTIALS,
    bad_base64: "501 Invalid base64 data",
    login_canceled: "501 Authentication canceled",
    unknown_mechanism: "504 Unrecognized authentication type",
    not_authenticated: NOT_AUTHENTICATED,
    sender_ok: "250 Ok",
    sender_given: "503 Error: nested MAIL command",
    bad_sender: "501 Invalid MAIL FROM address provided",
    recipient_ok: "250 Ok",
    bad_recipient: "501 Invalid RCPT TO address provided",
    unknown_recipient: "553 <{recipient}> address unknown",
    too_many_recipients: "452 Too many recipients",
    need_mail: "503 Error: need MAIL command",
    need_rcpt: "503 Error: need RCPT command",
    bad_arguments: "501 Syntax error in parameters",
    unsupported: "555 Unsupported option",
    needs_utf8: INVALID_ADDRESS,
    start_input: "354 End data with <CR><LF>.<CR><LF>",
    accepted: "250 Ok {id}",
    id: "0100{mark}-{place}-000000",
    concurrency: RATE,
    rate: RATE,
    quota: QUOTA,
    too_big: TOO_LONG,
    bare_linefeed: "554 Transaction failed: bare line feeds",
    eight_bit: "554 Transaction failed: eight-bit content",
    repeated_field: REPEATED_FIELD,
    no_from: "554 Transaction failed: Missing 'From' header",
    sender_refused: NOT_VERIFIED,
    no_resources: "451 Temporary service failure",
    too_many_connections: CONNECTIONS,
    too_many_errors: "421 Too many errors",
    idle: IDLE,
    unrecognized: "500 Error: bad syntax",
    line_too_long: "500 Line too long",
    reset: "250 Ok",
    noop: "250 Ok",
    vrfy: "252 Cannot verify",
    bye: "221 Bye",
    ending: Ending::Bare,
    ..microsoft365::WORDING
};
