//! The listeners that run, and how they go over to another configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use super::{AppError, GRACE, service_manager};
use crate::config::{Config, ListenAddress, ListenerConfig, Provenance, QueueConfig};
use crate::control::desk::Listening;
use crate::intake::Intake;
use crate::observe::Observer;
use crate::receive::{CertificateError, Commons, Inherited, Listener, Settings, Shutdown, Stopper, Unserved, unix};
use crate::time::Clock;
use crate::tokens::Logins;

/// The listeners that run, by their addresses.
pub(super) struct Listeners {
    intake: Arc<Intake>,
    observer: Arc<Observer>,
    clock: Arc<dyn Clock>,
    commons: Arc<Commons>,
    inherited: Inherited,
    running: BTreeMap<Vec<ListenAddress>, Running>,
    /// Sockets that were handed over and that no listener serves, as it was told.
    unserved: Vec<Unserved>,
    tasks: JoinSet<()>,
}

/// A listener that is bound and is to run.
pub(super) struct Ready {
    addresses: Vec<ListenAddress>,
    settings: Arc<Settings>,
    listener: Listener,
}

struct Running {
    settings: watch::Sender<Arc<Settings>>,
    stopper: Stopper,
    /// Where it really listens.
    on: Vec<ListenAddress>,
    task: AbortHandle,
}

impl Ready {
    /// Binds all listeners of the configuration, and reads what they need.
    ///
    /// # Errors
    /// The first address or certificate that cannot be had.
    pub(super) fn all(config: &Config, inherited: &Inherited) -> Result<Vec<Self>, AppError> {
        let ready = |table| {
            let addresses = resolve(config, table, inherited);
            let settings = settings_of(config, table)?;
            let listener = Listener::bind(&addresses, table.socket_mode, inherited)?;
            Ok(Self { addresses, settings, listener })
        };
        config.listeners.iter().map(ready).collect()
    }

    /// Where it listens.
    pub(super) fn addresses(&self) -> Vec<ListenAddress> {
        self.listener.addresses()
    }
}

impl Listeners {
    pub(super) fn new(
        intake: Arc<Intake>,
        observer: Arc<Observer>,
        clock: Arc<dyn Clock>,
        inherited: Inherited,
    ) -> Self {
        let commons = Commons::new(Arc::clone(&clock));
        let (running, unserved, tasks) = (BTreeMap::new(), Vec::new(), JoinSet::new());
        Self { intake, observer, clock, commons, inherited, running, unserved, tasks }
    }

    /// Starts those of the configuration.
    pub(super) fn start(&mut self, config: &Config, ready: Vec<Ready>) {
        config.remarks.iter().for_each(|remark| self.observer.remarked(remark));
        self.commons.know(&config.clients);
        for Ready { addresses, settings, listener } in ready {
            let (sender, receiver) = watch::channel(settings);
            let (stopper, shutdown): (Stopper, Shutdown) = Stopper::new();
            let (intake, observer) = (Arc::clone(&self.intake), Arc::clone(&self.observer));
            let (clock, commons) = (Arc::clone(&self.clock), Arc::clone(&self.commons));
            let on = listener.addresses();
            let task = self.tasks.spawn(listener.serve(receiver, intake, observer, clock, commons, shutdown));
            self.running.insert(addresses, Running { settings: sender, stopper, on, task });
        }
        self.tell_unserved(config);
    }

    /// Goes over to another configuration: reads and binds what is new first, so that a failure changes nothing.
    fn change(&mut self, config: &Config) -> Result<(), String> {
        let (mut kept, mut fresh) = (BTreeMap::new(), Vec::new());
        for table in &config.listeners {
            let addresses = resolve(config, table, &self.inherited);
            let settings = settings_of(config, table).map_err(|error| error.to_string())?;
            if self.running.contains_key(&addresses) {
                kept.insert(addresses, settings);
            } else {
                let listener = Listener::bind(&addresses, table.socket_mode, &self.inherited)
                    .map_err(|error| format!("{error} (to move addresses between listeners, restart)"))?;
                fresh.push(Ready { addresses, settings, listener });
            }
        }
        self.set_modes(&kept)?;
        self.running.retain(|addresses, running| {
            let settings = kept.remove(addresses);
            let stays = settings.is_some();
            match settings {
                Some(settings) => drop(running.settings.send_replace(settings)),
                None => running.stopper.stop(GRACE),
            }
            stays
        });
        self.start(config, fresh);
        Ok(())
    }

    /// Gives the files of Unix sockets the permissions that they should have now.
    fn set_modes(&self, kept: &BTreeMap<Vec<ListenAddress>, Arc<Settings>>) -> Result<(), String> {
        for (addresses, settings) in kept {
            let mode = settings.listener.socket_mode;
            let before = self.running.get(addresses).map(|running| running.settings.borrow().listener.socket_mode);
            // A file that the service manager has made has the mode that its unit says.
            for address in addresses.iter().filter(|address| before != Some(mode) && !self.inherited.has(address)) {
                if let ListenAddress::Unix(path) = address {
                    unix::set_mode(path, mode).map_err(|error| format!("the permissions of {address}: {error}"))?;
                }
            }
        }
        Ok(())
    }

