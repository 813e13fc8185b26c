//! Builds every part from the configuration, starts it, and stops it in order.
//!
//! Start: queue, listeners, control socket, dispatcher, notifier; then readiness is told. Stop: listeners, sessions and transactions
//! under way (for [`GRACE`] at most), then the queue.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

pub mod custody;
pub mod errand;
mod listeners;
mod service_manager;
mod signals;

use self::errand::Lent;
use self::listeners::{Listeners, Ready, reload};
use self::signals::{Signal, Signals};
use crate::config::{Config, ConfigErrors, ListenAddress, OnUncertain, QueueConfig};
use crate::control::desk::{Asked, Desk};
use crate::control::server::ControlServer;
use crate::control::socket_path;
use crate::deliver::dispatcher::Dispatcher;
use crate::deliver::{mended, returned};
use crate::ids::{AccountName, MessageId};
use crate::intake::Intake;
use crate::notify::Notifier;
use crate::observe::Observer;
use crate::observe::fate::{Next, Uncertain};
use crate::queue::record::Reclaimed;
use crate::queue::sqlite::{Machine, Options, SqliteStore};
use crate::queue::{OpenError, Queue, QueueReader, QueueStore, StoreError, Urgency, tend_clocks};
use crate::receive::{BindError, CertificateError, Inherited};
use crate::schedule::cap::horizon;
use crate::schedule::turn::Turn;
use crate::time::{Clock, MonotonicClock, wall_clock};
use crate::tokens::{Logins, keeper};

/// Why the daemon did not start, or stopped on its own.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The queue cannot be opened.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The queue broke.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// An address cannot be listened on.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// A listener cannot show its certificate.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// The control socket cannot be made.
    #[error("the control socket cannot be made: {0}")]
    Control(std::io::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
}

/// The queue, opened for this process alone.
pub struct Opened {
    /// The handle.
    pub queue: Queue,
    /// By which all of it tells the time.
    pub clock: Arc<dyn Clock>,
    /// The highest queue id given out.
    pub newest: MessageId,
    /// What was under way when the last process died.
    pub reclaimed: Vec<Reclaimed>,
}

/// Opens the queue and takes up where the last process left off. With `hold`, what was under way then is reclaimed: held
/// for a person where that says so of its account, else sent again.
///
/// # Errors
/// Where it cannot be opened or read.
pub fn open_queue(settings: &QueueConfig, hold: Option<&dyn Fn(&AccountName) -> bool>) -> Result<Opened, AppError> {
    let mut store = SqliteStore::open(Options {
        path: settings.path.clone(),
        max_bytes: settings.max_bytes,
        min_free: settings.min_free,
        ephemeral: settings.ephemeral,
    })?;
    let clock: Arc<dyn Clock> = Arc::new(MonotonicClock::starting_after(store.newest()));
    let (reclaimed, newest) = match take_up(&mut store, clock.as_ref(), hold) {
        Ok(taken) => taken,
        Err(StoreError::Damaged(what)) => return Err(store.damaged(&what).into()),
        Err(error) => return Err(error.into()),
    };
    let mut readers: Vec<Box<dyn QueueReader>> = Vec::new();
    for _ in 0..READERS {
        readers.push(Box::new(store.reader()?));
    }
    let queue = Queue::start(Box::new(store), readers, Arc::clone(&clock));
    Ok(Opened { queue, clock, newest, reclaimed })
}

/// What was under way when the last process died, and the highest queue id given out.
fn take_up(
    store: &mut SqliteStore,
    clock: &dyn Clock,
    hold: Option<&dyn Fn(&AccountName) -> bool>,
) -> Result<(Vec<Reclaimed>, MessageId), StoreError> {
    store.take_up(clock.now(), &Machine::now())?;
    let mut reclaimed = Vec::new();
    if let Some(hold) = hold {
        store.begin()?;
        reclaimed = store.reclaim(true, hold, clock.now())?;
        store.commit(clock.now())?;
    }
    Ok((reclaimed, store.newest_id()?))
}

/// The daemon, built and bound, about to run.
pub struct App {
    opened: Opened,
    observer: Arc<Observer>,
    config: watch::Sender<Arc<Config>>,
    /// Where the configuration is read again from; none: it is not.
    file: Option<PathBuf>,
    intake: Arc<Intake>,
    wake: Arc<Notify>,
    inherited: Inherited,
    bound: Vec<Ready>,
    control: ControlServer,
}

impl App {
    /// Opens the queue, binds all addresses and the control socket. `file` is read again on SIGHUP; `inherited` is what the
    /// service manager has handed over.
    ///
    /// # Errors
    /// What is in the way, with what to do.
    pub async fn build(config: Config, file: Option<&Path>, inherited: Inherited) -> Result<Self, AppError> {
        let observer = Arc::new(Observer::default());
        let settings = config.clone();
        let hold = move |account: &AccountName| holds(&settings, account);
        let opened = open_queue(&config.queue, Some(&hold))?;
        for reclaimed in &opened.reclaimed {
            tell_reclaimed(&observer, reclaimed, hold(&reclaimed.account));
        }
        let bound = Ready::all(&config, &inherited)?;
        let control = ControlServer::bind(&socket_path(&config.queue.path)).map_err(AppError::Control)?;
        let wake = Arc::new(Notify::new());
        let (config, current) = watch::channel(Arc::new(config));
        let intake =
            Intake::new(opened.queue.clone(), Arc::clone(&observer), current, Arc::clone(&wake), opened.newest);
        Ok(Self {
            opened,
            observer,
            config,
            file: file.map(Path::to_owned),
            intake: Arc::new(intake),
            wake,
            inherited,
            bound,
            control,
        })
    }

