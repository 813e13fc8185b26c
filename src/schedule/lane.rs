//! Lanes: whether an account's mail flows, and when to probe where it does not.
//!
//! ```text
//!            delivered by a probe (connect, login: answered is enough), or resumed by an operator
//!   Open <------------------------------------------- Resting (rate, quota)
//!    | ^                                                 ^ |  a probe refused: rests longer
//!    | +---------------- Paused (connect, login, account, suspicion, operator)
//!    +-- a refusal or trouble of the account ------------^    a probe refused: the next one later
//! ```
//! A lane that is not open lets one transaction through at a time, when its probe is due; paused by an operator, none. Of
//! probes whose login is refused there are no more than ten in any hour.

mod cause;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cap::LONG_WINDOW;
use super::pace::Slowed;
use crate::ids::{ClientName, DeliveryId};
use crate::provider::Caps;
use crate::provider::refusal::{Pace, Rate};
use crate::time::Timestamp;
use cause::probe_delay;
pub use cause::{Cause, CauseKind};

/// An account's standing and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Whether mail flows.
    pub standing: Standing,
    /// When the provider last took a message.
    pub last_delivered: Option<Timestamp>,
    /// Refusals that are not yet believed, since the provider last took a message.
    pub suspicions: Vec<Suspicion>,
    /// Whose message the last probe took.
    pub last_probe: Option<ClientName>,
    /// When an operator last opened it. What the provider refused before then is no evidence against a message: the
    /// account may have been at fault.
    #[serde(default)]
    pub resumed: Option<Timestamp>,
    /// What is left of its pace since the provider wanted fewer messages.
    #[serde(default)]
    pub slowed: Option<Slowed>,
    /// What is left of its connections since the provider wanted fewer at a time.
    #[serde(default)]
    pub narrowed: Option<Slowed>,
    /// When the provider refused a login: those of an hour.
    #[serde(default)]
    pub refused_logins: Vec<Timestamp>,
    /// Deliveries at which the provider refused the account, and when first: the last few.
    #[serde(default)]
    pub blamed: Vec<(DeliveryId, Timestamp)>,
}

/// Whether an account's mail flows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It flows.
    Open,
    /// The provider wants less for a while.
    Resting(Stop),
    /// Something is wrong with the account or the way to its host.
    Paused(Stop),
}

/// Why a lane is not open, and when it is probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Since when.
    pub since: Timestamp,
    /// When one message may try; none where an operator paused the lane.
    pub probe_at: Option<Timestamp>,
    /// Why.
    pub cause: Cause,
    /// How many probes have failed.
    pub failed_probes: u32,
    /// When the next probe was brought forward: what was claimed before then says nothing any more.
    #[serde(default)]
    pub hastened: Option<Timestamp>,
}

/// An unlisted permanent refusal of one delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// Whose message it was.
    pub client: ClientName,
    /// Which.
    pub delivery: DeliveryId,
}

/// What an attempt, or a person, says about the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The provider took a message.
    Delivered,
    /// The provider answered about this message or its recipients, so that connection and login are sound.
    Answered,
    /// The account cannot send for this reason.
    Stopped(Cause),
    /// The provider wants less for a while.
    Slowed {
        /// Why.
        cause: Cause,
        /// Of what, and for how long.
        rate: Rate,
    },
    /// An unlisted permanent refusal.
    Suspected {
        /// Of whose message.
        suspicion: Suspicion,
        /// With what.
        reply: String,
    },
}

/// What an event changed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that anyone must be told.
    None,
    /// The lane has stopped: see its standing.
    Stopped,
    /// The lane is open again.
    Resumed,
    /// The lane is not open, but its probe is due at once.
    Hastened,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            standing: Standing::Open,
            last_delivered: None,
            suspicions: Vec::new(),
            last_probe: None,
            resumed: None,
            slowed: None,
            narrowed: None,
            refused_logins: Vec::new(),
            blamed: Vec::new(),
        }
    }
}

impl Lane {
    /// Why the lane is not open, where it is not.
    pub fn stop(&self) -> Option<&Stop> {
        match &self.standing {
            Standing::Open => None,
            Standing::Resting(stop) | Standing::Paused(stop) => Some(stop),
        }
    }

