//! Any course of events against a model in memory: no recipient is lost or has two fates, what is charged is what was
//! claimed, and the octets that are counted are those of the content that is kept.

use mailsluice::ids::ClientName;
use mailsluice::queue::record::Fate;
use mailsluice::schedule::verdict::{Charge, Outcome};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Enqueue { client: usize, recipients: usize, part: bool },
    Undo { client: usize },
    Claim { client: usize, at_most: u32, capped: bool },
    Settle { which: usize, outcomes: [u8; 4], charge: Charge },
    SettleLate { which: usize },
    Operate { which: usize, operation: Operation },
    Hasten,
    Pass { secs: u64 },
    Reclaim { hold: bool },
    Crash { hold: bool },
}

const CLIENTS: [&str; 2] = ["shop", "camera"];
const WINDOW: Duration = Duration::from_secs(3600);

fn step() -> impl Strategy<Value = Step> {
    let (client, which) = (0..CLIENTS.len(), 0..8_usize);
    let charge = prop_oneof![4 => Just(Charge::Kept), 1 => Just(Charge::Refunded)];
    let operation = prop::sample::select(&[
        Operation::Retry,
        Operation::Hold,
        Operation::Release,
        Operation::Delete,
        Operation::SettleDelivered,
        Operation::SettleFailed,
    ]);
    prop_oneof![
        4 => (client.clone(), 1..5_usize, any::<bool>())
            .prop_map(|(client, recipients, part)| Step::Enqueue { client, recipients, part }),
        1 => client.clone().prop_map(|client| Step::Undo { client }),
        6 => (client, 1..4_u32, any::<bool>())
            .prop_map(|(client, at_most, capped)| Step::Claim { client, at_most, capped }),
        6 => (which.clone(), any::<[u8; 4]>(), charge)
            .prop_map(|(which, outcomes, charge)| Step::Settle { which, outcomes, charge }),
        1 => which.clone().prop_map(|which| Step::SettleLate { which }),
        3 => (which, operation).prop_map(|(which, operation)| Step::Operate { which, operation }),
        1 => Just(Step::Hasten),
        3 => (1..2000_u64).prop_map(|secs| Step::Pass { secs }),
        1 => any::<bool>().prop_map(|hold| Step::Reclaim { hold }),
        1 => any::<bool>().prop_map(|hold| Step::Crash { hold }),
    ]
}

pub(crate) fn any_course_of_events_agrees_with_the_model(new: &Factory) {
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let course = prop::collection::vec(step(), 1..50);
    TestRunner::new(config)
        .run(&course, |steps| {
            let mut world = World { queue: new(), model: vec![], claims: vec![], late: vec![], ended: vec![] };
            for step in &steps {
                world.take(step);
                world.compare(step);
            }
            Ok(())
        })
        .unwrap();
}

/// The queue, and what should be in it.
struct World {
    queue: Harness,
    model: Vec<Message>,
    claims: Vec<Holding>,
    /// Those that do not any more.
    late: Vec<Claim>,
    /// When charges ended, whose they are, and of how many recipients.
    ended: Vec<(Timestamp, ClientName, u64)>,
}

/// A claim that holds.
struct Holding {
    /// Its message.
    index: usize,
    claim: Claim,
    /// Whether its account had caps then.
    capped: bool,
}

struct Message {
    client: usize,
    size: u64,
    recipients: Vec<Recipient>,
    held: bool,
}

struct Recipient {
    fate: Fate,
    due: Timestamp,
}

impl Message {
    fn indices(&self, fates: &[Fate]) -> Vec<usize> {
        (0..self.recipients.len()).filter(|index| fates.contains(&self.recipients[*index].fate)).collect()
    }

    fn put(&mut self, which: &[usize], fate: Fate, due: Timestamp) {
        which.iter().for_each(|index| self.recipients[*index] = Recipient { fate, due });
        self.held &= !self.indices(&[Fate::Waiting]).is_empty();
    }

    fn is_done(&self) -> bool {
        let open = [Fate::Waiting, Fate::Sending, Fate::Uncertain, Fate::Failed, Fate::Expired];
        self.indices(&open).is_empty()
    }

    /// Whether something of it waits and nobody holds it.
    fn waits(&self) -> bool {
        !self.held && self.indices(&[Fate::Sending]).is_empty() && !self.indices(&[Fate::Waiting]).is_empty()
    }

    fn due(&self, now: Timestamp) -> Vec<usize> {
        let mut due = self.indices(&[Fate::Waiting]);
        due.retain(|index| self.recipients[*index].due <= now);
        due
    }

