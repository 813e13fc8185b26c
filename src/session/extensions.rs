//! The extensions that EHLO offers, and what their parameters of MAIL mean.

use super::contract::Policy;
use super::replies;
use crate::smtp::Reply;
use crate::smtp::command::Parameter;

/// The lines of the reply to EHLO after the first: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
/// (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034).
pub(super) fn offered(policy: &Policy) -> Vec<String> {
    vec![
        "PIPELINING".into(),
        format!("SIZE {}", policy.max_message_size),
        "8BITMIME".into(),
        "SMTPUTF8".into(),
        "ENHANCEDSTATUSCODES".into(),
    ]
}

/// Which characters the addresses of a transaction may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repertoire {
    Ascii,
    /// The client said SMTPUTF8.
    Utf8,
}

/// Reads the parameters of a MAIL command.
///
/// # Errors
/// The reply to a parameter that we do not know, that is ill formed, or that announces too much.
pub(super) fn mail_parameters(parameters: &[Parameter], policy: &Policy) -> Result<Repertoire, Reply> {
    let mut repertoire = Repertoire::Ascii;
    for parameter in parameters {
        match (parameter.keyword.as_str(), parameter.value.as_deref()) {
            ("SIZE", Some(value)) if is_size(value) => {
                // RFC 1870 §4 allows 20 digits; what does not fit is more than anyone takes.
                if value.parse::<u64>().unwrap_or(u64::MAX) > policy.max_message_size {
                    return Err(replies::announced_too_large(policy.max_message_size));
                }
            }
            // It tells how the content is encoded; we look at the content itself.
            ("BODY", Some(value)) if ["7BIT", "8BITMIME"].iter().any(|known| known.eq_ignore_ascii_case(value)) => {}
            ("SMTPUTF8", None) => repertoire = Repertoire::Utf8,
            ("SIZE" | "SMTPUTF8", _) => return Err(replies::bad_parameter_value(&parameter.keyword)),
            _ => return Err(replies::unknown_parameter("MAIL", parameter)),
        }
    }
    Ok(repertoire)
}

fn is_size(value: &str) -> bool {
    (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit())
}