    /// The addresses that clients can connect to.
    pub fn addresses(&self) -> Vec<ListenAddress> {
        self.bound.iter().flat_map(Ready::addresses).collect()
    }

    /// Runs until a signal says stop (SIGTERM, SIGINT) or the queue fails. SIGHUP reads the configuration again.
    ///
    /// # Errors
    /// Where the queue failed.
    pub async fn run(self) -> Result<(), AppError> {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        let Self { opened, observer, config, file, intake, wake, inherited, bound, control } = self;
        let Opened { queue, clock, .. } = opened;
        let mut signals = Signals::new().map_err(AppError::Signals)?;

        warn_of_clock(&observer, clock.as_ref());
        let accounts: Vec<AccountName> = config.borrow().account_names().cloned().collect();
        queue.write(Urgency::Work, move |store, now| tend_clocks(store, accounts.iter(), now)).await?;
        let logins = Arc::new(Logins::beside(&config.borrow().queue.path, Arc::clone(&clock), Arc::clone(&observer)));
        let dispatcher = watched_dispatcher(&queue, &observer, config.subscribe(), &wake, &logins);
        let turns = dispatcher.turns();
        let (asks, mut asked) = mpsc::channel(1);
        let desk = Desk {
            queue: queue.clone(),
            observer: Arc::clone(&observer),
            config: config.subscribe(),
            wake: Arc::clone(&wake),
            logins: Arc::clone(&logins),
            resident: true,
            intake: Arc::clone(&intake),
            tester: Arc::new(Lent(dispatcher.trials())),
            turns: turns.clone(),
            app: Some(asks),
        };
        let control = tokio::spawn(control.serve(Arc::new(desk)));
        let housekeeping = tokio::spawn(keep_house(queue.clone(), config.subscribe()));
        let [keeping, watching, knocking] = tend_accounts(&logins, &queue, &observer, &config, &turns, &wake);
        let (stop_dispatcher, stopping) = watch::channel(false);
        let mut dispatcher = tokio::spawn(dispatcher.run(stopping, GRACE));
        let notifier = Notifier::new(queue.clone(), Arc::clone(&observer), Arc::clone(&intake), config.subscribe());
        let notifier = tokio::spawn(notifier.await?.run(stop_dispatcher.subscribe()));
        let mut listeners = Listeners::new(intake, Arc::clone(&observer), clock, inherited);
        listeners.start(&config.borrow(), bound);
        // Clients need not wait until a long queue, of which the disk has to be asked, is counted.
        let telling = service_manager::ready(&turns, &queue);
        let waiting = queue.read(|reader, now| reader.stats(now)).await?;
        observer.started(env!("CARGO_PKG_VERSION"), waiting.ready + waiting.deferred, &addresses.join(", "));

        let failure = loop {
            tokio::select! {
                biased; // a queue that failed ends the dispatcher too, and is the reason to name
                signal = signals.next() => match signal {
                    Signal::Stop(name) => {
                        observer.stopping(&format!("{name} received; what is under way has {} s to end", GRACE.as_secs()));
                        break None;
                    }
                    Signal::Reload => drop(reload(file.as_deref(), &config, &mut listeners, &observer, &logins)),
                },
                // Who has asked may have gone meanwhile.
                Some(asked) = asked.recv() => match asked {
                    Asked::Reload(asker) => {
                        drop(asker.send(reload(file.as_deref(), &config, &mut listeners, &observer, &logins)));
                    }
                    Asked::Listening(asker) => drop(asker.send(listeners.listening())),
                },
                failure = queue.failed() => break Some(broke(&observer, "queue_failed", failure)),
                ended = &mut dispatcher => {
                    let why = ended.map_or_else(|broken| StoreError::Failed(broken.to_string()), why_ended);
                    break Some(broke(&observer, "dispatcher_ended", why));
                }
            }
        };
        drop(telling);
        service_manager::tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        let grace = if failure.is_some() { Duration::ZERO } else { GRACE };
        Underway { listeners, stop_dispatcher, dispatcher, notifier, keeping, logins, control }.end(grace).await;
        [housekeeping, watching, knocking].iter().for_each(JoinHandle::abort);
        if let Some(failure) = failure {
            return Err(failure.into());
        }
        observer.stopped();
        Ok(())
    }
}

/// A dispatcher that looks as often as the service manager wants to see.
fn watched_dispatcher(
    queue: &Queue,
    observer: &Arc<Observer>,
    config: watch::Receiver<Arc<Config>>,
    wake: &Arc<Notify>,
    logins: &Arc<Logins>,
) -> Dispatcher {
    Dispatcher::new(queue.clone(), Arc::clone(observer), config, Arc::clone(wake), Arc::clone(logins))
        .looking_every(service_manager::look_every().unwrap_or(Duration::MAX))
}