    /// What an operation should be done to, and what should come of it.
    fn operate(&mut self, operation: Operation, now: Timestamp) -> Option<usize> {
        use Fate::{Deleted, Delivered, Expired, Failed, Uncertain, Waiting};
        let failed = !self.held && !self.is_done() && self.indices(&[Waiting, Uncertain]).is_empty();
        let concerned = match operation {
            Operation::Hold if self.waits() => self.indices(&[Waiting]),
            Operation::Release if self.held => self.indices(&[Waiting]),
            Operation::Retry if self.waits() || failed => self.indices(&[Waiting, Failed, Expired]),
            Operation::Delete => self.indices(&[Waiting, Failed, Expired, Uncertain]),
            Operation::SettleDelivered | Operation::SettleFailed => self.indices(&[Uncertain]),
            _ => vec![],
        };
        match operation {
            Operation::Hold => self.held |= !concerned.is_empty(),
            Operation::Release => {
                self.held = false;
                self.put(&concerned, Waiting, now);
            }
            Operation::Retry => self.put(&concerned, Waiting, now),
            Operation::Delete => self.put(&concerned, Deleted, now),
            Operation::SettleDelivered => self.put(&concerned, Delivered, now),
            Operation::SettleFailed => self.put(&concerned, Failed, now),
        }
        (!concerned.is_empty()).then_some(concerned.len())
    }
}

impl World {
    fn take(&mut self, step: &Step) {
        let now = self.queue.now;
        match *step {
            Step::Enqueue { client, recipients, part } => self.enqueue(client, recipients, part),
            Step::Undo { client } => {
                let message = self.message(client, 2);
                let store = self.queue.store();
                store.begin().unwrap();
                store.enqueue(&message, now).unwrap();
                store.view(1, now).unwrap();
                let by = By { client: CLIENTS[client], ..By::default() };
                assert!(by.request(|request| store.claim(request, now)).unwrap().is_some());
                store.roll_back().unwrap();
            }
            Step::Claim { client, at_most, capped } => self.claim(client, at_most, capped),
            Step::Settle { which, outcomes, charge } if !self.claims.is_empty() => {
                self.settle(which % self.claims.len(), outcomes, charge);
            }
            Step::SettleLate { which } if !self.late.is_empty() => {
                let late = self.late[which % self.late.len()].clone();
                let delivered = settlement(vec![Outcome::Delivered; late.recipients.len()]);
                assert_eq!(self.queue.settle(&late, &delivered), Settled::Superseded);
            }
            Step::Operate { which, operation } if !self.model.is_empty() => {
                self.operate(which % self.model.len(), operation);
            }
            Step::Hasten => {
                let put_off = |message: &&mut Message| message.waits() && message.due(now).is_empty();
                for message in self.model.iter_mut().filter(put_off) {
                    let waiting = message.indices(&[Fate::Waiting]);
                    message.put(&waiting, Fate::Waiting, now);
                }
                self.queue.write(|store, now| {
                    store.view(0, now)?;
                    store.hasten(1000, now)
                });
            }
            Step::Pass { secs } => self.queue.pass(secs),
            Step::Reclaim { hold } => {
                let died = self.lose(hold, false, |claim| claim.claimed.after(LEASE) < now);
                assert_eq!(self.queue.reclaim(false, hold), died);
            }
            Step::Crash { hold } => {
                // Whoever had settled already is gone too; of those in the middle somebody may yet be heard.
                self.late.clear();
                let died = self.lose(hold, true, |_| true);
                self.queue.crash();
                assert_eq!(self.queue.reclaim(true, hold), died);
            }
            Step::Settle { .. } | Step::SettleLate { .. } | Step::Operate { .. } => (),
        }
    }

    fn message(&self, client: usize, recipients: usize) -> NewMessage {
        let id = i64::try_from(self.model.len()).unwrap() + 1;
        NewMessage { client: CLIENTS[client].into(), ..mail(id, &["a", "b", "c", "d"][..recipients]) }
    }

    fn enqueue(&mut self, client: usize, recipients: usize, part: bool) {
        let mut message = self.message(client, recipients);
        if part {
            (message.chunks, message.size) = (1, message.size + 1000);
        }
        self.queue.write(|store, now| {
            if part {
                store.append(message.id, 1, &[b'x'; 1000])?;
            }
            store.enqueue(&message, now)
        });
        let due = self.queue.now;
        let recipients = (0..recipients).map(|_| Recipient { fate: Fate::Waiting, due }).collect();
        self.model.push(Message { client, size: message.size, recipients, held: false });
    }

    fn claim(&mut self, client: usize, at_most: u32, capped: bool) {
        let now = self.queue.now;
        let mut by = if capped { By::capped(Counted::Messages, 1_000_000) } else { By::default() };
        by.client = CLIENTS[client];
        by.caps.recipients_per_message = at_most;
        let oldest = (0..self.model.len()).find(|index| {
            let message = &self.model[*index];
            message.client == client && message.waits() && !message.due(now).is_empty()
        });
        let claim = self.queue.claim(&by);
        let Some(index) = oldest else { return assert!(claim.is_none(), "{claim:?}") };
        let (claim, message) = (claim.unwrap(), &mut self.model[index]);
        let mut due = message.due(now);
        due.truncate(at_most as usize);
        assert_eq!(numbers(&claim), due);
        message.put_sending(&due);
        self.claims.push(Holding { index, claim, capped });
    }

