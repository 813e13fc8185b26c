//! Answers requests, for the daemon and, where there is none, for a command that has opened the queue itself.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::request::{AccountStanding, Answer, CapStanding, PaceStanding, Request, ShareStanding};
use super::{health, test_mail};
use crate::config::{AccountConfig, Config, Destination, SmtpEndpoint};
use crate::ids::{AccountName, MessageId};
use crate::intake::Intake;
use crate::observe::Observer;
use crate::observe::fate::Touched;
use crate::provider::{Cap, Caps};
use crate::queue::record::{Fate, Operated, Operation, Shown, WaitsFor};
use crate::queue::{Queue, QueueStore, StoreError, Urgency, tend_clocks};
use crate::route::{Client, Priority};
use crate::schedule::cap::{Allowance, Ledger, limit, part};
use crate::schedule::lane::Change;
use crate::schedule::trial::Trial;
use crate::schedule::turn::Turn;
use crate::smtp::Address;
use crate::time::Timestamp;
use crate::tokens::{LoginProgress, Logins};

/// What answers need.
pub struct Desk {
    /// The queue.
    pub queue: Queue,
    /// For fates that operators decide.
    pub observer: Arc<Observer>,
    /// The configuration that counts.
    pub config: watch::Receiver<Arc<Config>>,
    /// Rung when there may be something to send.
    pub wake: Arc<Notify>,
    /// How the accounts log in.
    pub logins: Arc<Logins>,
    /// Whether this is the daemon's own desk, with counts since its start.
    pub resident: bool,
    /// For test mails.
    pub intake: Arc<Intake>,
    /// What tries accounts out.
    pub tester: Arc<dyn Tester>,
    /// The dispatcher's looks at the queue.
    pub turns: watch::Receiver<Turn>,
    /// Who has the listeners and reads the configuration again; none where no daemon runs.
    pub app: Option<mpsc::Sender<Asked>>,
}

/// Tries accounts out. Sockets to providers are not this floor's business, so whoever puts the parts together lends one.
pub trait Tester: Send + Sync {
    /// Does all that a delivery by this account does, but for the message.
    fn test<'a>(&'a self, account: &'a AccountConfig) -> Pin<Box<dyn Future<Output = Trial> + Send + 'a>>;
}

/// What only the part that holds all others together can do, with where it is to answer.
#[derive(Debug)]
pub enum Asked {
    /// The configuration is to be read again; how that went.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Where clients can connect.
    Listening(oneshot::Sender<Listening>),
}

/// Where clients can connect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// The addresses that are served.
    pub on: Vec<String>,
    /// Those that should be and are not: their listener has ended by itself.
    pub gone: Vec<String>,
}

impl Desk {
    /// Answers.
    pub async fn answer(&self, request: Request) -> Answer {
        let answered = match request {
            Request::List(request) => {
                self.queue.read(move |reader, now| reader.list(&request, now)).await.map(Answer::Listed)
            }
            Request::Show(id) => self.show(id).await.map(|shown| Answer::Shown(shown.map(Box::new))),
            Request::Operate { id, operation } => self.operate(id, operation).await.map(Answer::Operated),
            Request::RetryAll => self.hasten().await.map(Answer::Hastened),
            Request::Stats => self
                .queue
                .read(|reader, now| reader.stats(now))
                .await
                .map(|queue| Answer::Stats { queue, since_start: self.resident.then(|| self.observer.counts()) }),
            Request::Accounts => self.accounts().await.map(Answer::Accounts),
            Request::Resume(account) => self.resume(account).await,
            Request::Pause(account) => self.pause(account).await,
            Request::Test(account) => Ok(self.test(&account).await),
            Request::TestMail { from, to } => Ok(self.test_mail(from, to).await),
            Request::Reload => Ok(self.reload().await),
            Request::Health => Ok(health::answer(self).await),
            Request::Login(account) => Ok(self.log_in(&account).await),
            Request::LoginOutcome(account) => self.login_outcome(account).await,
        };
        self.wake.notify_one();
        answered.unwrap_or_else(|error| Answer::Refused(error.to_string()))
    }

    /// Everything about a message; where it waits and no account takes mail, also what keeps each of them.
    async fn show(&self, id: MessageId) -> Result<Option<Shown>, StoreError> {
        let mut shown = self.queue.read(move |reader, now| reader.show(id, now)).await?;
        if let Some(shown) = shown.as_mut().filter(|shown| shown.listed.fate == Fate::Waiting) {
            let config = Arc::clone(&self.config.borrow());
            shown.waits_for = self.queue.write(Urgency::Work, move |store, now| waits_for(store, &config, now)).await?;
        }
        Ok(shown)
    }

