//! Binding: the sockets of a listener, of each kind, and why one cannot be had.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::inherited::{self, Copied, Inherited};
use super::ports::{self, Holder};
use super::stream::Socket;
use super::unix::{self, SocketFile};
use crate::config::ListenAddress;
use crate::route::Origin;

/// Connections that the kernel keeps for us while we do not take them.
pub(super) const BACKLOG: i32 = 1024;

/// Who has no name here: what /proc/sys/kernel/overflowuid says where nobody has changed it.
const OVERFLOW_USER: u32 = 65_534;

/// A socket that listens.
#[derive(Debug)]
pub(super) enum Bound {
    Tcp(TcpListener),
    Unix {
        socket: UnixListener,
        /// Removed with the socket; none of ours where that was handed over.
        _file: Option<SocketFile>,
    },
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}")]
pub struct BindError {
    /// Which.
    pub address: ListenAddress,
    /// What is in the way, and what to do.
    pub why: Obstacle,
}

/// What keeps a listener from an address.
#[derive(Debug, thiserror::Error)]
pub enum Obstacle {
    /// Of a TCP address: what the system said, and who has it, where somebody else has.
    #[error("{}", reason(.0, .1.as_ref()))]
    Tcp(io::Error, Option<Holder>),
    /// Of a TCP address: the service manager has handed over a socket whose address covers it, or a part of it.
    #[error(
        "the .socket unit has handed over {held}, and nobody can have {wanted} beside it: let the unit have that instead (`systemctl \
         edit mailsluice.socket`: [Socket], an empty ListenStream=, then one with {wanted} and one for each other address), or do \
         without it (`systemctl disable --now mailsluice.socket`); then `systemctl restart mailsluice`"
    )]
    HeldForUs {
        /// Its address.
        held: SocketAddr,
        /// The one that cannot be had.
        wanted: SocketAddr,
    },
    /// Of a Unix socket.
    #[error("{0}")]
    Unix(#[from] unix::Refusal),
    /// Of a socket of the service manager.
    #[error("{0}")]
    Inherited(#[from] inherited::Refusal),
}

/// Binds all addresses but those of which the service manager has handed over sockets: copies of these are taken. `mode` is
/// for the files of Unix sockets that are bound. `[::1]` is passed over beside others where this machine has no IPv6: nobody
/// can come by it.
pub(super) fn bind(addresses: &[ListenAddress], mode: u32, inherited: &Inherited) -> Result<Vec<Bound>, BindError> {
    let (mut bound, mut without_ipv6) = (Vec::new(), None);
    for address in addresses {
        match bind_one(address, mode, inherited) {
            Ok(sockets) => bound.extend(sockets),
            Err(why) if why.is_no_ipv6(address) => without_ipv6 = Some(BindError { address: address.clone(), why }),
            Err(why) => return Err(BindError { address: address.clone(), why }),
        }
    }
    without_ipv6.filter(|_| bound.is_empty()).map_or(Ok(bound), Err)
}

fn bind_one(address: &ListenAddress, mode: u32, inherited: &Inherited) -> Result<Vec<Bound>, Obstacle> {
    let handed = inherited.copies_at(address)?;
    if !handed.is_empty() {
        return Ok(handed_over(handed)?);
    }
    match address {
        ListenAddress::Tcp(address) => tcp(*address, inherited).map(|socket| vec![Bound::Tcp(socket)]),
        ListenAddress::Unix(path) => {
            let (socket, file) = unix::bind(path, mode)?;
            Ok(vec![Bound::Unix { socket, _file: Some(file) }])
        }
        ListenAddress::Inherited(name) => Ok(handed_over(inherited.copies(name.as_deref())?)?),
    }
}

/// IPv6 sockets take IPv6 alone, so that `[::]:25` and `0.0.0.0:25` can stand beside each other.
fn tcp(address: SocketAddr, inherited: &Inherited) -> Result<TcpListener, Obstacle> {
    let bound = || {
        let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    bound().map_err(|error: io::Error| {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        if taken && let Some(held) = inherited.in_the_way_of(address) {
            return Obstacle::HeldForUs { held, wanted: address };
        }
        let holder = if taken { ports::holder(address) } else { None };
        Obstacle::Tcp(error, holder)
    })
}

fn handed_over(copies: Vec<Copied>) -> Result<Vec<Bound>, inherited::Refusal> {
    let ready = |copy| -> io::Result<Bound> {
        Ok(match copy {
            Copied::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                Bound::Tcp(TcpListener::from_std(socket)?)
            }
            Copied::Unix(socket) => {
                socket.set_nonblocking(true)?;
                Bound::Unix { socket: UnixListener::from_std(socket)?, _file: None }
            }
        })
    };
    copies.into_iter().map(|copy| Ok(ready(copy)?)).collect()
}

impl Obstacle {
    /// Whether the address is the loopback's of IPv6, on a machine that has none.
    fn is_no_ipv6(&self, address: &ListenAddress) -> bool {
        let is_loopback = || address.tcp().is_some_and(|address| address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST));
        let Self::Tcp(error, _) = self else { return false };
        let unsupported = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
        (unsupported || error.kind() == io::ErrorKind::AddrNotAvailable) && is_loopback()
    }
}

impl Bound {
    /// Takes the next connection.
    pub(super) async fn accept(&self) -> io::Result<(Socket, Origin)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, address) = socket.accept().await?;
                // Replies are small and waited for; where this fails, they are merely late.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), Origin::of(address.ip())))
            }
            Self::Unix { socket, .. } => {
                let (stream, _) = socket.accept().await?;
                // Whom the kernel cannot name in our user namespace it calls so itself (user_namespaces(7)).
                let user = stream.peer_cred().map_or(OVERFLOW_USER, |peer| peer.uid());
                Ok((Socket::Unix(stream), Origin::Local(user)))
            }
        }
    }

    /// Where it really listens: with the port that was taken.
    pub(super) fn address(&self) -> ListenAddress {
        let address = match self {
            Self::Tcp(socket) => socket.local_addr().ok().map(ListenAddress::Tcp),
            Self::Unix { socket, .. } => {
                let address = socket.local_addr().ok();
                address.and_then(|address| address.as_pathname().map(|path| ListenAddress::Unix(path.to_owned())))
            }
        };
        // A service manager can hand over one that is in no file system.
        address.unwrap_or(ListenAddress::Inherited(None))
    }
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
