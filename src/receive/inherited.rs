//! Sockets that the service manager has bound and hands over (sd_listen_fds(3)). A listener asks for them by their own
//! addresses, so that one configuration serves with a service manager and without, or by the names that it gives them.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use super::ports;
use crate::config::ListenAddress;

/// What was handed over. Stays open for the life of the process: a listener gets copies, so that a reload can give a
/// socket to another one, and no connection to it is ever refused.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Handed>);

#[derive(Debug)]
struct Handed {
    name: String,
    /// Where it listens; none where it does not, or is in no file system.
    address: Option<ListenAddress>,
    socket: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// No stream socket that listens.
    Other,
}

/// A socket that was handed over and that no listener serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// What the service manager calls it.
    pub name: String,
    /// By which a listener can have it.
    pub address: ListenAddress,
}

/// A copy of a socket that was handed over.
pub(super) enum Copied {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    /// Takes what the environment tells of (`LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`); nothing where it speaks of another
    /// process. Gives once, and is to be called before there are threads: variables are removed.
    pub fn from_environment() -> Self {
        let variable = |name| std::env::var(name).ok();
        // To listenfd, a process that is not named could be this one.
        let ours = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
        let count = variable("LISTEN_FDS").and_then(|count| count.parse::<usize>().ok());
        if !ours || count.is_none_or(|count| count > MOST) {
            return Self::default();
        }
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut given = ListenFd::from_env();
        let handed =
            (0..given.len()).map(|at| Handed::new(names.next().unwrap_or(NAMELESS).to_owned(), take(&mut given, at)));
        Self(handed.collect())
    }

    /// Where a listener with these addresses listens. Names of the service manager's sockets become the addresses of these,
    /// and the rest becomes those that no address of `all` is for; a name stays where no socket has it, or only one without
    /// an address.
    pub fn resolve(&self, addresses: &[ListenAddress], all: &[&ListenAddress]) -> Vec<ListenAddress> {
        let mut resolved = Vec::new();
        for address in addresses {
            let meant = |handed: &&Handed| match address {
                ListenAddress::Inherited(Some(name)) => handed.name == *name && !all.contains(&&handed.identity()),
                ListenAddress::Inherited(None) => !handed.is_asked_for(all),
                ListenAddress::Tcp(_) | ListenAddress::Unix(_) => false,
            };
            let before = resolved.len();
            for identity in self.0.iter().filter(meant).map(Handed::identity) {
                if !resolved.contains(&identity) {
                    resolved.push(identity);
                }
            }
            // Where there is none that is meant, binding will say so.
            if resolved.len() == before {
                resolved.push(address.clone());
            }
        }
        resolved
    }

    /// The sockets that none of the addresses takes.
    pub fn unserved(&self, all: &[&ListenAddress]) -> Vec<Unserved> {
        if all.contains(&&ListenAddress::Inherited(None)) {
            return Vec::new();
        }
        let left = self.0.iter().filter(|handed| !handed.is_asked_for(all));
        left.map(|handed| Unserved { name: handed.name.clone(), address: handed.identity() }).collect()
    }

    /// Whether a socket that listens there was handed over.
    pub fn has(&self, address: &ListenAddress) -> bool {
        self.0.iter().any(|handed| handed.address.as_ref() == Some(address))
    }

    /// The address of a socket that keeps everybody from binding this one.
    pub(super) fn in_the_way_of(&self, wanted: SocketAddr) -> Option<SocketAddr> {
        let addresses = self.0.iter().filter_map(|handed| handed.address.as_ref()?.tcp());
        addresses.into_iter().find(|held| ports::collide(*held, wanted))
    }

    /// Copies of the sockets with this address; none where none was handed over.
    ///
    /// # Errors
    /// Where the system does not give another descriptor for one.
    pub(super) fn copies_at(&self, address: &ListenAddress) -> Result<Vec<Copied>, Refusal> {
        let there = self.0.iter().filter(|handed| handed.address.as_ref() == Some(address));
        there.map(|handed| handed.socket.copy()).collect()
    }

    /// Copies of the sockets of this name that have no address.
    ///
    /// # Errors
    /// Where there is none, or one is no stream socket that listens.
    pub(super) fn copies(&self, name: Option<&str>) -> Result<Vec<Copied>, Refusal> {
        let wanted = self.0.iter().filter(|handed| handed.address.is_none() && Some(handed.name.as_str()) == name);
        let copies: Vec<Copied> = wanted.map(|handed| handed.socket.copy()).collect::<Result<_, _>>()?;
        if copies.is_empty() {
            return Err(Refusal::NotThere(self.0.iter().map(ToString::to_string).collect()));
        }
        Ok(copies)
    }
}

impl Handed {
    fn new(name: String, socket: Kind) -> Self {
        let address = match &socket {
            Kind::Tcp(socket) => socket.local_addr().ok().map(ListenAddress::Tcp),
            Kind::Unix(socket) => socket
                .local_addr()
                .ok()
                .and_then(|address| address.as_pathname().map(|path| ListenAddress::Unix(path.to_owned()))),
            Kind::Other => None,
        };
        Self { name, address, socket }
    }

    /// By what a listener has it.
    fn identity(&self) -> ListenAddress {
        self.address.clone().unwrap_or_else(|| ListenAddress::Inherited(Some(self.name.clone())))
    }

