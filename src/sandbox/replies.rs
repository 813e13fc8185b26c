//! What smtp.office365.com says, word for word, without the bracket that ends most of its lines.

pub(super) const STARTTLS_FIRST: &str = "530 5.7.0 Must issue a STARTTLS command first";
pub(super) const HELLO_FIRST: &str = "503 5.5.2 Send hello first";
pub(super) const TLS_READY: &str = "220 2.0.0 SMTP server ready";
pub(super) const LOGGED_IN: &str = "235 2.7.0 Authentication successful";
pub(super) const BAD_CREDENTIALS: &str =
    "535 5.7.139 Authentication unsuccessful, the user credentials were incorrect.";
pub(super) const BAD_TOKEN: &str = "535 5.7.3 Authentication unsuccessful";
pub(super) const UNKNOWN_MECHANISM: &str = "504 5.7.4 Unrecognized authentication type";
pub(super) const NOT_AUTHENTICATED: &str = "530 5.7.57 Client not authenticated to send mail.";
pub(super) const SENDER_OK: &str = "250 2.1.0 Sender OK";
pub(super) const RECIPIENT_OK: &str = "250 2.1.5 Recipient OK";
pub(super) const UNKNOWN_RECIPIENT: &str = "550 5.1.10 RESOLVER.ADR.RecipientNotFound";
pub(super) const TOO_MANY_RECIPIENTS: &str = "452 4.5.3 Too many recipients";
pub(super) const START_INPUT: &str = "354 Start mail input; end with <CRLF>.<CRLF>";
pub(super) const CONCURRENCY: &str = "432 4.3.2 Concurrent connections limit exceeded. Visit \
    https://aka.ms/concurrent_sending for more information.";
pub(super) const RATE: &str = "421 4.4.2 Message submission rate for this client has exceeded the configured limit";
pub(super) const QUOTA: &str = "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to \
    process message due to a permanent exception with message The message can't be submitted because the sender's \
    submission quota was exceeded.";
pub(super) const TOO_BIG: &str = "552 5.3.4 Message size exceeds fixed maximum message size";
pub(super) const BARE_LINEFEED: &str = "554 5.6.0 Invalid message content, contains bare linefeeds";
pub(super) const NO_FROM: &str = "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant";
pub(super) const NO_RESOURCES: &str = "452 4.3.1 Insufficient system resources (TSTE)";
pub(super) const TOO_MANY_CONNECTIONS: &str =
    "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel";
pub(super) const TOO_MANY_ERRORS: &str = "421 4.7.0 Too many errors on this connection, closing transmission channel";
pub(super) const IDLE: &str = "451 4.7.0 Timeout waiting for client input";

/// The mailbox of `user` may not send as `sender`.
pub(super) fn send_as_denied(user: &str, sender: &str) -> String {
    format!(
        "554 5.2.252 SendAsDenied; {user} not allowed to send as {sender}; \
         STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due \
         to a permanent exception with message [BeginDiagnosticData]Cannot submit message. [EndDiagnosticData]"
    )
}
