//! One claim, from its content to its settlement.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::directory;
use super::dispatcher::{MEMORY_KIB, Shared};
use super::pool::{Pooled, dismiss};
use super::round::{Booked, LEASE, SMALL, book};
use super::upstream::{BodyKind, Extensions, Upstream};
use crate::config::{AccountConfig, Config, Destination, SmtpEndpoint};
use crate::message::outgoing::{Abilities, Letter, Rendered, Unsendable, render};
use crate::message::repair::Repair;
use crate::observe::fate::Attempted;
use crate::provider::refusal::{Class, meaning, was_idle};
use crate::queue::record::{Claim, Settled};
use crate::queue::{QueueStore, StoreError, Urgency};
use crate::schedule::attempt::{End, Obstacle, RcptResult, Step, Transcript, Trouble, TroubleKind};
use crate::schedule::lane::Change;
use crate::schedule::verdict::Report;
use crate::smtp::{Address, Envelope, Reply};

/// A claim and what is needed to serve it.
pub(super) struct Worker {
    shared: Arc<Shared>,
    config: Arc<Config>,
    /// Of the configuration.
    generation: u64,
    claim: Claim,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, config: Arc<Config>, generation: u64, claim: Claim) -> Self {
        Self { shared, config, generation, claim }
    }

    /// Delivers; `content` where it was read with the claim.
    pub(super) async fn run(self, content: Option<Vec<u8>>) {
        let work = async {
            let (report, repairs) = self.attempt(content).await;
            self.settle(&report, &repairs).await;
        };
        tokio::select! {
            () = work => {}
            never = self.keep_lease() => match never {},
        }
    }

    /// Settles the claim of a worker that broke: the message waits, as after any other trouble, and does not break the
    /// next one at once.
    pub(super) async fn run_after_panic(self) {
        let detail = "the relay itself failed on this message; please report it with the lines before";
        self.shared.observer.alarm("worker_failed", &format!("{}: {detail}", self.claim.message));
        let trouble = Trouble { step: Step::Content, kind: TroubleKind::Local, detail: detail.into() };
        let recipients = vec![RcptResult::NotAsked; self.claim.recipients.len()];
        let end = End::Stopped(Obstacle::Trouble(trouble));
        self.settle(&Report::Transacted(Transcript { recipients, end }), &[]).await;
    }

    /// Renews the lease while the transaction lives.
    async fn keep_lease(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            let claim = self.claim.clone();
            let renewal = move |store: &mut dyn QueueStore, now| store.renew(&claim, LEASE, now);
            // Whether it was ours still shows at the settlement.
            let _ = self.shared.queue.write(Urgency::Work, renewal).await;
        }
    }

    async fn attempt(&self, content: Option<Vec<u8>>) -> (Report, Vec<Repair>) {
        let Some(account) = self.config.account(&self.claim.account) else {
            // The round that made the claim read the same configuration.
            return (no_session(Step::Resolve, "the account is not in the configuration any more".into()), Vec::new());
        };
        let kib = u32::try_from(self.claim.size / 1024 + 1).unwrap_or(u32::MAX).min(MEMORY_KIB);
        let _memory = Arc::clone(&self.shared.memory).acquire_many_owned(kib).await;
        let content = match content {
            Some(content) => content,
            None => match self.read().await {
                Ok(content) => content,
                Err(unsendable) => return (unsendable, Vec::new()),
            },
        };
        match &account.destination {
            Destination::Smtp(endpoint) => self.send(account, endpoint, content).await,
            Destination::Directory(path) => self.write(account, path, content).await,
        }
    }

    async fn read(&self) -> Result<Vec<u8>, Report> {
        let message = self.claim.message;
        match self.shared.queue.read(move |reader, _| reader.content(message)).await {
            Ok(Some(content)) => Ok(content),
            Ok(None) => Err(Report::Unsendable("its content is gone from the queue".into())),
            // Of one message: the next probe of the lane must not stumble over the same one.
            Err(StoreError::Damaged(what)) => {
                let sentence = format!(
                    "its content cannot be read, since the queue's file is damaged there ({what}): restart the daemon, which says what \
                     can be saved, and how"
                );
                self.shared.observer.alarm_begun("queue_damaged", "", &format!("message {message}: {sentence}"));
                Err(Report::Unsendable(sentence))
            }
            Err(error) => Err(Report::Unsendable(format!("its content cannot be read: {error}"))),
        }
    }

    async fn write(&self, account: &AccountConfig, path: &Path, content: Vec<u8>) -> (Report, Vec<Repair>) {
        let host = Extensions { eight_bit_mime: true, smtp_utf8: true, ..Extensions::default() };
        let Rendered { envelope, content, repairs, .. } = match self.render(account, content, &host).await {
            Ok(rendered) => rendered,
            Err(unsendable) => return (Report::Unsendable(unsendable.to_string()), Vec::new()),
        };
        let transcript = directory::deliver(path, self.claim.message, &envelope, &content).await;
        // A directory that cannot be written is no message's fault: nothing was begun.
        match transcript.end {
            End::Stopped(obstacle) => (Report::NoSession { obstacle, refused_logins: 0 }, repairs),
            _ => (Report::Transacted(transcript), repairs),
        }
    }

    async fn send(&self, account: &AccountConfig, endpoint: &SmtpEndpoint, content: Vec<u8>) -> (Report, Vec<Repair>) {
        let now = self.shared.queue.now();
        let (idle, retired) = self.shared.pool.take(&account.name, &account.login_key(), self.generation, now);
        dismiss(retired);
        let reused = idle.is_some();
        let mut pooled = match idle {
            Some(pooled) => pooled,
            None => match self.open(account, endpoint).await {
                Ok(pooled) => pooled,
                Err(obstacle) => return (self.no_session(obstacle), Vec::new()),
            },
        };
        let rendered = match self.render(account, content, pooled.upstream.extensions()).await {
            Ok(rendered) => rendered,
            Err(unsendable) => {
                self.give_back(account, pooled);
                return (Report::Unsendable(unsendable.to_string()), Vec::new());
            }
        };
        let body = BodyKind { eight_bit: rendered.eight_bit, smtp_utf8: rendered.smtp_utf8 };
        let mut transcript = pooled.upstream.transact(&rendered.envelope, &rendered.content, body).await;
        if reused && was_stale(account, &transcript) {
            // The provider had closed the connection while it was idle: that is no attempt.
            drop(pooled);
            pooled = match self.open(account, endpoint).await {
                Ok(pooled) => pooled,
                Err(obstacle) => return (self.no_session(obstacle), rendered.repairs),
            };
            transcript = pooled.upstream.transact(&rendered.envelope, &rendered.content, body).await;
        }
        self.give_back(account, pooled);
        (Report::Transacted(with_unwritable(transcript, &self.claim, &rendered)), rendered.repairs)
    }

    fn no_session(&self, obstacle: Obstacle) -> Report {
        Report::NoSession { obstacle, refused_logins: self.shared.logins.take_refusals(&self.claim.account) }
    }

    async fn open(&self, account: &AccountConfig, endpoint: &SmtpEndpoint) -> Result<Pooled, Obstacle> {
        let login = account.login_key();
        let slot = self.shared.pool.slot(&login, account.caps.connections).await;
        let upstream = Upstream::open(account, endpoint, &self.shared.logins, &self.shared.timeouts).await?;
        let now = self.shared.queue.now();
        Ok(Pooled {
            upstream,
            slot,
            login,
            generation: self.generation,
            opened: now,
            idle_since: now,
            messages: 0,
            keep: endpoint.keep,
        })
    }

    fn give_back(&self, account: &AccountConfig, mut pooled: Pooled) {
        pooled.messages += 1;
        pooled.idle_since = self.shared.queue.now();
        dismiss(self.shared.pool.put(&account.name, pooled).into_iter().collect());
    }

    /// On a thread that may compute for a while, unless it is soon done: headers of strangers are parsed, bodies encoded.
    async fn render(
        &self,
        account: &AccountConfig,
        content: Vec<u8>,
        host: &Extensions,
    ) -> Result<Rendered, Unsendable> {
        let limit = account.caps.message_size;
        let size = host.size.filter(|size| *size > 0).map_or(limit, |size| size.min(limit));
        let recipients = self.claim.recipients.iter().map(|recipient| recipient.address.clone()).collect();
        let envelope = Envelope { reverse_path: self.claim.reverse_path.clone(), recipients };
        let abilities = Abilities { eight_bit_mime: host.eight_bit_mime, smtp_utf8: host.smtp_utf8, size };
        if content.len() <= SMALL {
            return render(Letter { content, envelope }, &account.sender, &account.fields, abilities);
        }
        let (sender, fields) = (account.sender.clone(), account.fields.clone());
        let wishes = move |letter| render(letter, &sender, &fields, abilities);
        let rendering = tokio::task::spawn_blocking(move || wishes(Letter { content, envelope }));
        match rendering.await {
            Ok(rendered) => rendered,
            // The dispatcher sees to workers that panic.
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }

    /// Writes what came of it, however long that takes: a worker that cannot write its outcome keeps it, and nothing
    /// more is claimed meanwhile. What comes next is claimed in the same transaction: the connection is free by then.
    async fn settle(&self, report: &Report, repairs: &[Repair]) {
        let jitter = fastrand::f64();
        let (mut planning, mut waiting) = (true, false);
        let written = loop {
            let (shared, config) = (Arc::clone(&self.shared), Arc::clone(&self.config));
            let (claim, report) = (self.claim.clone(), report.clone());
            let work = move |store: &mut dyn QueueStore, now| {
                let booked = book(store, &config, &claim, &report, now, jitter)?;
                let plans = planning && shared.unwritten.load(Ordering::Relaxed) == 0;
                let planned = if plans { shared.planner.round(store, now)? } else { None };
                Ok((booked, planned))
            };
            match self.shared.queue.write(Urgency::Work, work).await {
                // There may be room for what came of it, and none for more.
                Err(StoreError::Full(_)) if planning => planning = false,
                Err(StoreError::Full(full)) => {
                    if !waiting {
                        waiting = true;
                        self.shared.unwritten.fetch_add(1, Ordering::Relaxed);
                        self.shared.observer.alarm_begun(
                            "disk_full",
                            "outcomes",
                            &format!("{full}: outcomes cannot be written, nothing more is sent until they can"),
                        );
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                other => break other,
            }
        };
        if waiting {
            let before = self.shared.unwritten.fetch_sub(1, Ordering::Relaxed);
            if before == 1 {
                self.shared.observer.alarm_ended("disk_full", "outcomes");
            }
        }
        // A store that has failed ends the process; the lease is reclaimed at the next start.
        let Ok((booked, planned)) = written else { return self.shared.wake.notify_one() };
        match planned {
            // Nobody listens any more where the dispatcher is gone; the leases are reclaimed at the next start.
            Some(planned) => drop(self.shared.plans.send(planned)),
            None => self.shared.wake.notify_one(),
        }
        self.tell(&booked, repairs);
    }

    fn tell(&self, booked: &Booked, repairs: &[Repair]) {
        let (now, observer) = (self.shared.queue.now(), &self.shared.observer);
        let Settled::Written { attempts, .. } = booked.settled else { return };
        let host = self.config.account(&self.claim.account).map_or("", AccountConfig::host);
        let attempted = Attempted {
            claim: &self.claim,
            host,
            sentence: &booked.verdict.sentence,
            repairs,
            attempts,
            in_queue: now.since(self.claim.accepted),
        };
        observer.attempted(&attempted);
        for (recipient, (outcome, reply)) in self.claim.recipients.iter().zip(&booked.verdict.outcomes) {
            observer.outcome(&attempted, &recipient.address, outcome, reply, booked.verdict.uncertain, now);
        }
        match (booked.change, booked.lane.stop()) {
            (Change::Stopped, Some(stop)) => {
                observer.lane_stopped(&self.claim.account, &booked.lane.standing, stop, now)
            }
            (Change::Resumed, _) => observer.lane_resumed(&self.claim.account),
            _ => {}
        }
    }
}

/// Whether nothing was said to us on a connection but that it is closed.
fn was_stale(account: &AccountConfig, transcript: &Transcript) -> bool {
    match &transcript.end {
        End::Stopped(Obstacle::Trouble(trouble)) => trouble.step == Step::Mail && trouble.kind == TroubleKind::HungUp,
        End::Stopped(Obstacle::Refused { step: Step::Mail, reply }) => {
            was_idle(reply) || reply.code == 421 && meaning(account.provider, Step::Mail, reply).class == Class::Connect
        }
        _ => false,
    }
}

/// The transcript for all recipients of the claim: those whose addresses cannot be written to this host were left out of
/// the transaction and count as refused by us.
fn with_unwritable(transcript: Transcript, claim: &Claim, rendered: &Rendered) -> Transcript {
    if rendered.unwritable.is_empty() {
        return transcript;
    }
    let refusal = || {
        RcptResult::Refused(Reply::new(
            553,
            "5.6.7 The provider does not take addresses beyond ASCII (it lacks SMTPUTF8)",
        ))
    };
    let mut results = transcript.recipients.into_iter();
    let unwritable = |address: &Address| rendered.unwritable.contains(address);
    let recipients = claim
        .recipients
        .iter()
        .map(|recipient| match unwritable(&recipient.address) {
            true => refusal(),
            false => results.next().unwrap_or(RcptResult::NotAsked),
        })
        .collect();
    Transcript { recipients, end: transcript.end }
}

fn no_session(step: Step, detail: String) -> Report {
    let obstacle = Obstacle::Trouble(Trouble { step, kind: TroubleKind::Connect, detail });
    Report::NoSession { obstacle, refused_logins: 0 }
}
