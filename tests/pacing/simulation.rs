//! The dispatcher's own functions over a real store, in virtual time: no socket, no thread that sends, no sleep.
//!
//! There are two clocks. `truth` is what the provider goes by and never jumps. Scheduling time runs beside it, but where
//! it starts is decided by the wall clock that each process finds, as `MonotonicClock` does.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailsluice::config::{AccountConfig, Config, Destination, OnUncertain, QueueConfig, SmtpEndpoint, TlsMode};
use mailsluice::deliver::round::{Booked, Round, book, round};
use mailsluice::ids::{AccountName, ClientName, LoginKey, MessageId, RouteName};
use mailsluice::message::fields::FieldRule;
use mailsluice::message::sender::{SenderMode, SenderRule};
use mailsluice::provider::presets::Keep;
use mailsluice::provider::{Cap, Caps, Counted, Provider};
use mailsluice::queue::record::{Claim, Fate, NewMessage};
use mailsluice::queue::sqlite::{Machine, Options, SqliteStore};
use mailsluice::queue::{QueueReader, QueueStore, StoreError, tend_clocks};
use mailsluice::route::{Client, DEFAULT, Priority};
use mailsluice::schedule::attempt::{End, RcptResult};
use mailsluice::schedule::cap::part;
use mailsluice::schedule::fairness::Fairness;
use mailsluice::schedule::lane::{Change, Lane};
use mailsluice::schedule::verdict::Report;
use mailsluice::smtp::{Envelope, ReversePath};
use mailsluice::time::Timestamp;
use tempfile::TempDir;

use super::windows::{Entry, violation};

/// How the provider treats one transaction.
pub(super) struct Conduct {
    /// How long after the claim it comes to its end.
    pub(super) latency: Duration,
    /// How long after the claim the provider counts it, at most `latency`; none where it never saw it.
    pub(super) counted: Option<Duration>,
    /// What the worker brings back.
    pub(super) report: Report,
    /// Whether the worker cannot know what the provider did.
    pub(super) unsure: bool,
    /// Whether the provider took it then.
    pub(super) took_unsaid: bool,
}

/// The provider: what it does with a claim.
pub(super) type Manners = Box<dyn FnMut(&Claim) -> Conduct>;

/// Mail that will come.
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) client: &'static str,
    pub(super) priority: Priority,
    pub(super) recipients: u32,
}

/// A claim that was made.
pub(super) struct Claimed {
    pub(super) at: Timestamp,
    pub(super) account: AccountName,
    pub(super) client: ClientName,
    pub(super) message: MessageId,
    pub(super) recipients: u32,
}

/// What the provider did to one recipient.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dealt {
    /// How often it took it.
    pub(super) taken: u32,
    /// How often the sender could not know whether it did.
    pub(super) unsure: u32,
    /// Whether it refused the recipient itself for good.
    pub(super) refused: bool,
    /// How often it refused the message with a permanent reply.
    pub(super) doubtful: u32,
}

struct Flight {
    claim: Claim,
    conduct: Conduct,
}

/// The relay, its provider, and what happened.
pub(super) struct Simulation {
    pub(super) config: Config,
    pub(super) truth: Timestamp,
    pub(super) provider: Manners,
    /// Mail to come, the next first.
    pub(super) arrivals: VecDeque<Arrival>,
    pub(super) claims: Vec<Claimed>,
    pub(super) settled: Vec<(Timestamp, Booked)>,
    pub(super) counted: BTreeMap<LoginKey, Vec<Entry>>,
    counted_of: BTreeMap<(LoginKey, ClientName), Vec<Entry>>,
    pub(super) dealt: BTreeMap<String, Dealt>,
    pub(super) messages: Vec<MessageId>,
    store: Option<SqliteStore>,
    fairness: Fairness,
    /// Scheduling time less truth, in microseconds, in this process.
    ahead: i64,
    under_way: BTreeMap<(Timestamp, i64), Flight>,
    /// When the machine was started.
    booted: Timestamp,
    steps: u32,
    folder: TempDir,
}