    async fn operate(&self, id: MessageId, operation: Operation) -> Result<Operated, StoreError> {
        let operated = self.queue.write(Urgency::Work, move |store, now| store.operate(id, operation, now)).await?;
        if let Operated::Done { client, recipients } = &operated {
            let touched = match operation {
                Operation::Retry => Touched::Retried,
                Operation::Hold => Touched::Held,
                Operation::Release => Touched::Released,
                Operation::Delete => Touched::Deleted,
                Operation::SettleDelivered => Touched::SettledDelivered,
                Operation::SettleFailed => Touched::SettledFailed,
            };
            // It is done; where it cannot be read again, the line says less.
            let shown = self.queue.read(move |reader, now| reader.show(id, now)).await.ok().flatten();
            for recipient in recipients {
                self.observer.touched(id, client, recipient, touched, shown.as_ref());
            }
        }
        Ok(operated)
    }

    /// Makes ready all that was put off, in slices, so that claims and new mail come in between.
    async fn hasten(&self) -> Result<u64, StoreError> {
        let mut hastened = 0;
        loop {
            let slice = self.queue.write(Urgency::Work, |store, now| store.hasten(SLICE, now)).await?;
            hastened += u64::from(slice);
            self.wake.notify_one();
            if slice < SLICE {
                return Ok(hastened);
            }
        }
    }

    async fn resume(&self, account: AccountName) -> Result<Answer, StoreError> {
        let config = Arc::clone(&self.config.borrow());
        if let Some(refused) = unknown(&config, &account) {
            return Ok(refused);
        }
        self.logins.forgive(&account);
        let (name, settings) = (account.clone(), Arc::clone(&config));
        let change = self.queue.write(Urgency::Work, move |store, now| {
            let mut lane = store.lane(&name)?;
            let change = lane.resume(now);
            store.set_lane(&name, &lane)?;
            tend_clocks(store, settings.account_names(), now)?;
            Ok(change)
        });
        if change.await? == Change::Resumed {
            self.observer.lane_resumed(&account);
        }
        let hastened = self.hasten().await?;
        Ok(Answer::Hastened(hastened))
    }

    async fn pause(&self, account: AccountName) -> Result<Answer, StoreError> {
        let config = Arc::clone(&self.config.borrow());
        if let Some(refused) = unknown(&config, &account) {
            return Ok(refused);
        }
        let name = account.clone();
        let lane = self
            .queue
            .write(Urgency::Work, move |store, now| {
                let mut lane = store.lane(&name)?;
                lane.pause(now);
                store.set_lane(&name, &lane)?;
                tend_clocks(store, config.account_names(), now)?;
                Ok(lane)
            })
            .await?;
        if let Some(stop) = lane.stop() {
            self.observer.lane_stopped(&account, &lane.standing, stop, self.queue.now());
        }
        Ok(Answer::Hastened(0))
    }

    async fn test(&self, name: &AccountName) -> Answer {
        let config = Arc::clone(&self.config.borrow());
        match config.account(name) {
            Some(account) => Answer::Tested(Box::new(self.tester.test(account).await)),
            None => Answer::Refused(no_such(&config, name)),
        }
    }

    async fn test_mail(&self, from: Option<Address>, to: Address) -> Answer {
        let config = Arc::clone(&self.config.borrow());
        test_mail::queue(&self.intake, &config, from, to).await
    }

    async fn reload(&self) -> Answer {
        let (asked, heard) = oneshot::channel();
        let Some(app) = &self.app else {
            return Answer::Refused("nothing runs here that could read the configuration again".into());
        };
        let stopping = || Answer::Refused("the daemon is stopping".into());
        if app.send(Asked::Reload(asked)).await.is_err() {
            return stopping();
        }
        match heard.await {
            Ok(Ok(sentence)) => Answer::Reloaded(sentence),
            Ok(Err(why)) => Answer::Refused(why),
            Err(_) => stopping(),
        }
    }

    async fn log_in(&self, account: &AccountName) -> Answer {
        let config = Arc::clone(&self.config.borrow());
        if let Some(refused) = unknown(&config, account) {
            return refused;
        }
        let oauth = config.account(account).and_then(|account| match &account.destination {
            Destination::Smtp(endpoint) => endpoint.login.as_ref()?.oauth.as_ref(),
            Destination::Directory(_) => None,
        });
        let Some(oauth) = oauth else {
            return Answer::Refused(format!("account {account} has no [account.oauth]: there is nobody to log in"));
        };
        let invited = self.logins.tokens().begin_login(account, oauth).await;
        invited.map_or_else(Answer::Refused, Answer::Invited)
    }

    /// How far a login is; one that has ended well opens the lane.
    async fn login_outcome(&self, account: AccountName) -> Result<Answer, StoreError> {
        let progress = self.logins.tokens().login_progress(&account);
        if progress == LoginProgress::LoggedIn
            && let refused @ Answer::Refused(_) = self.resume(account).await?
        {
            return Ok(refused);
        }
        Ok(Answer::LoginIs(progress))
    }

