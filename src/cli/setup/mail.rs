//! The test mail of setup: through the daemon where one runs, else through a queue of our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::output::say;
use super::super::reach::unexpected;
use super::super::{Failure, runtime};
use crate::app::custody::make_queue_folder;
use crate::app::errand::{Errand, Purpose};
use crate::config::Config;
use crate::config::secret::quoted;
use crate::control::desk::Desk;
use crate::control::request::{Answer, Request};
use crate::control::{client, socket_path};
use crate::ids::MessageId;
use crate::queue::record::{Fate, Shown};
use crate::smtp::Address;
use crate::time::spoken;

/// Where the test mail is handed in.
pub(super) struct Counter<'a> {
    config: &'a Path,
    settings: &'a Config,
    /// The daemon's socket, where a daemon answers.
    daemon: Option<PathBuf>,
}

impl<'a> Counter<'a> {
    /// Finds out whether a daemon runs with the queue of these settings.
    pub(super) fn at(config: &'a Path, settings: &'a Config) -> Result<Self, Failure> {
        let socket = socket_path(&settings.queue.path);
        let answered = client::ask(&socket, &Request::Stats).map_err(|error| Failure::Said(error.to_string()))?;
        Ok(Self { config, settings, daemon: answered.map(|_| socket) })
    }

    /// Lets a daemon that runs read the new configuration.
    pub(super) fn take_over(&self) -> Result<(), Failure> {
        let Some(socket) = &self.daemon else { return Ok(()) };
        match client::ask(socket, &Request::Reload) {
            Ok(Some(Answer::Reloaded(said))) => say!("the daemon runs: {said}"),
            Ok(Some(Answer::Refused(why))) => Err(Failure::Said(format!(
                "the daemon runs and does not take the new configuration: {why}\n\
                 restart it (systemctl restart mailsluice), then: mailsluice --config {} doctor",
                quoted(self.config)
            ))),
            Ok(_) => Err(Failure::Said("the daemon answered something else than was asked: restart it".into())),
            Err(error) => Err(Failure::Said(error.to_string())),
        }
    }

    /// Sends a test mail and waits until it has a fate.
    pub(super) fn send(&self, to: &Address) -> Result<(), Failure> {
        let runtime = runtime()?;
        let sent = match &self.daemon {
            Some(socket) => runtime.block_on(self.follow(to, async |request| by_daemon(socket, request).await)),
            None => self.alone(&runtime, to),
        };
        runtime.shutdown_timeout(Duration::from_secs(1));
        sent
    }

    /// With a queue and a dispatcher of our own.
    fn alone(&self, runtime: &tokio::runtime::Runtime, to: &Address) -> Result<(), Failure> {
        let database = &self.settings.queue.path;
        make_queue_folder(database).map_err(|error| {
            Failure::Said(format!("the folder of the queue {} cannot be made: {error}", database.display()))
        })?;
        runtime.block_on(async {
            let errand = Errand::begin(self.settings, Purpose::Change)?;
            let asking = async |desk: &Desk| self.follow(to, async |request| Ok(desk.answer(request).await)).await;
            errand.sending(asking).await
        })
    }

    /// Hands the mail in and asks after it.
    async fn follow(&self, to: &Address, ask: impl AsyncFn(Request) -> Result<Answer, Failure>) -> Result<(), Failure> {
        let id = match ask(Request::TestMail { from: None, to: to.clone() }).await? {
            Answer::Queued(id) => id,
            Answer::Refused(why) => return Err(Failure::Said(format!("the test mail was not taken: {why}"))),
            _ => return Err(unexpected()),
        };
        say!("a test mail to {to} is in the queue as {id}")?;
        for _ in 0..LOOKS {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let Answer::Shown(shown) = ask(Request::Show(id)).await? else { return Err(unexpected()) };
            if let Some(told) = shown.and_then(|shown| self.fate(&shown)) {
                return told;
            }
            let Answer::Accounts(accounts) = ask(Request::Accounts).await? else { return Err(unexpected()) };
            let stopped = accounts.iter().find(|account| account.standing != "open");
            if let Some(cause) = stopped.and_then(|account| account.cause.as_ref()) {
                let reply = stopped.and_then(|account| account.reply.as_deref()).unwrap_or("nothing");
                return Err(self.kept(id, &format!("{cause} The provider said: {reply}")));
            }
        }
        Err(self.kept(id, &format!("it was not delivered within {}", spoken(BETWEEN_LOOKS * LOOKS))))
    }

    /// What to say of a message that has one; nothing yet of one that has not.
    fn fate(&self, shown: &Shown) -> Option<Result<(), Failure>> {
        let id = shown.listed.queue_id;
        let reply = shown.listed.last_reply.clone().unwrap_or_default();
        match shown.listed.fate {
            Fate::Delivered => Some(say!(
                "delivered: the provider accepted it ({reply}). Look into the mailbox; what is refused after that comes back \
                 to the sending mailbox"
            )),
            Fate::Waiting if shown.listed.attempts > 0 => Some(Err(self.kept(id, &reply))),
            Fate::Waiting | Fate::Sending => None,
            fate => Some(Err(Failure::Said(format!("the test mail is {}: {reply}", fate.as_str())))),
        }
    }

    fn kept(&self, id: MessageId, why: &str) -> Failure {
        let config = quoted(self.config);
        Failure::Said(format!(
            "the test mail waits: {why}\n\
             It stays in the queue and is tried again by the daemon. Look: mailsluice --config {config} queue show {id}"
        ))
    }
}

async fn by_daemon(socket: &Path, request: Request) -> Result<Answer, Failure> {
    let socket = socket.to_owned();
    let asked = tokio::task::spawn_blocking(move || client::ask(&socket, &request)).await;
    let answered = asked.map_err(|error| Failure::Said(error.to_string()))?;
    let stopped = || Failure::Said("the daemon has stopped meanwhile: see its log".into());
    answered.map_err(|error| Failure::Said(error.to_string()))?.ok_or_else(stopped)
}

const BETWEEN_LOOKS: Duration = Duration::from_millis(250);
/// A minute of looks.
const LOOKS: u32 = 240;
