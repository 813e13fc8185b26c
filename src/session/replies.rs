//! Everything that we say to a client: one function for each reply. A refusal has the right code, an enhanced status
//! (RFC 3463) and a sentence that tells the owner of the device what to do; it is often the only thing that reaches them.

mod login;
mod manners;

use std::net::IpAddr;

pub(super) use login::{
    auth_cancelled, auth_in_transaction, auth_needs_ehlo, auth_needs_tls, auth_not_offered, begin_tls, challenge,
    logged_in, logged_in_already, login_denied, login_unavailable, malformed_response, needs_login,
    needs_tls_and_login, tls_is_active, tls_not_offered, too_many_logins, unknown_mechanism,
};
pub(super) use manners::{bare_lf, content_after_refusal, early, is_http, is_tls, lapse, needs_helo, too_many_faults};

use super::contract::Refusal;
use crate::ids::MessageId;
use crate::message::sender::SenderRefused;
use crate::route::local::Form;
use crate::route::{Origin, aliases};
use crate::smtp::address::AddressError;
use crate::smtp::command::{CommandError, Parameter, PathError};
use crate::smtp::{Address, AddressPattern, EnhancedStatus, Reply};

/// The banner (RFC 5321 §4.2).
pub(super) fn banner(hostname: &str) -> Reply {
    Reply::new(220, format!("{hostname} ESMTP ready"))
}

/// To HELO.
pub(super) fn helo(hostname: &str) -> Reply {
    Reply::new(250, hostname)
}

/// To EHLO.
pub(super) fn ehlo(hostname: &str, offered: Vec<String>) -> Reply {
    Reply { code: 250, lines: [vec![hostname.to_owned()], offered].concat() }
}

/// To MAIL.
pub(super) fn sender_ok() -> Reply {
    status(250, (2, 1, 0), "Ok")
}

/// To RCPT.
pub(super) fn recipient_ok() -> Reply {
    status(250, (2, 1, 5), "Ok")
}

/// To DATA.
pub(super) fn send_content() -> Reply {
    Reply::new(354, "End data with <CR><LF>.<CR><LF>")
}

/// To the final dot.
pub(super) fn queued(id: MessageId) -> Reply {
    status(250, (2, 0, 0), format_args!("Ok: queued as {id}"))
}

/// To RSET and NOOP.
pub(super) fn ok() -> Reply {
    status(250, (2, 0, 0), "Ok")
}

/// To VRFY (RFC 5321 §3.5.3).
pub(super) fn cannot_verify() -> Reply {
    status(252, (2, 5, 2), "Mailboxes are not verified here; send the message, delivery will be attempted")
}

/// To HELP.
pub(super) fn help() -> Reply {
    status(214, (2, 0, 0), "Commands: HELO EHLO MAIL RCPT DATA RSET NOOP VRFY HELP AUTH STARTTLS QUIT (RFC 5321)")
}

/// To QUIT.
pub(super) fn bye(hostname: &str) -> Reply {
    status(221, (2, 0, 0), format_args!("{hostname} closes the connection"))
}

/// The time for a step is over.
pub(super) fn timed_out(hostname: &str) -> Reply {
    status(421, (4, 4, 2), format_args!("{hostname} has waited too long and closes the connection; connect again"))
}

/// The time for a transaction is over.
pub(super) fn transaction_timed_out(hostname: &str) -> Reply {
    status(
        421,
        (4, 4, 2),
        format_args!(
            "The message took too long and is not sent; {hostname} closes the connection: raise `transaction_timeout` for this client"
        ),
    )
}

/// The client has said that it is there for as long as a transaction may take.
pub(super) fn stayed_too_long(hostname: &str) -> Reply {
    status(
        421,
        (4, 4, 2),
        format_args!("{hostname} has waited too long for mail and closes the connection; connect again"),
    )
}

/// The daemon stops.
pub fn shutting_down(hostname: &str) -> Reply {
    status(421, (4, 3, 2), format_args!("{hostname} is shutting down; send the message again in a few minutes"))
}

/// To a stranger, instead of the banner.
pub fn not_admitted(address: IpAddr) -> Reply {
    status(
        554,
        (5, 7, 1),
        format_args!(
            "{address} may not send here: add it to `networks` of this [[listener]] in the relay's configuration"
        ),
    )
}

/// To a client with too many connections, instead of the banner.
pub fn too_many_connections(origin: Origin, most: usize) -> Reply {
    status(
        421,
        (4, 7, 0),
        format_args!(
            "{origin} has {most} connections already: let it reuse them, or raise `max_connections_per_client` of this [[listener]]"
        ),
    )
}

/// To whom has waited in vain for one of all connections to end, instead of the banner.
pub fn no_room(most: usize) -> Reply {
    status(
        421,
        (4, 4, 5),
        format_args!(
            "{most} connections are the most here, and all are taken: send again in a few minutes, or raise `max_connections` of this [[listener]]"
        ),
    )
}

