//! `rate` of clients: who has sent more than its rate is read later, and never refused. A client has one rate, whichever of
//! its machines sends and by whichever listener.
//!
//! A message is taken first and counted then. So each connection of a client may have one under way when the rate is used
//! up: that is owed, and the pause is the longer for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::admission::Meter;
use crate::ids::ClientName;
use crate::provider::Cap;
use crate::route::Client;
use crate::time::{Clock, Timestamp};

/// The rates of all clients that have one.
pub(super) struct Rates {
    clock: Arc<dyn Clock>,
    by_client: watch::Sender<HashMap<ClientName, Arc<Account>>>,
}

/// What a client has sent.
#[derive(Debug)]
struct Account {
    rate: Cap,
    meter: Meter,
    balance: Mutex<Balance>,
}

#[derive(Debug)]
struct Balance {
    /// Messages that may come, taken from the meter: 1, 0, or less where more have come.
    credit: i64,
    /// When the meter is full without what was taken from it: until then it may be kept.
    full: Timestamp,
    /// When the client had to wait last.
    slowed: Option<Timestamp>,
}

/// How a client has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// At least so long.
    pub(super) span: Duration,
    /// For all that it has sent.
    pub(super) whole: Duration,
    /// Whether it is news.
    pub(super) notice: Notice,
}

/// Whether a client that has to wait has done so a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Begins,
    GoesOn,
}

impl Rates {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, by_client: watch::Sender::default() }
    }

    /// Goes by the rates of these clients from now on. A rate that is as it was goes on counting; another begins anew.
    pub(super) fn know(&self, clients: &[Client]) {
        self.by_client.send_modify(|accounts| {
            let mut before = std::mem::take(accounts);
            let rated = clients.iter().filter_map(|client| Some((client.name.clone(), client.rate?)));
            accounts.extend(rated.map(|(name, rate)| {
                let kept = before.remove(&name).filter(|account| account.rate == rate);
                (name, kept.unwrap_or_else(|| Arc::new(Account::new(rate, self.clock.clone()))))
            }));
        });
    }

    /// A message of this client was taken.
    pub(super) fn charge(&self, client: &ClientName) {
        if let Some(account) = self.by_client.borrow().get(client) {
            account.charge(self.clock.now());
        }
    }

    /// How long the client has to wait now before more of it is read; nothing: it need not.
    pub(super) fn wait(&self, client: &ClientName) -> Option<Wait> {
        let account = self.by_client.borrow().get(client).cloned()?;
        account.wait(self.clock.now())
    }

    /// Tells when other rates count.
    pub(super) fn changes(&self) -> Changes {
        Changes(self.by_client.subscribe())
    }
}

/// Waits for other rates.
pub(super) struct Changes(watch::Receiver<HashMap<ClientName, Arc<Account>>>);

impl Changes {
    /// Returns when other rates count than when this was last asked.
    pub(super) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Account {
    fn new(rate: Cap, clock: Arc<dyn Clock>) -> Self {
        let balance = Balance { credit: 0, full: Timestamp::EPOCH, slowed: None };
        Self { rate, meter: Meter::new(rate, clock), balance: Mutex::new(balance) }
    }

    fn charge(&self, now: Timestamp) {
        self.balance(now).credit -= 1;
    }

    fn wait(&self, now: Timestamp) -> Option<Wait> {
        let mut balance = self.balance(now);
        let part = self.rate.window / self.rate.count.max(1);
        while balance.credit < 1 {
            match self.meter.take() {
                Ok(left) => {
                    balance.credit += 1;
                    balance.full = now.after(part.saturating_mul(self.rate.count.saturating_sub(left)));
                }
                Err(span) => {
                    let owed = u32::try_from(-balance.credit).unwrap_or(u32::MAX);
                    let calm = CALM.max(self.rate.window);
                    let recent = balance.slowed.is_some_and(|last| now.since(last) < calm);
                    balance.slowed = Some(now);
                    let notice = if recent { Notice::GoesOn } else { Notice::Begins };
                    return Some(Wait { span, whole: span.saturating_add(part.saturating_mul(owed)), notice });
                }
            }
        }
        None
    }

    /// How the client stands. What is kept of the meter lapses once that is full: together they would be one too many.
    fn balance(&self, now: Timestamp) -> MutexGuard<'_, Balance> {
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        if balance.credit == 1 && balance.full <= now {
            balance.credit = 0;
        }
        balance
    }
}

