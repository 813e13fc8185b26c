//! One connection: who may say what when, and what is answered.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::config::SandboxConfig;
use super::fault::{Effect, Fault, FaultRule, Step};
use super::keys::Keys;
use super::mailbox::Mailbox;
use super::profile::{ClearLogins, Extension, TlsMode};
use super::replies::{Ending, Wording, fill};
use super::transaction::Transaction;
use super::wire::{Leave, Wire};
use crate::smtp::EnhancedStatus;
use crate::time;

/// What all connections of a sandbox share.
pub(super) struct Server {
    pub(super) config: SandboxConfig,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) keys: Arc<Keys>,
    /// With the certificate that clients trust.
    pub(super) acceptor: TlsAcceptor,
    /// With a certificate that nobody trusts.
    pub(super) stranger: TlsAcceptor,
}

/// How far a client has come on a connection.
pub(super) enum Standing {
    /// No EHLO yet, or none since STARTTLS.
    New,
    /// EHLO was said; a login is wanted.
    Greeted,
    /// Mail is taken.
    Ready(Option<Transaction>),
}

/// What the fault, if there is one, did at a step.
pub(super) enum Struck {
    /// Nothing: go on.
    No,
    /// The refusal is said: the step is over.
    Refused,
    /// Something that the step itself knows how to do.
    Special(FaultRule),
}

pub(super) struct Connection {
    pub(super) server: Arc<Server>,
    pub(super) wire: Wire,
    pub(super) standing: Standing,
    pub(super) number: u64,
    /// Messages whose content was asked for.
    pub(super) messages: u32,
    errors: u32,
    starttls: StartTls,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StartTls {
    Offered,
    Absent,
}

/// Commands that make no sense; then the connection closes.
const ERRORS: u32 = 20;
/// RFC 5321 §4.5.3.1.5, less the line end.
const REPLY_OCTETS: usize = 510;

/// Serves a connection to its end.
pub(super) async fn serve(server: Arc<Server>, stream: TcpStream, number: u64) {
    let profile = &server.config.profile;
    // Replies are small and each is waited for.
    let _ = stream.set_nodelay(true);
    let wire = Wire::new(stream, profile.idle_timeout, profile.reply_delay);
    let starttls = if profile.tls == TlsMode::StartTls { StartTls::Offered } else { StartTls::Absent };
    let (standing, messages, errors) = (Standing::New, 0, 0);
    let connection = Connection { server: server.clone(), wire, standing, number, messages, errors, starttls };
    let leave = connection.run().await.err();
    tracing::debug!(event = "sandbox_closed", connection = number, reason = ?leave);
}

impl Connection {
    async fn run(mut self) -> Result<(), Leave> {
        self.strike(Step::Connect, |_| false)?;
        if self.server.config.profile.tls == TlsMode::Implicit {
            self = self.secured().await?;
        }
        let mut leave = match self.greet().await {
            Ok(()) => self.converse().await,
            Err(leave) => leave,
        };
        while let Leave::Secure = leave {
            self.wire.flush().await?;
            self = self.secured().await?;
            leave = self.converse().await;
        }
        match leave {
            Leave::Bye => {}
            Leave::Idle => self.reply(self.words().idle),
            Leave::Cut => {
                // What was answered before the cut, in a pipelined group, was answered.
                self.wire.flush().await?;
                return Err(leave);
            }
            Leave::Gone | Leave::Secure => return Err(leave),
        }
        self.wire.close().await;
        Ok(())
    }

    /// The same connection under TLS, with nothing remembered of what was said in clear (RFC 3207 §4.2).
    async fn secured(mut self) -> Result<Self, Leave> {
        let acceptor = match self.strike(Step::Tls, |_| false)? {
            Struck::Special(rule) if rule.fault == Fault::CutAtTls => {
                self.wire.fill().await?;
                return Err(Leave::Cut);
            }
            Struck::Special(_) => &self.server.stranger,
            Struck::No | Struck::Refused => &self.server.acceptor,
        };
        let wire = self.wire.secured(acceptor).await?;
        Ok(Self { wire, standing: Standing::New, starttls: StartTls::Absent, ..self })
    }

    async fn greet(&mut self) -> Result<(), Leave> {
        let date = time::header_date(time::wall_clock());
        let banner = fill(&self.filled(self.words().banner), &[("date", &date)]);
        match self.strike(Step::Greeting, |_| false)? {
            Struck::No => self.reply(&banner),
            Struck::Refused => return Err(Leave::Bye),
            Struck::Special(rule) if rule.fault == Fault::CutAtGreeting => {
                self.wire.send(&banner.as_bytes()[..banner.len() / 2]);
                self.wire.flush().await?;
                return Err(Leave::Cut);
            }
            Struck::Special(_) => {
                while self.wire.line().await?.is_some() {}
                return Err(Leave::Gone);
            }
        }
        Ok(())
    }

