//! What smtp.office365.com says, word for word, without the bracket that ends most of its lines.

use super::{Ending, Wording};

pub(in super::super) const UNKNOWN_RECIPIENT: &str = "550 5.1.10 RESOLVER.ADR.RecipientNotFound";
pub(in super::super) const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Too many recipients";
pub(in super::super) const CONCURRENCY: &str = "432 4.3.2 Concurrent connections limit exceeded. Visit \
    https://aka.ms/concurrent_sending for more information.";
pub(in super::super) const RATE: &str =
    "421 4.4.2 Message submission rate for this client has exceeded the configured limit";
pub(in super::super) const QUOTA: &str = "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a \
    permanent exception with message The message can't be submitted because the sender's submission quota was exceeded.";
pub(in super::super) const SEND_AS_DENIED: &str = "554 5.2.252 SendAsDenied; {user} not allowed to send as {sender}; \
    STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due \
    to a permanent exception with message [BeginDiagnosticData]Cannot submit message. [EndDiagnosticData]";
pub(in super::super) const TOO_BIG: &str = "552 5.3.4 Message size exceeds fixed maximum message size";
pub(in super::super) const BARE_LINEFEED: &str = "554 5.6.0 Invalid message content, contains bare linefeeds";
pub(in super::super) const NO_FROM: &str =
    "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant";
pub(in super::super) const NO_RESOURCES: &str = "452 4.3.1 Insufficient system resources (TSTE)";
pub(in super::super) const TOO_MANY_CONNECTIONS: &str =
    "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel";
pub(in super::super) const TOO_MANY_ERRORS: &str =
    "421 4.7.0 Too many errors on this connection, closing transmission channel";
pub(in super::super) const IDLE: &str = "451 4.7.0 Timeout waiting for client input";
pub(in super::super) const STARTTLS_FIRST: &str = "530 5.7.0 Must issue a STARTTLS command first";
pub(in super::super) const UNKNOWN_MECHANISM: &str = "504 5.7.4 Unrecognized authentication type";
pub(in super::super) const NOT_AUTHENTICATED: &str = "530 5.7.57 Client not authenticated to send mail.";
pub(in super::super) const BAD_CREDENTIALS: &str =
    "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.";
pub(in super::super) const BAD_TOKEN: &str = "535 5.7.3 Authentication unsuccessful";
pub(in super::super) const BAD_SENDER: &str = "501 5.1.7 Invalid address";
pub(in super::super) const BAD_RECIPIENT: &str = "501 5.1.3 Invalid address";

pub(in super::super) const WORDING: Wording = Wording {
    banner: "220 {host} Microsoft ESMTP MAIL Service ready at {date} [{mark}]",
    hello: "{host} Hello [{peer}]",
    hello_first: "503 5.5.2 Send hello first",
    bad_hello: "501 5.5.4 Invalid domain name",
    starttls_first: STARTTLS_FIRST,
    tls_ready: "220 2.0.0 SMTP server ready",
    logged_in: "235 2.7.0 Authentication successful",
    logged_in_already: "503 5.5.1 Already authenticated, or no login is wanted",
    bad_credentials: BAD_CREDENTIALS,
    bad_token: BAD_TOKEN,
    token_challenge: None,
    bad_base64: "501 5.5.2 Cannot Base64-decode Client responses",
    login_canceled: "501 5.7.0 Authentication canceled",
    unknown_mechanism: UNKNOWN_MECHANISM,
    not_authenticated: NOT_AUTHENTICATED,
    sender_ok: "250 2.1.0 Sender OK",
    sender_given: "503 5.5.2 Sender already specified",
    bad_sender: BAD_SENDER,
    recipient_ok: "250 2.1.5 Recipient OK",
    bad_recipient: BAD_RECIPIENT,
    unknown_recipient: UNKNOWN_RECIPIENT,
    too_many_recipients: TOO_MANY_RECIPIENTS,
    need_mail: "503 5.5.2 Need mail command",
    need_rcpt: "503 5.5.2 Need rcpt command",
    bad_arguments: "501 5.5.4 Invalid arguments",
    unsupported: "555 5.5.4 Unsupported option",
    needs_utf8: "550 5.6.7 The address needs SMTPUTF8",
    start_input: "354 Start mail input; end with <CRLF>.<CRLF>",
    accepted: "250 2.0.0 OK {message_id} [Hostname={host}]",
    id: "{place}@{host}",
    concurrency: CONCURRENCY,
    rate: RATE,
    quota: QUOTA,
    too_big: TOO_BIG,
    bare_linefeed: BARE_LINEFEED,
    eight_bit: "554 5.6.3 Eight-bit content, and 8BITMIME is not offered",
    repeated_field: "554 5.6.0 Invalid message content, {field} is there twice",
    no_from: NO_FROM,
    sender_refused: SEND_AS_DENIED,
    no_resources: NO_RESOURCES,
    too_many_connections: TOO_MANY_CONNECTIONS,
    too_many_errors: TOO_MANY_ERRORS,
    idle: IDLE,
    unrecognized: "500 5.3.3 Unrecognized command",
    line_too_long: "500 5.5.2 Line too long",
    reset: "250 2.0.0 Resetting",
    noop: "250 2.0.0 OK",
    vrfy: "252 2.1.5 Cannot VRFY user",
    bye: "221 2.0.0 Service closing transmission channel",
    ending: Ending::Exchange,
};
