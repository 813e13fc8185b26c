//! A stand-in for a provider on loopback: for the first try of the relay, for rehearsals, and for tests.
//!
//! **It plays** smtp.office365.com as a relay meets it, by the provider's words: the banner, EHLO before and after
//! STARTTLS, AUTH LOGIN and XOAUTH2, the caps (30 messages a minute, 3 at a time, 10,000 recipients a day, 500 in a
//! message, the size) and SendAsDenied. Another [`Profile`] makes it Amazon SES, Mailjet or Gmail, by transcripts of
//! their dialogues, or any other smarthost. On demand it has a [`Fault`]: every refusal that providers are known for, by
//! name, silence, delays, and cuts at each step. Beside it an identity provider gives out the tokens for XOAUTH2, for
//! client credentials, refresh tokens and device codes, and denies them in Microsoft's words. The certificate is from an
//! authority of its own, whose `ca.pem` the relay is told to trust. What is accepted lies as one `.eml` file each in a
//! directory, octet for octet as it came, and is recorded in memory with the time at which it came.
//!
//! Three things are always so: a mailbox whose local part begins with `unknown` does not exist, a cap is judged by the
//! moment at which the end of data was read, in exact sliding windows, and what EHLO names only because the real server
//! does (CHUNKING, BINARYMIME, VRFY, ETRN, CRAM-MD5, DIGEST-MD5) is refused when it is used.
//!
//! **It does not play** what happens after the final reply (no report comes back, nothing goes to Sent Items, SES puts no
//! Message-ID of its own into the file), TLS before 1.2, the double counting of recipients that some report, the
//! gentler form of the message cap (mail delayed rather than refused), signing in at the identity provider, nor a real
//! mailbox: it has one user.
//!
//! It decides nothing for the relay and shares no rule with it: what both know of SMTP and OAuth they know apart, so that a
//! mistake of one is not covered by the other. Called by the commands `quickstart` and `sandbox` and by the tests.

mod authority;
mod config;
mod connection;
mod fault;
mod header;
mod keys;
mod login;
mod mailbox;
mod profile;
mod random;
mod replies;
mod tokens;
mod transaction;
mod wire;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use authority::Authority;
pub use config::{Caps, Excess, KeepContent, Limit, SandboxConfig, Senders, TokenConfig, UsedTokens};
pub use fault::{Fault, FaultRule, NotAFault, Topic};
pub use mailbox::{Counters, Delivery, digest};
pub use profile::{
    BareLinefeed, ClearLogins, Extension, Mechanism, NotAService, Profile, RepeatedFields, Service, TlsMode,
};

use connection::Server;
use keys::Keys;
use mailbox::Mailbox;
use replies::fill;
use tokens::Issuer;

use crate::time::Timestamp;

/// A running sandbox. It stops when it is dropped.
pub struct Sandbox {
    address: SocketAddr,
    authority: Authority,
    mailbox: Arc<Mailbox>,
    keys: Arc<Keys>,
    issuer: Arc<Issuer>,
    /// Dropped to stop the listeners.
    stop: Option<watch::Sender<()>>,
    listeners: Vec<JoinHandle<()>>,
}

impl Sandbox {
    /// Listens and serves, on the current tokio runtime. Errors where an address is taken, or a directory cannot be
    /// read or written, or the certificate of the application is none.
    pub async fn start(config: SandboxConfig) -> io::Result<Self> {
        let authority = match &config.authority {
            Some(directory) => Authority::open(directory)?,
            None => Authority::in_memory()?,
        };
        let mailbox = Arc::new(Mailbox::new(&config.caps, config.mail.clone(), config.fault.clone())?);
        let keys = Arc::new(Keys::new(&config));
        let stranger = Authority::in_memory()?.acceptor()?;
        let (listener, address) = bind(config.listen).await?;
        let (token_listener, token_address) = bind(config.tokens.listen).await?;
        let issuer = Arc::new(Issuer::new(&config, mailbox.clone(), keys.clone(), token_address)?);
        let acceptor = authority.acceptor()?;
        let server = Arc::new(Server { config, mailbox: mailbox.clone(), keys: keys.clone(), acceptor, stranger });
        let (stop, stopped) = watch::channel(());
        let listeners = vec![
            tokio::spawn(listen(listener, server, stopped.clone())),
            tokio::spawn(tokens::listen(token_listener, issuer.clone(), stopped)),
        ];
        tracing::debug!(event = "sandbox_started", %address, %token_address);
        Ok(Self { address, authority, mailbox, keys, issuer, stop: Some(stop), listeners })
    }

