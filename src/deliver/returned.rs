//! Accounts whose host could not be reached: while it cannot, it is knocked at, so that mail goes as soon as it is back and
//! not only at the next probe. A knock is a bare TCP connection: a host that lets us connect, but does nothing else that we
//! want of it, is left to the probes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::connect::is_reached;
use crate::config::{AccountConfig, Config, Destination, SmtpEndpoint};
use crate::ids::AccountName;
use crate::observe::Observer;
use crate::queue::{Queue, QueueStore, Urgency};
use crate::schedule::lane::{CauseKind, Change};
use crate::schedule::turn::Turn;
use crate::time::Timestamp;

/// Knocks while `turns` tell of accounts that are paused for want of a connection, at each of their hosts by itself: one that
/// does not answer takes its time.
pub async fn watch(
    queue: Queue,
    observer: Arc<Observer>,
    config: watch::Receiver<Arc<Config>>,
    turns: watch::Receiver<Turn>,
    wake: Arc<Notify>,
) {
    let (mut doors, mut knocks) = (HashMap::<AccountName, Door>::new(), JoinSet::new());
    let mut tick = tokio::time::interval(KNOCKED_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                let (unreached, settings) = (unreached(&turns.borrow()), Arc::clone(&config.borrow()));
                doors.retain(|account, _| unreached.iter().any(|(unreached, _)| unreached == account));
                for (account, probe_at) in unreached {
                    let Some(endpoint) = settings.account(&account).and_then(endpoint) else { continue };
                    let door = doors.entry(account.clone()).or_default();
                    if probe_at > queue.now() && door.is_worth_a_knock(probe_at) {
                        door.knocked_at = true;
                        let endpoint = endpoint.clone();
                        knocks.spawn(async move { (is_reached(&endpoint).await, account, endpoint.host, probe_at) });
                    }
                }
            }
            Some(Ok((reached, account, host, probe_at))) = knocks.join_next() => {
                if doors.get_mut(&account).is_some_and(|door| door.opens(reached, probe_at)) {
                    observer.host_returned(&account, &host);
                    probe(&queue, account).await;
                    wake.notify_one();
                }
            }
        }
    }
}

/// What the knocks at an account's host have brought.
#[derive(Default)]
struct Door {
    /// Whether one is under way.
    knocked_at: bool,
    /// Whether the last one was in vain.
    shut: bool,
    /// The probe before which one got through: until that has shown more, there is nothing to learn.
    open_before: Option<Timestamp>,
}

impl Door {
    fn is_worth_a_knock(&self, probe_at: Timestamp) -> bool {
        !self.knocked_at && self.open_before != Some(probe_at)
    }

    /// A knock has got through or not; whether it has, and the one before it had not.
    fn opens(&mut self, reached: bool, probe_at: Timestamp) -> bool {
        self.knocked_at = false;
        self.open_before = reached.then_some(probe_at);
        std::mem::replace(&mut self.shut, !reached) && reached
    }
}

/// The accounts that are paused for want of a connection, and when they are probed.
fn unreached(turn: &Turn) -> Vec<(AccountName, Timestamp)> {
    turn.lanes.iter().filter_map(|lane| Some((lane.account.clone(), lane.unreached?))).collect()
}

fn endpoint(account: &AccountConfig) -> Option<&SmtpEndpoint> {
    match &account.destination {
        Destination::Smtp(endpoint) => Some(endpoint),
        Destination::Directory(_) => None,
    }
}

/// Makes the account's probe due, if it still waits for a connection. A queue that has failed ends the daemon elsewhere.
async fn probe(queue: &Queue, account: AccountName) {
    let due = move |store: &mut dyn QueueStore, now| {
        let mut lane = store.lane(&account)?;
        let waits = lane.stop().is_some_and(|stop| stop.cause.kind == CauseKind::Connect);
        if waits && lane.probe_now(now) == Change::Hastened {
            store.set_lane(&account, &lane)?;
        }
        Ok(())
    };
    let _ = queue.write(Urgency::Work, due).await;
}

/// How often a host is knocked at.
const KNOCKED_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
