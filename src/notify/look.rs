//! What is seen at a look.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Notifier, endings, unless_full};
use crate::alarm::sight::{Quota, Room, Sight};
use crate::config::Config;
use crate::queue::{QueueStore, StoreError, Urgency};
use crate::time::Timestamp;

impl Notifier {
    /// Looks at everything; none where there was no room for the transaction.
    pub(super) async fn see(&mut self, config: &Arc<Config>) -> Result<Option<Sight>, StoreError> {
        let now = self.queue.now();
        if self.oldest.again <= now {
            match self.queue.read(|reader, now| reader.stats(now)).await {
                Ok(stats) => self.oldest.value = stats.oldest_seconds.map(Duration::from_secs),
                // Nobody can tell how old it is now; the rest can be seen.
                Err(StoreError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
            self.oldest.again = now.after(STATS_EVERY);
        }
        if self.endings.again <= now {
            let settings = Arc::clone(config);
            let reading = tokio::task::spawn_blocking(move || endings::read(&settings)).await;
            self.endings.value = reading.unwrap_or_default();
            self.endings.again = now.after(ENDINGS_EVERY);
        }
        let settings = Arc::clone(config);
        let seen = self.queue.write(Urgency::Work, move |store, now| see(store, &settings, now)).await;
        let (oldest, endings) = (self.oldest.value, self.endings.value.clone());
        Ok(unless_full(seen)?.map(|seen| Sight { oldest, endings, ..seen }))
    }
}

/// What only the store knows.
fn see(store: &mut dyn QueueStore, config: &Config, now: Timestamp) -> Result<Sight, StoreError> {
    let mut sight = Sight {
        lanes: Vec::with_capacity(config.accounts.len()),
        quotas: Vec::new(),
        oldest: None,
        room: Room {
            live: store.live_bytes(),
            max_bytes: config.queue.max_bytes,
            free: store.free_bytes(),
            min_free: config.queue.min_free,
        },
        endings: Vec::new(),
    };
    let mut logins = HashSet::new();
    for account in &config.accounts {
        sight.lanes.push((account.name.clone(), store.lane(&account.name)?));
        let login = account.login_key();
        if let Some(ledger) = store.ledger(&login)
            && logins.insert(login.clone())
        {
            let quota = |cap: &_| Quota { account: account.name.clone(), cap: *cap, used: ledger.used(cap, now) };
            sight.quotas.extend(account.caps.windows.iter().map(quota));
        }
    }
    Ok(sight)
}

/// It counts everything in the queue.
const STATS_EVERY: Duration = Duration::from_secs(60);
/// Files are read for it.
const ENDINGS_EVERY: Duration = Duration::from_secs(3600);
