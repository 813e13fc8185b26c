//! Who is let in: by TCP only listed networks, so many connections in all, and so many of one client address. As many more
//! of an address may wait; what is beyond is told so at once, lest one client take the places of all. Of all addresses some
//! may wait as well, and are told so where they wait in vain. Whoever may open a Unix socket is let in: its permissions
//! have seen to that.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as Measure;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use super::listener::Settings;
use crate::config::ListenerConfig;
use crate::provider::Cap;
use crate::route::Origin;
use crate::session;
use crate::smtp::Reply;
use crate::time::{Clock, Timestamp};

/// How long a client with too many connections waits for one of them to end, or any client where there are too many in all.
/// A refusal would lose its mail.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections beyond a listener's limit that are taken to wait, and so to be told in the end why they are not served. The
/// others wait in the system's backlog.
const WAITING: usize = 64;

/// Log lines about one address that is not let in, in a minute.
const REJECTED_LINES: NonZeroU32 = NonZeroU32::new(2).unwrap();

/// Addresses that the limiter remembers before it forgets those that have been quiet.
const ADDRESSES: usize = 10_000;

/// Connections that are listened to while they are told why they are not let in. To others it is said in passing.
const FAREWELLS: usize = 16;

/// Counts the connections of a listener.
#[derive(Debug)]
pub(super) struct Admission {
    tally: watch::Sender<Tally>,
    farewells: Semaphore,
    rejected: DefaultKeyedRateLimiter<Origin>,
}

#[derive(Debug, Default)]
struct Tally {
    /// Connections that were taken, served or not.
    total: usize,
    served: usize,
    by_origin: HashMap<Origin, Count>,
}

/// Connections of one address, or of one local user by Unix sockets. It is in the tally while there are any.
#[derive(Debug, Default)]
struct Count {
    served: usize,
    waiting: usize,
}

/// One of the listener's connections; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Admission>);

/// One of a client address's connections; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    admission: Arc<Admission>,
    origin: Origin,
    kind: Kind,
}

/// What a place is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Served,
    Waiting,
}

/// Why a connection is not let in.
#[derive(Debug)]
pub(super) enum Rejection {
    /// This is worth a log line.
    Loud(Reply),
    /// The same was logged a moment ago.
    Quiet(Reply),
}

impl Admission {
    pub(super) fn new() -> Arc<Self> {
        let rejected = RateLimiter::keyed(Quota::per_minute(REJECTED_LINES));
        Arc::new(Self { tally: watch::Sender::new(Tally::default()), farewells: Semaphore::new(FAREWELLS), rejected })
    }

    /// Returns when the listener may take another connection: to serve it, or to let it wait. Beyond that the backlog waits.
    pub(super) async fn room(&self, settings: &mut watch::Receiver<Arc<Settings>>) {
        let mut tally = self.tally.subscribe();
        loop {
            let most = settings.borrow_and_update().listener.max_connections.saturating_add(WAITING);
            if tally.borrow_and_update().total < most {
                return;
            }
            tokio::select! {
                Ok(()) = tally.changed() => {}
                Ok(()) = settings.changed() => {}
                else => return,
            }
        }
    }

    /// Counts a connection.
    pub(super) fn sit(self: &Arc<Self>) -> Seat {
        self.tally.send_modify(|tally| tally.total += 1);
        Seat(self.clone())
    }

    /// Lets `origin` in, at once or when another of its connections has ended.
    ///
    /// # Errors
    /// The reply for it where it is a stranger, or has waited too long, or too many of it wait.
    pub(super) async fn admit(self: &Arc<Self>, origin: Origin, listener: &ListenerConfig) -> Result<Place, Rejection> {
        if let Some(address) = origin.ip()
            && !listener.networks.iter().any(|network| network.contains(&address))
        {
            return Err(self.reject(origin, session::not_admitted(address)));
        }
        let place = tokio::time::timeout(PATIENCE, self.place(one_client(origin), listener)).await.ok().flatten();
        place.ok_or_else(|| self.reject(origin, self.is_full_for(origin, listener)))
    }

    /// Which of the two limits keeps `origin` out.
    fn is_full_for(&self, origin: Origin, listener: &ListenerConfig) -> Reply {
        let most = listener.max_connections_per_client;
        let tally = self.tally.borrow();
        match tally.by_origin.get(&one_client(origin)) {
            Some(count) if count.served >= most => session::too_many_connections(origin, most),
            _ => session::no_room(listener.max_connections),
        }
    }

