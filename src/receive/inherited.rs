//! Sockets that the service manager has bound and hands over (sd_listen_fds(3)).

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;

use crate::config::ListenAddress;

/// What was handed over. Stays open for the life of the process: a listener gets copies, so that a reload can give a
/// socket to another one, and no connection to it is ever refused.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Handed>);

#[derive(Debug)]
struct Handed {
    name: String,
    socket: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
    /// No stream socket that listens.
    Other,
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
        let handed = (0..given.len())
            .map(|at| Handed { name: names.next().unwrap_or(NAMELESS).to_owned(), socket: take(&mut given, at) });
        Self(handed.collect())
    }

    /// Where a listener with these addresses listens, with the sockets of the service manager by their names: those that no
    /// address of `all` names where it wants the rest.
    pub fn resolve(&self, addresses: &[ListenAddress], all: &[&ListenAddress]) -> Vec<ListenAddress> {
        let mut resolved = Vec::new();
        for address in addresses {
            let rest = if *address == ListenAddress::Inherited(None) { self.unnamed(all) } else { Vec::new() };
            // Where there is no rest, binding will say so.
            if rest.is_empty() {
                resolved.push(address.clone());
            }
            resolved.extend(rest.into_iter().map(|name| ListenAddress::Inherited(Some(name))));
        }
        resolved
    }

    /// The names of sockets that none of the addresses takes.
    pub fn unused(&self, all: &[&ListenAddress]) -> Vec<String> {
        if all.contains(&&ListenAddress::Inherited(None)) { Vec::new() } else { self.unnamed(all) }
    }

    fn unnamed(&self, all: &[&ListenAddress]) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|handed| handed.name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| !all.contains(&&ListenAddress::Inherited(Some(name.clone()))));
        names
    }

    /// Copies of the sockets of this name.
    ///
    /// # Errors
    /// Where there is none, or one is no stream socket that listens.
    pub(super) fn copies(&self, name: Option<&str>) -> Result<Vec<Copied>, Refusal> {
        let wanted = self.0.iter().filter(|handed| Some(handed.name.as_str()) == name);
        let copies: Vec<Copied> = wanted.map(|handed| handed.socket.copy()).collect::<Result<_, _>>()?;
        if copies.is_empty() {
            return Err(Refusal::NotThere(self.0.iter().map(|handed| handed.name.clone()).collect()));
        }
        Ok(copies)
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
        Inherited(names.iter().map(|name| Handed { name: (*name).into(), socket: socket() }).collect())
    }

    fn named(name: &str) -> ListenAddress {
        ListenAddress::Inherited(Some(name.into()))
    }

    #[test]
    fn the_rest_is_what_no_other_listener_names() {
        let handed = inherited(&["smtp", "local", "smtp", "other"]);
        let (rest, smtp) = (ListenAddress::Inherited(None), named("smtp"));
        let all = [&rest, &smtp];
        assert_eq!(handed.resolve(std::slice::from_ref(&rest), &all), [named("local"), named("other")]);
        assert_eq!(handed.resolve(std::slice::from_ref(&smtp), &all), [named("smtp")]);
        assert_eq!(handed.copies(Some("smtp")).map(|copies| copies.len()).unwrap(), 2);
        assert_eq!(handed.unused(&all), [""; 0]);
        assert_eq!(handed.unused(&[&smtp]), ["local", "other"]);
    }

    #[test]
    fn what_was_not_handed_over_is_told_with_what_was() {
        let why = |handed: &Inherited, name| handed.copies(name).err().unwrap().to_string();
        assert!(why(&inherited(&["smtp"]), Some("submission")).contains("(smtp)"));
        assert!(why(&Inherited::default(), Some("smtp")).contains("no socket"));
        let none = Inherited::default().resolve(&[ListenAddress::Inherited(None)], &[]);
        assert_eq!(none, [ListenAddress::Inherited(None)]);
        assert!(why(&Inherited::default(), None).contains(".socket unit"));
        let datagram = Inherited(vec![Handed { name: "smtp".into(), socket: Kind::Other }]);
        assert!(why(&datagram, Some("smtp")).contains("ListenStream="));
    }
}
