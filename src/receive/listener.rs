//! Listens, and starts a task for each connection that is let in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::admission::{Admission, Rejection, Seat};
use super::bind::{self, BindError, Bound};
use super::commons::Commons;
use super::connection::{self, Opening, Peer, Services};
use super::inherited::Inherited;
use super::passwords;
use super::shutdown::Shutdown;
use super::stream::{HANDSHAKE_LIMIT, Socket, Stream};
use super::tls::{Acceptor, CertificateError, HandshakeFailed};
use crate::config::{ListenAddress, ListenerConfig, ServerTlsMode};
use crate::intake::Intake;
use crate::observe::Observer;
use crate::route::client::identify;
use crate::route::{Client, Origin};
use crate::session::{self, Policy, Refused, Step, Tls};
use crate::time::Clock;

/// How long accepting rests after an error; the usual one is that files have run out, and that passes.
const REST: Duration = Duration::from_millis(200);

/// How long sessions may take to say goodbye behind the grace.
const PARTING: Duration = Duration::from_secs(5);

/// What a listener goes by. Each connection takes those of its beginning.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its own table. The addresses are bound already, so changing them changes nothing.
    pub listener: ListenerConfig,
    /// All clients.
    pub clients: Vec<Client>,
    /// What it shows of itself where clients want TLS, as its files were when they were read.
    tls: Option<Acceptor>,
}

impl Settings {
    /// Reads what the listener's table names: certificate and key. Blocking, brief.
    ///
    /// # Errors
    /// Where they cannot be used.
    pub fn read(listener: ListenerConfig, clients: Vec<Client>) -> Result<Self, CertificateError> {
        let tls = listener.tls.as_ref().map(Acceptor::read).transpose()?;
        Ok(Self { listener, clients, tls })
    }

    fn begins_with_tls(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.mode() == ServerTlsMode::Implicit)
    }
}

/// A listener whose addresses are bound; connections to it wait until it serves.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<Bound>,
}

/// What the tasks of a listener share.
struct Shared {
    settings: watch::Receiver<Arc<Settings>>,
    admission: Arc<Admission>,
    intake: Arc<Intake>,
    observer: Arc<Observer>,
    clock: Arc<dyn Clock>,
    commons: Arc<Commons>,
}

impl Listener {
    /// Binds all addresses, in a tokio runtime. Port 0 takes any free one; the files of Unix sockets get the permissions
    /// `mode`. A socket that was handed over is served beside whoever else has a copy of it.
    ///
    /// # Errors
    /// The first address that cannot be had; then none is bound.
    pub fn bind(addresses: &[ListenAddress], mode: u32, inherited: &Inherited) -> Result<Self, BindError> {
        Ok(Self { sockets: bind::bind(addresses, mode, inherited)? })
    }

    /// Where it listens, with the ports that were taken; sockets that were handed over by their own addresses.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.sockets.iter().map(Bound::address).collect()
    }

    /// The TCP addresses among them.
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.addresses().iter().filter_map(ListenAddress::tcp).collect()
    }

    /// Serves clients until the sign to stop; returns when the last session has ended.
    pub async fn serve(
        self,
        settings: watch::Receiver<Arc<Settings>>,
        intake: Arc<Intake>,
        observer: Arc<Observer>,
        clock: Arc<dyn Clock>,
        commons: Arc<Commons>,
        shutdown: Shutdown,
    ) {
        let shared = Arc::new(Shared { settings, admission: Admission::new(), intake, observer, clock, commons });
        let mut sockets = JoinSet::new();
        for socket in self.sockets {
            sockets.spawn(accept(socket, shared.clone(), shutdown.clone()));
        }
        sockets.join_all().await;
    }
}

async fn accept(socket: Bound, shared: Arc<Shared>, mut shutdown: Shutdown) {
    let mut settings = shared.settings.clone();
    let mut connections = JoinSet::new();
    // Only the first of several errors in a row is logged.
    let mut failing = false;
    let grace = loop {
        let accepted = tokio::select! {
            grace = shutdown.requested() => break grace,
            accepted = async {
                shared.admission.room(&mut settings).await;
                socket.accept().await
            } => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, origin)) => {
                failing = false;
                let seat = shared.admission.sit();
                connections.spawn(serve(stream, origin, seat, shared.clone(), shutdown.clone()));
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    shared.observer.cannot_accept(&socket.address(), &error);
                }
                tokio::time::sleep(REST).await;
            }
        }
    };
    drop(socket);
    let ended = async { while connections.join_next().await.is_some() {} };
    // Sessions end themselves when the grace is over; who does not even read its last reply is not waited for.
    let _ = tokio::time::timeout(grace.saturating_add(PARTING), ended).await;
}

