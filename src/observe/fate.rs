//! The one door for what became of mail: each event is one structured line and one count, written here.
//!
//! `message` is a sentence that reads alone; the fields are for filters. No secret and no content ever comes here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::{error, info, warn};

use super::alarms::News;
use super::clients::Told;
use super::metrics::{Counters, Counts};
use crate::config::Method;
use crate::ids::{AccountName, ClientName, MessageId};
use crate::message::repair::Repair;
use crate::queue::record::{Claim, Shown};
use crate::route::{OWN, Origin};
use crate::schedule::lane::{Standing, Stop};
use crate::schedule::verdict::Outcome;
use crate::smtp::{Address, EnhancedStatus, ReversePath};
use crate::time::{Timestamp, spoken};

/// Writes the lines and keeps the counts.
#[derive(Debug, Default)]
pub struct Observer {
    pub(super) counters: Counters,
    pub(super) news: News,
    pub(super) told: Told,
}

/// A message was stored.
#[derive(Debug)]
pub struct Accepted<'a> {
    /// Its queue id.
    pub id: MessageId,
    /// From whom.
    pub client: &'a ClientName,
    /// From where.
    pub origin: Origin,
    /// Who has logged in.
    pub user: Option<&'a str>,
    /// From whom by its envelope.
    pub from: &'a ReversePath,
    /// To whom.
    pub to: &'a [Address],
    /// As which names, that have aliases, recipients were written.
    pub aliased: &'a [String],
    /// Its `Message-ID:`.
    pub message_id: &'a str,
    /// Octets as stored.
    pub bytes: u64,
    /// What was added or removed, in words.
    pub repairs: &'a str,
}

/// An attempt, as its lines need it.
#[derive(Debug)]
pub struct Attempted<'a> {
    /// The claim.
    pub claim: &'a Claim,
    /// The host.
    pub host: &'a str,
    /// What came of it, in a sentence.
    pub sentence: &'a str,
    /// What was repaired for the account.
    pub repairs: &'a [Repair],
    /// Attempts so far, with this one.
    pub attempts: u32,
    /// Seconds since the message was accepted.
    pub in_queue: Duration,
}

/// What an operator did, or a rule of the queue, to a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// Put on hold.
    Held,
    /// Taken off hold.
    Released,
    /// To be tried at once.
    Retried,
    /// Given up.
    Deleted,
    /// Settled as delivered.
    SettledDelivered,
    /// Settled as failed.
    SettledFailed,
}

impl Observer {
    /// The counts since the start.
    pub fn counts(&self) -> Counts {
        self.counters.snapshot()
    }

    /// A message was stored and acknowledged.
    pub fn accepted(&self, accepted: &Accepted<'_>) {
        count(&self.counters.accepted);
        let to = listed(accepted.to);
        info!(
            event = "accepted",
            queue_id = %accepted.id,
            client = %accepted.client,
            address = %accepted.origin,
            user = accepted.user,
            from = %accepted.from,
            to,
            aliased = (!accepted.aliased.is_empty()).then(|| listed(accepted.aliased)),
            recipients = accepted.to.len(),
            message_id = accepted.message_id,
            bytes = accepted.bytes,
            repairs = accepted.repairs,
            "{}: accepted from {} for {to}",
            accepted.id,
            accepted.client,
        );
    }

    /// A transaction ended, or a session could not be had.
    pub fn attempted(&self, attempted: &Attempted<'_>) {
        let claim = attempted.claim;
        let repairs: Vec<String> = attempted.repairs.iter().map(ToString::to_string).collect();
        info!(
            event = "attempted",
            queue_id = %claim.message,
            client = %claim.client,
            account = %claim.account,
            host = attempted.host,
            recipients = claim.recipients.len(),
            attempts = attempted.attempts,
            repairs = repairs.join("; "),
            "{}: tried by {}: {}",
            claim.message,
            claim.account,
            attempted.sentence,
        );
    }