    /// The right to listen to a connection that is not let in, where not too many have it.
    pub(super) fn farewell(&self) -> Option<SemaphorePermit<'_>> {
        self.farewells.try_acquire().ok()
    }

    /// A place to be served, at once or in time; none where too many wait.
    async fn place(self: &Arc<Self>, origin: Origin, listener: &ListenerConfig) -> Option<Place> {
        let mut freed = self.tally.subscribe();
        if let Some(place) = self.take(origin, listener, Kind::Served) {
            return Some(place);
        }
        let _waiting = self.take(origin, listener, Kind::Waiting)?;
        loop {
            freed.mark_unchanged();
            if let Some(place) = self.take(origin, listener, Kind::Served) {
                return Some(place);
            }
            // Cannot fail: `self` holds the sender.
            let _ = freed.changed().await;
        }
    }

    fn take(self: &Arc<Self>, origin: Origin, listener: &ListenerConfig, kind: Kind) -> Option<Place> {
        let taken = self.tally.send_if_modified(|tally| {
            let has_room = kind == Kind::Waiting || tally.served < listener.max_connections;
            let count = tally.by_origin.entry(origin).or_default().of(kind);
            let free = has_room && *count < listener.max_connections_per_client;
            *count += usize::from(free);
            tally.served += usize::from(free && kind == Kind::Served);
            free
        });
        taken.then(|| Place { admission: self.clone(), origin, kind })
    }

    fn reject(&self, origin: Origin, reply: Reply) -> Rejection {
        if self.rejected.len() > ADDRESSES {
            self.rejected.retain_recent();
        }
        match self.rejected.check_key(&one_client(origin)) {
            Ok(()) => Rejection::Loud(reply),
            Err(_) => Rejection::Quiet(reply),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.tally.send_modify(|tally| tally.total -= 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.tally.send_modify(|tally| {
            tally.served -= usize::from(self.kind == Kind::Served);
            if let Some(count) = tally.by_origin.get_mut(&self.origin) {
                *count.of(self.kind) -= 1;
                if count.served + count.waiting == 0 {
                    tally.by_origin.remove(&self.origin);
                }
            }
        });
    }
}

impl Count {
    fn of(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Served => &mut self.served,
            Kind::Waiting => &mut self.waiting,
        }
    }
}

/// A host of IPv6 has a whole /64 network of addresses (RFC 8981).
pub(super) fn one_client(origin: Origin) -> Origin {
    match origin {
        Origin::Ip(IpAddr::V6(v6)) => Origin::Ip(IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64))),
        Origin::Ip(IpAddr::V4(_)) | Origin::Local(_) => origin,
    }
}

/// Counts out what may come at a rate: as many at once as the rate counts, then one whenever its part of the window has
/// passed, and after a pause as many at once as parts have. So any window holds at most twice the count.
#[derive(Debug)]
pub(super) struct Meter {
    limiter: RateLimiter<NotKeyed, InMemoryState, SchedulingTime, StateInformationMiddleware>,
    clock: SchedulingTime,
}

impl Meter {
    pub(super) fn new(rate: Cap, clock: Arc<dyn Clock>) -> Self {
        let count = NonZeroU32::new(rate.count).unwrap_or(NonZeroU32::MIN);
        let part = (rate.window / count.get()).max(Duration::from_nanos(1));
        // Only a part of nothing is refused.
        let quota = Quota::with_period(part).unwrap_or(Quota::per_second(count)).allow_burst(count);
        let clock = SchedulingTime(clock);
        let limiter = RateLimiter::direct_with_clock(quota, clock.clone());
        Self { limiter: limiter.with_middleware(), clock }
    }

    /// Takes one, and says how many more there are.
    ///
    /// # Errors
    /// How long until there is one.
    pub(super) fn take(&self) -> Result<u32, Duration> {
        let taken = self.limiter.check().map_err(|early| early.wait_time_from(self.clock.now()))?;
        Ok(taken.remaining_burst_capacity())
    }
}

/// What the limiter measures by.
#[derive(Clone)]
struct SchedulingTime(Arc<dyn Clock>);

impl Measure for SchedulingTime {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.now().since(Timestamp::EPOCH)
    }
}

impl fmt::Debug for SchedulingTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SchedulingTime")
    }
}

#[cfg(test)]
mod tests;