    /// Whether this is the same but for when the provider last took a message, which changes with each.
    pub fn stands_as(&self, other: &Self) -> bool {
        *self == Self { last_delivered: self.last_delivered, ..other.clone() }
    }

    /// The caps at the pace that the lane has now: another program may use the mailbox too. A day's quota is not a matter
    /// of pace, so of windows those below an hour are slowed; where there is none, connections are.
    pub fn paced(&self, caps: &Caps, now: Timestamp) -> Caps {
        let mut caps = caps.clone();
        if let Some(slowed) = self.slowed {
            let mut brief = caps.windows.iter_mut().filter(|cap| cap.window < LONG_WINDOW).peekable();
            if brief.peek().is_none() {
                caps.connections = slowed.of(caps.connections, now);
            }
            brief.for_each(|cap| cap.count = slowed.of(cap.count, now));
        }
        if let Some(narrowed) = self.narrowed {
            caps.connections = narrowed.of(caps.connections, now);
        }
        caps
    }

    /// When the lane regains the next part of its pace; none at full pace.
    pub fn faster_at(&self, now: Timestamp) -> Option<Timestamp> {
        [self.slowed, self.narrowed].into_iter().flatten().filter_map(|slowed| slowed.faster_at(now)).min()
    }

    /// When the lane is at its full pace again; none where it is.
    pub fn full_pace_at(&self, now: Timestamp) -> Option<Timestamp> {
        [self.slowed, self.narrowed].into_iter().flatten().filter_map(|slowed| slowed.full_at(now)).max()
    }

    /// Takes in what came of a transaction that was claimed at `claimed`. Only one claimed since the lane stopped says
    /// anything about the reason; those that were under way by then do not end a rest or count as failed probes.
    pub fn note(&mut self, event: Event, claimed: Timestamp, now: Timestamp) -> Change {
        if event == Event::Delivered {
            self.last_delivered = Some(now);
            self.suspicions.clear();
        }
        match event {
            Event::Delivered | Event::Answered => self.note_sound(event == Event::Delivered, claimed, now),
            Event::Stopped(cause) => self.note_fault(cause, None, claimed, now),
            Event::Slowed { cause, rate } => self.note_fault(cause, Some(rate), claimed, now),
            Event::Suspected { suspicion, reply } => self.note_doubt(suspicion, reply, claimed, now),
        }
    }

    /// Of an attempt that got no session: so many logins were refused. The one that its event tells of counts there.
    pub fn note_refused_logins(&mut self, refused: u32, event: Option<&Event>, now: Timestamp) {
        let counts = matches!(event, Some(Event::Stopped(cause)) if cause.kind.refuses_login());
        (u32::from(counts)..refused).for_each(|_| self.count_refused_login(now));
    }

    /// At this delivery the provider refused the account.
    pub fn blame(&mut self, delivery: DeliveryId, now: Timestamp) {
        if self.blamed.iter().any(|(known, _)| *known == delivery) {
            return;
        }
        let surplus = (self.blamed.len() + 1).saturating_sub(BLAMED_KEPT);
        self.blamed.drain(..surplus);
        self.blamed.push((delivery, now));
    }

    /// Whether the provider has taken another message since it refused the account at this delivery: then it is the message
    /// that the account is refused for (a recipient to whom it may not relay), and no reason to stop once more.
    pub fn is_alone_refused(&self, delivery: DeliveryId) -> bool {
        let since = self.blamed.iter().find(|(known, _)| *known == delivery).map(|(_, since)| *since);
        since.is_some_and(|since| self.last_delivered.is_some_and(|at| at > since))
    }

    /// A person opens the lane, who knows better than what was refused so far.
    pub fn resume(&mut self, now: Timestamp) -> Change {
        self.slowed = None;
        self.narrowed = None;
        self.refused_logins.clear();
        self.blamed.clear();
        let change = self.open();
        if change == Change::Resumed {
            self.resumed = Some(now);
        }
        change
    }

    /// What the account logs in with is another one now: the probe is due at once, and what was refused before does not
    /// count. An open lane needs no probe, and one that an operator paused gets none.
    pub fn hasten(&mut self, now: Timestamp) -> Change {
        let (Standing::Resting(stop) | Standing::Paused(stop)) = &mut self.standing else { return Change::None };
        if stop.probe_at.is_none() {
            return Change::None;
        }
        (stop.probe_at, stop.hastened, stop.failed_probes) = (Some(now), Some(now), 0);
        self.refused_logins.clear();
        Change::Hastened
    }

