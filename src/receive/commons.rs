//! What the listeners of a process have in common: a client is one client, by whichever of them it comes.

use std::sync::Arc;

use super::names::Names;
use super::passwords::Passwords;
use super::rates::Rates;
use crate::route::Client;
use crate::time::Clock;

/// Rates of clients, names of local users, and what was guessed of passwords.
pub struct Commons {
    pub(super) rates: Rates,
    pub(super) names: Names,
    pub(super) passwords: Passwords,
}

impl Commons {
    /// For listeners that tell the time by this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        let passwords = Passwords::new(Arc::clone(&clock));
        Arc::new(Self { passwords, names: Names::of_system(), rates: Rates::new(clock) })
    }

    /// Goes by these clients from now on.
    pub fn know(&self, clients: &[Client]) {
        self.rates.know(clients);
    }
}