async fn serve(socket: Socket, origin: Origin, seat: Seat, shared: Arc<Shared>, mut shutdown: Shutdown) {
    let settings = shared.settings.borrow().clone();
    let user = match origin {
        Origin::Local(user) => shared.commons.names.of(user).await,
        Origin::Ip(_) => None,
    };
    let client = identify(origin, user.as_deref(), &settings.clients);
    let policy = policy(&settings.listener, &client, origin);
    let peer = Peer { client, origin };
    // Who was taken before the stop and can be let in is not turned away for it.
    let admitted = tokio::select! {
        biased;
        admitted = shared.admission.admit(origin, &settings.listener) => admitted,
        _ = shutdown.requested() => Err(Rejection::Loud(session::shutting_down(&settings.listener.hostname))),
    };
    let _place = match admitted {
        Ok(place) => place,
        Err(rejection) => {
            // Who is not let in must not keep others out.
            drop(seat);
            return reject(socket, &peer, rejection, &settings, &shared).await;
        }
    };
    let opened = tokio::select! {
        biased;
        opened = open(socket, &settings, policy.timeout) => opened,
        () = connection::courtesy(&mut shutdown) => return,
    };
    let stream = match opened {
        Ok(Some(stream)) => stream,
        Ok(None) => return shared.observer.probe(&peer.client.name, origin),
        Err(failed) => return shared.observer.refused(&connection::refusal(&peer, &failed.refused(), None)),
    };
    let opening = if stream.has_input() { Opening::Early } else { Opening::InOrder };
    let services = Services {
        intake: &shared.intake,
        observer: &shared.observer,
        clock: &*shared.clock,
        commons: &shared.commons,
        users: passwords::users(&settings.listener.auth),
    };
    connection::converse(stream, opening, peer, policy, services, shutdown).await;
}

/// Begins TLS where the listener begins with it. None where the client goes without a word: it has tried the port.
async fn open(socket: Socket, settings: &Settings, step: Duration) -> Result<Option<Stream<Socket>>, HandshakeFailed> {
    if !settings.begins_with_tls() {
        return Ok(Some(Stream::plain(socket, settings.tls.clone(), step)));
    }
    let limit = step.min(HANDSHAKE_LIMIT);
    match timeout(limit, socket.speaks()).await {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(_) => return Err(HandshakeFailed::silent(limit)),
    }
    let mut stream = Stream::plain(socket, settings.tls.clone(), step);
    let secured = stream.secure().await;
    if secured.is_err() {
        connection::part(&mut stream).await;
    }
    secured.map(|()| Some(stream))
}

/// What holds for this client at this listener.
fn policy(listener: &ListenerConfig, client: &Client, origin: Origin) -> Policy {
    Policy {
        hostname: listener.hostname.clone(),
        default_domain: listener.default_domain.as_ref().unwrap_or(&listener.hostname).clone(),
        manners: listener.manners,
        max_message_size: client.max_message_size.unwrap_or(u64::MAX).min(listener.max_message_size),
        max_recipients: listener.max_recipients,
        timeout: client.timeout.unwrap_or(listener.timeout),
        transaction_timeout: client.transaction_timeout.unwrap_or(listener.transaction_timeout),
        senders: client.senders.clone(),
        recipients: client.recipients.clone(),
        local: Arc::clone(&listener.local),
        hidden: client.hidden.clone(),
        tls: match (listener.tls.as_ref().map(|tls| tls.mode), origin) {
            // What does not leave the machine needs no TLS.
            (None, _) | (Some(ServerTlsMode::StartTls), Origin::Local(_)) => Tls::Absent,
            (Some(ServerTlsMode::StartTls), Origin::Ip(_)) => Tls::Offered,
            (Some(ServerTlsMode::Implicit), _) => Tls::Active,
        },
        auth: passwords::rule(&listener.auth, origin),
        lf_end: client.lf_end,
    }
}

async fn reject(mut socket: Socket, peer: &Peer, rejection: Rejection, settings: &Settings, shared: &Shared) {
    let refused = |reply| Refused { step: Step::Connect, reply, from: None, recipient: None };
    let reply = match rejection {
        Rejection::Quiet(reply) => {
            let refused = refused(reply);
            shared.observer.refused_quietly(&connection::refusal(peer, &refused, None));
            refused.reply
        }
        Rejection::Loud(reply) => {
            let refused = refused(reply);
            shared.observer.refused(&connection::refusal(peer, &refused, None));
            refused.reply
        }
    };
    if settings.begins_with_tls() {
        // It would not understand plain text, and a handshake is work that strangers could ask for.
        return;
    }
    match shared.admission.farewell() {
        Some(_farewell) => connection::turn_away(socket, &reply).await,
        // The buffer of a new socket is empty, so this does not wait for the client.
        None => drop(socket.write(&reply.to_bytes()).await),
    }
}