    /// There is reason to try now: a new process has begun, which may have other secrets (those from systemd or the
    /// environment change with it), or the host lets us connect again. The probe is due at once, but what was refused
    /// before still counts: a process that dies again and again must not lock the account.
    pub fn probe_now(&mut self, now: Timestamp) -> Change {
        let due = self.within_budget(now);
        match &mut self.standing {
            Standing::Resting(stop) | Standing::Paused(stop) if stop.probe_at.is_some_and(|at| at > due) => {
                stop.probe_at = Some(due);
                Change::Hastened
            }
            _ => Change::None,
        }
    }

    /// A person closes the lane, until a person opens it.
    pub fn pause(&mut self, now: Timestamp) -> Change {
        let since = self.stop().map_or(now, |stop| stop.since);
        let cause = Cause {
            kind: CauseKind::Operator,
            sentence: "An operator paused the account; `mailsluice account resume` opens it.".into(),
            reply: None,
        };
        self.standing = Standing::Paused(Stop::new(since, cause));
        Change::Stopped
    }

    /// Whether a transaction claimed then says anything about why the lane is stopped.
    fn probes(&self, claimed: Timestamp) -> bool {
        self.stop().is_some_and(|stop| {
            stop.probe_at.is_some() && claimed >= stop.since && stop.hastened.is_none_or(|at| claimed >= at)
        })
    }

    fn note_fault(&mut self, cause: Cause, rate: Option<Rate>, claimed: Timestamp, now: Timestamp) -> Change {
        let Some(stop) = self.stop() else {
            if self.resumed.is_some_and(|resumed| claimed < resumed) {
                // It was under way when an operator, who has mended the fault, opened the lane.
                return Change::None;
            }
            self.stand(Stop::new(now, cause), rate, now);
            return Change::Stopped;
        };
        if !self.probes(claimed) {
            // That the provider could not check a login locks nobody out.
            if cause.kind == CauseKind::Login {
                self.count_refused_login(now);
            }
            return Change::None;
        }
        let failed_probes = if stop.cause.kind == cause.kind { stop.failed_probes + 1 } else { 0 };
        let (since, same) = (stop.since, stop.cause.sentence == cause.sentence);
        self.stand(Stop { failed_probes, ..Stop::new(since, cause) }, rate, now);
        if same { Change::None } else { Change::Stopped }
    }

    fn note_sound(&mut self, delivered: bool, claimed: Timestamp, now: Timestamp) -> Change {
        if !self.probes(claimed) {
            return Change::None;
        }
        let waits_for_a_session = self.stop().is_some_and(|stop| {
            matches!(stop.cause.kind, CauseKind::Connect | CauseKind::Login | CauseKind::LoginLater)
        });
        if delivered || waits_for_a_session {
            return self.open();
        }
        // The probe's own message was at fault, which says nothing of the account: the next one may try soon.
        let soon = self.within_budget(now.after(NEXT_PROBE));
        if let Standing::Resting(stop) | Standing::Paused(stop) = &mut self.standing {
            stop.probe_at = Some(soon);
        }
        Change::None
    }

    /// An unlisted refusal: it may be the message's fault or the account's. It proves that there was a session; where the
    /// lane is stopped for a fault of the account, that stands.
    fn note_doubt(&mut self, suspicion: Suspicion, reply: String, claimed: Timestamp, now: Timestamp) -> Change {
        let change = match self.stop().map(|stop| stop.cause.clone()) {
            Some(cause) if matches!(cause.kind, CauseKind::Suspicion | CauseKind::Account) => {
                return self.note_fault(Cause { reply: Some(reply), ..cause }, None, claimed, now);
            }
            Some(_) => self.note_sound(false, claimed, now),
            None => Change::None,
        };
        self.suspect(suspicion);
        if self.stop().is_some() || !self.is_suspect() {
            return change;
        }
        let sentence = "The provider refuses the mail of several clients in a way that is not known to be the messages' \
                        fault: look at its reply, mend the account and run `mailsluice account resume`.";
        let cause = Cause { kind: CauseKind::Suspicion, sentence: sentence.into(), reply: Some(reply) };
        self.note_fault(cause, None, claimed, now)
    }

