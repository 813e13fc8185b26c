//! What the provider knows of the mailbox: what came when, what is in flight, which fault it has. Judges a message at
//! its end of data, by the time at which the provider saw it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fs, io};

use tokio::sync::watch;

use super::config::{Caps, Excess, Limit};
use super::fault::{Fault, FaultRule, Step};
use crate::smtp::Envelope;
use crate::time::{Clock, MonotonicClock, Timestamp};

/// A message that the sandbox stored, whatever its client heard.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Whom it came from and went to.
    pub envelope: Envelope,
    /// When MAIL was read.
    pub begun_at: Timestamp,
    /// When its end of data was read: the time by which the caps count.
    pub received_at: Timestamp,
    /// Octets of the content.
    pub size: usize,
    /// [`digest`] of the content.
    pub digest: u64,
    /// The content, unstuffed and otherwise as it came, where the sandbox keeps it.
    pub content: Option<Vec<u8>>,
    /// The file that holds the content, where the sandbox writes files.
    pub file: Option<PathBuf>,
    /// The header's Message-ID, with its brackets.
    pub message_id: Option<String>,
    /// The id that the service gave it. Of SES, the beginning of the Message-ID that it puts in place of the other; the
    /// content is kept as it came.
    pub assigned_id: String,
    /// The header's Subject, unfolded, not decoded.
    pub subject: Option<String>,
    /// The number of the connection; the first is 1.
    pub connection: u64,
    /// Which message of its connection it is; the first is 1.
    pub index: u32,
}

/// What [`Delivery::digest`] is of; the same for the same bytes within one build.
pub fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(content);
    hasher.finish()
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: usize,
    /// The most connections that were open at a time.
    pub most_connections: usize,
    /// Logins that succeeded.
    pub logins: u64,
    /// Those of them with a bearer token.
    pub bearer_logins: u64,
    /// Logins refused.
    pub failed_logins: u64,
    /// AUTH commands that came before TLS, where there is TLS to be had.
    pub plaintext_logins: u64,
    /// MAIL commands accepted.
    pub transactions: u64,
    /// Messages between DATA and the final reply now.
    pub sending: usize,
    /// The most messages that were between DATA and the final reply at a time.
    pub most_sending: usize,
    /// DATA commands refused because of the cap on that.
    pub concurrency_refusals: u64,
    /// Messages refused because of the cap on messages.
    pub rate_refusals: u64,
    /// Messages taken beyond the cap on messages ([`Excess::Record`]).
    pub rate_violations: u64,
    /// Messages refused because of the cap on recipients.
    pub quota_refusals: u64,
    /// Messages stored.
    pub deliveries: usize,
    /// Recipients of the messages stored.
    pub recipients: usize,
    /// How often a fault struck.
    pub faults: u64,
    /// Requests for tokens by client credentials, whatever became of them.
    pub client_credentials: u64,
    /// Requests for tokens by a refresh token.
    pub refreshes: u64,
    /// Requests for tokens by a device code.
    pub polls: u64,
    /// Device codes given out.
    pub device_codes: u64,
    /// Access tokens issued.
    pub tokens: u64,
}

/// What becomes of a message at its end of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It counts, since this time; the number is its place among those that counted.
    Accepted(Timestamp, usize),
    /// The cap on messages is reached.
    Rate,
    /// The cap on recipients is reached.
    Quota,
}

/// The mailbox, shared by all connections.
pub(super) struct Mailbox {
    clock: MonotonicClock,
    directory: Option<PathBuf>,
    concurrent: usize,
    ledger: Mutex<Ledger>,
    fault: Mutex<Option<FaultRule>>,
    counters: watch::Sender<Counters>,
}

struct Ledger {
    messages: Option<Limit>,
    excess: Excess,
    /// When each message that counts came, in order.
    arrivals: Vec<Timestamp>,
    /// The recipients that count towards the quota, and towards the rate.
    quota: Window,
    rate: Window,
    /// Those stored, by their place among those that count.
    deliveries: Vec<(usize, Arc<Delivery>)>,
}

/// The right to send one message now; given back when it is dropped.
pub(super) struct Slot(Arc<Mailbox>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.count(|counters| counters.sending -= 1);
    }
}

