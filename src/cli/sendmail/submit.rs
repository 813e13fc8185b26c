//! Hands a message in: one transaction, or several where it has more recipients than the relay takes for one.
//!
//! Those who are taken get the message, whatever becomes of the others: a wrong address among many must not cost it. So the
//! exit code alone cannot tell whom to send it to again, and the complaint names both. Who reads only the code and sends
//! again makes duplicates; zero would make the loss one that nobody hears of. Once a part has it, what is left is tried again
//! for half a minute, since from then on every other end is one of the two.

use std::io::{BufWriter, Write as _};
use std::path::Path;

use super::super::output::counted;
use super::complaint::{Code, Complaint};
use super::flags::Talk;
use super::letter::Letter;
use super::wire::{END, Patience, Relay, harmless};
use crate::smtp::{EnhancedStatus, Reply};

/// What has become of the recipients.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Their message is on disk at the relay.
    pub(super) taken: Vec<String>,
    /// The relay takes nothing for them, and says why.
    refused: Vec<(String, Reply)>,
    /// They have got nothing, and why not.
    stopped: Option<(Vec<String>, Complaint)>,
}

/// Hands it in at this socket.
pub(super) fn submit(letter: &mut Letter, socket: &Path, patience: Patience, talk: Talk) -> Outcome {
    let mut outcome = Outcome::default();
    let mut left = std::mem::take(&mut letter.recipients);
    let mut pauses = patience.pauses.iter();
    loop {
        let stopped = Relay::greet(socket, patience, talk).and_then(|mut relay| {
            let mut most = MOST_RECIPIENTS;
            while !left.is_empty() {
                transaction(&mut relay, letter, &mut left, &mut most, &mut outcome)?;
            }
            relay.quit();
            Ok(())
        });
        let Err(complaint) = stopped else { return outcome };
        match pauses.next() {
            Some(pause) if !outcome.taken.is_empty() && complaint.code == Code::Temporary => std::thread::sleep(*pause),
            _ => {
                outcome.stopped = Some((left, complaint));
                return outcome;
            }
        }
    }
}

/// Takes recipients from `left`, `most` at a time, and sends them the message. Those who get nothing for a reason that is not
/// theirs are still in `left` where it fails.
fn transaction(
    relay: &mut Relay,
    letter: &mut Letter,
    left: &mut Vec<String>,
    most: &mut usize,
    outcome: &mut Outcome,
) -> Result<(), Complaint> {
    let reply = relay.command(&mail(relay, letter))?;
    if !reply.is_positive() {
        return Err(relay.refused(&reply, "MAIL FROM"));
    }
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for path in left.iter().take(*most) {
        let reply = relay.command(&format!("RCPT TO:<{path}>"))?;
        if is_one_too_many(&reply) && !accepted.is_empty() {
            *most = accepted.len();
            break;
        }
        if reply.is_positive() {
            accepted.push(path.clone());
        } else {
            refused.push((path.clone(), reply));
        }
    }
    if accepted.is_empty() {
        relay.command("RSET")?;
    } else {
        send(relay, letter)?;
    }
    left.drain(..accepted.len() + refused.len());
    outcome.taken.extend(accepted);
    outcome.refused.extend(refused);
    Ok(())
}

fn mail(relay: &Relay, letter: &Letter) -> String {
    let mut command = format!("MAIL FROM:<{}>", letter.reverse_path);
    if relay.offers("SIZE") {
        command += &format!(" SIZE={}", letter.octets());
    }
    if letter.is_beyond_ascii() && relay.offers("SMTPUTF8") {
        command += " SMTPUTF8";
    }
    command
}

fn send(relay: &mut Relay, letter: &mut Letter) -> Result<(), Complaint> {
    let reply = relay.command("DATA")?;
    if reply.code != 354 {
        return Err(relay.refused(&reply, "DATA"));
    }
    let reply = relay.content(|out| {
        let mut out = BufWriter::with_capacity(BUFFER_OCTETS, out);
        letter.write(&mut out)?;
        out.flush()
    })?;
    if reply.code != 250 {
        return Err(relay.refused(&reply, END));
    }
    Ok(())
}

/// RFC 5321 §4.5.3.1.10 has 452 for it; RFC 3463 §3.6 the status.
fn is_one_too_many(reply: &Reply) -> bool {
    reply.code == 452 && reply.status().is_none_or(|status| status == EnhancedStatus::new(4, 5, 3))
}

impl Outcome {
    /// What is to be complained of, with those who could not be read as addresses; nothing where all have the message.
    pub(super) fn complaint(self, unreadable: &[String]) -> Option<Complaint> {
        let mut lines = Vec::new();
        let mut code = None;
        if let Some((left, complaint)) = &self.stopped {
            code = Some(complaint.code);
            lines.push(complaint.text.clone());
            lines.push(format!("not sent to {}", some_of(left)));
        }
        if !self.refused.is_empty() || !unreadable.is_empty() {
            let later = unreadable.is_empty() && self.refused.iter().all(|(_, reply)| reply.is_transient());
            code = code.or(Some(if later { Code::Temporary } else { Code::NoUser }));
        }
        lines.extend(unreadable.iter().take(SHOWN).map(|text| format!("not sent to {text}: this is no address")));
        let refusal = |(path, reply): &(String, Reply)| format!("not sent to {path}: {}", harmless(&reply.to_string()));
        lines.extend(self.refused.iter().take(SHOWN).map(refusal));
        let more = self.refused.len().saturating_sub(SHOWN) + unreadable.len().saturating_sub(SHOWN);
        if more > 0 {
            lines.push(format!("not sent to {} more", counted(more as u64, "recipient")));
        }
        let code = code?;
        lines.push(match &self.taken[..] {
            [] => "nobody gets the message".into(),
            taken => format!("the message goes to {}: do not send it to them again", some_of(taken)),
        });
        Some(Complaint::new(code, lines.join("\n")))
    }
}

/// The first of them, and how many there are.
fn some_of(paths: &[String]) -> String {
    let shown = paths.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match paths.len() {
        0..=SHOWN => shown,
        all => format!("{shown} and {} more", all - SHOWN),
    }
}

/// For one message, as the relay has it where nobody set `max_recipients`.
const MOST_RECIPIENTS: usize = 1000;
/// A terminal has more lines, but readers no more patience.
const SHOWN: usize = 20;
const BUFFER_OCTETS: usize = 64 * 1024;

#[cfg(test)]
mod tests;
