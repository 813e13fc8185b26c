//! The relay as a process, in front of a sandbox of its own, and what reads the mail that comes out.

use std::future::Future;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mailsluice::sandbox::{Caps, Delivery, KeepContent, Sandbox, SandboxConfig, Senders};
use mailsluice::smtp::Address;
use tokio::time::timeout;

use super::daemon::{Daemon, Site};

/// What every site of these tests begins with: a queue, and free ports of both families.
pub(crate) const HEAD: &str = r#"
[queue]
path = "SITE/queue.db"
min_free = "0B"
ephemeral = true

[[listener]]
address = ["127.0.0.1:0", "[::1]:0"]
hostname = "relay.example"
"#;

/// The password of the sandbox's user, which is also in the file `SITE/password`.
pub(crate) const PASSWORD: &str = "open-sesame";

/// A sandbox and a site whose configuration points at it.
pub(crate) struct Upstream {
    pub(crate) sandbox: Sandbox,
    pub(crate) site: Site,
}

impl Upstream {
    /// Starts the sandbox; `more` are further lines of the account's table.
    pub(crate) async fn start(config: SandboxConfig, more: &str) -> Self {
        let sandbox = Sandbox::start(config).await.unwrap();
        let site = Site::new(&format!("{HEAD}{}", account(&sandbox, more)), PASSWORD);
        std::fs::write(site.path().join("ca.pem"), sandbox.ca_pem()).unwrap();
        Self { sandbox, site }
    }

    /// Writes another configuration: `head` in place of [`HEAD`].
    pub(crate) fn configure(&self, head: &str, more: &str) {
        self.site.configure(&format!("{head}{}", account(&self.sandbox, more)));
    }

    /// What the sandbox has stored, once it is so much.
    pub(crate) async fn wait_for(&self, deliveries: usize) -> Vec<Arc<Delivery>> {
        within(&format!("{deliveries} deliveries"), self.sandbox.wait_for(deliveries)).await
    }
}

/// The table of an account at a sandbox.
pub(crate) fn account(sandbox: &Sandbox, more: &str) -> String {
    format!(
        r#"
[[account]]
name = "m365"
provider = "microsoft365"
host = "127.0.0.1"
port = {}
ca_file = "SITE/ca.pem"
username = "webmaster@example.com"
password = {{ file = "SITE/password" }}
{more}
"#,
        sandbox.address().port()
    )
}

/// The relay does not count messages: for tests of something else.
pub(crate) const WITHOUT_RATES: &str = "caps = { messages = [], recipients = [] }";

/// A mailbox without caps on rates that still sends as its user alone, and keeps what comes.
pub(crate) fn mailbox() -> SandboxConfig {
    SandboxConfig {
        content: KeepContent::Keep,
        caps: Caps { senders: Senders::Mailbox, ..Caps::unlimited() },
        ..SandboxConfig::default()
    }
}

/// Waits for a minute at most.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.unwrap_or_else(|_| panic!("no {what} within a minute"))
}

/// Both addresses of a daemon: 127.0.0.1, then ::1.
pub(crate) fn addresses(daemon: &Daemon) -> [SocketAddr; 2] {
    let started = daemon.wait_for("started", |line| line["event"] == "started");
    let listeners: Vec<SocketAddr> =
        started["listeners"].as_str().unwrap().split(", ").map(|address| address.parse().unwrap()).collect();
    listeners.try_into().unwrap()
}

/// A port that nobody has on either loopback address, below those that the system gives out by itself (from 32768 on), so
/// that no connection of another test takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    let free = |port: &u16| ["127.0.0.1", "::1"].iter().all(|host| TcpListener::bind((*host, *port)).is_ok());
    std::iter::repeat_with(|| fastrand::u16(10_000..32_768)).find(free).unwrap()
}

/// Runs a program of a Debian package, with `input` on its standard input; fails where it is missing or fails.
pub(crate) fn run(package: &str, mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{command:?} is missing: run `apt-get install {package}`"),
        _ => panic!("{command:?}: {error}"),
    });
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || {
        // A program that ends without reading it all is judged by its exit code.
        let _ = std::io::Write::write_all(&mut stdin, &input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let (told, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{told}\n{complained}", output.status);
    output
}

/// Hands a message to a relay by curl; the octets arrive as they are.
pub(crate) fn send(relay: SocketAddr, from: &str, to: &[&str], message: &[u8]) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60", "--mail-from", from]);
    for to in to {
        curl.args(["--mail-rcpt", to]);
    }
    curl.args(["--upload-file", "-", &format!("smtp://{relay}/client.example")]);
    run("curl", curl, message);
}

/// A message as it arrived.
pub(crate) struct Arrived {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// The header block, unfolded.
    pub(crate) header: String,
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    pub(crate) fn new(delivery: &Delivery) -> Self {
        Self {
            from: delivery.envelope.reverse_path.to_string(),
            to: delivery.envelope.recipients.iter().map(|address| address.as_str().to_owned()).collect(),
            ..Self::of(delivery.content.as_ref().expect("the sandbox keeps contents"))
        }
    }

    /// From content alone, with no envelope.
    pub(crate) fn of(content: &[u8]) -> Self {
        let end = content.windows(4).position(|octets| octets == b"\r\n\r\n").expect("an empty line");
        let header = String::from_utf8(content[..end + 2].to_vec()).expect("a header in UTF-8");
        let header = header.replace("\r\n ", " ").replace("\r\n\t", " ");
        Self { from: String::new(), to: vec![], header, body: content[end + 4..].to_vec() }
    }

    /// The bodies of all fields of this name, the topmost first.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.header.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, text)| text.trim()).collect()
    }

    /// The body of the only field of this name.
    pub(crate) fn field(&self, name: &str) -> &str {
        let fields = self.fields(name);
        assert_eq!(fields.len(), 1, "{name} in\n{}", self.header);
        fields[0]
    }
}

/// The delivery whose Subject this is.
pub(crate) fn with_subject(deliveries: &[Arc<Delivery>], subject: &str) -> Arrived {
    let found: Vec<_> = deliveries.iter().filter(|one| one.subject.as_deref() == Some(subject)).collect();
    assert_eq!(found.len(), 1, "deliveries of {subject:?}");
    Arrived::new(found[0])
}

/// How often each recipient got it, over several deliveries, sorted.
pub(crate) fn recipients(deliveries: &[Arc<Delivery>]) -> Vec<String> {
    let all = deliveries.iter().flat_map(|delivery| &delivery.envelope.recipients);
    let mut all: Vec<String> = all.map(Address::as_str).map(str::to_owned).collect();
    all.sort();
    all
}