    async fn converse(&mut self) -> Leave {
        loop {
            let answered = match self.wire.line().await {
                Ok(Some(line)) => self.command(&line).await,
                Ok(None) => {
                    self.reply(self.words().line_too_long);
                    Err(Leave::Bye)
                }
                Err(leave) => Err(leave),
            };
            if let Err(leave) = answered {
                return leave;
            }
        }
    }

    async fn command(&mut self, line: &[u8]) -> Result<(), Leave> {
        let Ok(line) = std::str::from_utf8(line) else { return self.complain(self.words().unrecognized) };
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => self.hello(verb, argument),
            "STARTTLS" => self.starttls(),
            "AUTH" => self.auth(argument).await,
            "MAIL" => self.mail(argument),
            "RCPT" => self.rcpt(argument),
            "DATA" => self.data().await,
            "RSET" => {
                self.reset();
                self.say(self.words().reset)
            }
            "NOOP" => self.say(self.words().noop),
            "VRFY" => self.say(self.words().vrfy),
            "QUIT" => {
                self.reply(self.words().bye);
                Err(Leave::Bye)
            }
            _ => self.complain(self.words().unrecognized),
        }
    }

    fn hello(&mut self, verb: &str, name: &str) -> Result<(), Leave> {
        if name.trim().is_empty() {
            return self.complain(self.words().bad_hello);
        }
        match self.strike(Step::Ehlo, |_| false)? {
            Struck::Refused => return Ok(()),
            Struck::Special(_) => self.starttls = StartTls::Absent,
            Struck::No => {}
        }
        if self.wire.is_secure()
            && let Struck::Refused = self.strike(Step::SecureEhlo, |_| false)?
        {
            return Ok(());
        }
        self.reset();
        if let Standing::New = self.standing {
            let open = self.server.config.profile.mechanisms.is_empty();
            self.standing = if open { Standing::Ready(None) } else { Standing::Greeted };
        }
        let peer = self.wire.peer().map_or_else(|| "unknown".to_owned(), |peer| canonical(peer.ip()).to_string());
        let mut lines = vec![fill(&self.filled(self.words().hello), &[("peer", &peer)])];
        if verb.eq_ignore_ascii_case("EHLO") {
            lines.extend(self.extensions());
        }
        let last = lines.len() - 1;
        for (index, line) in lines.iter().enumerate() {
            self.reply(&format!("250{}{line}", if index == last { ' ' } else { '-' }));
        }
        Ok(())
    }

    /// The lines after the first in the answer to EHLO.
    fn extensions(&self) -> Vec<String> {
        let SandboxConfig { profile, caps, .. } = &self.server.config;
        let line = |extension: &Extension| match extension {
            Extension::Size => Some(format!("SIZE {}", caps.size)),
            Extension::Pipelining => Some("PIPELINING".to_owned()),
            Extension::Dsn => Some("DSN".to_owned()),
            Extension::EnhancedStatusCodes => Some("ENHANCEDSTATUSCODES".to_owned()),
            Extension::EightBitMime => Some("8BITMIME".to_owned()),
            Extension::SmtpUtf8 => Some("SMTPUTF8".to_owned()),
            Extension::StartTls => (self.starttls == StartTls::Offered).then(|| "STARTTLS".to_owned()),
            Extension::Auth => {
                let hidden = self.lacks_tls() && profile.clear_logins == ClearLogins::Hidden;
                let names: Vec<String> = profile.mechanisms.iter().map(ToString::to_string).collect();
                (!hidden && !names.is_empty()).then(|| format!("AUTH {}", names.join(" ")))
            }
            Extension::Named(name) => Some((*name).to_owned()),
        };
        profile.extensions.iter().filter_map(line).collect()
    }

    fn starttls(&mut self) -> Result<(), Leave> {
        if self.starttls == StartTls::Absent {
            return self.complain(self.words().unrecognized);
        }
        if let Standing::New = self.standing {
            return self.complain(self.words().hello_first);
        }
        match self.strike(Step::StartTls, |_| false)? {
            Struck::Refused => return Ok(()),
            Struck::No => self.reply(self.words().tls_ready),
            Struck::Special(_) => {
                self.reply(self.words().tls_ready);
                self.wire.send(b"250-injected.example\r\n250 AUTH LOGIN PLAIN\r\n");
            }
        }
        Err(Leave::Secure)
    }