    /// What became of one recipient of an attempt.
    pub fn outcome(
        &self,
        attempted: &Attempted<'_>,
        to: &Address,
        outcome: &Outcome,
        reply: &str,
        uncertain: bool,
        now: Timestamp,
    ) {
        if uncertain && !matches!(outcome, Outcome::Untried | Outcome::Failed) {
            self.uncertain(&Uncertain::of(attempted, reply, outcome), to);
        }
        if attempted.claim.client.as_str() == OWN || matches!(outcome, Outcome::Failed | Outcome::Expired) {
            self.news.ring();
        }
        match outcome {
            Outcome::Delivered => self.delivered(attempted, to, reply),
            Outcome::Deferred { until, .. } => self.deferred(attempted, to, reply, until.since(now)),
            Outcome::Failed => self.failed(attempted, to, reply),
            Outcome::Expired => self.expired(attempted, to, reply),
            Outcome::Uncertain | Outcome::Untried => {}
        }
    }

    fn delivered(&self, attempted: &Attempted<'_>, to: &Address, reply: &str) {
        count(&self.counters.delivered);
        let Attempted { claim, host, attempts, in_queue, .. } = attempted;
        let seconds = in_queue.as_secs_f64();
        info!(
            event = "delivered",
            queue_id = %claim.message, client = %claim.client, from = %claim.reverse_path, to = %to,
            account = %claim.account, host, reply, status = status(reply), attempts,
            seconds, bytes = claim.size,
            "{}: delivered to {to} by {}: {reply}", claim.message, claim.account,
        );
    }

    fn deferred(&self, attempted: &Attempted<'_>, to: &Address, reply: &str, wait: Duration) {
        count(&self.counters.deferred);
        let Attempted { claim, host, attempts, in_queue, sentence, .. } = attempted;
        info!(
            event = "deferred",
            queue_id = %claim.message, client = %claim.client, from = %claim.reverse_path, to = %to,
            account = %claim.account, host, reply, status = status(reply), attempts,
            seconds = in_queue.as_secs_f64(), bytes = claim.size, next_attempt_in = wait.as_secs(),
            "{}: put off for {to}, next attempt in {}: {sentence} The reply: {reply}", claim.message, spoken(wait),
        );
    }

    fn failed(&self, attempted: &Attempted<'_>, to: &Address, reply: &str) {
        count(&self.counters.failed);
        let Attempted { claim, host, attempts, in_queue, sentence, .. } = attempted;
        error!(
            event = "failed",
            queue_id = %claim.message, client = %claim.client, from = %claim.reverse_path, to = %to,
            account = %claim.account, host, reply, status = status(reply), attempts,
            seconds = in_queue.as_secs_f64(), bytes = claim.size,
            "{}: failed for {to}: {sentence} The reply: {reply}. It is kept for 30 days: `mailsluice queue retry {}`",
            claim.message, claim.message,
        );
    }

    fn expired(&self, attempted: &Attempted<'_>, to: &Address, reply: &str) {
        count(&self.counters.failed);
        let Attempted { claim, host, attempts, in_queue, .. } = attempted;
        error!(
            event = "expired",
            queue_id = %claim.message, client = %claim.client, from = %claim.reverse_path, to = %to,
            account = %claim.account, host, reply, status = status(reply), attempts,
            seconds = in_queue.as_secs_f64(), bytes = claim.size,
            "{}: expired for {to}: put off until it reached `queue.max_age`, last with {reply}. It is kept for 30 days: \
             `mailsluice queue retry {}`",
            claim.message, claim.message,
        );
    }