impl Mailbox {
    pub(super) fn new(caps: &Caps, directory: Option<PathBuf>, fault: Option<FaultRule>) -> io::Result<Self> {
        if let Some(directory) = &directory {
            fs::create_dir_all(directory)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display())))?;
        }
        Ok(Self {
            clock: MonotonicClock::starting_after(Timestamp::EPOCH),
            directory,
            concurrent: caps.concurrent,
            ledger: Mutex::new(Ledger::new(caps)),
            fault: Mutex::new(fault.filter(may_strike)),
            counters: watch::Sender::new(Counters::default()),
        })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.counters.send_modify(change);
    }

    pub(super) fn counters(&self) -> watch::Receiver<Counters> {
        self.counters.subscribe()
    }

    pub(super) fn deliveries(&self) -> Vec<Arc<Delivery>> {
        lock(&self.ledger).deliveries.iter().map(|(_, delivery)| delivery.clone()).collect()
    }

    pub(super) fn arrivals(&self) -> Vec<Timestamp> {
        lock(&self.ledger).arrivals.clone()
    }

    pub(super) fn set_fault(&self, rule: Option<FaultRule>) {
        *lock(&self.fault) = rule.filter(may_strike);
    }

    pub(super) fn fault(&self) -> Option<FaultRule> {
        lock(&self.fault).clone()
    }

    /// The fault that strikes at `step`, counted; `holds` tells whether what is known of the transaction holds a text.
    pub(super) fn strike(
        &self,
        step: Step,
        only: impl FnOnce(Fault) -> bool,
        holds: impl FnOnce(&str) -> bool,
    ) -> Option<FaultRule> {
        let mut current = lock(&self.fault);
        let rule = current.as_mut().filter(|rule| rule.fault.step() == step && only(rule.fault))?;
        if !rule.containing.as_deref().is_none_or(holds) {
            return None;
        }
        if let Some(remaining) = &mut rule.remaining {
            *remaining = remaining.saturating_sub(1);
        }
        let struck = rule.clone();
        if struck.remaining == Some(0) {
            *current = None;
        }
        drop(current);
        self.count(|counters| counters.faults += 1);
        tracing::debug!(event = "sandbox_fault", fault = %struck.fault);
        Some(struck)
    }

    /// A slot for one more message, if so many are not being sent already.
    pub(super) fn begin_sending(self: &Arc<Self>) -> Option<Slot> {
        let mut slot = None;
        self.count(|counters| {
            if counters.sending < self.concurrent {
                counters.sending += 1;
                counters.most_sending = counters.most_sending.max(counters.sending);
                slot = Some(());
            } else {
                counters.concurrency_refusals += 1;
            }
        });
        slot.map(|()| Slot(self.clone()))
    }

    /// Judges a message to so many recipients whose end of data was just read.
    pub(super) fn admit(&self, recipients: usize) -> Admission {
        let mut ledger = lock(&self.ledger);
        // Under the lock, so that times and places have the same order.
        let now = self.clock.now();
        let (admission, beyond) = ledger.admit(now, recipients);
        self.count(|counters| match admission {
            Admission::Accepted(..) => counters.rate_violations += u64::from(beyond == Beyond::Cap),
            Admission::Rate => counters.rate_refusals += 1,
            Admission::Quota => counters.quota_refusals += 1,
        });
        admission
    }

    /// Writes the file of a message, if files are written, and records the delivery. Nothing is recorded on an error.
    pub(super) async fn store(
        &self,
        place: usize,
        mut delivery: Delivery,
        content: Vec<u8>,
        keep: super::KeepContent,
    ) -> io::Result<()> {
        delivery.size = content.len();
        delivery.digest = digest(&content);
        let content = match &self.directory {
            Some(directory) => {
                let path = directory.join(file_name(delivery.received_at, place));
                let written = path.clone();
                let writing = move || write_file(&written, &content).map(|()| content);
                let content = tokio::task::spawn_blocking(writing).await.map_err(io::Error::other)??;
                delivery.file = Some(path);
                content
            }
            None => content,
        };
        delivery.content = (keep == super::KeepContent::Keep).then_some(content);
        let recipients = delivery.envelope.recipients.len();
        let mut ledger = lock(&self.ledger);
        let index = ledger.deliveries.partition_point(|(other, _)| *other < place);
        ledger.deliveries.insert(index, (place, Arc::new(delivery)));
        self.count(|counters| {
            counters.deliveries += 1;
            counters.recipients += recipients;
        });
        Ok(())
    }
}

/// Whether a message that is taken was one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beyond {
    No,
    Cap,
}

impl Ledger {
    fn new(caps: &Caps) -> Self {
        Self {
            messages: caps.messages,
            excess: caps.excess,
            arrivals: Vec::new(),
            quota: Window::new(caps.recipients),
            rate: Window::new(caps.recipients_at_once),
            deliveries: Vec::new(),
        }
    }

    fn admit(&mut self, now: Timestamp, recipients: usize) -> (Admission, Beyond) {
        if !self.quota.has_room(now, recipients) {
            return (Admission::Quota, Beyond::No);
        }
        let messages_left = self.messages.is_none_or(|Limit { count, window }| {
            let left = self.arrivals.partition_point(|at| at.after(window) <= now);
            self.arrivals.len() - left < count
        });
        let fits = self.rate.has_room(now, recipients) && messages_left;
        if !fits && self.excess == Excess::Refuse {
            return (Admission::Rate, Beyond::Cap);
        }
        self.arrivals.push(now);
        self.quota.charge(now, recipients);
        self.rate.charge(now, recipients);
        (Admission::Accepted(now, self.arrivals.len()), if fits { Beyond::No } else { Beyond::Cap })
    }
}

/// What was spent in a sliding window.
struct Window {
    limit: Option<Limit>,
    /// Those that may still count, and their sum.
    spent: VecDeque<(Timestamp, usize)>,
    sum: usize,
}

