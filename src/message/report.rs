//! Reports of messages that have failed (RFC 3464 in the form of RFC 6522): what happened in words, the same for machines,
//! and the header of the message. And which messages are never reported.

use super::encoded_word::decode;
use super::header::{Field, HeaderBlock};
use super::letter::{Letterhead, letter, text_part};
use super::transfer::quoted_printable;
use crate::ids::MessageId;
use crate::smtp::{EnhancedStatus, ReversePath};

/// A message that has failed for some of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its queue id.
    pub id: MessageId,
    /// Whose it is.
    pub client: String,
    /// From whom by its envelope.
    pub from: ReversePath,
    /// When it was accepted, as RFC 5322 §3.3 writes it.
    pub arrived: String,
    /// The recipients that have failed, at least one.
    pub recipients: Vec<Failed>,
}

/// A recipient that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its address.
    pub address: String,
    /// What was said last, by the provider or by us.
    pub reply: String,
    /// How it has failed.
    pub how: How,
    /// What the reply means, in a sentence; empty where nobody knows.
    pub sentence: String,
    /// When it was last tried, as RFC 5322 §3.3 writes it; none where nobody knows.
    pub tried: Option<String>,
    /// The host that was tried; empty where none was.
    pub host: String,
}

/// How a recipient has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was refused for good.
    Refused,
    /// It was put off until it was too old.
    Expired,
}