    /// Nobody knows whether the provider took it.
    pub fn uncertain(&self, uncertain: &Uncertain<'_>, to: &Address) {
        count(&self.counters.uncertain);
        let id = uncertain.id;
        let next = match uncertain.next {
            Next::Resend => "it is sent again, perhaps twice".to_owned(),
            Next::Hold => format!("run `mailsluice queue settle {id} delivered` or `… failed`"),
        };
        warn!(
            event = "uncertain",
            queue_id = %id, client = %uncertain.client, to = %to, account = %uncertain.account,
            from = uncertain.attempted.map(|it| tracing::field::display(&it.claim.reverse_path)),
            host = uncertain.attempted.map(|it| it.host), attempts = uncertain.attempted.map(|it| it.attempts),
            seconds = uncertain.attempted.map(|it| it.in_queue.as_secs_f64()),
            bytes = uncertain.attempted.map(|it| it.claim.size),
            reason = uncertain.reason, status = status(uncertain.reason),
            "{id}: nobody knows whether {to} was delivered ({}); {next}", uncertain.reason,
        );
    }

    /// An operator touched a message, of which `shown` is what is still known.
    pub fn touched(&self, id: MessageId, client: &ClientName, to: &Address, touched: Touched, shown: Option<&Shown>) {
        let (event, word) = match touched {
            Touched::Held => ("held", "put on hold"),
            Touched::Released => ("released", "taken off hold"),
            Touched::Retried => ("released", "sent on its way again"),
            Touched::Deleted => ("deleted", "deleted"),
            Touched::SettledDelivered => {
                count(&self.counters.delivered);
                ("delivered", "settled as delivered")
            }
            Touched::SettledFailed => {
                count(&self.counters.failed);
                ("failed", "settled as failed")
            }
        };
        let last = shown.and_then(|shown| shown.history.last());
        let one = shown.and_then(|shown| shown.each.iter().find(|one| one.address == to.as_str()));
        let reply = one.and_then(|one| one.reply.as_deref());
        let listed = shown.map(|shown| &shown.listed);
        info!(
            event, queue_id = %id, client = %client, to = %to, operator = true,
            from = listed.map(|listed| tracing::field::display(&listed.from)),
            account = last.map(|last| tracing::field::display(&last.account)),
            host = last.map(|last| last.host.as_str()), reply, status = reply.and_then(status),
            attempts = listed.map(|listed| listed.attempts), seconds = listed.map(|listed| listed.age_seconds),
            bytes = listed.map(|listed| listed.size),
            "{id}: {word} by an operator for {to}",
        );
    }

    /// A lane has stopped.
    pub fn lane_stopped(&self, account: &AccountName, standing: &Standing, stop: &Stop, now: Timestamp) {
        self.news.ring();
        let reply = stop.cause.reply.as_deref();
        let next_probe_in = stop.probe_at.map(|at| at.since(now).as_secs());
        let (kind, sentence) = (stop.cause.kind, &stop.cause.sentence);
        match standing {
            Standing::Resting(_) => warn!(
                event = "resting", account = %account, kind = %kind, reply, next_probe_in,
                "account {account} rests and its mail is kept: {sentence}",
            ),
            _ => {
                error!(
                    event = "paused", account = %account, kind = %kind, reply, next_probe_in,
                    "account {account} is paused and its mail is kept: {sentence}",
                );
            }
        }
    }

    /// A lane is open again.
    pub fn lane_resumed(&self, account: &AccountName) {
        self.news.ring();
        info!(event = "resumed", account = %account, "account {account} sends again");
    }

    /// Caps keep mail waiting.
    pub fn cap_reached(&self, account: &AccountName, free_in: Option<Duration>) {
        let (seconds, until) = (free_in.map(|wait| wait.as_secs_f64()), when(free_in));
        info!(event = "cap_reached", account = %account, seconds, "account {account} has sent what its caps allow; it goes on {until}");
    }

    /// A client's part of the caps keeps its mail waiting, though they have room.
    pub fn share_reached(&self, account: &AccountName, client: &ClientName, free_in: Option<Duration>) {
        let (seconds, until) = (free_in.map(|wait| wait.as_secs_f64()), when(free_in));
        info!(
            event = "share_reached",
            account = %account, client = %client, seconds,
            "client {client} has had its share of what the caps of account {account} allow; its mail goes on {until}",
        );
    }

