//! What a person must look at: lines in the log, and what has happened for whoever tells people by other ways.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::Observer;
use super::fate::count;
use crate::alarm::happening::{Event, What, collect};
use crate::alarm::{self, Kind, Telling};
use crate::config::ListenAddress;

/// What has happened since somebody last looked.
#[derive(Debug, Default)]
pub(super) struct News {
    events: Mutex<Vec<Event>>,
    bell: Notify,
}

impl News {
    /// There is reason to look.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }
}

impl Observer {
    /// Something that has happened and that a person must look at, of the kind with this stable word. It is over when it has
    /// not happened again for an hour.
    pub fn alarm(&self, kind: &str, sentence: &str) {
        self.raise(kind, "", sentence, What::Happened(1));
    }

    /// Something that is so from now on, of this account or the like, until [`Observer::alarm_ended`] says that it is not.
    pub fn alarm_begun(&self, kind: &str, subject: &str, sentence: &str) {
        self.raise(kind, subject, sentence, What::Began);
    }

    /// It is not so any more.
    pub fn alarm_ended(&self, kind: &str, subject: &str) {
        self.happened(kind.to_owned().into(), subject, String::new(), What::Ended);
    }

    fn raise(&self, kind: &str, subject: &str, sentence: &str, what: What) {
        count(&self.counters.alarms);
        let named = (!subject.is_empty()).then_some(subject);
        error!(event = "alarm", kind, subject = named, "{sentence}");
        self.happened(kind.to_owned().into(), subject, sentence.into(), what);
    }

    /// A listener cannot take the connections that wait for it.
    pub fn cannot_accept(&self, listener: &ListenAddress, error: &std::io::Error) {
        self.alarm("cannot_accept", &format!("cannot take connections on {listener}: {error}"));
    }

    /// What is told of an alarm, unless whoever raised it has logged it already.
    pub fn told(&self, telling: &Telling) {
        let Telling { kind, subject, sentence, since, news, .. } = telling;
        let subject = (!subject.is_empty()).then_some(subject.as_str());
        match news {
            alarm::News::Raised if kind.is_logged() => {}
            alarm::News::Raised | alarm::News::Repeated => {
                count(&self.counters.alarms);
                error!(event = "alarm", %kind, subject, %since, state = news.as_str(), "{sentence}");
            }
            alarm::News::Over => info!(event = "alarm_over", %kind, subject, %since, "{sentence}"),
        }
    }

    /// An alarm could not be posted, and is not tried again.
    pub fn webhook_failed(&self, kind: &Kind, why: &str) {
        warn!(event = "webhook_failed", %kind, "the webhook did not get the alarm {kind}: {why}");
    }

    /// Takes what has happened since this was last asked.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.news.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns when there is reason to look: something has happened, a lane has changed, a message has failed.
    pub async fn rung(&self) {
        self.news.bell.notified().await;
    }

    pub(super) fn happened(&self, kind: Kind, subject: &str, sentence: String, what: What) {
        let event = Event { kind, subject: subject.into(), sentence, what };
        collect(&mut self.news.events.lock().unwrap_or_else(PoisonError::into_inner), event);
        self.news.ring();
    }
}