/// A login with these caps at `host`; accounts at the same host share it.
pub(super) fn account(name: &str, host: &str, windows: &[(Counted, u32, u64)], connections: u32) -> AccountConfig {
    let windows = windows.iter().map(|(counted, count, secs)| Cap {
        counted: *counted,
        count: *count,
        window: Duration::from_secs(*secs),
    });
    AccountConfig {
        name: name.into(),
        provider: Provider::Microsoft365,
        destination: Destination::Smtp(SmtpEndpoint {
            host: host.into(),
            port: 587,
            tls: TlsMode::StartTls,
            ca_file: None,
            certificate: None,
            login: None,
            ehlo: "relay.example.com".into(),
            keep: Keep::default(),
        }),
        caps: Caps { windows: windows.collect(), connections, recipients_per_message: 500, message_size: 1 << 20 },
        sender: SenderRule { mode: SenderMode::Keep, from: None, allowed: Vec::new() },
        fields: FieldRule::default(),
        on_uncertain: OnUncertain::Resend,
    }
}

impl Simulation {
    /// A relay with an empty queue, whose first process finds this wall clock.
    pub(super) fn new(accounts: Vec<AccountConfig>, wall: Timestamp, provider: Manners) -> Self {
        // Durability is not the matter here: memory serves where there is some.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
        let queue = QueueConfig {
            path: folder.path().join("queue.db"),
            max_bytes: u64::MAX,
            min_free: u64::MAX, // so that no ballast is laid
            max_age: Duration::from_secs(5 * 86_400),
            ephemeral: true,
        };
        let config = Config { queue, accounts, ..Config::default() };
        let mut simulation = Self {
            config,
            truth: Timestamp::from_secs(1_800_000_000),
            provider,
            arrivals: VecDeque::new(),
            claims: Vec::new(),
            settled: Vec::new(),
            counted: BTreeMap::new(),
            counted_of: BTreeMap::new(),
            dealt: BTreeMap::new(),
            messages: Vec::new(),
            store: None,
            fairness: Fairness::default(),
            ahead: 0,
            under_way: BTreeMap::new(),
            booted: Timestamp::from_secs(1_799_999_000),
            steps: 0,
            folder,
        };
        simulation.start(wall);
        simulation
    }