    async fn accounts(&self) -> Result<Vec<AccountStanding>, StoreError> {
        let config = Arc::clone(&self.config.borrow());
        let settings = Arc::clone(&config);
        let standings = self.queue.write(Urgency::Work, move |store, now| {
            config.accounts.iter().map(|account| standing(store, &config, account, now)).collect::<Result<Vec<_>, _>>()
        });
        let mut standings = standings.await?;
        for (standing, account) in standings.iter_mut().zip(&settings.accounts) {
            if let Destination::Smtp(SmtpEndpoint { login: Some(login), .. }) = &account.destination {
                standing.login = Some(self.logins.method(&account.name, login).as_str().into());
            }
        }
        Ok(standings)
    }
}

fn unknown(config: &Config, account: &AccountName) -> Option<Answer> {
    if config.account(account).is_some() {
        return None;
    }
    Some(Answer::Refused(no_such(config, account)))
}

fn no_such(config: &Config, account: &AccountName) -> String {
    let known: Vec<&str> = config.accounts.iter().map(|account| account.name.as_str()).collect();
    format!("there is no account {account}; there is {}", known.join(", "))
}

/// What keeps each account from taking mail; nothing where one takes it.
fn waits_for(store: &mut dyn QueueStore, config: &Config, now: Timestamp) -> Result<Vec<WaitsFor>, StoreError> {
    let mut stopped = Vec::with_capacity(config.accounts.len());
    for account in config.account_names() {
        let lane = store.lane(account)?;
        let Some(stop) = lane.stop() else { return Ok(Vec::new()) };
        stopped.push(WaitsFor {
            account: account.clone(),
            standing: lane.standing.as_str().into(),
            cause: stop.cause.sentence.clone(),
            next_probe_in: stop.probe_at.map(|at| at.since(now).as_secs()),
        });
    }
    Ok(stopped)
}

fn standing(
    store: &mut dyn QueueStore,
    config: &Config,
    account: &AccountConfig,
    now: Timestamp,
) -> Result<AccountStanding, StoreError> {
    let lane = store.lane(&account.name)?;
    let none = Ledger::default();
    let ledger = store.ledger(&account.login_key()).unwrap_or(&none);
    let paced = lane.paced(&account.caps, now);
    let pace = lane.full_pace_at(now).map(|full_at| PaceStanding {
        caps: paced
            .windows
            .iter()
            .zip(&account.caps.windows)
            .filter(|(paced, cap)| paced != cap)
            .map(|(paced, _)| format!("{paced} {}", paced.counted.as_str()))
            .collect(),
        connections: paced.connections,
        full_in: full_at.since(now).as_secs(),
    });
    let caps = account.caps.windows.iter().map(|cap| {
        let used = ledger.used(cap, now);
        let left = u64::from(limit(cap, Priority::Normal)).saturating_sub(used);
        CapStanding { counted: cap.counted.as_str().into(), cap: cap.to_string(), used, left }
    });
    let next_slot_in = match lane.stop() {
        Some(stop) => stop.probe_at.map(|at| at.since(now).as_secs_f64()),
        None => seconds_until(ledger.allowance(&paced, Priority::Normal, now), now),
    };
    let stop = lane.stop();
    Ok(AccountStanding {
        account: account.name.clone(),
        provider: account.provider.as_str().into(),
        host: account.host().into(),
        login: None,
        standing: lane.standing.as_str().into(),
        cause: stop.map(|stop| stop.cause.sentence.clone()),
        reply: stop.and_then(|stop| stop.cause.reply.clone()),
        stopped_seconds: stop.map(|stop| now.since(stop.since).as_secs()),
        next_probe_in: stop.and_then(|stop| stop.probe_at).map(|at| at.since(now).as_secs()),
        sending: ledger.under_way(),
        connections: account.caps.connections,
        caps: caps.collect(),
        pace,
        shares: shares(ledger, config, &account.caps, &paced, now),
        next_slot_in,
    })
}

/// How the clients with a share stand with these caps, of which there may be less just now.
fn shares(ledger: &Ledger, config: &Config, caps: &Caps, paced: &Caps, now: Timestamp) -> Vec<ShareStanding> {
    let of = |client: &Client, percent| {
        let caps = caps.windows.iter().map(|cap| {
            let cap = Cap { count: part(cap, percent), ..*cap };
            let used = ledger.used_by(&client.name, &cap, now);
            let left = u64::from(cap.count).saturating_sub(used);
            CapStanding { counted: cap.counted.as_str().into(), cap: cap.to_string(), used, left }
        });
        let next_slot_in = seconds_until(ledger.part(paced, &client.name, percent, now), now);
        ShareStanding { client: client.name.clone(), percent, caps: caps.collect(), next_slot_in }
    };
    config.clients.iter().filter_map(|client| Some(of(client, client.share?))).collect()
}

fn seconds_until(allowance: Allowance, now: Timestamp) -> Option<f64> {
    match allowance {
        Allowance::Now(_) => Some(0.0),
        Allowance::NotBefore(at) => Some(at.since(now).as_secs_f64()),
        Allowance::AfterSettlement => None,
    }
}

const SLICE: u32 = 1000;
