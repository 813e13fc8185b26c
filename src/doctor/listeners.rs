//! The addresses of the listeners: whether the daemon has them, or could.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::Finding;
use crate::config::ListenAddress;
use crate::receive::ports::{Holder, holder};

/// Who has an address.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Which.
    pub address: SocketAddr,
    /// Who listens there.
    pub holder: Option<Holder>,
    /// What the system says to this user when nobody does.
    pub refused: Option<io::ErrorKind>,
}

impl Facts {
    /// Looks; where nobody has the address, this process takes it for a moment without listening.
    pub fn gather(address: SocketAddr) -> Self {
        let holder = holder(address);
        let refused = if holder.is_none() { bind(address).err().map(|error| kind(&error)) } else { None };
        Self { address, holder, refused }
    }
}

/// The daemon says so itself.
pub fn served(address: &ListenAddress) -> Finding {
    Finding::ok(CHECK, format!("the daemon listens on {address}"))
}

/// What to make of it. `daemon` is the process and the user of the daemon that runs, where one does.
pub fn judge(facts: &Facts, daemon: Option<(Option<u32>, u32)>) -> Finding {
    let address = facts.address;
    if let Some(holder) = &facts.holder {
        let own = daemon.is_some_and(|(process, user)| match &holder.program {
            Some(program) => Some(program.pid) == process,
            None => holder.user == user,
        });
        return match own {
            true => served(&ListenAddress::Tcp(address)),
            false => Finding::failed(CHECK, format!("{address} is taken by {holder}"), holder.advice()),
        };
    }
    match facts.refused {
        Some(io::ErrorKind::AddrNotAvailable) if address.ip() == Ipv6Addr::LOCALHOST => {
            Finding::ok(CHECK, format!("this machine has no IPv6: the daemon passes over {address}"))
        }
        Some(io::ErrorKind::AddrNotAvailable) => Finding::failed(
            CHECK,
            format!("this machine does not have the address {}", address.ip()),
            "`ip address` shows those it has; correct `address` of the [[listener]]",
        ),
        Some(io::ErrorKind::PermissionDenied) => Finding::warning(
            CHECK,
            format!("this user may not listen on port {}", address.port()),
            "none, where systemd starts the daemon (the unit gives it CAP_NET_BIND_SERVICE); else run it as root",
        ),
        Some(io::ErrorKind::AddrInUse) => Finding::failed(
            CHECK,
            format!("{address} is taken by a program that cannot be seen from here"),
            "`sudo ss -ltnp` shows which; stop it, or choose another port",
        ),
        Some(error) => Finding::failed(CHECK, format!("{address} cannot be had: {error}"), "correct `address`"),
        None if daemon.is_some() => Finding::warning(
            CHECK,
            format!("the daemon runs and does not listen on {address}"),
            "`systemctl reload mailsluice`, and see its log: it may run with an older configuration",
        ),
        None => Finding::ok(CHECK, format!("{address} is free for the daemon")),
    }
}

fn bind(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// A kernel without IPv6 has none of its addresses either.
fn kind(error: &io::Error) -> io::ErrorKind {
    let unsupported = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    if unsupported { io::ErrorKind::AddrNotAvailable } else { error.kind() }
}

const CHECK: &str = "listener";

#[cfg(test)]
mod tests {
    use super::super::Standing;
    use super::*;
    use crate::receive::ports::Program;

    fn taken(pid: Option<u32>, user: u32) -> Facts {
        let program = pid.map(|pid| Program { name: "master".into(), pid });
        Facts { address: "127.0.0.1:25".parse().unwrap(), holder: Some(Holder { program, user }), refused: None }
    }

    #[test]
    fn who_has_the_address_decides() {
        let daemon = Some((Some(7), 998));
        for (facts, daemon, standing, wanted) in [
            (taken(Some(7), 998), daemon, Standing::Ok, "the daemon listens"),
            (taken(None, 998), daemon, Standing::Ok, "the daemon listens"),
            (taken(Some(812), 0), daemon, Standing::Failed, "taken by master (pid 812)"),
            (taken(None, 0), daemon, Standing::Failed, "only that user and root can see"),
            (taken(Some(7), 998), None, Standing::Failed, "taken by master (pid 7)"),
        ] {
            let finding = judge(&facts, daemon);
            assert!(finding.standing == standing && finding.seen.contains(wanted), "{finding:?}");
        }
    }

    #[test]
    fn an_address_that_nobody_has_is_tried() {
        let of = |refused, daemon| {
            judge(&Facts { address: "192.0.2.1:25".parse().unwrap(), holder: None, refused }, daemon).standing
        };
        assert_eq!(of(None, None), Standing::Ok);
        assert_eq!(of(None, Some((Some(7), 998))), Standing::Warning);
        assert_eq!(of(Some(io::ErrorKind::PermissionDenied), None), Standing::Warning);
        assert_eq!(of(Some(io::ErrorKind::AddrNotAvailable), None), Standing::Failed);
        let loopback = "[::1]:25".parse().unwrap();
        let without_ipv6 = Facts { address: loopback, holder: None, refused: Some(io::ErrorKind::AddrNotAvailable) };
        assert_eq!(judge(&without_ipv6, None).standing, Standing::Ok);
        let foreign = Facts::gather("192.0.2.1:0".parse().unwrap());
        assert_eq!(foreign.refused, Some(io::ErrorKind::AddrNotAvailable));
    }
}
