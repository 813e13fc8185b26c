//! The queue, and what sends from it, in the process of a command: for where no daemon runs.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::custody::HandsOver;
use super::{AppError, LAST_TOKEN, holds, open_queue, tell_reclaimed};
use crate::config::{AccountConfig, Config};
use crate::control::desk::{Desk, Tester};
use crate::deliver::dispatcher::Dispatcher;
use crate::deliver::trial::Trials;
use crate::ids::AccountName;
use crate::intake::Intake;
use crate::observe::Observer;
use crate::schedule::trial::Trial;
use crate::tokens::Logins;

/// A desk of a command's own, and what could send.
pub struct Errand {
    desk: Desk,
    dispatcher: Dispatcher,
    /// While it lives, the configuration may change; it does not.
    _config: watch::Sender<Arc<Config>>,
    /// Last: when everything else has gone.
    _custody: HandsOver,
}

/// What tries accounts out, lent to a desk.
pub(super) struct Lent(pub(super) Trials);

impl Tester for Lent {
    fn test<'a>(&'a self, account: &'a AccountConfig) -> Pin<Box<dyn Future<Output = Trial> + Send + 'a>> {
        Box::pin(self.0.run(account))
    }
}

impl Errand {
    /// Opens the queue. Who only looks leaves what the last daemon had under way to the next one.
    ///
    /// # Errors
    /// Where the queue cannot be had.
    pub fn begin(settings: &Config, purpose: Purpose) -> Result<Self, AppError> {
        let hold = |account: &AccountName| holds(settings, account);
        let opened = open_queue(&settings.queue, (purpose == Purpose::Change).then_some(&hold))?;
        let (observer, wake) = (Arc::new(Observer::default()), Arc::new(Notify::new()));
        for reclaimed in &opened.reclaimed {
            tell_reclaimed(&observer, reclaimed, hold(&reclaimed.account));
        }
        let queue = opened.queue;
        let logins = Arc::new(Logins::beside(&settings.queue.path, opened.clock, Arc::clone(&observer)));
        let (sender, config) = watch::channel(Arc::new(settings.clone()));
        let intake =
            Intake::new(queue.clone(), Arc::clone(&observer), config.clone(), Arc::clone(&wake), opened.newest);
        let dispatcher = Dispatcher::new(
            queue.clone(),
            Arc::clone(&observer),
            config.clone(),
            Arc::clone(&wake),
            Arc::clone(&logins),
        );
        let desk = Desk {
            queue,
            observer,
            config,
            wake,
            logins,
            resident: false,
            intake: Arc::new(intake),
            tester: Arc::new(Lent(dispatcher.trials())),
            turns: dispatcher.turns(),
            app: None,
        };
        let custody = HandsOver::of(&settings.queue.path);
        Ok(Self { desk, dispatcher, _config: sender, _custody: custody })
    }

    /// Answers; sends nothing.
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Closes the queue, so that the next one can have it.
    pub async fn end(self) {
        let Self { desk, dispatcher, _config, _custody } = self;
        let queue = desk.queue.clone();
        drop((desk, dispatcher));
        // Nobody else has a handle; who had one by mistake must not hold the command up.
        let _ = tokio::time::timeout(PARTING, queue.closed()).await;
    }

    /// Sends what waits while `work` asks the desk, then lets transactions that are under way end.
    pub async fn sending<T>(self, work: impl AsyncFnOnce(&Desk) -> T) -> T {
        let (stop, stopping) = watch::channel(false);
        let sending = tokio::spawn(self.dispatcher.run(stopping, PARTING));
        let done = work(&self.desk).await;
        stop.send_replace(true);
        // A queue that failed has told the desk so.
        let _ = sending.await;
        let _ = tokio::time::timeout(LAST_TOKEN, self.desk.logins.tokens().at_rest()).await;
        done
    }
}

/// What a command opens a queue for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To look at it.
    Look,
    /// To change it.
    Change,
}

/// How long transactions under way have to end.
const PARTING: Duration = Duration::from_secs(10);
