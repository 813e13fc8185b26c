//! One connection: who may say what when, and what is answered.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::config::{Extension, SandboxConfig, TlsMode};
use super::fault::{Effect, Fault, FaultRule, Step};
use super::mailbox::Mailbox;
use super::replies;
use super::transaction::Transaction;
use super::wire::{Leave, Wire};
use crate::smtp::EnhancedStatus;
use crate::time;

/// What all connections of a sandbox share.
pub(super) struct Server {
    pub(super) config: SandboxConfig,
    pub(super) mailbox: Arc<Mailbox>,
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
            Leave::Idle => self.reply(replies::IDLE),
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
        let host = &self.server.config.profile.host_name;
        let date = time::header_date(time::wall_clock());
        let banner = format!("220 {host} Microsoft ESMTP MAIL Service ready at {date} [{}]", self.mark());
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
                    self.reply("500 5.5.2 Line too long");
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
        let Ok(line) = std::str::from_utf8(line) else { return self.complain("500 5.3.3 Unrecognized command") };
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
                self.say("250 2.0.0 Resetting")
            }
            "NOOP" => self.say("250 2.0.0 OK"),
            "VRFY" => self.say("252 2.1.5 Cannot VRFY user"),
            "QUIT" => {
                self.reply("221 2.0.0 Service closing transmission channel");
                Err(Leave::Bye)
            }
            _ => self.complain("500 5.3.3 Unrecognized command"),
        }
    }

    fn hello(&mut self, verb: &str, name: &str) -> Result<(), Leave> {
        if name.trim().is_empty() {
            return self.complain("501 5.5.4 Invalid domain name");
        }
        match self.strike(Step::Ehlo, |_| false)? {
            Struck::Refused => return Ok(()),
            Struck::Special(_) => self.starttls = StartTls::Absent,
            Struck::No => {}
        }
        self.reset();
        if let Standing::New = self.standing {
            let open = self.server.config.profile.mechanisms.is_empty();
            self.standing = if open { Standing::Ready(None) } else { Standing::Greeted };
        }
        let peer = self.wire.peer().map_or_else(|| "unknown".to_owned(), |peer| canonical(peer.ip()).to_string());
        let mut lines = vec![format!("{} Hello [{peer}]", self.server.config.profile.host_name)];
        if verb.eq_ignore_ascii_case("EHLO") {
            lines.extend(self.extensions());
        }
        let last = lines.len() - 1;
        for (index, line) in lines.iter().enumerate() {
            self.reply(&format!("250{}{line}", if index == last { ' ' } else { '-' }));
        }
        Ok(())
    }

    /// The lines after the first in the answer to EHLO, in the order of smtp.office365.com.
    fn extensions(&self) -> Vec<String> {
        let SandboxConfig { profile, caps, .. } = &self.server.config;
        let mut lines: Vec<String> = Vec::new();
        for extension in &profile.extensions {
            lines.push(match extension {
                Extension::Size => format!("SIZE {}", caps.size),
                Extension::Pipelining => "PIPELINING".to_owned(),
                Extension::Dsn => "DSN".to_owned(),
                Extension::EnhancedStatusCodes => "ENHANCEDSTATUSCODES".to_owned(),
                Extension::EightBitMime => "8BITMIME".to_owned(),
                Extension::SmtpUtf8 => "SMTPUTF8".to_owned(),
            });
        }
        let security = if self.starttls == StartTls::Offered {
            Some("STARTTLS".to_owned())
        } else if self.lacks_tls() || profile.mechanisms.is_empty() {
            None
        } else {
            let names: Vec<String> = profile.mechanisms.iter().map(ToString::to_string).collect();
            Some(format!("AUTH {}", names.join(" ")))
        };
        // Where the real server has it: after ENHANCEDSTATUSCODES.
        let place = lines.iter().position(|line| line == "ENHANCEDSTATUSCODES").map_or(lines.len(), |at| at + 1);
        lines.splice(place..place, security);
        lines
    }

    fn starttls(&mut self) -> Result<(), Leave> {
        if self.starttls == StartTls::Absent {
            return self.complain("500 5.3.3 Unrecognized command");
        }
        if let Standing::New = self.standing {
            return self.complain(replies::HELLO_FIRST);
        }
        match self.strike(Step::StartTls, |_| false)? {
            Struck::Refused => return Ok(()),
            Struck::No => self.reply(replies::TLS_READY),
            Struck::Special(_) => {
                self.reply(replies::TLS_READY);
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
        let Some(rule) = self.server.mailbox.strike(step, |_| true, holds) else { return Ok(Struck::No) };
        self.struck(rule)
    }

    pub(super) fn struck(&mut self, rule: FaultRule) -> Result<Struck, Leave> {
        match rule.fault.effect() {
            Effect::Refuse(_, reply) => {
                self.reply(reply);
                if reply.starts_with("421") { Err(Leave::Bye) } else { Ok(Struck::Refused) }
            }
            Effect::Cut(_) => Err(Leave::Cut),
            Effect::Special(_) => Ok(Struck::Special(rule)),
        }
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
        self.reply(replies::TOO_MANY_ERRORS);
        Err(Leave::Bye)
    }

    /// One line of a reply, with its code; what is refused gets the bracket that smtp.office365.com ends it with.
    pub(super) fn reply(&mut self, line: &str) {
        let (code, mut text) = line.split_at(line.len().min(4));
        if !self.offers(Extension::EnhancedStatusCodes) {
            text = EnhancedStatus::split(text).map_or(text, |(_, rest)| rest);
        }
        let host = &self.server.config.profile.host_name;
        let bracket = match code.as_bytes().first() {
            Some(b'4' | b'5') if text.contains("STOREDRV") || code == "432 " => format!(" [Hostname={host}]"),
            Some(b'4' | b'5') => format!(" [{host} {} {}]", time::wall_clock(), self.mark()),
            _ => String::new(),
        };
        let room = REPLY_OCTETS.saturating_sub(code.len() + bracket.len());
        let text: String =
            text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).take(room).collect();
        tracing::debug!(event = "sandbox_reply", connection = self.number, reply = %format_args!("{code}{text}"));
        self.wire.send(format!("{code}{text}{bracket}\r\n").as_bytes());
    }

    /// Sixteen digits that tell this moment of this connection.
    fn mark(&self) -> String {
        format!("{:016X}", self.server.mailbox.now().as_micros().cast_unsigned().rotate_left(8) ^ self.number)
    }
}

/// An IPv4 address as itself, even when it came in over an IPv6 socket.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}