/// How long a client must not have waited, one window at least, before it is news that it does.
const CALM: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::caps::Counted;
    use crate::time::ManualClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn camera(count: u32, window: u64) -> Client {
        let rate = Cap { counted: Counted::Messages, count, window: SECOND * u32::try_from(window).unwrap() };
        Client { rate: Some(rate), ..Client::named("camera".into()) }
    }

    fn begin(client: Client) -> (Arc<ManualClock>, Rates, ClientName) {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_362_588)));
        let rates = Rates::new(clock.clone());
        let name = client.name.clone();
        rates.know(&[client, Client::named("shop".into())]);
        (clock, rates, name)
    }

    /// How many messages come before the client has to wait.
    fn at_once(rates: &Rates, name: &ClientName) -> u32 {
        let mut taken = 0;
        while rates.wait(name).is_none() {
            rates.charge(name);
            taken += 1;
            assert!(taken < 1000, "no rate is kept");
        }
        taken
    }

    #[test]
    fn the_count_comes_at_once_and_then_one_whenever_its_part_of_the_window_has_passed() {
        let (clock, rates, camera) = begin(camera(6, 60));
        assert_eq!(at_once(&rates, &camera), 6);
        assert_eq!(rates.wait(&camera).unwrap().span, SECOND * 10);
        clock.advance(SECOND * 9);
        assert_eq!(rates.wait(&camera).unwrap().span, SECOND);
        clock.advance(SECOND);
        assert_eq!(at_once(&rates, &camera), 1);
        clock.advance(SECOND * 25);
        assert_eq!(at_once(&rates, &camera), 2);
        clock.advance(SECOND * 600);
        assert_eq!(at_once(&rates, &camera), 6, "no more than the count is saved up");
        clock.advance(SECOND * 10);
        assert_eq!(rates.wait(&camera), None, "it may send, and does not");
        clock.advance(SECOND * 600);
        assert_eq!(at_once(&rates, &camera), 6, "nor where it could have sent before");
    }

    #[test]
    fn what_came_beyond_the_rate_is_waited_for() {
        let (clock, rates, camera) = begin(camera(2, 60));
        assert_eq!(at_once(&rates, &camera), 2);
        // Three connections had a message under way.
        (0..3).for_each(|_| rates.charge(&camera));
        let wait = rates.wait(&camera).unwrap();
        assert_eq!((wait.span, wait.whole), (SECOND * 30, SECOND * 120));
        for _ in 0..3 {
            clock.advance(SECOND * 30);
            assert!(rates.wait(&camera).is_some());
        }
        clock.advance(SECOND * 30);
        assert_eq!(at_once(&rates, &camera), 1);
    }

    #[test]
    fn only_who_has_a_rate_waits() {
        let (_, rates, camera) = begin(camera(1, 60));
        for name in ["shop", "10.0.0.5"] {
            (0..100).for_each(|_| rates.charge(&name.into()));
            assert_eq!(rates.wait(&name.into()), None, "{name}");
        }
        assert_eq!(at_once(&rates, &camera), 1);
    }

    #[test]
    fn a_wait_is_news_once_until_there_was_none_for_an_hour() {
        let (clock, rates, camera) = begin(camera(1, 60));
        let mut news = Vec::new();
        for pause in [0, 60, 60, 3599, 3601] {
            clock.advance(SECOND * pause);
            at_once(&rates, &camera);
            let notice = rates.wait(&camera).unwrap().notice;
            news.push(notice);
        }
        // The first wait of each round is within `at_once`, so that what is asked behind it goes on.
        assert!(news.iter().all(|notice| *notice == Notice::GoesOn), "{news:?}");
        clock.advance(SECOND * 3600);
        rates.charge(&camera);
        rates.charge(&camera);
        assert_eq!(rates.wait(&camera).unwrap().notice, Notice::Begins);
    }

    #[test]
    fn a_changed_rate_counts_at_once_and_one_that_stays_goes_on() {
        let (_, rates, name) = begin(camera(1, 60));
        at_once(&rates, &name);
        rates.know(&[camera(1, 60)]);
        assert!(rates.wait(&name).is_some());
        rates.know(&[camera(3, 60)]);
        assert_eq!(at_once(&rates, &name), 3);
        rates.know(&[]);
        assert_eq!(rates.wait(&name), None);
    }

    #[test]
    fn a_rate_of_any_size_is_kept() {
        let month = SECOND * 31 * 86_400;
        for (count, window, span) in [(10_000_000, 1, None), (1, 31 * 86_400, Some(month))] {
            let (_, rates, name) = begin(camera(count, window));
            assert_eq!(rates.wait(&name), None);
            rates.charge(&name);
            assert_eq!(rates.wait(&name).map(|wait| wait.span), span);
        }
    }
}