/// TLS could not begin. The client does not hear it any more, the log has it.
pub fn no_tls(why: &str, advice: &str) -> Reply {
    status(454, (4, 7, 0), format_args!("TLS could not begin: {why}; {advice}"))
}

/// To a line that is no command, or an ill-formed one.
pub(super) fn bad_command(error: CommandError) -> Reply {
    match error {
        CommandError::Unknown(verb) => {
            status(500, (5, 5, 2), format_args!("{verb:?} is no command here; HELP lists those that are"))
        }
        CommandError::NotImplemented(verb) => not_implemented(verb),
        CommandError::Argument(verb) => status(501, (5, 5, 4), format_args!("{verb} takes nothing behind it")),
        CommandError::Mail(error) => bad_path(error, "MAIL FROM:<address>", (5, 1, 7)),
        CommandError::Rcpt(error) => bad_path(error, "RCPT TO:<address>", (5, 1, 3)),
    }
}

/// To a command of SMTP that we do not have.
pub(super) fn not_implemented(verb: &str) -> Reply {
    status(502, (5, 5, 1), format_args!("{verb} is not offered here; HELP lists the commands that are"))
}

fn bad_path(error: PathError, form: &str, about_address: (u8, u16, u16)) -> Reply {
    match error {
        PathError::Form => status(501, (5, 5, 4), format_args!("Write it as {form}")),
        PathError::Encoding => {
            status(501, about_address, "The address is neither ASCII nor UTF-8: mend it in the settings")
        }
        PathError::Address(path, error) => status(
            501,
            about_address,
            format_args!("<{path}> is no mail address, {error}: mend it in the device's settings"),
        ),
        PathError::Parameter(text) => {
            status(501, (5, 5, 4), format_args!("{text:?} is no parameter; write keyword or keyword=value"))
        }
    }
}

/// `<postmaster>` cannot be completed.
pub(super) fn bad_recipient(path: &str, error: AddressError) -> Reply {
    bad_path(PathError::Address(path.to_owned(), error), "RCPT TO:<address>", (5, 1, 3))
}

/// The line is longer than we read.
pub(super) fn line_too_long(octets: usize) -> Reply {
    status(500, (5, 5, 2), format_args!("The line is longer than {octets} octets and was skipped"))
}

/// MAIL within a transaction.
pub(super) fn nested_mail() -> Reply {
    status(503, (5, 5, 1), "A message is begun already; end it with DATA, or drop it with RSET")
}

/// RCPT or DATA without MAIL.
pub(super) fn needs_mail() -> Reply {
    status(503, (5, 5, 1), "No sender was accepted; begin with MAIL FROM:<address>")
}

/// DATA without RCPT.
pub(super) fn no_recipients() -> Reply {
    status(554, (5, 5, 1), "No recipient was accepted; name one with RCPT TO:<address>")
}

/// A parameter of an extension that we do not offer.
pub(super) fn unknown_parameter(command: &str, parameter: &Parameter) -> Reply {
    let Parameter { keyword, value } = parameter;
    let (equals, value) = value.as_ref().map_or(("", ""), |value| ("=", value.as_str()));
    status(555, (5, 5, 4), format_args!("{command} parameter {keyword}{equals}{value} is not supported; leave it out"))
}

/// A parameter whose value makes no sense.
pub(super) fn bad_parameter_value(keyword: &str) -> Reply {
    status(501, (5, 5, 4), format_args!("The value of {keyword} makes no sense; correct it or leave it out"))
}

/// SIZE says more than the limit.
pub(super) fn announced_too_large(most: u64) -> Reply {
    status(
        552,
        (5, 3, 4),
        format_args!(
            "The message is larger than the {most} octets that pass here; send less at a time, or raise `max_message_size`"
        ),
    )
}

/// The address needs SMTPUTF8.
pub(super) fn needs_smtputf8(address: &Address) -> Reply {
    status(
        553,
        (5, 6, 7),
        format_args!(
            "<{address}> has letters that not every mail system takes; MAIL must say SMTPUTF8, or use an ASCII address"
        ),
    )
}

/// One recipient more than the limit.
pub(super) fn too_many_recipients(most: usize) -> Reply {
    status(
        452,
        (4, 5, 3),
        format_args!(
            "{most} recipients are the most for one message; those before this one stay, send to the others again"
        ),
    )
}

/// The content was larger than the limit.
pub(super) fn too_large(most: u64) -> Reply {
    status(
        552,
        (5, 3, 4),
        format_args!(
            "The message was larger than the {most} octets that pass here and is not sent; send less at a time, or raise `max_message_size`"
        ),
    )
}

/// The header block does not end where it has to.
pub(super) fn header_too_large(most: usize) -> Reply {
    status(
        552,
        (5, 3, 4),
        format_args!("The header was larger than {most} octets, so the message is not sent; shorten it"),
    )
}

