//! The one door into the queue: stamps a message, adds what is missing, routes it and stores it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::ids::{ClientName, MessageId, RouteName};
use crate::message::header::HeaderBlock;
use crate::message::sender::judge;
use crate::message::submission::{Additions, Prepared, prepare};
use crate::message::trace::{Hop, MAX_RECEIVED, received_count};
use crate::observe::Observer;
use crate::observe::fate::Accepted;
use crate::queue::record::NewMessage;
use crate::queue::{Queue, QueueStore, StoreError, Urgency};
use crate::route::{self, Origin, Priority};
use crate::session::Refusal;
use crate::smtp::Envelope;
use crate::time::{header_date, wall_clock};

/// A whole message as a client handed it over, about to be stored.
#[derive(Debug)]
pub struct Submission {
    /// Its queue id, taken from [`Intake::next_id`] when its content began.
    pub id: MessageId,
    /// Who sends.
    pub client: ClientName,
    /// In which class.
    pub priority: Priority,
    /// Who has logged in, where a login was required.
    pub user: Option<String>,
    /// How it came, for `Received:`.
    pub trace: Trace,
    /// From whom and to whom.
    pub envelope: Envelope,
    /// As which names, that have aliases, its recipients were written.
    pub aliased: Vec<String>,
    /// The beginning of the content with its whole header block: all of it up to 256 KiB, else what came before the
    /// first chunk handed to [`Intake::append`]. Unstuffed, line ends CRLF, no bare CR or LF.
    pub head: Vec<u8>,
    /// How many chunks were handed to [`Intake::append`], numbered from 1.
    pub chunks: u32,
    /// Octets of the whole content.
    pub size: u64,
}

/// Mail of the relay itself: an alarm or a report. `Date:`, `Message-ID:` and the trace are added.
#[derive(Debug)]
pub struct OwnMail {
    /// What the relay calls itself.
    pub hostname: String,
    /// In which class.
    pub priority: Priority,
    /// By which route.
    pub route: RouteName,
    /// From an account's own address to whom it is for.
    pub envelope: Envelope,
    /// Header and body.
    pub content: Vec<u8>,
}

/// How a message came, for its `Received:` field (RFC 5321 §4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Where the client connected from.
    pub origin: Origin,
    /// What the listener that took it calls itself.
    pub hostname: String,
    /// What it said at HELO or EHLO; empty where it said nothing.
    pub helo: String,
    /// `SMTP`, `ESMTP` or `UTF8SMTP` (RFC 3848, RFC 6531 §4.3); `local` for mail of the relay itself.
    pub protocol: &'static str,
}

/// The door.
pub struct Intake {
    queue: Queue,
    observer: Arc<Observer>,
    config: watch::Receiver<Arc<Config>>,
    wake: Arc<Notify>,
    newest: AtomicI64,
    /// Whether the last message found no room, so that the alarm is raised once and not for each.
    full: AtomicBool,
}

impl Intake {
    /// A door into this queue, in which `newest` is the highest queue id. `wake` is rung when there is something to send.
    pub fn new(
        queue: Queue,
        observer: Arc<Observer>,
        config: watch::Receiver<Arc<Config>>,
        wake: Arc<Notify>,
        newest: MessageId,
    ) -> Self {
        Self { queue, observer, config, wake, newest: AtomicI64::new(newest.0), full: AtomicBool::new(false) }
    }

    /// A queue id that no message has or had: the time in microseconds, or the next number where that is taken.
    pub fn next_id(&self) -> MessageId {
        let now = self.queue.now().as_micros();
        let step = |newest: i64| Some(now.max(newest + 1));
        let newest = self.newest.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_default();
        MessageId(now.max(newest + 1))
    }

    /// Keeps a part of the content of a message that is still arriving, numbered from 1.
    ///
    /// # Errors
    /// Where there is no room, or the store has failed.
    pub async fn append(&self, id: MessageId, seq: u32, bytes: Vec<u8>) -> Result<(), Refusal> {
        let appended = self
            .queue
            .write(Urgency::Intake, move |store, _| {
                store.room_for(bytes.len() as u64)?;
                store.append(id, seq, &bytes)
            })
            .await;
        self.noted(appended)
    }

