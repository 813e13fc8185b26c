//! Authenticated connections that wait for their next message. As few as the claims under way ever needed, so that
//! `caps.connections` holds for connections too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::{AccountName, LoginKey};
use crate::provider::presets::Keep;
use crate::time::Timestamp;

use super::upstream::Upstream;

/// A connection and what it has seen.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) upstream: Upstream,
    /// One of as many as the login may have connections.
    pub(super) slot: OwnedSemaphorePermit,
    pub(super) login: LoginKey,
    /// Of the configuration it was opened under.
    pub(super) generation: u64,
    pub(super) opened: Timestamp,
    pub(super) idle_since: Timestamp,
    pub(super) messages: u32,
    /// How long it is kept.
    pub(super) keep: Keep,
}

impl Pooled {
    fn is_worth_keeping(&self, now: Timestamp) -> bool {
        self.upstream.is_reusable()
            && self.messages < self.keep.messages
            && now.since(self.opened) < self.keep.age
            && now.since(self.idle_since) < self.keep.idle
    }
}

/// The idle connections of all accounts, and the slots of all logins.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<AccountName, Vec<Pooled>>>,
    slots: Mutex<HashMap<LoginKey, Slots>>,
}

/// A connection has a slot from before it is opened until it is closed, its farewell with it: what one transaction
/// leaves behind cannot make the next one's connection one too many.
#[derive(Debug)]
struct Slots {
    semaphore: Arc<Semaphore>,
    size: u32,
}

impl Pool {
    /// Waits for a slot of the login, which may have so many connections.
    pub(super) async fn slot(&self, login: &LoginKey, connections: u32) -> OwnedSemaphorePermit {
        let semaphore = self.semaphore(login, connections);
        loop {
            // Never closed, so the first try is the last.
            if let Ok(permit) = Arc::clone(&semaphore).acquire_owned().await {
                return permit;
            }
        }
    }

    fn semaphore(&self, login: &LoginKey, connections: u32) -> Arc<Semaphore> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Slots { semaphore: Arc::new(Semaphore::new(connections as usize)), size: connections };
        let slots = slots.entry(login.clone()).or_insert_with(new);
        if connections > slots.size {
            slots.semaphore.add_permits((connections - slots.size) as usize);
            slots.size = connections;
        } else {
            slots.size -=
                u32::try_from(slots.semaphore.forget_permits((slots.size - connections) as usize)).unwrap_or(0);
        }
        Arc::clone(&slots.semaphore)
    }

    /// An idle connection of the account, the one used last. What is not worth keeping is returned beside it, to be
    /// closed politely; so is one of another account with the same login, whose place a new connection would take.
    pub(super) fn take(
        &self,
        account: &AccountName,
        login: &LoginKey,
        generation: u64,
        now: Timestamp,
    ) -> (Option<Pooled>, Vec<Pooled>) {
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut retired = Vec::new();
        if let Some(idle) = pool.get_mut(account) {
            while let Some(pooled) = idle.pop() {
                if pooled.login == *login && pooled.generation == generation && pooled.is_worth_keeping(now) {
                    return (Some(pooled), retired);
                }
                retired.push(pooled);
            }
        }
        let twin = pool.values_mut().find_map(|idle| {
            let index = idle.iter().position(|pooled| pooled.login == *login)?;
            Some(idle.swap_remove(index))
        });
        retired.extend(twin);
        (None, retired)
    }

    /// An idle connection of the login, to be closed, where its place is wanted: all slots are taken.
    pub(super) fn make_room(&self, login: &LoginKey, connections: u32) -> Option<Pooled> {
        if self.semaphore(login, connections).available_permits() > 0 {
            return None;
        }
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pool.values_mut().find_map(|idle| {
            let index = idle.iter().position(|pooled| pooled.login == *login)?;
            Some(idle.swap_remove(index))
        })
    }

    /// Keeps a connection for the next message, or returns it to be closed.
    pub(super) fn put(&self, account: &AccountName, pooled: Pooled) -> Option<Pooled> {
        if !pooled.is_worth_keeping(pooled.idle_since) {
            return Some(pooled);
        }
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        pool.entry(account.clone()).or_default().push(pooled);
        None
    }

    /// Whether no connection waits.
    pub(super) fn is_empty(&self) -> bool {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).values().all(Vec::is_empty)
    }

    /// Takes out all connections that have been idle or open for too long; all, where everything ends.
    pub(super) fn retire(&self, everything: bool, now: Timestamp) -> Vec<Pooled> {
        let mut pool = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut retired = Vec::new();
        for idle in pool.values_mut() {
            let (old, kept) =
                std::mem::take(idle).into_iter().partition(|pooled| everything || !pooled.is_worth_keeping(now));
            retired.extend::<Vec<_>>(old);
            *idle = kept;
        }
        retired
    }
}

/// Closes connections politely, beside everything else.
pub(super) fn dismiss(retired: Vec<Pooled>) {
    for Pooled { upstream, slot, .. } in retired {
        tokio::spawn(async move {
            upstream.quit().await;
            drop(slot);
        });
    }
}