    /// Whether TLS is wanted and not there.
    pub(super) fn lacks_tls(&self) -> bool {
        self.server.config.profile.tls == TlsMode::StartTls && !self.wire.is_secure()
    }

    pub(super) fn offers(&self, extension: Extension) -> bool {
        self.server.config.profile.extensions.contains(&extension)
    }

    /// Forgets the transaction.
    pub(super) fn reset(&mut self) {
        if let Standing::Ready(transaction) = &mut self.standing {
            *transaction = None;
        }
    }

    /// Lets the fault strike at `step`; `holds` tells whether what is known of the transaction holds a text.
    pub(super) fn strike(&mut self, step: Step, holds: impl FnOnce(&str) -> bool) -> Result<Struck, Leave> {
        self.strike_with(step, holds, &[])
    }

    /// The same at a step that knows more of the transaction: `values` stand in the refusal's text.
    pub(super) fn strike_with(
        &mut self,
        step: Step,
        holds: impl FnOnce(&str) -> bool,
        values: &[(&str, &str)],
    ) -> Result<Struck, Leave> {
        let Some(rule) = self.server.mailbox.strike(step, |_| true, holds) else { return Ok(Struck::No) };
        self.struck(rule, values)
    }

    pub(super) fn struck(&mut self, rule: FaultRule, values: &[(&str, &str)]) -> Result<Struck, Leave> {
        match rule.fault.effect() {
            Effect::Refuse(_, reply) => {
                self.reply(&fill(reply, values));
                if reply.starts_with("421") { Err(Leave::Bye) } else { Ok(Struck::Refused) }
            }
            Effect::Cut(_) => Err(Leave::Cut),
            Effect::Special(_) => Ok(Struck::Special(rule)),
            // The token endpoint's: no step of a connection asks for it.
            Effect::Deny(..) => Ok(Struck::No),
        }
    }

    /// What the service says by itself.
    pub(super) fn words(&self) -> &'static Wording {
        self.server.config.profile.service.wording()
    }

    /// The text with what every reply may name: host, user and mark.
    pub(super) fn filled(&self, text: &str) -> String {
        let SandboxConfig { profile, user, .. } = &self.server.config;
        fill(text, &[("host", &profile.host_name), ("user", user), ("mark", &self.mark())])
    }

    /// Replies, and that is all.
    pub(super) fn say(&mut self, line: &str) -> Result<(), Leave> {
        self.reply(line);
        Ok(())
    }

    /// Replies to a command that makes no sense; closes when there were too many of them.
    pub(super) fn complain(&mut self, line: &str) -> Result<(), Leave> {
        self.reply(line);
        self.errors += 1;
        if self.errors < ERRORS {
            return Ok(());
        }
        self.reply(self.words().too_many_errors);
        Err(Leave::Bye)
    }

    /// One line of a reply, with its code; what is refused gets the bracket with which smtp.office365.com ends it.
    pub(super) fn reply(&mut self, line: &str) {
        let line = self.filled(line);
        let (code, mut text) = line.split_at(line.len().min(4));
        if !self.offers(Extension::EnhancedStatusCodes) {
            text = EnhancedStatus::split(text).map_or(text, |(_, rest)| rest);
        }
        let host = &self.server.config.profile.host_name;
        let refusal = matches!(code.as_bytes().first(), Some(b'4' | b'5'));
        let bracket = match self.words().ending {
            Ending::Exchange if refusal && (text.contains("STOREDRV") || code == "432 ") => {
                format!(" [Hostname={host}]")
            }
            Ending::Exchange if refusal => format!(" [{host} {} {}]", time::wall_clock(), self.mark()),
            Ending::Exchange | Ending::Bare => String::new(),
        };
        let room = REPLY_OCTETS.saturating_sub(code.len() + bracket.len());
        let text: String =
            text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(room).collect();
        tracing::debug!(event = "sandbox_reply", connection = self.number, reply = %format_args!("{code}{text}"));
        self.wire.send(format!("{code}{text}{bracket}\r\n").as_bytes());
    }

    /// Sixteen digits that tell this moment of this connection.
    pub(super) fn mark(&self) -> String {
        format!("{:016X}", self.server.mailbox.now().as_micros().cast_unsigned().rotate_left(8) ^ self.number)
    }
}

/// An IPv4 address as itself, even when it came in over an IPv6 socket.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