/// What has something to finish when the daemon stops.
struct Underway {
    listeners: Listeners,
    stop_dispatcher: watch::Sender<bool>,
    dispatcher: JoinHandle<Result<(), StoreError>>,
    notifier: JoinHandle<()>,
    keeping: JoinHandle<()>,
    logins: Arc<Logins>,
    control: JoinHandle<()>,
}

impl Underway {
    /// Sessions and transactions first, then commands.
    async fn end(self, grace: Duration) {
        let Self { mut listeners, stop_dispatcher, dispatcher, notifier, keeping, logins, control } = self;
        listeners.stop(grace);
        stop_dispatcher.send_replace(true);
        keeping.abort();
        let ended = async {
            listeners.ended().await;
            if !dispatcher.is_finished() {
                let _ = dispatcher.await;
            }
            let _ = tokio::time::timeout(LAST_TOKEN, logins.tokens().at_rest()).await;
            let _ = notifier.await;
        };
        let _ = tokio::time::timeout(grace + PARTING, ended).await;
        control.abort();
        let _ = control.await;
    }
}

/// Keeps tokens fresh, looks whether logins in trouble were mended, and whether hosts out of reach are back.
fn tend_accounts(
    logins: &Arc<Logins>,
    queue: &Queue,
    observer: &Arc<Observer>,
    config: &watch::Sender<Arc<Config>>,
    turns: &watch::Receiver<Turn>,
    wake: &Arc<Notify>,
) -> [JoinHandle<()>; 3] {
    let (looking, seen, waking) = (queue.clone(), Arc::clone(observer), Arc::clone(wake));
    let watching = mended::watch(looking, seen, Arc::clone(logins), config.subscribe(), waking);
    let (looking, seen, waking) = (queue.clone(), Arc::clone(observer), Arc::clone(wake));
    let knocking = returned::watch(looking, seen, config.subscribe(), turns.clone(), waking);
    let keeping = keeper::keep(Arc::clone(logins), config.subscribe());
    [tokio::spawn(keeping), tokio::spawn(watching), tokio::spawn(knocking)]
}

/// Tells that the daemon cannot go on.
fn broke(observer: &Observer, kind: &str, why: StoreError) -> StoreError {
    observer.alarm(kind, &format!("the daemon stops: {why}"));
    why
}

/// A dispatcher that ends before it is told to has met a queue that failed.
fn why_ended(ended: Result<(), StoreError>) -> StoreError {
    ended.err().unwrap_or_else(|| StoreError::Failed("the dispatcher ended by itself".into()))
}

/// What goes by age: history and charges. Leases do not: those of this process end with their workers, those of a dead
/// one were reclaimed at the start.
async fn keep_house(queue: Queue, config: watch::Receiver<Arc<Config>>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    loop {
        tick.tick().await;
        let settings = Arc::clone(&config.borrow());
        loop {
            let ledger = horizon(settings.accounts.iter().flat_map(|account| &account.caps.windows));
            let swept = queue.write(Urgency::Work, move |store, now| store.sweep(HISTORY, ledger, now)).await;
            if !matches!(swept, Ok(1000..)) {
                break;
            }
        }
    }
}

pub(crate) fn holds(config: &Config, account: &AccountName) -> bool {
    config.account(account).is_some_and(|account| account.on_uncertain == OnUncertain::Hold)
}

pub(crate) fn tell_reclaimed(observer: &Observer, reclaimed: &Reclaimed, hold: bool) {
    let uncertain = Uncertain {
        id: reclaimed.message,
        client: &reclaimed.client,
        account: &reclaimed.account,
        attempted: None,
        reason: "the daemon stopped during the transaction",
        next: if hold { Next::Hold } else { Next::Resend },
    };
    reclaimed.recipients.iter().for_each(|recipient| observer.uncertain(&uncertain, recipient));
}

/// Scheduling time never goes back; where the wall clock is behind it, somebody should know why dates differ.
fn warn_of_clock(observer: &Observer, clock: &dyn Clock) {
    let ahead = clock.now().since(wall_clock());
    if ahead > Duration::from_secs(60) {
        observer.alarm(
            "clock",
            &format!(
                "the wall clock is {} behind the newest entry of the queue: scheduling goes on from there, dates are stamped by the wall clock",
                crate::time::spoken(ahead)
            ),
        );
    }
}

/// How long sessions and transactions under way have to end when the daemon stops.
pub const GRACE: Duration = Duration::from_secs(30);
/// What comes on top of the grace for goodbyes.
const PARTING: Duration = Duration::from_secs(8);
/// How long a token may still be on its way: what comes with it must be kept.
const LAST_TOKEN: Duration = Duration::from_secs(5);
/// Readers beside the writer.
const READERS: usize = 3;
/// How often what goes by age is looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// How long what ended is kept for tracing.
const HISTORY: Duration = Duration::from_secs(30 * 86_400);
