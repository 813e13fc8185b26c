//! Which program holds a port, for people who want to listen there. Read from /proc, as proc_pid_net(5) and
//! proc_pid_fd(5) describe it; changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A socket of this machine that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Where.
    pub address: SocketAddr,
    /// The user that opened it.
    pub user: u32,
    /// By which its owner's list of open files names it.
    pub inode: u64,
}

/// Who holds a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The program; none where this user may not see it.
    pub program: Option<Program>,
    /// The user it runs as.
    pub user: u32,
}

/// A running program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// As the system calls it: at most 15 characters.
    pub name: String,
    /// Its process id.
    pub pid: u32,
}

/// Who listens on this address, or on one that keeps others from it; none where nobody does.
pub fn holder(address: SocketAddr) -> Option<Holder> {
    let listening: Vec<Listening> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| listening(&text))
        .collect();
    let socket = in_the_way(&listening, address)?;
    Some(Holder { program: program_with(socket.inode), user: socket.user })
}

impl Holder {
    /// What to do so that the port becomes free: a part of a sentence, after a colon.
    pub fn advice(&self) -> String {
        let Some(Program { name, pid }) = &self.program else {
            return "`sudo ss -ltnp` shows which; stop it, or choose another port".into();
        };
        if *pid == std::process::id() {
            return "that is this relay itself, which needs a restart to listen otherwise".into();
        }
        let service = SERVICES.iter().find(|(program, _)| program == name).map(|(_, service)| service);
        match (name.as_str(), service) {
            ("systemd", _) => {
                "`systemctl list-sockets` shows by which unit. Of mailsluice.socket: if the service does not listen yet, \
                 `systemctl restart mailsluice` hands it over; for other addresses, `systemctl edit mailsluice.socket`, or \
                 `systemctl disable --now mailsluice.socket`. Of another: disable that, or choose another port"
                    .into()
            }
            (_, Some(service)) => {
                format!("stop it, e.g. `systemctl disable --now {service}`, or choose another port")
            }
            (_, None) => {
                format!("stop it (`systemctl status {pid}` shows its service), or choose another port")
            }
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.program {
            Some(Program { name, pid }) => write!(f, "{name} (pid {pid})"),
            None => write!(f, "a program of the user with id {}, which only that user and root can see", self.user),
        }
    }
}

/// The listening sockets in the text of /proc/net/tcp or tcp6; lines that are none are passed over.
fn listening(text: &str) -> Vec<Listening> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (local, state) = (fields.get(1)?, fields.get(3)?);
        let (user, inode) = (fields.get(7)?.parse().ok()?, fields.get(9)?.parse().ok()?);
        (*state == LISTEN).then_some(Listening { address: socket_address(local)?, user, inode })
    };
    text.lines().filter_map(of_line).collect()
}

/// `0100007F:0019`: words of 32 bits in the machine's order, and the port.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = address.get(8 * at..8 * at + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, part) in octets.chunks_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// The socket that keeps others from this address. Of IPv6, the one that listens on all addresses may have taken those of
/// IPv4 too; it comes last, since it need not.
fn in_the_way(listening: &[Listening], wanted: SocketAddr) -> Option<&Listening> {
    let overlaps = |socket: &&Listening| overlap(socket.address, wanted);
    let of_both = |socket: &&Listening| takes_both(socket.address, wanted);
    listening.iter().find(overlaps).or_else(|| listening.iter().find(of_both))
}

/// Whether who listens on the one may keep others from the other.
pub(super) fn collide(taken: SocketAddr, wanted: SocketAddr) -> bool {
    overlap(taken, wanted) || takes_both(taken, wanted)
}

fn overlap(taken: SocketAddr, wanted: SocketAddr) -> bool {
    let any = || taken.ip() == wanted.ip() || taken.ip().is_unspecified() || wanted.ip().is_unspecified();
    taken.port() == wanted.port() && taken.is_ipv4() == wanted.is_ipv4() && any()
}

fn takes_both(taken: SocketAddr, wanted: SocketAddr) -> bool {
    taken.port() == wanted.port() && wanted.is_ipv4() && taken.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
}

/// The program that has this socket open, where this user may see it.
fn program_with(inode: u64) -> Option<Program> {
    let wanted = format!("socket:[{inode}]");
    let has_it = |process: &Path| {
        let files = std::fs::read_dir(process.join("fd")).ok()?;
        files.flatten().find(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == &*wanted))
    };
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        has_it(&process.path())?;
        let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
        Some(Program { name: name.trim_end().to_owned(), pid })
    })
}

/// The state of a socket that listens (TCP_LISTEN of the kernel).
const LISTEN: &str = "0A";

/// The services of programs that often hold port 25 or its like, by the names of their processes.
const SERVICES: [(&str, &str); 8] = [
    ("master", "postfix"),
    ("exim4", "exim4"),
    ("exim", "exim"),
    ("sendmail-mta", "sendmail"),
    ("sendmail", "sendmail"),
    ("smtpd", "opensmtpd"),
    ("dma", "dma"),
    ("mailsluice", "mailsluice"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
           0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4711 1 0 100 0\n\
           1: 0100007F:0050 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100 0\n";
    const TCP6: &str = "  sl  local_address                         remote_address                        st\n\
           0: 00000000000000000000000000000000:024B 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 99 1\n\
           1: 00000000000000000000000001000000:0019 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 98 1\n";

    fn all() -> Vec<Listening> {
        [listening(TCP), listening(TCP6)].concat()
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn sockets_that_listen_are_read_from_proc() {
        let address = |text: &str| text.parse().unwrap();
        assert_eq!(
            all(),
            [
                Listening { address: address("127.0.0.1:25"), user: 101, inode: 4711 },
                Listening { address: address("[::]:587"), user: 0, inode: 99 },
                Listening { address: address("[::1]:25"), user: 0, inode: 98 },
            ]
        );
        assert_eq!(listening("0: nonsense:xyz 0 0A\n0100007F:0019"), []);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn what_is_in_the_way_overlaps() {
        for (wanted, inode) in [
            ("127.0.0.1:25", Some(4711)),
            ("0.0.0.0:25", Some(4711)),
            ("127.0.0.2:25", None),
            ("[::1]:25", Some(98)),
            ("[::]:25", Some(98)),
            ("192.0.2.1:587", Some(99)),
            ("127.0.0.1:80", None),
        ] {
            let found = all();
            assert_eq!(in_the_way(&found, wanted.parse().unwrap()).map(|socket| socket.inode), inode, "{wanted}");
        }
    }

    #[test]
    fn a_port_of_this_process_is_known_as_its() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = holder(socket.local_addr().unwrap()).unwrap();
        assert_eq!(found.program.unwrap().pid, std::process::id());
        drop(socket);
    }

    #[test]
    fn the_advice_names_the_service() {
        let of = |name: &str| {
            let holder = Holder { program: Some(Program { name: name.into(), pid: 812 }), user: 0 };
            format!("{holder}: {}", holder.advice())
        };
        assert_eq!(
            of("master"),
            "master (pid 812): stop it, e.g. `systemctl disable --now postfix`, or choose another port"
        );
        assert!(of("python3").contains("systemctl status 812"), "{}", of("python3"));
        let unseen = Holder { program: None, user: 101 };
        assert!(unseen.to_string().contains("101") && unseen.advice().contains("sudo ss -ltnp"));
    }
}