    /// Forgets the parts of a message that will not come.
    pub async fn abandon(&self, id: MessageId) {
        // Where this fails, the next start sweeps them.
        let _ = self.queue.write(Urgency::Work, move |store, _| store.abandon(id)).await;
    }

    /// Stores a message. Once this has returned its id, it is on disk.
    ///
    /// # Errors
    /// Where it must not or cannot be stored.
    pub async fn accept(&self, submission: Submission) -> Result<MessageId, Refusal> {
        let config = Arc::clone(&self.config.borrow());
        let (block, _) = HeaderBlock::split(&submission.head);
        if received_count(&block) > MAX_RECEIVED {
            return Err(Refusal::TooManyHops);
        }
        refuse_sender(&config, &submission)?;
        let (stored, prepared) = stored(&submission, route::DEFAULT.into());
        let size = stored.size;
        let enqueued = self
            .queue
            .write(Urgency::Intake, move |store, now| {
                store.room_for(stored.head.len() as u64)?;
                store.enqueue(&stored, now)
            })
            .await;
        self.noted(enqueued)?;
        self.tell(&submission, &prepared, size);
        Ok(submission.id)
    }

    /// Stores mail of the relay itself, and does `also` in the same transaction.
    ///
    /// # Errors
    /// Where there is no room, or the store has failed.
    pub async fn post(
        &self,
        mail: OwnMail,
        mut also: impl FnMut(&mut dyn QueueStore, MessageId) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<MessageId, StoreError> {
        let OwnMail { hostname, priority, route, envelope, content } = mail;
        let trace = Trace {
            origin: Origin::Ip(Ipv4Addr::LOCALHOST.into()),
            helo: hostname.clone(),
            hostname,
            protocol: "local",
        };
        let (size, client) = (content.len() as u64, ClientName::from(route::OWN));
        let id = self.next_id();
        let (user, aliased) = (None, Vec::new());
        let submission =
            Submission { id, client, priority, user, trace, envelope, aliased, head: content, chunks: 0, size };
        let (stored, prepared) = stored(&submission, route);
        let size = stored.size;
        self.queue
            .write(Urgency::Intake, move |store, now| {
                store.room_for(stored.head.len() as u64)?;
                store.enqueue(&stored, now)?;
                also(store, id)
            })
            .await?;
        self.tell(&submission, &prepared, size);
        Ok(id)
    }

    fn tell(&self, submission: &Submission, prepared: &Prepared, size: u64) {
        self.observer.accepted(&Accepted {
            id: submission.id,
            client: &submission.client,
            origin: submission.trace.origin,
            user: submission.user.as_deref(),
            from: &submission.envelope.reverse_path,
            to: &submission.envelope.recipients,
            aliased: &submission.aliased,
            message_id: &prepared.message_id,
            bytes: size,
            repairs: &repairs(prepared),
        });
        self.wake.notify_one();
    }

    fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, Refusal> {
        match result {
            Ok(value) => {
                if self.full.swap(false, Ordering::Relaxed) {
                    self.observer.alarm_ended("queue_full", "");
                }
                Ok(value)
            }
            Err(StoreError::Full(full)) => {
                if !self.full.swap(true, Ordering::Relaxed) {
                    self.observer.alarm_begun(
                        "queue_full",
                        "",
                        &format!("clients are refused with 452 and their mail may be lost: {full}; free room or raise the limit"),
                    );
                }
                Err(Refusal::Full)
            }
            Err(StoreError::Failed(_) | StoreError::Damaged(_) | StoreError::Closed) => Err(Refusal::Unavailable),
        }
    }
}

/// A message as it is to be stored: stamped, with what was missing.
fn stored(submission: &Submission, route: RouteName) -> (NewMessage, Prepared) {
    let received = wall_clock();
    let mut prepared = stamp(submission, &header_date(received));
    let head = std::mem::take(&mut prepared.head);
    let stored = NewMessage {
        id: submission.id,
        client: submission.client.clone(),
        address: submission.trace.origin.to_string(),
        priority: submission.priority,
        envelope: submission.envelope.clone(),
        route,
        header_id: prepared.message_id.clone(),
        received,
        size: submission.size - submission.head.len() as u64 + head.len() as u64,
        head,
        chunks: submission.chunks,
    };
    (stored, prepared)
}

/// Mail that no account would send is refused while its sender still listens.
fn refuse_sender(config: &Config, submission: &Submission) -> Result<(), Refusal> {
    let mut first = None;
    for account in &config.accounts {
        match judge(&submission.head, &submission.envelope.reverse_path, &account.sender) {
            Ok(()) => return Ok(()),
            Err(refused) => first = first.or(Some(refused)),
        }
    }
    let Some(refused) = first else { return Ok(()) };
    let allowed = config
        .accounts
        .iter()
        .flat_map(|account| {
            let own = account.sender.from.clone().map(crate::smtp::AddressPattern::Exact);
            own.into_iter().chain(account.sender.allowed.clone())
        })
        .collect();
    Err(Refusal::SenderNotAllowed { refused, allowed })
}

fn stamp(submission: &Submission, date: &str) -> Prepared {
    let hostname = submission.trace.hostname.as_str();
    let hop = Hop {
        helo: &submission.trace.helo,
        origin: submission.trace.origin,
        client: &submission.client,
        hostname,
        protocol: submission.trace.protocol,
        id: submission.id,
        recipients: &submission.envelope.recipients,
        date,
    };
    let message_id = format!("{}.{:016x}@{hostname}", submission.id, fastrand::u64(..));
    let additions = Additions {
        received: hop.received(),
        date,
        message_id: &message_id,
        reverse_path: &submission.envelope.reverse_path,
        hostname,
    };
    prepare(&submission.head, &additions)
}

/// What was added and removed, and what that breaks, in words.
fn repairs(prepared: &Prepared) -> String {
    let part = |verb: &str, names: &[&str]| (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")));
    let changed =
        [part("added", &prepared.added), part("completed", &prepared.completed), part("removed", &prepared.removed)];
    let parts: Vec<String> =
        changed.into_iter().flatten().chain(prepared.broken.iter().map(ToString::to_string)).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AccountConfig, Destination, OnUncertain};
    use crate::message::fields::FieldRule;
    use crate::message::repair::SenderField;
    use crate::message::sender::{SenderMode, SenderRefused, SenderRule};
    use crate::provider::{Caps, Provider};
    use crate::smtp::ReversePath;

    fn account(mode: SenderMode) -> AccountConfig {
        AccountConfig {
            name: "office".into(),
            provider: Provider::Directory,
            destination: Destination::Directory("out".into()),
            caps: Caps { windows: vec![], connections: 1, recipients_per_message: 1, message_size: 1 },
            sender: SenderRule { mode, from: Some("webmaster@example.com".parse().unwrap()), allowed: vec![] },
            fields: FieldRule::default(),
            on_uncertain: OnUncertain::Resend,
        }
    }

    #[test]
    fn the_sender_that_no_account_takes_is_named() {
        let submission = Submission {
            id: MessageId(1),
            client: "camera".into(),
            priority: Priority::Normal,
            user: None,
            trace: Trace {
                origin: Origin::Ip([10, 0, 0, 5].into()),
                hostname: "relay.example".into(),
                helo: String::new(),
                protocol: "SMTP",
            },
            envelope: Envelope {
                reverse_path: ReversePath::Address("webmaster@example.com".parse().unwrap()),
                recipients: vec![],
            },
            aliased: vec![],
            head: b"From: Jane <jane@x.org>\r\n\r\n".to_vec(),
            chunks: 0,
            size: 0,
        };
        let config = |accounts| Config { accounts, ..Config::default() };
        let refused = SenderRefused::Header { field: SenderField::From, text: "jane@x.org".into() };
        let allowed = vec!["webmaster@example.com".parse().unwrap()];
        assert_eq!(
            refuse_sender(&config(vec![account(SenderMode::Refuse)]), &submission),
            Err(Refusal::SenderNotAllowed { refused, allowed })
        );
        let both = vec![account(SenderMode::Refuse), account(SenderMode::Rewrite)];
        assert_eq!(refuse_sender(&config(both), &submission), Ok(()));
        assert_eq!(refuse_sender(&config(vec![]), &submission), Ok(()));
    }
}
