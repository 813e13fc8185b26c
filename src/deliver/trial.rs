//! Trials of accounts: all that a delivery does, by the same code, but for the message. What a trial meets says nothing to
//! the account's lane; to a provider a trial is a login like any other.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::directory;
use super::dispatcher::Shared;
use super::extensions::Extensions;
use super::opening::Opening;
use super::pool::dismiss;
use super::timeouts::Timeouts;
use super::witness::{Sight, Witness};
use crate::config::certificate::Certificate;
use crate::config::{AccountConfig, Destination, SmtpEndpoint};
use crate::ids::AccountName;
use crate::provider::Provider;
use crate::provider::refusal::meaning;
use crate::schedule::attempt::{Obstacle, Step, Trouble};
use crate::schedule::trial::{Failure, ShownCertificate, Trial};
use crate::smtp::ReversePath;
use crate::time::{spoken, wall_clock};
use crate::tokens::Logins;

/// Tries accounts out.
pub struct Trials {
    logins: Arc<Logins>,
    /// Whose slots are taken; none where nothing else sends.
    beside: Option<Arc<Shared>>,
    timeouts: Timeouts,
}

impl Trials {
    /// Trials where nothing else sends.
    pub fn alone(logins: Arc<Logins>) -> Self {
        Self { logins, beside: None, timeouts: Timeouts::of_a_trial() }
    }

    pub(super) fn beside(shared: Arc<Shared>) -> Self {
        Self { logins: Arc::clone(&shared.logins), beside: Some(shared), timeouts: Timeouts::of_a_trial() }
    }

    /// Tries the account out; takes less than five minutes.
    pub async fn run(&self, account: &AccountConfig) -> Trial {
        let notes = Notes(Mutex::new(Trial::of(account.name.clone(), account.host())));
        let trying = async {
            match &account.destination {
                Destination::Smtp(endpoint) => self.smarthost(account, endpoint, &notes).await,
                Destination::Directory(path) => write(path, &notes).await,
            }
        };
        let failure = match tokio::time::timeout(LIMIT, trying).await {
            Ok(tried) => tried.err(),
            Err(_) => Some(notes.took_too_long()),
        };
        Trial { failure, ..notes.0.into_inner().unwrap_or_else(PoisonError::into_inner) }
    }

    async fn smarthost(&self, account: &AccountConfig, endpoint: &SmtpEndpoint, notes: &Notes) -> Result<(), Failure> {
        let failed = |obstacle| explained(account.provider, &account.name, obstacle);
        let slot = self.slot(account).await?;
        let opening = Opening { account, endpoint, logins: &self.logins, timeouts: &self.timeouts, witness: notes };
        let mut upstream = opening.open().await.map_err(failed)?;
        let sender = account.sender.from.clone().map_or(ReversePath::Null, ReversePath::Address);
        let reply = upstream.try_sender(&sender).await.map_err(failed)?;
        notes.pass(Step::Mail, format!("{sender} may send: {reply}; RSET"));
        upstream.quit().await;
        drop(slot);
        let login = endpoint.login.as_ref();
        if let Some((first, said)) = login.and_then(|login| self.logins.stood_in_for(&account.name, login)) {
            let first = first.as_str();
            let warning = format!("the account is open, but not by {first}, which should go first: {said}");
            notes.with(|trial| trial.warning = Some(warning));
        }
        Ok(())
    }

    /// One of the connections that the login may have.
    async fn slot(&self, account: &AccountConfig) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let Some(shared) = &self.beside else { return Ok(None) };
        let (login, connections) = (account.login_key(), account.caps.connections);
        let mut waiting = pin!(tokio::time::timeout(SLOT, shared.pool.slot(&login, connections)));
        let mut tick = tokio::time::interval(ROOM_MADE_EVERY);
        let slot = loop {
            tokio::select! {
                slot = &mut waiting => break slot,
                // A connection that is kept for the next message has a slot too.
                _ = tick.tick() => dismiss(shared.pool.make_room(&login, connections).into_iter().collect()),
            }
        };
        slot.map(Some).map_err(|_| Failure {
            step: Step::Connect,
            sentence: format!(
                "All {connections} connections that the account may have were busy with mail for {}: it works; try again \
                 later, or see `mailsluice account list`.",
                spoken(SLOT)
            ),
            reply: None,
        })
    }
}

