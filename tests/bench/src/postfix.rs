//! Debian's Postfix with folders of its own. README.md has each setting with its reason.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use crate::Result;
use crate::relay::{Candidate, Place};

/// The Postfix that is installed.
pub(crate) struct Postfix;

/// Beside the defaults of the package.
const MAIN: &str = "\
compatibility_level = 3.6
queue_directory = FOLDER/queue
data_directory = FOLDER/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = FOLDER/log
maillog_file_prefixes = FOLDER
inet_interfaces = loopback-only
inet_protocols = ipv4
myhostname = relay.bench.example
mydestination =
alias_maps =
biff = no
append_dot_mydomain = no
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [127.0.0.1]:PORT
smtp_tls_security_level = none
smtpd_tls_security_level = none
default_destination_concurrency_limit = CONNECTIONS
in_flow_delay = 0
";

/// The services of the package.
const MASTER: &str = "/usr/share/postfix/master.cf.dist";

impl Candidate for Postfix {
    fn name(&self) -> &str {
        "Postfix"
    }

    fn prepare(&self, place: &Place) -> Result<()> {
        let folder = place.folder().to_str().ok_or("the path of the folder is no text")?;
        let main = MAIN
            .replace("FOLDER", folder)
            .replace("PORT", &place.sink.port().to_string())
            .replace("CONNECTIONS", &place.connections.to_string());
        fs::create_dir(place.path("etc"))?;
        fs::write(place.path("etc/main.cf"), main)?;
        let master = fs::read_to_string(MASTER).map_err(|error| format!("{MASTER}: {error}: is postfix installed?"))?;
        fs::write(place.path("etc/master.cf"), services(&master, &place.listen.to_string())?)?;
        fs::create_dir(place.path("data"))?;
        std::os::unix::fs::chown(place.path("data"), Some(user_id("postfix")?), None)?;
        Ok(())
    }

    fn serve(&self, place: &Place) -> Command {
        let mut command = Command::new("postfix");
        command.arg("-c").arg(place.path("etc")).arg("start-fg");
        command
    }

    /// The master, whom a shell script starts.
    fn ancestor(&self, place: &Place, _child: &Child) -> Option<u32> {
        fs::read_to_string(place.path("queue/pid/master.pid")).ok()?.trim().parse().ok()
    }

    fn flush(&self, place: &Place) -> Result<()> {
        let status = Command::new("postqueue").arg("-c").arg(place.path("etc")).arg("-f").status()?;
        if status.success() { Ok(()) } else { Err(format!("postqueue -f: {status}").into()) }
    }

    fn list(&self, _place: &Place) -> Result<Duration> {
        Err("postqueue -p has no pages".into())
    }
}

/// The services of the package, listening at this address, and none in a chroot, which is not made here.
fn services(master: &str, address: &str) -> Result<String> {
    let mut text = String::new();
    let mut listening = 0;
    for line in master.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, "inet", private, unprivileged, _, rest @ ..] => {
                listening += 1;
                text += &format!("{address} inet {private} {unprivileged} n {}\n", rest.join(" "));
            }
            [name, kind @ ("unix" | "unix-dgram"), private, unprivileged, _, rest @ ..] => {
                text += &format!("{name} {kind} {private} {unprivileged} n {}\n", rest.join(" "));
            }
            // An option of the service above.
            _ => text += &format!("{line}\n"),
        }
    }
    if listening == 1 { Ok(text) } else { Err(format!("{MASTER}: {listening} services listen, and not one").into()) }
}

/// The number of a user of the system.
fn user_id(name: &str) -> Result<u32> {
    let users = fs::read_to_string(Path::new("/etc/passwd"))?;
    let user = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":x:"));
    let user = user.ok_or_else(|| format!("there is no user {name}: is postfix installed?"))?;
    Ok(user.split(':').next().unwrap_or_default().parse()?)
}
