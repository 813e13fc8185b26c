//! The extensions that EHLO offers, and what their parameters of MAIL mean.

use super::auth::MECHANISMS;
use super::contract::{AuthRule, Manners, Policy, Tls};
use super::quirk::Quirk;
use super::replies;
use crate::route::Hidden;
use crate::smtp::Reply;
use crate::smtp::command::Parameter;

/// The lines of the reply to EHLO after the first: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
/// (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034), STARTTLS (RFC 3207), AUTH (RFC 4954).
pub(super) fn offered(policy: &Policy) -> Vec<String> {
    let mut offered = vec!["PIPELINING".to_owned()];
    if !policy.hidden.contains(&Hidden::Size) {
        offered.push(format!("SIZE {}", policy.max_message_size));
    }
    offered.extend(["8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"].map(str::to_owned));
    if offers_tls(policy) {
        offered.push("STARTTLS".to_owned());
    }
    if offers_auth(policy) {
        offered.push(format!("AUTH {MECHANISMS}"));
    }
    offered
}

/// Whether STARTTLS is to be had. A client that it is hidden from does not get it: it would fail at it.
pub(super) fn offers_tls(policy: &Policy) -> bool {
    policy.tls == Tls::Offered && !policy.hidden.contains(&Hidden::StartTls)
}

fn offers_auth(policy: &Policy) -> bool {
    let is_allowed = match policy.auth {
        AuthRule::None => false,
        AuthRule::AcceptAny => true,
        AuthRule::Required { in_plain_text } => in_plain_text || policy.tls == Tls::Active,
    };
    is_allowed && !policy.hidden.contains(&Hidden::Auth)
}

/// Which characters the addresses of a transaction may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repertoire {
    Ascii,
    /// The client said SMTPUTF8.
    Utf8,
}

/// What the parameters of MAIL announce.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) repertoire: Repertoire,
    /// Octets of content.
    pub(super) size: Option<u64>,
}

/// Reads the parameters of a MAIL command.
///
/// # Errors
/// The reply to one that announces too much or what cannot be; to strict manners also to one that we do not know, or that
/// makes no sense.
pub(super) fn mail_parameters(
    parameters: &[Parameter],
    policy: &Policy,
    quirks: &mut Vec<Quirk>,
) -> Result<Announced, Reply> {
    let mut announced = Announced { repertoire: Repertoire::Ascii, size: None };
    for parameter in parameters {
        let known = |values: &[&str], value: &str| values.iter().any(|known| known.eq_ignore_ascii_case(value));
        match (parameter.keyword.as_str(), parameter.value.as_deref()) {
            ("SIZE", Some(value)) if is_size(value) => {
                // RFC 1870 §4 allows 20 digits; what does not fit is more than anyone takes.
                let size = value.parse().unwrap_or(u64::MAX);
                if size > policy.max_message_size {
                    return Err(replies::announced_too_large(policy.max_message_size));
                }
                announced.size = Some(size);
            }
            // It tells how the content is encoded; we look at the content itself. But binary content has no lines.
            ("BODY", Some(value)) if known(&["7BIT", "8BITMIME"], value) => {}
            ("BODY", Some(value)) if known(&["BINARYMIME"], value) => {
                return Err(replies::unknown_parameter("MAIL", parameter));
            }
            ("SMTPUTF8", value) => {
                announced.repertoire = Repertoire::Utf8;
                if value.is_some() {
                    forgive(Quirk::BadParameterValue, policy, quirks, || replies::bad_parameter_value("SMTPUTF8"))?;
                }
            }
            ("SIZE" | "BODY", _) => {
                let reply = || replies::bad_parameter_value(&parameter.keyword);
                forgive(Quirk::BadParameterValue, policy, quirks, reply)?;
            }
            // RFC 4954 §5: on whose behalf, which proves nothing.
            ("AUTH", Some(_)) if policy.auth != AuthRule::None => {}
            _ => forgive(Quirk::UnknownParameter, policy, quirks, || replies::unknown_parameter("MAIL", parameter))?,
        }
    }
    Ok(announced)
}

/// Lets a client do something beside the rules, and notes it.
///
/// # Errors
/// The reply of strict manners.
pub(super) fn forgive(
    quirk: Quirk,
    policy: &Policy,
    quirks: &mut Vec<Quirk>,
    refusal: impl FnOnce() -> Reply,
) -> Result<(), Reply> {
    match policy.manners {
        Manners::Tolerant => {
            quirks.push(quirk);
            Ok(())
        }
        Manners::Strict => Err(refusal()),
    }
}

fn is_size(value: &str) -> bool {
    (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit())
}