    fn tell_unserved(&mut self, config: &Config) {
        let unserved = self.inherited.unserved(&all_addresses(config));
        tell_change(&self.observer, &self.unserved, &unserved);
        self.unserved = unserved;
    }

    /// Where clients can connect, and where they should be able to and cannot.
    pub(super) fn listening(&self) -> Listening {
        let of = |gone: bool| {
            let running = self.running.values().filter(move |running| running.task.is_finished() == gone);
            running.flat_map(|running| running.on.iter().map(ToString::to_string)).collect()
        };
        Listening { on: of(false), gone: of(true) }
    }

    pub(super) fn stop(&self, grace: Duration) {
        self.running.values().for_each(|running| running.stopper.stop(grace));
    }

    pub(super) async fn ended(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Tells which sockets nobody serves now and somebody did `before`, and the other way round. A client that connects to a
/// socket that nobody serves waits for ever, and says nothing.
fn tell_change(observer: &Observer, before: &[Unserved], unserved: &[Unserved]) {
    for Unserved { name, address } in unserved.iter().filter(|one| !before.contains(one)) {
        let sentence = format!(
            "The service manager has handed over the socket {name} ({address}), and no [[listener]] serves it: who connects there waits \
             in vain. Give a [[listener]] address = \"{address}\", or take it out of the .socket unit: `systemctl edit \
             mailsluice.socket`, there [Socket], an empty ListenStream= and one for each address that stays."
        );
        observer.alarm_begun("unused_socket", &address.to_string(), &sentence);
    }
    for Unserved { address, .. } in before.iter().filter(|one| !unserved.contains(one)) {
        observer.alarm_ended("unused_socket", &address.to_string());
    }
}

fn resolve(config: &Config, listener: &ListenerConfig, inherited: &Inherited) -> Vec<ListenAddress> {
    inherited.resolve(&listener.addresses, &all_addresses(config))
}

fn all_addresses(config: &Config) -> Vec<&ListenAddress> {
    config.listeners.iter().flat_map(|listener| &listener.addresses).collect()
}

fn settings_of(config: &Config, listener: &ListenerConfig) -> Result<Arc<Settings>, CertificateError> {
    Settings::read(listener.clone(), config.clients.clone()).map(Arc::new)
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
        service_manager::tell(&[NotifyState::Reloading, now]);
    }
    let current = Arc::clone(&config.borrow());
    let outcome = Config::load(file).map_err(|errors| errors.to_string()).and_then(|fresh| {
        let allowed = QueueConfig { max_age: fresh.queue.max_age, ..current.queue.clone() };
        if fresh.queue != allowed {
            return Err("of [queue] only max_age can change while the daemon runs: restart for the others".into());
        }
        // A start must not fail by what others remove; here are aliases that count until the file is back.
        if let Some(path) = fresh.missing_aliases.as_ref().filter(|_| current.missing_aliases.is_none()) {
            return Err(format!(
                "{}, the `aliases_file`, is not there, and mail to its aliases would be nobody's: put it back, or take the key \
                 out of [local]",
                path.display()
            ));
        }
        listeners.change(&fresh)?;
        Ok(fresh)
    });
    let told = match outcome {
        Ok(fresh) => {
            config.send_replace(Arc::new(fresh));
            let said = match Provenance::of(file) {
                Provenance::File(file) => format!("{} was read again and counts from now on", file.display()),
                Provenance::Environment => UNCHANGEABLE.into(),
            };
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
    service_manager::tell(&[NotifyState::Ready]);
    told
}

/// A process keeps the environment that it was started with.
const UNCHANGEABLE: &str =
    "the settings come from the environment and stay until a restart; files with secrets were read again";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::happening::What;

    #[test]
    fn a_socket_that_nobody_serves_is_told_of_once_until_it_is_served() {
        let observer = Observer::default();
        let owned = |names: &[&str]| -> Vec<Unserved> {
            let one = |name: &&str| Unserved {
                name: (*name).to_owned(),
                address: ListenAddress::Inherited(Some((*name).to_owned())),
            };
            names.iter().map(one).collect()
        };
        let told = |before: &[&str], unserved: &[&str]| -> Vec<(String, What)> {
            tell_change(&observer, &owned(before), &owned(unserved));
            observer.take_events().into_iter().map(|event| (event.subject, event.what)).collect()
        };
        assert_eq!(told(&[], &["smtp"]), [("systemd:smtp".into(), What::Began)]);
        assert_eq!(told(&["smtp"], &["smtp"]), []);
        let expected = [("systemd:local".into(), What::Began), ("systemd:smtp".into(), What::Ended)];
        assert_eq!(told(&["smtp"], &["local"]), expected);
    }
}
