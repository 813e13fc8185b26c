//! What we say to clients that do not keep to the protocol, or speak another one.

use super::{bad_path, status};
use crate::session::contract::Policy;
use crate::session::extensions;
use crate::smtp::Reply;
use crate::smtp::command::{Command, CommandError, Lapse, PathError};

/// A command before the banner, to strict manners.
pub(in crate::session) fn early() -> Reply {
    status(554, (5, 5, 0), "You spoke before the banner; wait for it, or set `tolerant = true` at this [[listener]]")
}

/// A line that ends in LF alone, to strict manners.
pub(in crate::session) fn bare_lf() -> Reply {
    status(
        500,
        (5, 5, 2),
        "Lines end in CR and LF; let the client send both, or set `tolerant = true` at this [[listener]]",
    )
}

/// MAIL without HELO or EHLO, to strict manners.
pub(in crate::session) fn needs_helo() -> Reply {
    status(503, (5, 5, 1), "Say HELO or EHLO first")
}

/// What of a command is beside the rules, to strict manners.
pub(in crate::session) fn lapse(lapse: Lapse, command: &Result<Command, CommandError>) -> Reply {
    let (form, about_address) = match command {
        Ok(Command::Rcpt { .. }) | Err(CommandError::Rcpt(_)) => ("RCPT TO:<address>", (5, 1, 3)),
        _ => ("MAIL FROM:<address>", (5, 1, 7)),
    };
    match lapse {
        Lapse::SpaceBefore | Lapse::SpaceBehind => {
            status(500, (5, 5, 2), "A command begins its line; leave out the space")
        }
        Lapse::Argument(verb) => status(501, (5, 5, 4), format_args!("{verb} takes nothing behind it")),
        Lapse::OddName => {
            status(501, (5, 5, 4), "Give your domain, or your address as [192.0.2.1] or [IPv6:2001:db8::1]")
        }
        Lapse::BareLocalPart => {
            status(501, about_address, "The address has no @ and domain: mend it in the device's settings")
        }
        Lapse::SeveralPaths => status(501, (5, 5, 4), "Name one recipient in each RCPT TO:<address>"),
        Lapse::SpaceInPath | Lapse::NoBrackets | Lapse::DisplayName | Lapse::SourceRoute => {
            bad_path(PathError::Form, form, about_address)
        }
    }
}

/// After so many lines that were no commands.
pub(in crate::session) fn too_many_faults(hostname: &str) -> Reply {
    status(
        421,
        (4, 7, 0),
        format_args!(
            "Too many lines were no commands and {hostname} closes the connection; a message is sent with MAIL, RCPT and DATA"
        ),
    )
}

/// To the content of a message whose DATA was refused.
pub(in crate::session) fn content_after_refusal(hostname: &str) -> Reply {
    status(
        421,
        (4, 5, 0),
        format_args!(
            "DATA was refused, so the message behind it is not taken, and {hostname} closes the connection; mend what was refused before"
        ),
    )
}

/// To a browser.
pub(in crate::session) fn is_http(hostname: &str) -> Reply {
    status(
        421,
        (4, 7, 0),
        format_args!("{hostname} speaks SMTP on this port and not HTTP: it takes mail and shows no pages"),
    )
}

/// To a client that begins with TLS.
pub(in crate::session) fn is_tls(policy: &Policy) -> Reply {
    let told = if extensions::offers_tls(policy) {
        "TLS begins with STARTTLS on this port: set the device's encryption to STARTTLS and not to SSL/TLS"
    } else {
        "There is no TLS on this port: set the device's encryption to none"
    };
    status(421, (4, 7, 0), told)
}