    fn open(&mut self) -> Change {
        self.suspicions.clear();
        match std::mem::replace(&mut self.standing, Standing::Open) {
            Standing::Open => Change::None,
            Standing::Resting(_) | Standing::Paused(_) => Change::Resumed,
        }
    }

    /// Keeps the suspicion. Where there is no more room, one of a client that is not among those kept takes another's
    /// place: how many clients it happens to decides.
    fn suspect(&mut self, suspicion: Suspicion) {
        if self.suspicions.contains(&suspicion) {
            return;
        }
        let known = self.suspicions.iter().any(|one| one.client == suspicion.client);
        if self.suspicions.len() >= SUSPICIONS_KEPT {
            if known {
                return;
            }
            self.suspicions.pop();
        }
        self.suspicions.push(suspicion);
    }

    /// Whether so many messages of so many clients were refused that it is hardly the messages' fault.
    fn is_suspect(&self) -> bool {
        let several_clients = self.suspicions.iter().any(|one| one.client != self.suspicions[0].client);
        several_clients && self.suspicions.len() >= SUSPICIONS_TO_STOP
    }

    fn stand(&mut self, mut stop: Stop, rate: Option<Rate>, now: Timestamp) {
        let kind = stop.cause.kind;
        let mut wait = probe_delay(kind, stop.failed_probes);
        if kind == CauseKind::Rate {
            let Rate { limits, rest } = rate.unwrap_or(Rate { limits: Pace::Messages, rest: None });
            let pace = match limits {
                Pace::Messages => &mut self.slowed,
                Pace::Connections => &mut self.narrowed,
            };
            *pace = Some(Slowed::once_more(*pace, now));
            wait = rest.map_or(wait, |rest| rest.min(LONGEST_REST));
        }
        if kind.refuses_login() {
            self.count_refused_login(now);
        }
        stop.probe_at = Some(self.within_budget(now.after(wait)));
        self.standing = match kind {
            CauseKind::Rate | CauseKind::Quota => Standing::Resting(stop),
            _ => Standing::Paused(stop),
        };
    }

    fn count_refused_login(&mut self, now: Timestamp) {
        self.refused_logins.retain(|at| at.after(BUDGET_LASTS) >= now);
        self.refused_logins.push(now);
    }

    /// This time, or later where ten logins of the hour before it have been refused: providers lock accounts that fail
    /// too often. It holds whatever the lane is stopped for now, as every probe may log in.
    fn within_budget(&self, probe_at: Timestamp) -> Timestamp {
        let tenth_last =
            self.refused_logins.len().checked_sub(REFUSED_LOGINS).and_then(|it| self.refused_logins.get(it));
        tenth_last.map_or(probe_at, |at| probe_at.max(at.after(BUDGET_LASTS).after(TICK)))
    }
}

impl Stop {
    /// A stop for this cause, of which no probe has failed.
    fn new(since: Timestamp, cause: Cause) -> Self {
        Self { since, probe_at: None, cause, failed_probes: 0, hastened: None }
    }
}

impl Standing {
    /// The word that lists and logs use.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Resting(_) => "resting",
            Self::Paused(_) => "paused",
        }
    }
}

/// How long after a probe that proved nothing the next one goes out.
const NEXT_PROBE: Duration = Duration::from_secs(5);
/// The longest rest, whatever a provider says.
const LONGEST_REST: Duration = Duration::from_secs(3600);
/// So many refused logins may there be within this time; then probes wait.
const REFUSED_LOGINS: usize = 10;
const BUDGET_LASTS: Duration = Duration::from_secs(3600);
/// The step of [`Timestamp`].
const TICK: Duration = Duration::from_micros(1);
/// So many unlisted refusals, of two clients or more, stop a lane.
const SUSPICIONS_TO_STOP: usize = 5;
/// Of more deliveries it is forgotten that the account was refused at them: each may stop the lane once more.
const BLAMED_KEPT: usize = 64;
/// More are not kept: the lane has stopped or has one client alone.
const SUSPICIONS_KEPT: usize = 64;

#[cfg(test)]
mod tests;
