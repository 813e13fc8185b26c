//! A stand-in for smtp.office365.com on loopback: for the first try of the relay, for rehearsals, and for tests.
//!
//! **It plays** the submission service as a relay meets it, by the provider's words: the banner, EHLO before and after
//! STARTTLS, AUTH LOGIN and XOAUTH2, the caps (30 messages a minute, 3 at a time, 10,000 recipients a day, 500 in a
//! message, the size), SendAsDenied, and every refusal that speaks of the account, the tenant or a quota rather than of
//! the message ([`Fault`]). Its certificate is from an authority of its own, whose `ca.pem` the relay is told to trust.
//! What it accepts lies as one `.eml` file each in a directory, octet for octet as it came, and is recorded in memory
//! with the time at which it came. Another [`Profile`] makes it another smarthost.
//!
//! Two things of it are always so: a mailbox whose local part begins with `unknown` does not exist (550 5.1.10), and a
//! cap is judged by the moment at which the end of data was read, in exact sliding windows.
//!
//! **It does not play** what happens after the final reply (no report comes back, nothing goes to Sent Items), CHUNKING
//! and BINARYMIME, which the real one offers, TLS before 1.2, the double counting of recipients that some report, the
//! gentler form of the message cap (mail delayed rather than refused), nor a real mailbox: it has one user.
//!
//! It decides nothing for the relay and shares no rule with it: what both know of SMTP they know apart, so that a
//! mistake of one is not covered by the other. Called by the commands `quickstart` and `sandbox` and by the tests.

mod authority;
mod config;
mod connection;
mod fault;
mod header;
mod login;
mod mailbox;
mod replies;
mod transaction;
mod wire;

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

pub use authority::Authority;
pub use config::{
    BareLinefeed, Caps, Excess, Extension, KeepContent, Limit, Mechanism, Profile, SandboxConfig, Senders, TlsMode,
};
pub use fault::{Fault, FaultRule, NotAFault};
pub use mailbox::{Counters, Delivery, digest};

use connection::Server;
use mailbox::Mailbox;

use crate::time::Timestamp;

/// A running sandbox. It stops when it is dropped.
pub struct Sandbox {
    address: SocketAddr,
    authority: Authority,
    mailbox: Arc<Mailbox>,
    /// Dropped to stop the listener.
    stop: Option<oneshot::Sender<()>>,
    listener: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Listens and serves, on the current tokio runtime. Errors where the address is taken, or a directory cannot be
    /// read or written.
    pub async fn start(config: SandboxConfig) -> io::Result<Self> {
        let authority = match &config.authority {
            Some(directory) => Authority::open(directory)?,
            None => Authority::in_memory()?,
        };
        let mailbox = Arc::new(Mailbox::new(config.caps.clone(), config.mail.clone(), config.fault.clone())?);
        let stranger = Authority::in_memory()?.acceptor()?;
        // Tokio sets SO_REUSEADDR, so the port of a sandbox that has just stopped is free.
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", config.listen)))?;
        let address = listener.local_addr()?;
        let server = Arc::new(Server { config, mailbox: mailbox.clone(), acceptor: authority.acceptor()?, stranger });
        let (stop, stopped) = oneshot::channel();
        let listener = Some(tokio::spawn(listen(listener, server, stopped)));
        tracing::debug!(event = "sandbox_started", %address);
        Ok(Self { address, authority, mailbox, stop: Some(stop), listener })
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

    /// Closes the port and every connection, and returns when both are done.
    pub async fn stop(mut self) {
        self.stop = None;
        if let Some(listener) = self.listener.take() {
            // A panic of the listener has been reported by tokio.
            let _ = listener.await;
        }
    }
}

/// Accepts until `stopped`; then closes the port and every connection.
async fn listen(listener: TcpListener, server: Arc<Server>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => break,
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
            connections.spawn(turn_away(stream));
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

async fn turn_away(mut stream: TcpStream) {
    let reply = format!("{}\r\n", replies::TOO_MANY_CONNECTIONS);
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
