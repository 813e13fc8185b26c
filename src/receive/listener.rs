//! Listens, and starts a task for each connection that is let in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::admission::{Admission, Rejection, Seat};
use super::commons::Commons;
use super::connection::{self, Peer, Services};
use super::passwords;
use super::ports::{self, Holder};
use super::shutdown::Shutdown;
use crate::config::{ListenAddress, ListenerConfig};
use crate::intake::Intake;
use crate::observe::Observer;
use crate::route::client::identify;
use crate::route::{Client, Origin};
use crate::session::{self, Policy, Refused, Step, Tls};
use crate::time::Clock;

/// Connections that the kernel keeps for us while we do not take them.
const BACKLOG: i32 = 1024;
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
}

/// A listener whose addresses are bound; connections to it wait until it serves.
#[derive(Debug)]
pub struct Listener {
    sockets: Vec<TcpListener>,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {}", reason(.source, .holder.as_ref()))]
pub struct BindError {
    /// Which.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
    /// Who has it, where somebody else has.
    pub holder: Option<Holder>,
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
    /// Binds all addresses, in a tokio runtime. Port 0 takes any free one.
    ///
    /// # Errors
    /// The first address that cannot be had; then none is bound.
    pub fn bind(addresses: &[ListenAddress]) -> Result<Self, BindError> {
        let tcp = addresses.iter().filter_map(ListenAddress::tcp);
        let bound = |address: SocketAddr| bind(address).map_err(|source| failed(address, source));
        Ok(Self { sockets: tcp.map(bound).collect::<Result<_, _>>()? })
    }

    /// The addresses, with the ports that were taken.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
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

/// IPv6 sockets take IPv6 alone, so that `[::]:25` and `0.0.0.0:25` can stand beside each other.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

fn failed(address: SocketAddr, source: io::Error) -> BindError {
    let holder = if source.kind() == io::ErrorKind::AddrInUse { ports::holder(address) } else { None };
    BindError { address, source, holder }
}

fn reason(error: &io::Error, holder: Option<&Holder>) -> String {
    let advice = match (error.kind(), holder) {
        (io::ErrorKind::AddrInUse, Some(holder)) => return format!("it is taken by {holder}: {}", holder.advice()),
        (io::ErrorKind::AddrInUse, None) => "another program has this port: `sudo ss -ltnp` shows which",
        (io::ErrorKind::PermissionDenied, _) => "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        (io::ErrorKind::AddrNotAvailable, _) => {
            "this machine does not have the address: `ip address` shows those it has"
        }
        _ => "correct `address` of this [[listener]]",
    };
    format!("{error}; {advice}")
}

async fn accept(socket: TcpListener, shared: Arc<Shared>, mut shutdown: Shutdown) {
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
            Ok((stream, address)) => {
                failing = false;
                let seat = shared.admission.sit();
                connections.spawn(serve(stream, address, seat, shared.clone(), shutdown.clone()));
            }
            Err(error) => {
                if let Ok(address) = socket.local_addr()
                    && !std::mem::replace(&mut failing, true)
                {
                    shared.observer.cannot_accept(address, &error);
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

async fn serve(stream: TcpStream, address: SocketAddr, seat: Seat, shared: Arc<Shared>, mut shutdown: Shutdown) {
    let settings = shared.settings.borrow().clone();
    let origin = Origin::of(address.ip());
    let client = identify(origin, &settings.clients);
    let policy = policy(&settings.listener, &client, origin);
    let peer = Peer { client, origin };
    // Replies are small and waited for; where this fails, they are merely late.
    let _ = stream.set_nodelay(true);
    let admitted = tokio::select! {
        admitted = shared.admission.admit(origin, &settings.listener) => admitted,
        _ = shutdown.requested() => Err(Rejection::Loud(session::shutting_down(&settings.listener.hostname))),
    };
    let _place = match admitted {
        Ok(place) => place,
        Err(rejection) => {
            // Who is not let in must not keep others out.
            drop(seat);
            return reject(stream, &peer, rejection, &shared).await;
        }
    };
    let services = Services {
        intake: &shared.intake,
        observer: &shared.observer,
        clock: &*shared.clock,
        commons: &shared.commons,
        users: passwords::users(&settings.listener.auth),
    };
    connection::converse(stream, peer, policy, services, shutdown).await;
}

/// What holds for this client at this listener.
fn policy(listener: &ListenerConfig, client: &Client, origin: Origin) -> Policy {
    Policy {
        hostname: listener.hostname.clone(),
        default_domain: listener.default_domain.clone(),
        manners: listener.manners,
        max_message_size: client.max_message_size.unwrap_or(u64::MAX).min(listener.max_message_size),
        max_recipients: listener.max_recipients,
        timeout: client.timeout.unwrap_or(listener.timeout),
        transaction_timeout: client.transaction_timeout.unwrap_or(listener.transaction_timeout),
        senders: client.senders.clone(),
        recipients: client.recipients.clone(),
        hidden: client.hidden.clone(),
        tls: Tls::Absent,
        auth: passwords::rule(&listener.auth, origin),
        lf_end: client.lf_end,
    }
}

async fn reject(mut stream: TcpStream, peer: &Peer, rejection: Rejection, shared: &Shared) {
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
    match shared.admission.farewell() {
        Some(_farewell) => connection::turn_away(stream, &reply).await,
        // The buffer of a new socket is empty, so this does not wait for the client.
        None => drop(stream.write(&reply.to_bytes()).await),
    }
}