/// The intake does not take the message.
pub(super) fn refused(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::Full => status(
            452,
            (4, 3, 1),
            "The queue is full and the message was not taken: free disk space on the relay, then send again",
        ),
        Refusal::TooManyHops => status(
            554,
            (5, 4, 6),
            "The message has passed too many hosts: it runs in circles; look in its Received fields for where",
        ),
        Refusal::SenderNotAllowed { refused, allowed } => sender_not_allowed(refused, allowed),
        Refusal::Unavailable => status(
            451,
            (4, 3, 0),
            "The relay cannot store mail now and did not take the message; see its log, then send again",
        ),
    }
}

/// The sender is not among those that this client may use.
pub(super) fn sender_not_listed(address: &Address, allowed: &[AddressPattern]) -> Reply {
    status(
        550,
        (5, 7, 1),
        format_args!(
            "<{}> may not send from here: use {}, or add it to `senders` of this [[client]]",
            shortened(address),
            shown(allowed)
        ),
    )
}

/// The recipient is not among those that this client may send to.
pub(super) fn recipient_not_listed(address: &Address, allowed: &[AddressPattern]) -> Reply {
    status(
        550,
        (5, 7, 1),
        format_args!(
            "<{}> gets no mail from here: send to {}, or add it to `recipients` of this [[client]]",
            shortened(address),
            shown(allowed)
        ),
    )
}

/// Not all that the recipient's alias stands for is among those that this client may send to.
pub(super) fn alias_not_listed(address: &Address, allowed: &[AddressPattern]) -> Reply {
    status(
        550,
        (5, 7, 1),
        format_args!(
            "<{}> is an alias for what gets no mail from here: send to {}, or add what it stands for to `recipients` of this [[client]]",
            shortened(address),
            shown(allowed)
        ),
    )
}

/// The recipient is a user of this machine, and nothing says who reads its mail (RFC 3463 §3.2, X.1.1).
pub(super) fn nobodys(recipient: &Address, form: Form) -> Reply {
    let name: String = aliases::key(recipient.local_part()).chars().take(NAME_SHOWN).collect();
    let is_bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let toml = if is_bare { name.clone() } else { format!("{name:?}") };
    let domain = recipient.domain();
    let elsewhere = match form {
        Form::Whole if domain.contains('.') && domain.len() <= DOMAIN_SHOWN => {
            format!("; or, if {domain} has its mailboxes elsewhere, leave it out of `domains` under [local]")
        }
        Form::Whole | Form::Bare => String::new(),
    };
    status(
        550,
        (5, 1, 1),
        format_args!(
            "{name} has no address here: set {toml} = \"you@example.com\" (or \"*\") under [aliases] in the relay's \
             configuration{elsewhere}"
        ),
    )
}

/// Why one of several recipients of one command was refused, and so all of them.
pub(super) fn none_of_several(mut reply: Reply) -> Reply {
    if let Some(line) = reply.lines.last_mut() {
        line.push_str("; none of the recipients of this command was taken");
    }
    reply
}

/// As it is reported: the last refusal of a flood that is.
pub(super) fn last_reported(mut reply: Reply) -> Reply {
    if let Some(line) = reply.lines.last_mut() {
        line.push_str("; more refusals are not reported until the client has sent a message");
    }
    reply
}

fn sender_not_allowed(refused: &SenderRefused, allowed: &[AddressPattern]) -> Reply {
    let sender = match refused {
        SenderRefused::ReversePath(address) => format!("<{address}>"),
        SenderRefused::Header { field, text } if text.is_empty() => format!("A {field}: field that names nobody"),
        SenderRefused::Header { field, text } => {
            format!("{field}: {}", text.chars().take(SENDER_SHOWN).collect::<String>())
        }
        SenderRefused::Nobody => "A message without a sender".to_owned(),
    };
    status(
        550,
        (5, 7, 1),
        format_args!("{sender} may not send through this relay: set the device's sender to one of {}", shown(allowed)),
    )
}

/// The first of what is allowed.
fn shown(allowed: &[AddressPattern]) -> String {
    let shown = allowed.iter().take(ALLOWED_SHOWN).map(AddressPattern::to_string).collect::<Vec<_>>().join(", ");
    let more = if allowed.len() > ALLOWED_SHOWN { " and others" } else { "" };
    format!("{shown}{more}")
}

/// What leaves room for the rest of the reply.
fn shortened(address: &Address) -> String {
    address.as_str().chars().take(SENDER_SHOWN).collect()
}

/// A reply has 512 octets, and a reader less patience.
const ALLOWED_SHOWN: usize = 4;
const SENDER_SHOWN: usize = 100;
const NAME_SHOWN: usize = 48;
const DOMAIN_SHOWN: usize = 100;

fn status(code: u16, (class, subject, detail): (u8, u16, u16), text: impl std::fmt::Display) -> Reply {
    Reply::with_status(code, EnhancedStatus::new(class, subject, detail), text)
}