    fn is_asked_for(&self, all: &[&ListenAddress]) -> bool {
        all.contains(&&self.identity()) || all.contains(&&ListenAddress::Inherited(Some(self.name.clone())))
    }
}

impl fmt::Display for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{} at {address}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Why a socket cannot be had from the service manager.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It was not handed over. Named are those that were.
    #[error(
        "the service manager has handed over {}: start the daemon by its .socket unit (FileDescriptorName= gives the name), or correct \
         `address` of this [[listener]]", listed(.0)
    )]
    NotThere(Vec<String>),
    /// It cannot take connections.
    #[error(
        "what was handed over is no stream socket that listens: the .socket unit must have it as ListenStream=, with Accept=no"
    )]
    NotAListener,
    /// The system does not give another descriptor for it.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

impl Kind {
    fn copy(&self) -> Result<Copied, Refusal> {
        Ok(match self {
            Self::Tcp(socket) => Copied::Tcp(socket.try_clone()?),
            Self::Unix(socket) => Copied::Unix(socket.try_clone()?),
            Self::Other => return Err(Refusal::NotAListener),
        })
    }
}

fn take(given: &mut ListenFd, at: usize) -> Kind {
    fn listening<T: AsFd>(socket: Option<T>) -> Option<T> {
        socket.filter(|socket| socket_acceptconn(socket).unwrap_or(false))
    }
    if let Ok(socket) = given.take_tcp_listener(at) {
        return listening(socket).map_or(Kind::Other, Kind::Tcp);
    }
    match given.take_unix_listener(at) {
        Ok(socket) => listening(socket).map_or(Kind::Other, Kind::Unix),
        Err(_) => Kind::Other,
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no socket".into() } else { format!("other sockets only ({})", names.join(", ")) }
}

/// What sd_listen_fds_with_names(3) calls a socket without a name.
const NAMELESS: &str = "unknown";
/// Sockets that are taken; a number beyond is a mistake.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(names: &[&str]) -> Inherited {
        let socket = || Kind::Tcp(TcpListener::bind("127.0.0.1:0").unwrap());
        Inherited(names.iter().map(|name| Handed::new((*name).into(), socket())).collect())
    }

    fn named(name: &str) -> ListenAddress {
        ListenAddress::Inherited(Some(name.into()))
    }

    fn at(handed: &Inherited, place: usize) -> ListenAddress {
        handed.0[place].address.clone().unwrap()
    }

    #[test]
    fn the_rest_is_what_no_other_listener_asks_for() {
        let handed = inherited(&["smtp", "local", "smtp", "other"]);
        let (rest, smtp, other) = (ListenAddress::Inherited(None), named("smtp"), at(&handed, 3));
        let all = [&rest, &smtp, &other];
        assert_eq!(handed.resolve(std::slice::from_ref(&rest), &all), [at(&handed, 1)]);
        assert_eq!(handed.resolve(std::slice::from_ref(&smtp), &all), [at(&handed, 0), at(&handed, 2)]);
        assert_eq!(handed.resolve(std::slice::from_ref(&other), &all), [at(&handed, 3)]);
        assert_eq!(handed.unserved(&all), []);
        let unserved: Vec<String> = handed.unserved(&[&smtp, &other]).into_iter().map(|one| one.name).collect();
        assert_eq!(unserved, ["local"]);
        // Who asks by address is served before who asks by name.
        let first = at(&handed, 0);
        assert_eq!(handed.resolve(std::slice::from_ref(&smtp), &[&smtp, &first]), [at(&handed, 2)]);
    }

    #[test]
    fn a_socket_is_had_by_its_address() {
        let handed = inherited(&["smtp", "smtp"]);
        assert_eq!(handed.copies_at(&at(&handed, 1)).map(|copies| copies.len()).unwrap(), 1);
        assert!(handed.has(&at(&handed, 1)) && !handed.has(&named("smtp")));
        let elsewhere = ListenAddress::Tcp("127.0.0.1:1".parse().unwrap());
        assert_eq!(handed.copies_at(&elsewhere).map(|copies| copies.len()).unwrap(), 0);
        let held = at(&handed, 0).tcp().unwrap();
        for wanted in ["0.0.0.0", "127.0.0.1"] {
            let wanted = SocketAddr::new(wanted.parse().unwrap(), held.port());
            assert_eq!(handed.in_the_way_of(wanted), Some(held), "{wanted}");
        }
        assert_eq!(handed.in_the_way_of(SocketAddr::new("127.0.0.2".parse().unwrap(), held.port())), None);
    }

    #[test]
    fn what_was_not_handed_over_is_told_with_what_was() {
        let why = |handed: &Inherited, name| handed.copies(name).err().unwrap().to_string();
        let smtp = inherited(&["smtp"]);
        assert!(why(&smtp, Some("submission")).contains(&format!("(smtp at {})", at(&smtp, 0))));
        assert!(why(&Inherited::default(), Some("smtp")).contains("no socket"));
        let none = Inherited::default().resolve(&[ListenAddress::Inherited(None)], &[]);
        assert_eq!(none, [ListenAddress::Inherited(None)]);
        assert!(why(&Inherited::default(), None).contains(".socket unit"));
        let datagram = Inherited(vec![Handed::new("smtp".into(), Kind::Other)]);
        assert_eq!(datagram.resolve(&[named("smtp")], &[]), [named("smtp")]);
        assert!(why(&datagram, Some("smtp")).contains("ListenStream="));
    }
}
