//! Tells people: looks at lanes, caps, room and dates, and sends what is news to the log, to a webhook and by mail; reports
//! messages that have failed. What is news is decided in [`crate::alarm`], what a report looks like in [`crate::message`].

pub mod endings;
mod failures;
mod letters;
mod look;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::alarm::Telling;
use crate::alarm::happening::Happenings;
use crate::alarm::mails::Mails;
use crate::alarm::sight::{Ending, Sight, Thresholds, conditions};
use crate::alarm::standing::Alarms;
use crate::config::Config;
use crate::intake::Intake;
use crate::observe::Observer;
use crate::queue::{Queue, QueueStore, StoreError, Urgency};
use crate::time::{Timestamp, wall_clock};
use failures::Failures;
use webhook::Courier;

/// Looks, and tells.
pub struct Notifier {
    queue: Queue,
    observer: Arc<Observer>,
    intake: Arc<Intake>,
    config: watch::Receiver<Arc<Config>>,
    courier: Courier,
    told: Told,
    /// `told` as it was kept last.
    kept: String,
    failures: Failures,
    /// What was seen last: where there is no room for a look, it must do.
    sight: Option<Sight>,
    oldest: Seen<Option<Duration>>,
    endings: Seen<Vec<Ending>>,
}

/// What has been told of alarms, as the queue keeps it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Told {
    alarms: Alarms,
    happenings: Happenings,
    mails: Mails,
}

/// Something that is looked at less often, and when it is to be looked at next.
#[derive(Debug)]
struct Seen<T> {
    value: T,
    again: Timestamp,
}

impl Notifier {
    /// A notifier that takes up where the last process left off. `intake` takes its mail.
    ///
    /// # Errors
    /// Where the queue has failed.
    pub async fn new(
        queue: Queue,
        observer: Arc<Observer>,
        intake: Arc<Intake>,
        config: watch::Receiver<Arc<Config>>,
    ) -> Result<Self, StoreError> {
        let read = |store: &mut dyn QueueStore, _| Ok((store.kept(ALARMS)?, store.kept(failures::REPORTS)?));
        let (alarms, reports) = queue.write(Urgency::Work, read).await?;
        let kept = alarms.unwrap_or_default();
        // What cannot be read is of another version: what is still so is told once more.
        let mut told: Told = serde_json::from_str(&kept).unwrap_or_default();
        told.happenings.after_restart();
        Ok(Self {
            courier: Courier::start(Arc::clone(&observer)),
            told,
            kept,
            failures: Failures::new(reports.as_deref()),
            sight: None,
            oldest: Seen { value: None, again: Timestamp::EPOCH },
            endings: Seen { value: Vec::new(), again: Timestamp::EPOCH },
            queue,
            observer,
            intake,
            config,
        })
    }

    /// Runs until `stop` says so or the queue has failed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let observer = Arc::clone(&self.observer);
        loop {
            let next = match self.look().await {
                Ok(next) => next,
                // A reader may have met it, in one message: there is more to tell of.
                Err(StoreError::Damaged(_)) => LONGEST,
                // The queue has failed: the daemon ends, and says why.
                Err(_) => break,
            };
            tokio::select! {
                () = observer.rung() => {}
                () = tokio::time::sleep(next) => {}
                Ok(()) = self.config.changed() => self.endings.again = Timestamp::EPOCH,
                _ = stop.wait_for(|stop| *stop) => break,
            }
            // A flood rings all the time.
            tokio::select! {
                () = tokio::time::sleep(BREATH) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.courier.stop().await;
    }

    /// Looks and tells; how long to wait for the next look where nothing happens.
    async fn look(&mut self) -> Result<Duration, StoreError> {
        let config = Arc::clone(&self.config.borrow_and_update());
        let now = self.queue.now();
        for event in self.observer.take_events() {
            self.told.happenings.note(event, now);
        }
        if let Some(sight) = self.see(&config).await? {
            self.sight = Some(sight);
        }
        let mut matter = self.told.happenings.conditions(now);
        let thresholds = Thresholds { quota_percent: config.alarms.quota_percent, queue_age: config.alarms.queue_age };
        matter.extend(self.sight.iter().flat_map(|sight| conditions(sight, thresholds, now, wall_clock())));
        let news = self.told.alarms.update(matter, config.alarms.calm, now);
        self.tell(&config, news);
        self.mail(&config).await?;
        let reports = self.report(&config).await?;
        let pending = !self.told.mails.pending().0.is_empty();
        let next = [
            self.told.alarms.next(config.alarms.calm),
            self.told.happenings.next(),
            self.told.mails.next().filter(|at| pending && *at > now),
            reports,
        ];
        let wait = next.into_iter().flatten().min().map_or(LONGEST, |at| at.since(self.queue.now()));
        Ok(wait.min(LONGEST))
    }

    fn tell(&mut self, config: &Config, news: Vec<Telling>) {
        for telling in &news {
            self.observer.told(telling);
            self.courier.send(config, telling);
        }
        match config.alarms.to.is_empty() {
            true => self.told.mails.clear(),
            false => self.told.mails.add(news),
        }
    }
}

/// Work that finds no room is done at another look; an error is that the queue has failed.
fn unless_full<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(StoreError::Full(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the relay calls itself.
fn hostname(config: &Config) -> &str {
    config.listeners.first().map_or("localhost", |listener| &listener.hostname)
}

/// Under which the queue keeps what has been told.
const ALARMS: &str = "alarms";
/// A look at least this often: a look is a commit, and some disks wear.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two looks, whatever happens.
const BREATH: Duration = Duration::from_secs(1);