    /// An account is opened in another way than before, since that one failed with `reply`.
    pub fn login_switched(&self, account: &AccountName, from: Method, to: Method, reply: Option<&str>) {
        count(&self.counters.login_switches);
        let (from, to) = (from.as_str(), to.as_str());
        let why = reply.map_or_else(|| format!("{to} works"), |reply| format!("{from} failed: {reply}"));
        warn!(
            event = "login_switched",
            account = %account, from, to, reply,
            "account {account} now logs in by {to} instead of {from}: {why}",
        );
    }

    /// An account gets tokens again, after an alarm that said that it does not.
    pub fn token_works(&self, account: &AccountName) {
        self.alarm_ended("token", account.as_str());
        info!(event = "token_works", account = %account, "account {account} gets tokens again");
    }

    /// What an account logs in by was mended, so that it is tried at once.
    pub fn login_mended(&self, account: &AccountName) {
        info!(
            event = "login_mended",
            account = %account,
            "a secret or the login of account {account} has changed, or a user has logged in: the account is tried at once",
        );
    }

    /// An account's host lets us connect again, so that the account is tried at once.
    pub fn host_returned(&self, account: &AccountName, host: &str) {
        info!(
            event = "host_returned",
            account = %account,
            "{host} lets us connect again: account {account} is tried at once",
        );
    }

    /// The daemon is up.
    pub fn started(&self, version: &str, waiting: u64, listeners: &str) {
        info!(
            event = "started",
            version, waiting, listeners, "mailsluice {version} listens on {listeners}; {waiting} messages wait"
        );
    }

    /// The configuration was read again.
    pub fn reloaded(&self, what: &str) {
        info!(event = "reloaded", "{what}");
    }

    /// Something in a file of others counts for nothing.
    pub fn remarked(&self, what: &str) {
        warn!(event = "remark", "{what}");
    }

    /// The daemon stops.
    pub fn stopping(&self, why: &str) {
        info!(event = "stopping", "stopping: {why}");
    }

    /// The daemon has stopped in order: nothing comes after this.
    pub fn stopped(&self) {
        info!(event = "stopped", "stopped: what was under way has ended, or is sent again after the next start");
    }
}

/// What is known of a recipient of which nobody knows whether it was delivered.
#[derive(Debug)]
pub struct Uncertain<'a> {
    /// The message.
    pub id: MessageId,
    /// Whose it is.
    pub client: &'a ClientName,
    /// By which account it was tried.
    pub account: &'a AccountName,
    /// The attempt; none where it ended with the process that made it.
    pub attempted: Option<&'a Attempted<'a>>,
    /// Why nobody knows.
    pub reason: &'a str,
    /// What happens now.
    pub next: Next,
}

/// What happens to what is uncertain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is sent again.
    Resend,
    /// It waits for a person.
    Hold,
}

impl<'a> Uncertain<'a> {
    fn of(attempted: &'a Attempted<'a>, reason: &'a str, outcome: &Outcome) -> Self {
        let claim = attempted.claim;
        let next = if *outcome == Outcome::Uncertain { Next::Hold } else { Next::Resend };
        Self {
            id: claim.message,
            client: &claim.client,
            account: &claim.account,
            attempted: Some(attempted),
            reason,
            next,
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The enhanced status that a reply holds, as text.
fn status(reply: &str) -> Option<String> {
    let (_, text) = reply.split_once(' ')?;
    EnhancedStatus::split(text).map(|(status, _)| status.to_string())
}

/// When mail goes on that caps keep waiting.
fn when(free_in: Option<Duration>) -> String {
    free_in.map_or_else(|| "once a transaction under way has ended".into(), |wait| format!("in {}", spoken(wait)))
}

/// The first few addresses and how many more.
fn listed<T: ToString>(all: &[T]) -> String {
    let shown: Vec<String> = all.iter().take(3).map(T::to_string).collect();
    match all.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