    /// Scheduling time.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.truth.as_micros() + self.ahead)
    }

    /// Takes in a message.
    pub(super) fn accept(&mut self, client: &str, priority: Priority, recipients: u32) -> MessageId {
        self.accept_on(DEFAULT.into(), client, priority, recipients)
    }

    /// Takes in a message that goes by this route.
    pub(super) fn accept_on(
        &mut self,
        route: RouteName,
        client: &str,
        priority: Priority,
        recipients: u32,
    ) -> MessageId {
        let id = MessageId(i64::try_from(self.messages.len()).unwrap() + 1);
        let to: Vec<String> = (0..recipients).map(|number| format!("{number}.of.{}@example.com", id.0)).collect();
        let message = NewMessage {
            id,
            client: client.into(),
            address: "127.0.0.1".into(),
            priority,
            envelope: Envelope {
                reverse_path: ReversePath::Null,
                recipients: to.iter().map(|address| address.parse().unwrap()).collect(),
            },
            route,
            header_id: format!("<{}@example.com>", id.0),
            received: self.truth,
            size: 1,
            head: vec![b'.'],
            chunks: 0,
        };
        self.write(|store, now| store.enqueue(&message, now));
        self.dealt.extend(to.into_iter().map(|address| (address, Dealt::default())));
        self.messages.push(id);
        id
    }

    /// Accepts so many messages of one recipient.
    pub(super) fn backlog(&mut self, client: &str, priority: Priority, count: u32) {
        for _ in 0..count {
            self.accept(client, priority, 1);
        }
    }

    /// Runs for so long.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.truth.after(span);
        while let Some(next) = self.step().filter(|next| *next <= end) {
            self.go_to(next);
        }
        self.go_to(end);
    }

    /// Runs until nothing more will happen of itself.
    pub(super) fn run_out(&mut self) {
        while let Some(next) = self.step() {
            self.go_to(next);
        }
    }

    /// The process dies at once; after `down` another one starts and finds this wall clock. With `boots` the machine goes
    /// down as well, and takes that long to start it.
    pub(super) fn crash(&mut self, down: Duration, boots: Option<Duration>, wall: Timestamp) {
        self.store = None;
        let killed = self.truth;
        for ((_, _), mut flight) in std::mem::take(&mut self.under_way) {
            let claimed = self.true_time(flight.claim.claimed);
            let seen = flight.conduct.counted.map(|counted| claimed.after(counted).min(killed));
            // What the provider had not come to by then it may have taken or not: its conduct says.
            let accepts = matches!(&flight.conduct.report, Report::Transacted(transcript) if matches!(transcript.end, End::Accepted(_)));
            flight.conduct.took_unsaid |= accepts && seen.is_some_and(|seen| seen < killed);
            flight.conduct.report = Report::Unsendable(String::new());
            flight.conduct.unsure = true;
            self.deal(&flight, seen);
        }
        self.truth = self.truth.after(down);
        if let Some(boots) = boots {
            self.booted = self.truth;
            self.truth = self.truth.after(boots);
        }
        self.start(wall);
    }

    /// What the desk does where an operator resumes an account.
    pub(super) fn resume(&mut self) {
        self.open_lanes(|lane, now| lane.resume(now));
    }

    /// What is done where the secret of an account has changed.
    pub(super) fn hasten(&mut self) {
        self.open_lanes(|lane, now| lane.hasten(now));
    }

    fn open_lanes(&mut self, opens: impl Fn(&mut Lane, Timestamp) -> Change) {
        let config = self.config.clone();
        self.write(|store, now| {
            for name in config.account_names() {
                let mut lane = store.lane(name)?;
                let _ = opens(&mut lane, now);
                store.set_lane(name, &lane)?;
            }
            tend_clocks(store, config.account_names(), now)?;
            while store.hasten(1000, now)? == 1000 {}
            Ok(())
        });
    }

    /// How the lane of the first account stands.
    pub(super) fn lane(&mut self) -> Lane {
        let name = self.config.accounts[0].name.clone();
        self.write(|store, _| store.lane(&name))
    }

    /// Each recipient with its fate and what the provider did to it.
    pub(super) fn fates(&self) -> Vec<(Fate, Dealt)> {
        let mut reader = self.store.as_ref().unwrap().reader().unwrap();
        let shown = self.messages.iter().flat_map(|id| reader.show(*id, self.now()).unwrap().unwrap().each);
        shown.map(|recipient| (recipient.fate, self.dealt[&recipient.address])).collect()
    }

    /// How many recipients have this fate.
    pub(super) fn count(&self, fate: Fate) -> usize {
        self.fates().iter().filter(|(found, _)| *found == fate).count()
    }

    /// What is wrong with what the provider counted, in all or of a client with a share, where something is.
    pub(super) fn violation(&self) -> Option<String> {
        self.config.accounts.iter().find_map(|account| {
            let (login, caps) = (account.login_key(), &account.caps.windows);
            let excess = |client: &Client| {
                let percent = client.share?;
                let parts: Vec<Cap> = caps.iter().map(|cap| Cap { count: part(cap, percent), ..*cap }).collect();
                let fault = violation(self.counted_of.get(&(login.clone(), client.name.clone()))?, &parts)?;
                Some(format!("of {}: {fault}", client.name))
            };
            violation(self.counted.get(&login)?, caps).or_else(|| self.config.clients.iter().find_map(excess))
        })
    }

    /// What the provider has counted of a client's mail, with any login.
    pub(super) fn taken_of(&self, client: &str) -> usize {
        self.counted_of.iter().filter(|((_, name), _)| name.as_str() == client).map(|(_, entries)| entries.len()).sum()
    }

    /// Whether a transaction is under way.
    pub(super) fn is_sending(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// How often it has looked for something to do.
    pub(super) fn looks(&self) -> u32 {
        self.steps
    }

    /// As a process starts on what the last one left.
    fn start(&mut self, wall: Timestamp) {
        let path: PathBuf = self.folder.path().join("queue.db");
        let (max_bytes, min_free) = (self.config.queue.max_bytes, self.config.queue.min_free);
        let mut store = SqliteStore::open(Options { path, max_bytes, min_free, ephemeral: true }).unwrap();
        self.ahead = wall.max(store.newest()).as_micros() - self.truth.as_micros();
        let machine = Machine { boot: self.booted.to_string(), up: self.truth.since(self.booted) };
        store.take_up(self.now(), &machine).unwrap();
        self.store = Some(store);
        self.fairness = Fairness::default();
        let config = self.config.clone();
        let hold = move |name: &_| config.account(name).is_some_and(|one| one.on_uncertain == OnUncertain::Hold);
        self.write(|store, now| store.reclaim(true, &hold, now));
    }

    /// One round; when something happens next, where anything does.
    fn step(&mut self) -> Option<Timestamp> {
        self.steps += 1;
        assert!(self.steps < STEPS, "it turns on the spot at {}", self.truth);
        let (config, fairness) = (self.config.clone(), self.fairness.clone());
        let Round { claims, plan, .. } = self.write(|store, now| round(store, &config, &fairness, now));
        self.fairness = plan.fairness;
        let missed = claims.len() < plan.claims.len();
        for (claim, _) in claims {
            self.claimed(claim);
        }
        let look = plan.wake.map(|wake| self.true_time(wake).max(self.truth));
        let look = if missed { Some(self.truth.after(Duration::from_secs(1))) } else { look };
        let ends = self.under_way.keys().next().map(|(end, _)| *end);
        [look, ends, self.arrivals.front().map(|arrival| arrival.at)].into_iter().flatten().min()
    }

    fn go_to(&mut self, time: Timestamp) {
        self.truth = self.truth.max(time);
        while self.arrivals.front().is_some_and(|arrival| arrival.at <= self.truth) {
            let Some(Arrival { client, priority, recipients, .. }) = self.arrivals.pop_front() else { break };
            self.accept(client, priority, recipients);
        }
        while let Some(entry) = self.under_way.first_entry().filter(|entry| entry.key().0 <= self.truth) {
            let flight = entry.remove();
            let seen = flight.conduct.counted.map(|counted| self.true_time(flight.claim.claimed).after(counted));
            self.deal(&flight, seen);
            let config = self.config.clone();
            let Flight { claim, conduct } = flight;
            let booked = self.write(|store, now| book(store, &config, &claim, &conduct.report, now, 0.5));
            self.settled.push((self.truth, booked));
        }
    }

    fn claimed(&mut self, claim: Claim) {
        let conduct = (self.provider)(&claim);
        assert!(conduct.counted.is_none_or(|counted| counted <= conduct.latency));
        self.claims.push(Claimed {
            at: self.truth,
            account: claim.account.clone(),
            client: claim.client.clone(),
            message: claim.message,
            recipients: u32::try_from(claim.recipients.len()).unwrap(),
        });
        let (login, connections) = (claim.login.clone(), self.config.account(&claim.account).unwrap().caps.connections);
        self.under_way.insert((self.truth.after(conduct.latency), claim.charge), Flight { claim, conduct });
        let at_once = self.under_way.values().filter(|flight| flight.claim.login == login).count();
        assert!(at_once <= connections as usize, "{at_once} transactions at a time");
    }

    /// Notes what the provider did, whatever the relay knows of it.
    fn deal(&mut self, flight: &Flight, seen: Option<Timestamp>) {
        let Flight { claim, conduct } = flight;
        if let Some(at) = seen {
            let recipients = u32::try_from(claim.recipients.len()).unwrap();
            let (login, client) = (claim.login.clone(), claim.client.clone());
            self.counted.entry(login.clone()).or_default().push(Entry { at, recipients });
            self.counted_of.entry((login, client)).or_default().push(Entry { at, recipients });
        }
        for (index, recipient) in claim.recipients.iter().enumerate() {
            let dealt = self.dealt.get_mut(recipient.address.as_str()).unwrap();
            dealt.unsure += u32::from(conduct.unsure);
            dealt.taken += u32::from(conduct.took_unsaid);
            let Report::Transacted(transcript) = &conduct.report else { continue };
            match (&transcript.recipients[index], &transcript.end) {
                (RcptResult::Accepted, End::Accepted(_)) => dealt.taken += 1,
                (RcptResult::Refused(reply), _) => dealt.refused |= reply.is_permanent(),
                (_, End::Stopped(obstacle)) => dealt.doubtful += super::permanent(obstacle),
                _ => {}
            }
        }
    }

    fn true_time(&self, scheduled: Timestamp) -> Timestamp {
        Timestamp::from_micros(scheduled.as_micros() - self.ahead)
    }

    /// A transaction of the store, as the queue's writer makes them.
    fn write<T>(&mut self, work: impl FnOnce(&mut dyn QueueStore, Timestamp) -> Result<T, StoreError>) -> T {
        let now = self.now();
        let store = self.store.as_mut().unwrap();
        store.begin().unwrap();
        let value = work(store, now).unwrap();
        store.commit(now).unwrap();
        value
    }
}

/// More rounds than any of these tests needs.
const STEPS: u32 = 60_000;