/// The report of one message, of which `content` begins with the header block.
pub fn report(head: &Letterhead<'_>, failure: &Failure, content: &[u8]) -> Vec<u8> {
    let (block, _) = HeaderBlock::split(content);
    let subject = format!("Not delivered: {}", subject_of(&block));
    let parts = [text_part(&words(head, failure, &block)), status(head, failure), original(&block)];
    let mut boundary = format!("=_{}_report", failure.id);
    // A boundary must not begin a line of what it bounds, and the header came from anywhere.
    while parts.iter().any(|part| part.windows(boundary.len()).any(|octets| octets == boundary.as_bytes())) {
        boundary.push('_');
    }
    let mut bytes = head.fields(&subject);
    let kind = format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
    bytes.extend_from_slice(Field::folded("Content-Type", kind.as_bytes()).raw());
    bytes.extend_from_slice(b"\r\n");
    for part in &parts {
        bytes.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    bytes
}

/// One letter about several messages; of those that are `more` it has only the number.
pub fn summary(head: &Letterhead<'_>, failures: &[Failure], more: u64) -> Vec<u8> {
    let count = failures.len() as u64 + more;
    let mut text = format!(
        "{count} messages could not be delivered through Mailsluice on {}, and are not tried again by themselves.\n\n",
        head.hostname
    );
    for failure in failures {
        text += &format!("{}  from {} ({}), accepted {}\n", failure.id, failure.from, failure.client, failure.arrived);
        for failed in &failure.recipients {
            text += &format!("    {}: {}\n", failed.address, failed.reply);
        }
    }
    if more > 0 {
        text += &format!("\nand {more} more: mailsluice queue list --fate failed\n");
    }
    text += "\nThey are kept for 30 days. To see all that is known of one, or to try it once more:\n\n    \
             mailsluice queue show ID\n    mailsluice queue retry ID\n";
    letter(head, &format!("{count} messages were not delivered"), &text)
}

/// Whether a message was sent by a machine that says so (RFC 3834 §5): about such mail nothing is reported.
pub fn is_automatic(content: &[u8]) -> bool {
    let (block, _) = HeaderBlock::split(content);
    block.all("Auto-Submitted").any(|field| {
        let value = field.value();
        let word = value.split(|byte| *byte == b';').next().unwrap_or(&value);
        let without_comment = word.split(|byte| *byte == b'(').next().unwrap_or(word);
        !without_comment.trim_ascii().eq_ignore_ascii_case(b"no")
    })
}

/// The first part: for people.
fn words(head: &Letterhead<'_>, failure: &Failure, block: &HeaderBlock<'_>) -> String {
    let Failure { id, client, from, arrived, recipients } = failure;
    let mut text = format!(
        "A message could not be delivered through Mailsluice on {}, and is not tried again by itself.\n\n    \
         Subject:   {}\n    From:      {from}\n    Client:    {client}\n    Accepted:  {arrived}\n    Queue id:  {id}\n\n",
        head.hostname,
        subject_of(block)
    );
    for Failed { address, reply, how, sentence, .. } in recipients {
        let how = match how {
            How::Refused => "refused",
            How::Expired => "put off until it was too old, last with",
        };
        text += &format!("{address}: {how}\n    {reply}\n    {sentence}\n");
    }
    text += &format!(
        "\nThe message is kept for 30 days. To see all that is known of it, or to try it once more when the \
         cause is mended:\n\n    mailsluice queue show {id}\n    mailsluice queue retry {id}\n"
    );
    text
}

/// The second part: for machines (RFC 3464 §2).
fn status(head: &Letterhead<'_>, failure: &Failure) -> Vec<u8> {
    let mut part = b"Content-Type: message/delivery-status\r\n\r\n".to_vec();
    let field = |part: &mut Vec<u8>, name: &str, value: &str| {
        let value: String = value.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
        part.extend_from_slice(Field::folded(name, &broken(&value)).raw());
    };
    field(&mut part, "Reporting-MTA", &format!("dns; {}", head.hostname));
    field(&mut part, "X-Mailsluice-Queue-ID", &failure.id.to_string());
    field(&mut part, "Arrival-Date", &failure.arrived);
    for Failed { address, reply, how, tried, host, .. } in &failure.recipients {
        part.extend_from_slice(b"\r\n");
        field(&mut part, "Final-Recipient", &recipient(address));
        field(&mut part, "Action", "failed");
        field(&mut part, "Status", &enhanced(reply, *how).to_string());
        if !host.is_empty() {
            field(&mut part, "Remote-MTA", &format!("dns; {host}"));
        }
        let kind = if is_reply(reply) { "smtp" } else { "X-Mailsluice" };
        field(&mut part, "Diagnostic-Code", &format!("{kind}; {reply}"));
        if let Some(tried) = tried {
            field(&mut part, "Last-Attempt-Date", tried);
        }
    }
    part
}

/// The third part: the header of the message, as far as it is no larger than any should be (RFC 6522 §4).
fn original(block: &HeaderBlock<'_>) -> Vec<u8> {
    let mut header = Vec::new();
    for field in block.fields() {
        if header.len() + field.raw().len() > HEADER_OCTETS {
            break;
        }
        header.extend_from_slice(field.raw().trim_ascii_end());
        header.extend_from_slice(b"\r\n");
    }
    let lines_fit = header.split(|byte| *byte == b'\n').all(|line| line.len() <= LINE_OCTETS);
    let mut part = b"Content-Type: text/rfc822-headers\r\n".to_vec();
    if header.is_ascii() && lines_fit && !header.contains(&0) {
        part.extend_from_slice(b"\r\n");
        part.extend_from_slice(&header);
    } else {
        part.extend_from_slice(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n");
        part.extend_from_slice(&quoted_printable(&header));
        part.extend_from_slice(b"\r\n");
    }
    part
}

fn subject_of(block: &HeaderBlock<'_>) -> String {
    let subject = block.find("Subject").map(|field| decode(&field.value())).unwrap_or_default();
    let subject: String = subject.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT_CHARS).collect();
    if subject.trim().is_empty() { "(no subject)".into() } else { subject }
}

/// With its type. An address beyond ASCII in the form of RFC 6533 §3, which is ASCII.
fn recipient(address: &str) -> String {
    if address.is_ascii() {
        return format!("rfc822; {address}");
    }
    let escaped = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\x{{{:X}}}", u32::from(c)) };
    format!("utf-8; {}", address.chars().map(escaped).collect::<String>())
}

/// The enhanced status of a reply that is final; of one that is not, what became of it.
fn enhanced(reply: &str, how: How) -> EnhancedStatus {
    let said = reply.split_once(' ').and_then(|(_, text)| EnhancedStatus::split(text)).map(|(status, _)| status);
    match (said, how) {
        (Some(status), _) if status.class == 5 => status,
        (_, How::Expired) => EnhancedStatus::new(5, 4, 7),
        (_, How::Refused) => EnhancedStatus::new(5, 0, 0),
    }
}

/// Whether it came over SMTP.
fn is_reply(text: &str) -> bool {
    let (code, rest) = text.split_at_checked(3).unwrap_or(("", ""));
    code.bytes().all(|byte| byte.is_ascii_digit())
        && !code.is_empty()
        && (rest.is_empty() || rest.starts_with([' ', '-']))
}

/// A value of which no word is longer than a line, so that it can be folded.
fn broken(value: &str) -> Vec<u8> {
    let words = value.as_bytes().split(|byte| *byte == b' ');
    let pieces = words.flat_map(|word| if word.is_empty() { vec![word] } else { word.chunks(WORD_OCTETS).collect() });
    pieces.collect::<Vec<_>>().join(&b' ')
}

/// Of the header of the message.
const HEADER_OCTETS: usize = 64 << 10;
/// RFC 5322 §2.1.1, with the CR.
const LINE_OCTETS: usize = 999;
const WORD_OCTETS: usize = 900;
const SUBJECT_CHARS: usize = 150;

#[cfg(test)]
mod tests;
