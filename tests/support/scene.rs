//! A provider and the relay in front of it: the sandbox in this process, the relay as a process of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mailsluice::sandbox::{Caps, Delivery, KeepContent, Sandbox, SandboxConfig, Service};
use secrecy::ExposeSecret;
use tokio::runtime::Runtime;

use super::client::{Numbered, offer};
use super::daemon::{Daemon, Site};

/// What a relay's `[[account]]` and the provider behind it are.
pub(crate) struct Script<'a> {
    pub(crate) sandbox: SandboxConfig,
    /// How the account logs in.
    pub(crate) login: Login,
    /// The table of the account's `caps`.
    pub(crate) caps: &'a str,
    /// Further keys of the account.
    pub(crate) account: &'a str,
    /// Further keys of the queue.
    pub(crate) queue: &'a str,
}

/// By what an account logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Password,
    /// Tokens of the application's own, for its secret.
    Application,
    /// Tokens of the mailbox's user, for a refresh token.
    Refresh,
}

impl Default for Script<'_> {
    /// No caps but three connections, and a provider that keeps what it takes.
    fn default() -> Self {
        let sandbox = SandboxConfig { caps: Caps::unlimited(), content: KeepContent::Keep, ..SandboxConfig::default() };
        let caps = "messages = [], recipients = []";
        Self { sandbox, login: Login::Password, caps, account: "", queue: "" }
    }
}

/// A provider and a relay's folder.
pub(crate) struct Scene {
    pub(crate) sandbox: Sandbox,
    pub(crate) site: Site,
    /// Where the relay listens, however often it is started.
    pub(crate) relay: SocketAddr,
    pub(crate) runtime: Runtime,
}

impl Scene {
    pub(crate) fn set(script: Script<'_>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let relay = free_address();
        let settings = script.sandbox.clone();
        let Script { sandbox, login, caps, account, queue } = script;
        let sandbox = runtime.block_on(Sandbox::start(sandbox)).unwrap();
        let port = sandbox.address().port();
        let (user, service) = (&settings.user, settings.profile.service);
        let provider = if service == Service::Google { "smtp" } else { service.name() };
        // Where the user is no address, mail needs a sender.
        let from = if user.contains('@') { "" } else { "from = \"shop@example.com\"" };
        let secret = |name: &str| format!("{{ file = \"SITE/{name}\" }}");
        let password =
            if login == Login::Password { format!("password = {}", secret("password")) } else { String::new() };
        let tokens = format!(
            "[account.oauth]\ntoken_url = \"{}\"\nclient_id = \"{}\"",
            sandbox.token_url(),
            settings.tokens.client_id
        );
        let oauth = match login {
            Login::Password => String::new(),
            Login::Application => format!("{tokens}\nclient_secret = {}", secret("client_secret")),
            Login::Refresh => format!("{tokens}\nrefresh_token = {}", secret("refresh_token")),
        };
        let config = format!(
            "[queue]\npath = \"SITE/queue.db\"\nmin_free = \"1MiB\"\nephemeral = true\n{queue}\n\
             [[listener]]\naddress = \"{relay}\"\nhostname = \"relay.example.com\"\n\
             [[account]]\nname = \"m365\"\nprovider = \"{provider}\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             ca_file = \"SITE/ca.pem\"\nusername = \"{user}\"\n{password}\n{from}\n\
             caps = {{ {caps} }}\n{account}\n{oauth}\n"
        );
        let site = Site::new(&config, settings.password.expose_secret());
        site.add_secret("client_secret", settings.tokens.client_secret.expose_secret());
        site.add_secret("refresh_token", sandbox.issue_refresh_token().expose_secret());
        std::fs::write(site.path().join("ca.pem"), sandbox.ca_pem()).unwrap();
        Self { sandbox, site, relay, runtime }
    }

    pub(crate) fn serve(&self) -> Daemon {
        self.site.serve()
    }

    /// Offers these messages from five clients at once; all must be accepted.
    pub(crate) fn offer(&self, messages: std::ops::Range<u32>) {
        self.runtime.block_on(offer(self.relay, 5, messages.map(Numbered)));
    }

    /// Waits, for a minute at most, until the provider has taken so many.
    pub(crate) fn wait_for(&self, deliveries: usize) -> Vec<Arc<Delivery>> {
        let waiting = async { tokio::time::timeout(MINUTE, self.sandbox.wait_for(deliveries)).await };
        self.runtime.block_on(waiting).unwrap_or_else(|_| {
            panic!("of {deliveries} messages the provider took these in a minute: {:?}", self.sandbox.counters())
        })
    }

    /// Runs a command that must succeed; what it printed.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let output = self.site.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The shared object that gives a process another clock (Debian's `faketime`).
pub(crate) fn in_1970(command: &mut Command) {
    let library = std::fs::read_dir("/usr/lib").unwrap().filter_map(Result::ok);
    let library = library.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    command
        .env("LD_PRELOAD", library.expect("libfaketime is not installed: apt-get install faketime"))
        .env("FAKETIME", "@1970-01-01 00:01:00")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1")
        .env("TZ", "UTC");
}

/// An address of the loopback network that is this scene's alone: while its relay is down, nobody else can come to
/// listen there, and no client can connect to itself.
fn free_address() -> SocketAddr {
    static SCENES: AtomicU16 = AtomicU16::new(0);
    let [high, low] = SCENES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = 1 + u8::try_from(std::process::id() % 200).unwrap();
    TcpListener::bind((Ipv4Addr::new(127, process, high, low.max(1)), 0)).unwrap().local_addr().unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);
