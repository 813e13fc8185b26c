//! A session with an account's smarthost: log in once, then one transaction after the other. Called by the workers, who
//! decide how long a session lives; reads no meaning into replies.

use secrecy::ExposeSecret as _;

use super::connect::{self, Stream};
use super::credentials::{Credentials, error_challenge};
pub use super::extensions::Extensions;
use super::lettre::{CLOSING, Connection, Parameter, mail, rcpt};
pub use super::opening::OPENINGS;
use super::opening::Opening;
pub use super::timeouts::Timeouts;
use super::trouble::{local, protocol};
use super::witness::{Sight, Unwatched, Witness};
use crate::config::{AccountConfig, SmtpEndpoint};
use crate::provider::Mechanism;
use crate::schedule::attempt::{End, Obstacle, RcptResult, Step, Transcript, Trouble};
use crate::smtp::{Envelope, Reply, ReversePath};
use crate::tokens::{Hidden, Logins};

/// A connection to a smarthost that is encrypted as configured and logged in.
#[derive(Debug)]
pub struct Upstream {
    connection: Connection,
    extensions: Extensions,
    peer: String,
    timeouts: Timeouts,
    reusable: bool,
}

/// What a message asks of a smarthost. Whoever sends it has looked at [`Upstream::extensions`]: what is not offered is
/// not asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BodyKind {
    /// The body holds octets above 127 (RFC 6152).
    pub eight_bit: bool,
    /// An address of the envelope or a header field is not ASCII (RFC 6531).
    pub smtp_utf8: bool,
}

impl Upstream {
    /// Connects, encrypts and logs in, by the account's other method where the first one does not open it. Each
    /// connection takes at most [`Timeouts::opening`]; there are at most [`OPENINGS`]. Dropping the future closes it.
    ///
    /// # Errors
    /// The refusing reply, or the trouble, of the first step that failed; where two methods failed, that of the method
    /// that a person has to mend.
    pub async fn open(
        account: &AccountConfig,
        endpoint: &SmtpEndpoint,
        logins: &Logins,
        timeouts: &Timeouts,
    ) -> Result<Self, Obstacle> {
        Opening { account, endpoint, logins, timeouts, witness: &Unwatched }.open().await
    }

    /// Begins a transaction and resets it: whether the host lets this sender in, without a message.
    ///
    /// # Errors
    /// The refusing reply, or the trouble, of MAIL or RSET.
    pub(super) async fn try_sender(&mut self, sender: &ReversePath) -> Result<Reply, Obstacle> {
        self.reusable = false;
        let command = mail(sender, &[]);
        let reply = self.connection.command(&command, Step::Mail, self.timeouts.mail).await;
        let reply = expect(2, Step::Mail, reply.map_err(Obstacle::Trouble)?, &self.peer)?;
        let reset = self.connection.command("RSET\r\n", Step::Mail, self.timeouts.farewell).await;
        expect(2, Step::Mail, reset.map_err(Obstacle::Trouble)?, &self.peer)?;
        self.reusable = self.connection.is_sound();
        Ok(reply)
    }

    /// What the smarthost offers.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether another transaction may follow. Not after trouble, nor 421 (RFC 5321 §3.8), nor where replies were not
    /// in step with commands, nor when a transaction's future was dropped.
    pub fn is_reusable(&self) -> bool {
        self.reusable
    }

    /// Sends a message to the recipients of the envelope; takes at most [`Timeouts::transaction`]. The content's lines
    /// end with CRLF and it holds no other CR or LF; without a final CRLF it gets one.
    pub async fn transact(&mut self, envelope: &Envelope, content: &[u8], body: BodyKind) -> Transcript {
        let mut recipients = vec![RcptResult::NotAsked; envelope.recipients.len()];
        if recipients.is_empty() {
            return Transcript { recipients, end: End::NoRecipient };
        }
        self.reusable = false;
        let end = match self.deliver(envelope, content, body, &mut recipients).await {
            Ok(end) => end,
            Err(obstacle) => End::Stopped(obstacle),
        };
        self.reusable = self.is_fit_after(&end).await;
        Transcript { recipients, end }
    }

    /// Says QUIT, if the connection is fit for it, waits briefly for the reply, and closes.
    pub async fn quit(mut self) {
        if self.reusable {
            // The mail is delivered; nothing depends on the reply.
            let _ = self.connection.command("QUIT\r\n", Step::Connect, self.timeouts.farewell).await;
        }
    }