    fn settle(&mut self, which: usize, outcomes: [u8; 4], charge: Charge) {
        let now = self.queue.now;
        let Holding { index, claim, .. } = self.claims.remove(which);
        let message = &mut self.model[index];
        let mut given = Vec::new();
        for (number, choice) in numbers(&claim).into_iter().zip(outcomes) {
            let later = now.after(Duration::from_secs(u64::from(choice) * 10));
            let (outcome, fate, due) = match choice % 7 {
                0 | 1 => (Outcome::Delivered, Fate::Delivered, now),
                2 => (Outcome::Failed, Fate::Failed, now),
                3 => (Outcome::Expired, Fate::Expired, now),
                4 => (Outcome::Uncertain, Fate::Uncertain, now),
                5 => (Outcome::Deferred { until: later, counted: true }, Fate::Waiting, later),
                _ => (Outcome::Untried, Fate::Waiting, now),
            };
            message.put(&[number], fate, due);
            given.push(outcome);
        }
        if charge == Charge::Kept {
            self.ended.push((now, claim.client.clone(), claim.recipients.len() as u64));
        }
        let settled = self.queue.settle(&claim, &Settlement { charge, ..settlement(given) });
        let left = u32::try_from(message.indices(&[Fate::Waiting]).len()).unwrap();
        assert!(matches!(settled, Settled::Written { waiting, .. } if waiting == left), "{settled:?}");
        self.late.push(claim);
    }

    fn operate(&mut self, index: usize, operation: Operation) {
        let now = self.queue.now;
        let operated = self.queue.operate(i64::try_from(index).unwrap() + 1, operation);
        let message = &mut self.model[index];
        if !message.indices(&[Fate::Sending]).is_empty() {
            return assert_eq!(operated, Operated::Busy);
        }
        match (message.operate(operation, now), operated) {
            (Some(concerned), Operated::Done { recipients, .. }) => assert_eq!(recipients.len(), concerned),
            (None, Operated::Nothing(_)) => (),
            (expected, operated) => panic!("{operated:?} instead of {expected:?}"),
        }
    }

    /// Lets those of the claims die; what was claimed without caps is charged only as far as the process that did so lives.
    fn lose(&mut self, hold: bool, crash: bool, dies: impl Fn(&Claim) -> bool) -> usize {
        let now = self.queue.now;
        let (dead, alive): (Vec<_>, Vec<_>) = self.claims.drain(..).partition(|holding| dies(&holding.claim));
        self.claims = alive;
        let died = dead.len();
        for Holding { index, claim, capped } in dead {
            let fate = if hold { Fate::Uncertain } else { Fate::Waiting };
            self.model[index].put(&numbers(&claim), fate, now);
            if capped || !crash {
                self.ended.push((now, claim.client.clone(), claim.recipients.len() as u64));
            }
            self.late.push(claim);
        }
        died
    }

    fn compare(&mut self, step: &Step) {
        let now = self.queue.now;
        for (index, message) in self.model.iter().enumerate() {
            let id = i64::try_from(index).unwrap() + 1;
            let shown = |one: &Recipient| if message.held && one.fate == Fate::Waiting { Fate::Held } else { one.fate };
            let fates: Vec<Fate> = message.recipients.iter().map(shown).collect();
            assert_eq!(self.queue.fates(id), fates, "message {id} after {step:?}");
            let kept = self.queue.content(id).map(|content| content.len() as u64);
            assert_eq!(kept, (!message.is_done()).then_some(message.size), "message {id} after {step:?}");
        }
        let live: u64 = self.model.iter().filter(|message| !message.is_done()).map(|message| message.size).sum();
        let done = self.model.iter().filter(|message| message.is_done()).count() as u64;
        let stats = self.queue.stats();
        assert_eq!((stats.live_bytes, stats.done), (live, done), "after {step:?}");
        let recent = self.ended.iter().filter(|(at, ..)| at.after(WINDOW) >= now);
        let recent = recent.map(|(_, client, recipients)| (client.as_str(), *recipients));
        let open =
            self.claims.iter().map(|Holding { claim, .. }| (claim.client.as_str(), claim.recipients.len() as u64));
        let charges: Vec<(&str, u64)> = recent.chain(open).collect();
        let recipients: u64 = charges.iter().map(|(_, recipients)| recipients).sum();
        assert_eq!(self.queue.used("user@host", Counted::Recipients), recipients, "after {step:?}");
        assert_eq!(self.queue.used("user@host", Counted::Messages), charges.len() as u64, "after {step:?}");
        for client in CLIENTS {
            let own = charges.iter().filter(|(whose, _)| *whose == client).map(|(_, recipients)| recipients);
            let used = [Counted::Messages, Counted::Recipients].map(|it| self.queue.used_by("user@host", client, it));
            assert_eq!(used, [own.clone().count() as u64, own.sum()], "of {client} after {step:?}");
        }
    }
}

impl Message {
    fn put_sending(&mut self, which: &[usize]) {
        which.iter().for_each(|index| self.recipients[*index].fate = Fate::Sending);
    }
}

fn numbers(claim: &Claim) -> Vec<usize> {
    claim.recipients.iter().map(|recipient| recipient.number as usize).collect()
}