    /// The address that it listens on, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the certificate to trust; none where the authority lives in memory.
    pub fn ca_file(&self) -> Option<&Path> {
        self.authority.ca_file()
    }

    /// The certificate to trust, in PEM.
    pub fn ca_pem(&self) -> &str {
        self.authority.ca_pem()
    }

    /// What is stored, in the order in which it came.
    pub fn deliveries(&self) -> Vec<Arc<Delivery>> {
        self.mailbox.deliveries()
    }

    /// When each message came that counts towards the cap on messages, in order.
    pub fn arrivals(&self) -> Vec<Timestamp> {
        self.mailbox.arrivals()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        *self.mailbox.counters().borrow()
    }

    /// Waits until so many messages are stored, and returns them all. Has no time limit of its own.
    pub async fn wait_for(&self, deliveries: usize) -> Vec<Arc<Delivery>> {
        self.wait_until(|counters| counters.deliveries >= deliveries).await;
        self.deliveries()
    }

    /// Waits until the counters are as wanted, and returns them. Has no time limit of its own.
    pub async fn wait_until(&self, wanted: impl FnMut(&Counters) -> bool) -> Counters {
        let mut counters = self.mailbox.counters();
        let seen = counters.wait_for(wanted).await.map(|counters| *counters);
        // The sender lives as long as the mailbox, which this holds.
        seen.unwrap_or_else(|_| self.counters())
    }

    /// Has this fault from now on, or none.
    pub fn set_fault(&self, rule: Option<FaultRule>) {
        self.mailbox.set_fault(rule);
    }

    /// The fault it has, with the times that remain; none where there is none, or it is over.
    pub fn fault(&self) -> Option<FaultRule> {
        self.mailbox.fault()
    }

    /// Where tokens for the mailbox are asked for.
    pub fn token_url(&self) -> String {
        self.issuer.token_url()
    }

    /// Where device codes are asked for.
    pub fn device_url(&self) -> String {
        self.issuer.device_url()
    }

    /// Approves a device code by its user code, as a person would on the page; whether there was one to approve.
    pub fn approve(&self, user_code: &str) -> bool {
        self.issuer.approve(user_code)
    }

    /// A refresh token of the mailbox's user, as an earlier login would have left it.
    pub fn issue_refresh_token(&self) -> SecretString {
        self.keys.issue_refresh().into()
    }

    /// Ends every token that was issued, those for refreshing included.
    pub fn revoke_tokens(&self) {
        self.keys.revoke();
    }

    /// Has another password from now on.
    pub fn set_password(&self, password: SecretString) {
        self.keys.set_password(password);
    }

    /// Closes the ports and every connection, and returns when both are done.
    pub async fn stop(mut self) {
        self.stop = None;
        for listener in self.listeners.drain(..) {
            // A panic of the listener has been reported by tokio.
            let _ = listener.await;
        }
    }
}

/// Tokio sets SO_REUSEADDR, so the port of a sandbox that has just stopped is free.
async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(named)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

/// Accepts until `stopped`; then closes the port and every connection.
async fn listen(listener: TcpListener, server: Arc<Server>, mut stopped: watch::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let stream = tokio::select! {
            // Only the end of the sender ever comes.
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Most likely out of file descriptors: give the open connections time to end.
                    tracing::warn!(event = "sandbox_accept_failed", %error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        number += 1;
        if connections.len() >= server.config.profile.connections {
            let profile = &server.config.profile;
            let refusal = fill(profile.service.wording().too_many_connections, &[("host", &profile.host_name)]);
            connections.spawn(turn_away(stream, refusal));
            continue;
        }
        let open = Open::new(server.mailbox.clone());
        let server = server.clone();
        connections.spawn(async move {
            let _open = open;
            connection::serve(server, stream, number).await;
        });
    }
    drop(listener);
    connections.shutdown().await;
}

async fn turn_away(mut stream: TcpStream, refusal: String) {
    let reply = format!("{refusal}\r\n");
    // The client may have gone, which is as good.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.write_all(reply.as_bytes())).await;
}

/// A connection that counts as open until this is dropped.
struct Open(Arc<Mailbox>);

impl Open {
    fn new(mailbox: Arc<Mailbox>) -> Self {
        mailbox.count(|counters| {
            counters.connections += 1;
            counters.open_connections += 1;
            counters.most_connections = counters.most_connections.max(counters.open_connections);
        });
        Self(mailbox)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count(|counters| counters.open_connections -= 1);
    }
}