    pub(super) async fn connect(
        endpoint: &SmtpEndpoint,
        credentials: Option<Credentials>,
        timeouts: &Timeouts,
        witness: &dyn Witness,
    ) -> Result<Self, Obstacle> {
        let peer = connect::peer_name(endpoint);
        let stream = connect::dial(endpoint, &peer, timeouts, witness).await.map_err(Obstacle::Trouble)?;
        Self::over(stream, endpoint, credentials, peer, timeouts, witness).await
    }

    async fn over(
        stream: impl Stream,
        endpoint: &SmtpEndpoint,
        credentials: Option<Credentials>,
        peer: String,
        timeouts: &Timeouts,
        witness: &dyn Witness,
    ) -> Result<Self, Obstacle> {
        let (connection, extensions) = connect::secure(stream, endpoint, &peer, timeouts, witness).await?;
        let mut upstream = Self { connection, extensions, peer, timeouts: timeouts.clone(), reusable: true };
        if let Some(credentials) = credentials {
            upstream.log_in(&credentials, witness).await?;
        }
        Ok(upstream)
    }

    async fn log_in(&mut self, credentials: &Credentials, witness: &dyn Witness) -> Result<(), Obstacle> {
        let mechanism = credentials.choose(&self.extensions.auth).map_err(|wanted| {
            let offered = match self.extensions.auth.as_slice() {
                [] => "no login at all".to_owned(),
                mechanisms => format!("only {}", mechanisms.join(", ")),
            };
            Obstacle::Trouble(protocol(Step::Auth, format!("{} offers {offered}; {wanted}", self.peer)))
        })?;
        let lines = credentials.exchange(mechanism);
        let hidden = credentials.hidden(&lines);
        for (index, line) in lines.iter().enumerate() {
            let reply = self.say(line.expose_secret(), &hidden).await?;
            if index + 1 < lines.len() {
                expect(3, Step::Auth, reply, &self.peer)?;
            } else if mechanism == Mechanism::Xoauth2 && reply.code == CHALLENGE {
                self.take_error_challenge(&reply, &hidden).await?;
            } else {
                let reply = expect(2, Step::Auth, reply, &self.peer)?;
                witness.saw(Sight::LoggedIn(mechanism, &reply));
            }
        }
        Ok(())
    }

    /// A line of a login, and its reply without what is secret.
    async fn say(&mut self, line: &str, hidden: &Hidden) -> Result<Reply, Obstacle> {
        let said = self.connection.command(&format!("{line}\r\n"), Step::Auth, self.timeouts.auth).await;
        let mut reply =
            said.map_err(|trouble| Obstacle::Trouble(Trouble { detail: hidden.out_of(&trouble.detail), ..trouble }))?;
        reply.lines.iter_mut().for_each(|text| *text = hidden.out_of(text));
        Ok(reply)
    }

    /// A token was answered by a challenge: that is how some say why they refuse it. They want an empty line before they
    /// refuse.
    async fn take_error_challenge(&mut self, challenge: &Reply, hidden: &Hidden) -> Result<(), Obstacle> {
        let reason = challenge.lines.first().and_then(|line| error_challenge(line));
        let mut reply = self.say("", hidden).await?;
        if let Some(reason) = reason {
            reply.lines.push(format!("(the reason: {})", hidden.out_of(&reason)));
        }
        expect(2, Step::Auth, reply, &self.peer).map(drop)
    }

    /// The transaction; what it learns of recipients before an obstacle stands in `recipients`.
    async fn deliver(
        &mut self,
        envelope: &Envelope,
        content: &[u8],
        body: BodyKind,
        recipients: &mut [RcptResult],
    ) -> Result<End, Obstacle> {
        if let Some(line) = bare_line_end(content) {
            let detail =
                format!("line {line} of the message ends with a bare CR or LF, which could smuggle in another message");
            return Err(Obstacle::Trouble(local(Step::Content, detail)));
        }
        self.offer(envelope, &self.parameters(content, body), recipients).await?;
        if !recipients.contains(&RcptResult::Accepted) {
            return Ok(End::NoRecipient);
        }
        // Not together with RCPT: where all are refused and DATA is not, an empty message would go out (RFC 2920 §3.1).
        let data =
            self.connection.command("DATA\r\n", Step::Data, self.timeouts.data).await.map_err(Obstacle::Trouble)?;
        expect(3, Step::Data, data, &self.peer)?;
        self.connection.content(content, &self.timeouts).await.map(End::Accepted)
    }

