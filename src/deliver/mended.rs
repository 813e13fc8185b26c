//! Accounts whose login was mended: while one is in trouble, its secrets' files are looked at, and a change is tried at
//! once instead of at the next probe.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::ids::AccountName;
use crate::observe::Observer;
use crate::queue::{Queue, QueueStore, StoreError, Urgency};
use crate::schedule::lane::{CauseKind, Change, Lane};
use crate::time::Timestamp;
use crate::tokens::Logins;

/// Looks for ever. At the start, what stopped for its login under the last process is tried at once: secrets that come from
/// systemd or the environment change with a restart alone.
pub async fn watch(
    queue: Queue,
    observer: Arc<Observer>,
    logins: Arc<Logins>,
    config: watch::Receiver<Arc<Config>>,
    wake: Arc<Notify>,
) {
    let (settings, taking_up) = (Arc::clone(&config.borrow()), Arc::clone(&logins));
    let names: Vec<AccountName> = settings.account_names().cloned().collect();
    // A queue that has failed ends the daemon elsewhere.
    let waiting = hasten(&queue, names, Lane::probe_now, &wake).await.unwrap_or_default();
    let taken_up = tokio::task::spawn_blocking(move || taking_up.take_up(&settings, &waiting)).await;
    taken_up.unwrap_or_default();
    let mut tick = tokio::time::interval(LOOKED_EVERY);
    loop {
        tick.tick().await;
        let (settings, looking) = (Arc::clone(&config.borrow()), Arc::clone(&logins));
        let looked = tokio::task::spawn_blocking(move || looking.mended(&settings)).await;
        let mended = looked.unwrap_or_default();
        if mended.is_empty() {
            continue;
        }
        mended.iter().for_each(|account| observer.login_mended(account));
        let _ = hasten(&queue, mended, Lane::hasten, &wake).await;
    }
}

/// Lets those of the lanes that are paused for their login probe at once, and what stepped aside for them go. Which of them
/// are paused for it.
async fn hasten(
    queue: &Queue,
    accounts: Vec<AccountName>,
    how: fn(&mut Lane, Timestamp) -> Change,
    wake: &Notify,
) -> Result<Vec<AccountName>, StoreError> {
    let probing = move |store: &mut dyn QueueStore, now| {
        let (mut waiting, mut any) = (Vec::new(), false);
        for account in &accounts {
            let mut lane = store.lane(account)?;
            if !waits_for_login(&lane) {
                continue;
            }
            if how(&mut lane, now) == Change::Hastened {
                store.set_lane(account, &lane)?;
                any = true;
            }
            waiting.push(account.clone());
        }
        Ok((waiting, any))
    };
    let (waiting, any) = queue.write(Urgency::Work, probing).await?;
    if !any {
        return Ok(waiting);
    }
    // In slices, so that claims and new mail come in between.
    while queue.write(Urgency::Work, |store, now| store.hasten(SLICE, now)).await? == SLICE {}
    wake.notify_one();
    Ok(waiting)
}

/// Whether it is for its login, or for a secret that cannot be read, that the lane is stopped.
fn waits_for_login(lane: &Lane) -> bool {
    lane.stop()
        .is_some_and(|stop| matches!(stop.cause.kind, CauseKind::Login | CauseKind::LoginLater | CauseKind::Connect))
}

const LOOKED_EVERY: Duration = Duration::from_secs(2);
const SLICE: u32 = 1000;
