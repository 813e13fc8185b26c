//! Reports of messages that have failed. A message is due from the settlement that let it fail; its report enters the queue
//! in the transaction that says it is reported, so that a crash neither loses nor doubles it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::letters::{own_address, own_mail};
use super::{Notifier, hostname, unless_full};
use crate::alarm::storm::{Say, Storm};
use crate::config::Config;
use crate::ids::MessageId;
use crate::intake::OwnMail;
use crate::message::letter::Letterhead;
use crate::message::report::{Failed, Failure, How, is_automatic, report, summary};
use crate::queue::record::{Fate, Shown};
use crate::queue::{QueueStore, StoreError, Urgency};
use crate::route::{self, Priority};
use crate::smtp::ReversePath;
use crate::time::{Timestamp, header_date, wall_clock};

/// What is known of the messages that are due.
#[derive(Debug)]
pub(super) struct Failures {
    storm: Storm,
    /// `storm` as it was kept last.
    kept: String,
    /// Of which a report is to be written.
    due: BTreeSet<MessageId>,
}

impl Failures {
    /// As the queue has kept it.
    pub(super) fn new(kept: Option<&str>) -> Self {
        let kept = kept.unwrap_or_default().to_owned();
        Self { storm: serde_json::from_str(&kept).unwrap_or_default(), kept, due: BTreeSet::new() }
    }
}

impl Notifier {
    /// Reports what is due; when to look again, where something is collected.
    pub(super) async fn report(&mut self, config: &Config) -> Result<Option<Timestamp>, StoreError> {
        let due = self.queue.write(Urgency::Work, |store, _| store.due_reports(DUE)).await;
        let Some(due) = unless_full(due)? else { return Ok(None) };
        let due: BTreeSet<MessageId> = due.into_iter().map(|due| due.message).collect();
        // What a person has retried meanwhile is not due any more.
        self.failures.due.retain(|message| due.contains(message));
        let mut silent = Vec::new();
        for message in due {
            if self.failures.due.contains(&message) {
                continue;
            }
            match !config.reports.to.is_empty() && self.is_reported(message).await? {
                true => drop(self.failures.due.insert(message)),
                false => silent.push(message),
            }
        }
        if !silent.is_empty() {
            let forget = move |store: &mut dyn QueueStore, _| store.reported(&silent);
            unless_full(self.queue.write(Urgency::Work, forget).await)?;
        }
        loop {
            let now = self.queue.now();
            let count = match self.failures.storm.next(self.failures.due.len(), now) {
                Say::Nothing => return Ok(None),
                Say::Wait(until) => {
                    self.keep_storm().await?;
                    return Ok(Some(until));
                }
                Say::One => 1,
                Say::Together => self.failures.due.len(),
            };
            let messages: Vec<MessageId> = self.failures.due.iter().take(count).copied().collect();
            let mail = match messages[..] {
                [message] => self.one(config, message).await?,
                _ => self.several(config, &messages).await?,
            };
            if !self.post(mail, messages, now).await? {
                return Ok(None);
            }
        }
    }

    /// A process that starts in the middle of a storm goes on with it.
    async fn keep_storm(&mut self) -> Result<(), StoreError> {
        let text = serde_json::to_string(&self.failures.storm).unwrap_or_default();
        if text != self.failures.kept {
            let keep = text.clone();
            let work = move |store: &mut dyn QueueStore, _| store.keep(REPORTS, &keep);
            if unless_full(self.queue.write(Urgency::Work, work).await)?.is_some() {
                self.failures.kept = text;
            }
        }
        Ok(())
    }

    /// Whether anyone wants to know of it: nothing is reported about reports, about mail of machines that say so, or where
    /// the sender wants no answer.
    async fn is_reported(&self, message: MessageId) -> Result<bool, StoreError> {
        let Some(shown) = self.queue.read(move |reader, now| reader.show(message, now)).await? else {
            return Ok(false);
        };
        if shown.listed.client.as_str() == route::OWN
            || shown.listed.from == ReversePath::Null
            || failed(&shown).is_empty()
        {
            return Ok(false);
        }
        Ok(!is_automatic(&self.head(message).await?))
    }