    fn parameters(&self, content: &[u8], body: BodyKind) -> Vec<Parameter> {
        let offered = &self.extensions;
        let mut parameters = Vec::new();
        if offered.size.is_some() {
            parameters.push(Parameter::Size(content.len()));
        }
        if body.eight_bit && offered.eight_bit_mime {
            parameters.push(Parameter::EightBitMime);
        }
        if body.smtp_utf8 && offered.smtp_utf8 {
            parameters.push(Parameter::SmtpUtf8);
        }
        parameters
    }

    /// MAIL and RCPT, in groups where the smarthost takes them so, else one by one.
    async fn offer(
        &mut self,
        envelope: &Envelope,
        parameters: &[Parameter],
        recipients: &mut [RcptResult],
    ) -> Result<(), Obstacle> {
        let mut commands = vec![mail(&envelope.reverse_path, parameters)];
        commands.extend(envelope.recipients.iter().map(rcpt));
        let group = if self.extensions.pipelining { OUTSTANDING } else { 1 };
        let mut next = 0;
        for group in commands.chunks(group) {
            let mut refused = None;
            for position in 0..group.len() {
                let (step, limit) =
                    if next == 0 { (Step::Mail, self.timeouts.mail) } else { (Step::Rcpt, self.timeouts.rcpt) };
                let reply = match position {
                    0 => self.connection.command(&group.concat(), step, limit).await,
                    _ => self.connection.next_reply(step, limit).await,
                };
                match reply {
                    // MAIL was refused: what the recipients behind it hear (503) is not about them.
                    Ok(_) if refused.is_some() => {}
                    Err(_) if refused.is_some() => break,
                    Err(trouble) => return Err(Obstacle::Trouble(trouble)),
                    // The smarthost closes; it says so of itself, not of a recipient.
                    Ok(reply) if reply.code == CLOSING => return Err(Obstacle::Refused { step, reply }),
                    Ok(reply) if next == 0 => refused = expect(2, step, reply, &self.peer).err(),
                    Ok(reply) => recipients[next - 1] = of_recipient(reply, &self.peer)?,
                }
                next += 1;
            }
            if let Some(obstacle) = refused {
                return Err(obstacle);
            }
        }
        Ok(())
    }

    /// Whether the connection can carry another transaction, after RSET where this one is still open.
    async fn is_fit_after(&mut self, end: &End) -> bool {
        match end {
            End::Stopped(Obstacle::Refused { step: Step::Content, .. } | Obstacle::Trouble(_)) => false,
            End::NoRecipient | End::Stopped(Obstacle::Refused { step: Step::Data, .. })
                if self.connection.is_sound() =>
            {
                let reset = self.connection.command("RSET\r\n", Step::Mail, self.timeouts.farewell).await;
                matches!(reset, Ok(reply) if reply.code / 100 == 2) && self.connection.is_sound()
            }
            _ => self.connection.is_sound(),
        }
    }
}

/// A challenge, to which the client answers (RFC 4954 §4).
const CHALLENGE: u16 = 334;

/// So many commands go out before their replies are read. The replies (512 octets each at most) fit our receive buffer,
/// so that the peer can always write and thus goes on reading (RFC 2920 §3.1).
const OUTSTANDING: usize = 100;

fn of_recipient(reply: Reply, peer: &str) -> Result<RcptResult, Obstacle> {
    match expect(2, Step::Rcpt, reply, peer) {
        Ok(_) => Ok(RcptResult::Accepted),
        Err(Obstacle::Refused { reply, .. }) => Ok(RcptResult::Refused(reply)),
        Err(trouble) => Err(trouble),
    }
}

/// The reply, if it is of the wanted class; a positive reply of another class is out of step.
fn expect(class: u16, step: Step, reply: Reply, peer: &str) -> Result<Reply, Obstacle> {
    if reply.code / 100 == class {
        Ok(reply)
    } else if reply.is_positive() {
        let detail = format!("{peer} answered {step} out of step: {reply}");
        Err(Obstacle::Trouble(protocol(step, detail)))
    } else {
        Err(Obstacle::Refused { step, reply })
    }
}

/// The number of the first line with a CR or LF that is not part of a CRLF.
fn bare_line_end(content: &[u8]) -> Option<usize> {
    let mut lines = 1;
    let mut before = 0;
    for octet in content.iter().chain(b"\r") {
        match (before, *octet) {
            (b'\r', b'\n') => lines += 1,
            (b'\r', _) | (_, b'\n') => return Some(lines),
            _ => {}
        }
        before = *octet;
    }
    None
}

#[cfg(test)]
mod tests;