async fn write(path: &Path, notes: &Notes) -> Result<(), Failure> {
    let (shown, path) = (path.display().to_string(), path.to_owned());
    let tried = tokio::task::spawn_blocking(move || directory::try_out(&path)).await;
    let failure = |sentence| Failure { step: Step::Content, sentence, reply: None };
    match tried {
        Ok(Ok(())) => {
            notes.pass(Step::Content, format!("a file was written to {shown} and removed"));
            Ok(())
        }
        Ok(Err(trouble)) => Err(failure(trouble.detail)),
        Err(error) => Err(failure(error.to_string())),
    }
}

fn explained(provider: Provider, account: &AccountName, obstacle: Obstacle) -> Failure {
    match obstacle {
        Obstacle::Refused { step, reply } => {
            let sentence = meaning(provider, step, &reply).told_of(account);
            Failure { step, sentence, reply: Some(reply.to_string()) }
        }
        Obstacle::Trouble(Trouble { step, detail, .. }) => Failure { step, sentence: detail, reply: None },
    }
}

/// The trial so far.
struct Notes(Mutex<Trial>);

impl Notes {
    fn pass(&self, step: Step, seen: impl Into<String>) {
        self.with(|trial| trial.pass(step, seen));
    }

    fn with<T>(&self, note: impl FnOnce(&mut Trial) -> T) -> T {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn took_too_long(&self) -> Failure {
        let step = self.with(|trial| trial.passed.last().map_or(Step::Resolve, |passed| passed.step));
        let sentence = format!("The trial took more than {}; this was the last step that passed.", spoken(LIMIT));
        Failure { step, sentence, reply: None }
    }

    fn encrypted(&self, connection: &rustls::ClientConnection) {
        let version = match connection.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
            other => format!("{other:?}"),
        };
        let cipher = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
        let now = wall_clock();
        let chain = connection.peer_certificates().unwrap_or_default();
        let chain: Vec<ShownCertificate> = chain
            .iter()
            .filter_map(|der| Certificate::parse(der))
            .map(|certificate| ShownCertificate {
                days_left: certificate.days_left(now),
                ends: certificate.ends.to_string().chars().take("2027-03-01".len()).collect(),
                subject: certificate.subject,
                issuer: certificate.issuer,
            })
            .collect();
        let ends = chain.first().map(|own| format!("; the certificate is trusted and ends in {} days", own.days_left));
        let seen = format!("{version}, {}{}", cipher.unwrap_or_default(), ends.unwrap_or_default());
        self.with(|trial| trial.certificates = chain);
        self.pass(Step::Tls, seen);
    }
}

impl Witness for Notes {
    fn saw(&self, sight: Sight<'_>) {
        match sight {
            Sight::Token => self.pass(Step::Token, "the identity provider gave a token"),
            Sight::Addresses(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
                self.pass(Step::Resolve, addresses.join(", "));
            }
            Sight::Connected(address) => self.pass(Step::Connect, format!("connected to {address}")),
            Sight::Greeting(reply) => self.pass(Step::Greeting, reply.to_string()),
            Sight::Encrypted(connection) => self.encrypted(connection),
            Sight::Offered(extensions) => self.pass(Step::Ehlo, offer(extensions)),
            Sight::LoggedIn(mechanism, reply) => self.pass(Step::Auth, format!("{mechanism}: {reply}")),
            Sight::Fallen(method, said) => {
                self.pass(Step::Auth, format!("not by {}, so the other method is tried: {said}", method.as_str()));
            }
        }
    }
}

/// What the host offers, as EHLO names it.
fn offer(extensions: &Extensions) -> String {
    let Extensions { eight_bit_mime, smtp_utf8, pipelining, size, start_tls, auth } = extensions;
    let mut offered = Vec::new();
    offered.extend(size.map(|size| if size == u64::MAX { "SIZE".to_owned() } else { format!("SIZE {size}") }));
    let named =
        [(pipelining, "PIPELINING"), (eight_bit_mime, "8BITMIME"), (smtp_utf8, "SMTPUTF8"), (start_tls, "STARTTLS")];
    offered.extend(named.into_iter().filter(|(offers, _)| **offers).map(|(_, name)| name.to_owned()));
    offered.extend((!auth.is_empty()).then(|| format!("AUTH {}", auth.join(" "))));
    if offered.is_empty() { "offers nothing".into() } else { format!("offers {}", offered.join(", ")) }
}

/// Less than a command waits for its answer.
const LIMIT: Duration = Duration::from_secs(280);
/// How often a trial that waits for a slot looks for an idle connection in its place.
const ROOM_MADE_EVERY: Duration = Duration::from_millis(200);
/// How long a trial waits until mail leaves it a connection.
const SLOT: Duration = Duration::from_secs(60);