    /// The beginning of its content; empty where that is gone, or is damaged: just then somebody must hear of it.
    async fn head(&self, message: MessageId) -> Result<Vec<u8>, StoreError> {
        match self.queue.read(move |reader, _| reader.head(message)).await {
            Ok(head) => Ok(head.unwrap_or_default()),
            Err(StoreError::Damaged(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The report of one message; none where it is gone, or no account has an address.
    async fn one(&self, config: &Config, message: MessageId) -> Result<Option<OwnMail>, StoreError> {
        let Some(shown) = self.queue.read(move |reader, now| reader.show(message, now)).await? else { return Ok(None) };
        let content = self.head(message).await?;
        let route = route::DEFAULT.into();
        let account = shown.history.last().map(|last| &last.account);
        let Some(from) = own_address(config, &route, account) else { return Ok(None) };
        let to = &config.reports.to;
        let head = Letterhead { hostname: hostname(config), from: &from, to };
        let content = report(&head, &failure(&shown), &content);
        Ok(Some(own_mail(config, &from, to.clone(), Priority::Normal, route, content)))
    }

    /// One mail about several messages.
    async fn several(&self, config: &Config, messages: &[MessageId]) -> Result<Option<OwnMail>, StoreError> {
        let mut failures = Vec::new();
        for message in messages.iter().take(NAMED).copied() {
            let shown = self.queue.read(move |reader, now| reader.show(message, now)).await?;
            failures.extend(shown.as_ref().map(failure));
        }
        let more = messages.len().saturating_sub(NAMED) as u64;
        let route = route::DEFAULT.into();
        let Some(from) = own_address(config, &route, None) else { return Ok(None) };
        let to = &config.reports.to;
        let content = summary(&Letterhead { hostname: hostname(config), from: &from, to }, &failures, more);
        Ok(Some(own_mail(config, &from, to.clone(), Priority::Normal, route, content)))
    }

    /// Whether it is done. Where there is no mail, nobody can be told of these.
    async fn post(
        &mut self,
        mail: Option<OwnMail>,
        messages: Vec<MessageId>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut storm = self.failures.storm.clone();
        storm.told(messages.len(), now);
        let kept = serde_json::to_string(&storm).unwrap_or_default();
        let (told, keep) = (messages.clone(), kept.clone());
        let tell = move |store: &mut dyn QueueStore| {
            store.reported(&told)?;
            store.keep(REPORTS, &keep)
        };
        let done = match mail {
            Some(mail) => self.intake.post(mail, move |store, _| tell(store)).await.map(|_| ()),
            None => self.queue.write(Urgency::Work, move |store, _| tell(store)).await,
        };
        if unless_full(done)?.is_none() {
            return Ok(false);
        }
        (self.failures.storm, self.failures.kept) = (storm, kept);
        self.failures.due.retain(|message| !messages.contains(message));
        Ok(true)
    }
}

fn failure(shown: &Shown) -> Failure {
    Failure {
        id: shown.listed.queue_id,
        client: shown.listed.client.as_str().into(),
        from: shown.listed.from.clone(),
        arrived: date(shown.listed.age_seconds),
        recipients: failed(shown),
    }
}

/// So many seconds ago, as headers write it.
fn date(seconds_ago: u64) -> String {
    header_date(wall_clock().before(Duration::from_secs(seconds_ago)))
}

fn failed(shown: &Shown) -> Vec<Failed> {
    let how = |fate| match fate {
        Fate::Failed => Some(How::Refused),
        Fate::Expired => Some(How::Expired),
        _ => None,
    };
    let failed = shown.each.iter().filter_map(|one| {
        let how = how(one.fate)?;
        let reply = one.reply.clone().unwrap_or_default();
        // The last time that this was said, to this recipient where the history names it.
        let said = || shown.history.iter().rev().filter(|said| said.reply == reply);
        let said = said().find(|said| said.to.contains(&one.address)).or_else(|| said().next());
        Some(Failed {
            address: one.address.clone(),
            how,
            sentence: said.map(|said| said.sentence.clone()).unwrap_or_default(),
            tried: said.map(|said| date(said.ago_seconds)),
            host: said.map(|said| said.host.clone()).unwrap_or_default(),
            reply,
        })
    });
    failed.collect()
}

/// Under which the queue keeps what was reported of late.
pub(super) const REPORTS: &str = "reports";
/// Messages that are looked at; those beyond have their turn when these are reported.
const DUE: u32 = 5000;
/// Messages that one mail names.
const NAMED: usize = 200;