impl Window {
    fn new(limit: Option<Limit>) -> Self {
        Self { limit, spent: VecDeque::new(), sum: 0 }
    }

    fn has_room(&mut self, now: Timestamp, amount: usize) -> bool {
        let Some(Limit { count, window }) = self.limit else { return true };
        while let Some((_, spent)) = self.spent.front().copied().filter(|(at, _)| at.after(window) <= now) {
            self.sum -= spent;
            self.spent.pop_front();
        }
        self.sum + amount <= count
    }

    fn charge(&mut self, now: Timestamp, amount: usize) {
        if self.limit.is_some() {
            self.spent.push_back((now, amount));
            self.sum += amount;
        }
    }
}

fn may_strike(rule: &FaultRule) -> bool {
    rule.remaining != Some(0)
}

/// A name that sorts by time: `20261122T154948.123456Z-000001.eml`.
fn file_name(received_at: Timestamp, place: usize) -> String {
    let time = jiff::Timestamp::from_microsecond(received_at.as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let stamp: String = format!("{time:.6}").chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{stamp}-{place:06}.eml")
}

/// The file appears whole: who watches the directory never reads half a message.
fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("part");
    let mut file = fs::File::create(&draft)?;
    file.write_all(content)?;
    fs::rename(&draft, path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn ledger(messages: Option<Limit>, recipients: Option<Limit>, excess: Excess) -> Ledger {
        Ledger::new(&Caps { messages, recipients, excess, ..Caps::default() })
    }

    fn limit(count: usize, secs: u64) -> Option<Limit> {
        Some(Limit { count, window: Duration::from_secs(secs) })
    }

    #[test]
    fn a_message_leaves_the_window_exactly_one_window_after_it_came() {
        let mut ledger = ledger(limit(2, 60), None, Excess::Refuse);
        let mut admit = |micros| ledger.admit(Timestamp::from_micros(micros), 1).0;
        assert_eq!(admit(0), Admission::Accepted(Timestamp::EPOCH, 1));
        assert_eq!(admit(5), Admission::Accepted(Timestamp::from_micros(5), 2));
        assert_eq!(admit(59_999_999), Admission::Rate);
        assert_eq!(admit(60_000_000), Admission::Accepted(Timestamp::from_secs(60), 3));
        assert_eq!(admit(60_000_004), Admission::Rate);
        assert_eq!(admit(60_000_005), Admission::Accepted(Timestamp::from_micros(60_000_005), 4));
    }

    #[test]
    fn recipients_count_by_the_head() {
        let mut ledger = ledger(None, limit(10, 86_400), Excess::Refuse);
        let mut admit = |secs, recipients| ledger.admit(Timestamp::from_secs(secs), recipients).0;
        assert!(matches!(admit(0, 6), Admission::Accepted(..)));
        assert_eq!(admit(1, 5), Admission::Quota);
        assert!(matches!(admit(2, 4), Admission::Accepted(..)));
        assert_eq!(admit(86_399, 1), Admission::Quota);
        assert!(matches!(admit(86_400, 6), Admission::Accepted(..)));
        assert_eq!(admit(86_401, 1), Admission::Quota);
    }

    #[test]
    fn recipients_may_have_a_rate_beside_their_quota() {
        let caps =
            Caps { messages: None, recipients: limit(5, 86_400), recipients_at_once: limit(2, 1), ..Caps::default() };
        let mut ledger = Ledger::new(&caps);
        let mut admit = |secs, recipients| ledger.admit(Timestamp::from_secs(secs), recipients).0;
        assert!(matches!(admit(0, 2), Admission::Accepted(..)));
        assert_eq!(admit(0, 1), Admission::Rate);
        assert!(matches!(admit(1, 1), Admission::Accepted(..)));
        assert!(matches!(admit(2, 2), Admission::Accepted(..)));
        assert_eq!(admit(3, 1), Admission::Quota);
    }

    #[test]
    fn file_names_sort_by_time() {
        assert_eq!(file_name(Timestamp::from_micros(1_795_362_588_000_001), 7), "20261122T154948.000001Z-000007.eml");
    }

    proptest! {
        #[test]
        fn violations_are_those_of_a_count_by_hand(steps in proptest::collection::vec(0u64..4, 1..200)) {
            let (count, window) = (5, Duration::from_secs(10));
            let mut recording = ledger(limit(count, 10), None, Excess::Record);
            let mut refusing = ledger(limit(count, 10), None, Excess::Refuse);
            let mut now = Timestamp::EPOCH;
            for step in steps {
                now = now.after(Duration::from_secs(step));
                let (_, beyond) = recording.admit(now, 1);
                let held = recording.arrivals.iter().filter(|at| now.since(**at) < window).count();
                prop_assert_eq!(beyond == Beyond::Cap, held > count);
                refusing.admit(now, 1);
            }
            for (index, first) in refusing.arrivals.iter().enumerate() {
                let held = refusing.arrivals[index..].iter().filter(|at| at.since(*first) < window).count();
                prop_assert!(held <= count);
            }
        }
    }
}
