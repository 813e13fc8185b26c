//! What we say about logins (RFC 4954) and encryption (RFC 3207).

use super::status;
use crate::session::contract::Tls;
use crate::smtp::Reply;

/// The client's turn in an exchange; `prompt` is base64, or nothing.
pub(in crate::session) fn challenge(prompt: &str) -> Reply {
    Reply::new(334, prompt)
}

/// The login is good, or needs not be.
pub(in crate::session) fn logged_in() -> Reply {
    status(235, (2, 7, 0), "Logged in")
}

/// No user has this password.
pub(in crate::session) fn login_denied() -> Reply {
    status(
        535,
        (5, 7, 8),
        "User or password is wrong: correct them in the device's mail settings, or in the `users` file",
    )
}

/// As often as we bear it.
pub(in crate::session) fn too_many_logins(hostname: &str) -> Reply {
    status(
        421,
        (4, 7, 0),
        format_args!(
            "User or password was wrong too often and {hostname} closes the connection: correct them in the device's mail settings"
        ),
    )
}

/// Nobody can tell whether the password is right.
pub(in crate::session) fn login_unavailable() -> Reply {
    status(454, (4, 7, 0), "The relay cannot look at passwords now; see its log, then log in again")
}

/// The client has called the exchange off (RFC 4954 §4).
pub(in crate::session) fn auth_cancelled() -> Reply {
    status(501, (5, 7, 0), "The login was called off")
}

/// A response that is not base64, or not what the mechanism asks for.
pub(in crate::session) fn malformed_response() -> Reply {
    status(501, (5, 5, 2), "The login is not in the form that its mechanism asks for; try PLAIN or LOGIN")
}

/// A mechanism that we do not offer, or none. It is repeated only where it is known to be one: firmware that forgets it has
/// the password in its place, and what we say is logged.
pub(in crate::session) fn unknown_mechanism(mechanism: &str) -> Reply {
    let named = match mechanism {
        "" => return status(501, (5, 5, 4), "Write it as AUTH PLAIN or AUTH LOGIN"),
        known if MECHANISMS.contains(&known) => known,
        _ => "This mechanism",
    };
    status(504, (5, 5, 4), format_args!("{named} is not offered here: set the device's login to PLAIN or LOGIN"))
}

/// Mechanisms that clients of mail try (IANA, SASL mechanisms).
const MECHANISMS: [&str; 12] = [
    "ANONYMOUS",
    "CRAM-MD5",
    "DIGEST-MD5",
    "EXTERNAL",
    "GSS-SPNEGO",
    "GSSAPI",
    "KERBEROS_V4",
    "NTLM",
    "OAUTHBEARER",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "XOAUTH2",
];

/// AUTH where nobody logs in. Firmware that insists on it would send nothing.
pub(in crate::session) fn auth_not_offered() -> Reply {
    status(
        502,
        (5, 5, 1),
        "No login is asked for here: switch it off in the device's mail settings, or set `auth = \"accept-any\"` at this [[listener]]",
    )
}

/// AUTH in plain text, where that is not allowed.
pub(in crate::session) fn auth_needs_tls() -> Reply {
    status(
        538,
        (5, 7, 11),
        "A password may not come here unencrypted: switch on STARTTLS in the device, or list its network in `auth_without_tls` of this [[listener]]",
    )
}

/// AUTH without EHLO, to strict manners.
pub(in crate::session) fn auth_needs_ehlo() -> Reply {
    status(503, (5, 5, 1), "Say EHLO before AUTH")
}

/// AUTH within a transaction.
pub(in crate::session) fn auth_in_transaction() -> Reply {
    status(503, (5, 5, 1), "A message is begun already; log in before MAIL, or drop it with RSET")
}

/// AUTH again, to strict manners.
pub(in crate::session) fn logged_in_already() -> Reply {
    status(503, (5, 5, 1), "You have logged in already")
}

/// MAIL without a login.
pub(in crate::session) fn needs_login() -> Reply {
    status(
        530,
        (5, 7, 0),
        "A login is needed here: switch it on in the device's mail settings, with a user of the relay's `users` file",
    )
}

/// MAIL without a login, which needs encryption first.
pub(in crate::session) fn needs_tls_and_login() -> Reply {
    status(
        530,
        (5, 7, 0),
        "Encryption and a login are needed here: switch on STARTTLS and login in the device's mail settings",
    )
}

/// To STARTTLS.
pub(in crate::session) fn begin_tls() -> Reply {
    status(220, (2, 0, 0), "Begin TLS")
}

/// STARTTLS where TLS is active.
pub(in crate::session) fn tls_is_active() -> Reply {
    status(503, (5, 5, 1), "The connection is encrypted already")
}

/// STARTTLS where it is not to be had, or hidden from this client.
pub(in crate::session) fn tls_not_offered(tls: Tls) -> Reply {
    let or_else = match tls {
        Tls::Absent => "give this [[listener]] a certificate in `tls`",
        Tls::Offered | Tls::Active => "take STARTTLS out of `hide` in its [[client]]",
    };
    let told = format_args!("No encryption is offered here: set the device's encryption to none, or {or_else}");
    status(502, (5, 5, 1), told)
}
