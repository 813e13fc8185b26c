//! The listeners that run, and how they go over to another configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{GRACE, tell_service_manager};
use crate::config::{Config, ListenAddress, ListenerConfig, QueueConfig};
use crate::intake::Intake;
use crate::observe::Observer;
use crate::receive::{Commons, Listener, Settings, Shutdown, Stopper};
use crate::time::Clock;
use crate::tokens::Logins;

/// The listeners that run, by their addresses.
pub(super) struct Listeners {
    intake: Arc<Intake>,
    observer: Arc<Observer>,
    clock: Arc<dyn Clock>,
    commons: Arc<Commons>,
    running: BTreeMap<Vec<ListenAddress>, Running>,
    tasks: JoinSet<()>,
}

struct Running {
    settings: watch::Sender<Arc<Settings>>,
    stopper: Stopper,
}

impl Listeners {
    pub(super) fn new(intake: Arc<Intake>, observer: Arc<Observer>, clock: Arc<dyn Clock>) -> Self {
        let commons = Commons::new(Arc::clone(&clock));
        Self { intake, observer, clock, commons, running: BTreeMap::new(), tasks: JoinSet::new() }
    }

    pub(super) fn start(&mut self, config: &Config, settings: &ListenerConfig, listener: Listener) {
        self.commons.know(&config.clients);
        let (sender, receiver) = watch::channel(settings_of(config, settings));
        let (stopper, shutdown): (Stopper, Shutdown) = Stopper::new();
        let (intake, observer, clock) = (Arc::clone(&self.intake), Arc::clone(&self.observer), Arc::clone(&self.clock));
        self.tasks.spawn(listener.serve(receiver, intake, observer, clock, Arc::clone(&self.commons), shutdown));
        self.running.insert(settings.addresses.clone(), Running { settings: sender, stopper });
    }

    /// Goes over to another configuration: binds what is new first, so that a failure changes nothing.
    fn change(&mut self, config: &Config) -> Result<(), String> {
        let mut fresh = Vec::new();
        for settings in &config.listeners {
            if !self.running.contains_key(&settings.addresses) {
                let listener = Listener::bind(&settings.addresses)
                    .map_err(|error| format!("{error} (to move addresses between listeners, restart)"))?;
                fresh.push((settings, listener));
            }
        }
        self.commons.know(&config.clients);
        self.running.retain(|addresses, running| {
            let kept = config.listeners.iter().find(|settings| settings.addresses == *addresses);
            match kept {
                Some(settings) => drop(running.settings.send_replace(settings_of(config, settings))),
                None => running.stopper.stop(GRACE),
            }
            kept.is_some()
        });
        for (settings, listener) in fresh {
            self.start(config, settings, listener);
        }
        Ok(())
    }

    pub(super) fn stop(&self, grace: Duration) {
        self.running.values().for_each(|running| running.stopper.stop(grace));
    }

    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

fn settings_of(config: &Config, listener: &ListenerConfig) -> Arc<Settings> {
    Arc::new(Settings { listener: listener.clone(), clients: config.clients.clone() })
}

/// Reads the configuration again; a bad one changes nothing and says so, in the log and to who has asked.
pub(super) fn reload(
    file: Option<&Path>,
    config: &watch::Sender<Arc<Config>>,
    listeners: &mut Listeners,
    observer: &Observer,
    logins: &Logins,
) -> Result<String, String> {
    let Some(file) = file else {
        let said = "there is no configuration file to read again";
        observer.reloaded(said);
        return Err(said.into());
    };
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell_service_manager(&[NotifyState::Reloading, now]);
    }
    let current = Arc::clone(&config.borrow());
    let outcome = Config::load(file).map_err(|errors| errors.to_string()).and_then(|fresh| {
        let allowed = QueueConfig { max_age: fresh.queue.max_age, ..current.queue.clone() };
        if fresh.queue != allowed {
            return Err("of [queue] only max_age can change while the daemon runs: restart for the others".into());
        }
        listeners.change(&fresh)?;
        Ok(fresh)
    });
    let told = match outcome {
        Ok(fresh) => {
            config.send_replace(Arc::new(fresh));
            let said = format!("{} was read again and counts from now on", file.display());
            observer.alarm_ended("bad_configuration", "");
            observer.reloaded(&said);
            Ok(said)
        }
        Err(errors) => {
            let said = format!("the configuration stays as it was: {errors}");
            observer.alarm_begun("bad_configuration", "", &said);
            Err(said)
        }
    };
    config.borrow().account_names().for_each(|account| logins.forgive(account));
    tell_service_manager(&[NotifyState::Ready]);
    told
}
