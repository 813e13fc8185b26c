//! Lanes: whether an account's mail flows, and when to probe where it does not.
//!
//! ```text
//!            delivered by a probe (connect, login: answered is enough), or resumed by an operator
//!   Open <------------------------------------------- Resting (rate, quota)
//!    | ^                                                 ^ |  a probe refused: rests longer
//!    | +---------------- Paused (connect, login, account, suspicion, operator)
//!    +-- a refusal or trouble of the account ------------^    a probe refused: the next one later
//! ```
//! A lane that is not open lets one transaction through at a time, when its probe is due; paused by an operator, none.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cap::LONG_WINDOW;
use crate::ids::{ClientName, DeliveryId};
use crate::provider::Caps;
use crate::time::Timestamp;

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
    /// What is left of its pace since the provider wanted less.
    #[serde(default)]
    pub slowed: Option<Slowed>,
}

/// A lane's pace after a refusal for rate: halved by each, regained an eighth at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowed {
    /// Eighths of the full pace, 1 to 7, at that time.
    pub eighths: u32,
    /// When the provider last wanted less.
    pub since: Timestamp,
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
}

/// Why a lane is not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Its kind, which decides when to probe.
    pub kind: CauseKind,
    /// What happened and what to do, in a sentence.
    pub sentence: String,
    /// What the provider answered, where it did.
    pub reply: Option<String>,
}

/// The kinds of causes, each with its times between probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// No connection, or no TLS.
    Connect,
    /// The login was refused.
    Login,
    /// The login failed for a reason that the provider calls temporary.
    LoginLater,
    /// The account or the tenant is refused.
    Account,
    /// Every message is refused with something not listed.
    Suspicion,
    /// Too much at a time or in a minute: a short rest.
    Rate,
    /// A quota of hours or a day is spent: a long rest.
    Quota,
    /// A person said so.
    Operator,
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

    /// The caps at the pace that the lane has now: another program may use the mailbox too. Connections and windows below
    /// an hour are slowed; a day's quota is not a matter of pace.
    pub fn paced(&self, caps: &Caps, now: Timestamp) -> Caps {
        let eighths = self.eighths(now);
        let slowed = |count: u32| (count * eighths / FULL_PACE).max(1);
        let mut caps = caps.clone();
        if eighths < FULL_PACE {
            caps.connections = slowed(caps.connections);
            let brief = caps.windows.iter_mut().filter(|cap| cap.window < LONG_WINDOW);
            brief.for_each(|cap| cap.count = slowed(cap.count));
        }
        caps
    }

    /// When the lane regains the next eighth of its pace; none at full pace.
    pub fn faster_at(&self, now: Timestamp) -> Option<Timestamp> {
        let slowed = self.slowed.filter(|_| self.eighths(now) < FULL_PACE)?;
        let regained = self.eighths(now) - slowed.eighths;
        Some(slowed.since.after(EIGHTH_REGAINED * (regained + 1)))
    }

    fn eighths(&self, now: Timestamp) -> u32 {
        self.slowed.map_or(FULL_PACE, |slowed| {
            let regained = now.since(slowed.since).as_secs() / EIGHTH_REGAINED.as_secs();
            FULL_PACE.min(slowed.eighths.saturating_add(u32::try_from(regained).unwrap_or(FULL_PACE)))
        })
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
            Event::Stopped(cause) => self.note_fault(cause, claimed, now),
            Event::Suspected { suspicion, reply } => self.note_doubt(suspicion, reply, claimed, now),
        }
    }

    /// A person opens the lane.
    pub fn resume(&mut self, now: Timestamp) -> Change {
        self.slowed = None;
        let change = self.open();
        if change == Change::Resumed {
            self.resumed = Some(now);
        }
        change
    }

    /// A person closes the lane, until a person opens it.
    pub fn pause(&mut self, now: Timestamp) -> Change {
        let since = self.stop().map_or(now, |stop| stop.since);
        let cause = Cause {
            kind: CauseKind::Operator,
            sentence: "An operator paused the account; `mailsluice account resume` opens it.".into(),
            reply: None,
        };
        self.standing = Standing::Paused(Stop { since, probe_at: None, cause, failed_probes: 0 });
        Change::Stopped
    }

    /// Whether a transaction claimed then says anything about why the lane is stopped.
    fn probes(&self, claimed: Timestamp) -> bool {
        self.stop().is_some_and(|stop| stop.probe_at.is_some() && claimed >= stop.since)
    }

    fn note_fault(&mut self, cause: Cause, claimed: Timestamp, now: Timestamp) -> Change {
        let Some(stop) = self.stop() else {
            if self.resumed.is_some_and(|resumed| claimed < resumed) {
                // It was under way when an operator, who has mended the fault, opened the lane.
                return Change::None;
            }
            self.stand(Stop { since: now, probe_at: None, cause, failed_probes: 0 }, now);
            return Change::Stopped;
        };
        if !self.probes(claimed) {
            return Change::None;
        }
        let failed_probes = if stop.cause.kind == cause.kind { stop.failed_probes + 1 } else { 0 };
        let (since, same) = (stop.since, stop.cause.sentence == cause.sentence);
        self.stand(Stop { since, probe_at: None, cause, failed_probes }, now);
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
        if let Standing::Resting(stop) | Standing::Paused(stop) = &mut self.standing {
            stop.probe_at = Some(now.after(NEXT_PROBE));
        }
        Change::None
    }

    /// An unlisted refusal: it may be the message's fault or the account's. It proves that there was a session; where the
    /// lane is stopped for a fault of the account, that stands.
    fn note_doubt(&mut self, suspicion: Suspicion, reply: String, claimed: Timestamp, now: Timestamp) -> Change {
        let change = match self.stop().map(|stop| stop.cause.clone()) {
            Some(cause) if matches!(cause.kind, CauseKind::Suspicion | CauseKind::Account) => {
                return self.note_fault(Cause { reply: Some(reply), ..cause }, claimed, now);
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
        self.note_fault(
            Cause { kind: CauseKind::Suspicion, sentence: sentence.into(), reply: Some(reply) },
            claimed,
            now,
        )
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

    fn stand(&mut self, mut stop: Stop, now: Timestamp) {
        if stop.cause.kind == CauseKind::Rate {
            self.slowed = Some(Slowed { eighths: (self.eighths(now) / 2).max(1), since: now });
        }
        stop.probe_at = Some(now.after(probe_delay(stop.cause.kind, stop.failed_probes)));
        self.standing = match stop.cause.kind {
            CauseKind::Rate | CauseKind::Quota => Standing::Resting(stop),
            _ => Standing::Paused(stop),
        };
    }
}

/// How long after a failure the next probe goes out. Connecting is tried at least every 30 s; logins are not hammered,
/// since a provider locks accounts that fail too often.
pub(super) fn probe_delay(kind: CauseKind, failed_probes: u32) -> Duration {
    let steps: &[u64] = match kind {
        CauseKind::Connect => &[1, 2, 5, 10, 20, 30],
        CauseKind::Login | CauseKind::Account => &[15 * 60],
        CauseKind::LoginLater | CauseKind::Suspicion => &[60, 5 * 60, 15 * 60],
        CauseKind::Rate => &[10, 20, 40, 60],
        CauseKind::Quota => &[15 * 60, 30 * 60, 60 * 60],
        CauseKind::Operator => &[],
    };
    let index = (failed_probes as usize).min(steps.len().saturating_sub(1));
    Duration::from_secs(steps.get(index).copied().unwrap_or(u64::MAX))
}

impl fmt::Display for CauseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Login | Self::LoginLater => "login",
            Self::Account => "account",
            Self::Suspicion => "suspicion",
            Self::Rate => "rate",
            Self::Quota => "quota",
            Self::Operator => "operator",
        })
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
/// The whole pace, in eighths.
const FULL_PACE: u32 = 8;
/// How long it takes to regain an eighth: from the least to the full pace in less than a minute.
const EIGHTH_REGAINED: Duration = Duration::from_secs(8);
/// So many unlisted refusals, of two clients or more, stop a lane.
const SUSPICIONS_TO_STOP: usize = 5;
/// More are not kept: the lane has stopped or has one client alone.
const SUSPICIONS_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Cap, Counted};

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn cause(kind: CauseKind) -> Cause {
        Cause { kind, sentence: format!("{kind}"), reply: None }
    }

    fn suspected(client: &str, delivery: i64) -> Event {
        let suspicion = Suspicion { client: client.into(), delivery: DeliveryId(delivery) };
        Event::Suspected { suspicion, reply: "554 no".into() }
    }

    fn probe_secs(lane: &Lane) -> i64 {
        lane.stop().and_then(|stop| stop.probe_at).expect("a probe is due").as_micros() / 1_000_000
    }

    #[test]
    fn connecting_is_probed_at_least_every_30_s() {
        let mut lane = Lane::default();
        let mut now = at(1000);
        assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Connect)), now, now), Change::Stopped);
        for _ in 0..20 {
            let next = at(probe_secs(&lane));
            assert!(next > now && next.since(now) <= Duration::from_secs(30));
            now = next;
            assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Connect)), now, now), Change::None, "told once");
        }
        assert_eq!(lane.note(Event::Answered, now, now), Change::Resumed);
    }

    #[test]
    fn a_refused_login_waits_a_quarter_of_an_hour() {
        let mut lane = Lane::default();
        lane.note(Event::Stopped(cause(CauseKind::Login)), at(0), at(0));
        assert_eq!(probe_secs(&lane), 900);
    }

    #[test]
    fn what_was_under_way_when_the_lane_stopped_does_not_open_it() {
        let mut lane = Lane::default();
        lane.note(Event::Stopped(cause(CauseKind::Rate)), at(9), at(10));
        assert_eq!(lane.note(Event::Delivered, at(8), at(11)), Change::None);
        assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Rate)), at(9), at(12)), Change::None);
        assert_eq!(lane.stop().unwrap().failed_probes, 0);
        assert_eq!(lane.note(Event::Delivered, at(20), at(21)), Change::Resumed);
    }

    #[test]
    fn a_quota_is_not_proved_free_by_an_answer_alone() {
        let mut lane = Lane::default();
        lane.note(Event::Stopped(cause(CauseKind::Quota)), at(0), at(0));
        assert_eq!(lane.note(Event::Answered, at(900), at(901)), Change::None);
        assert_eq!(probe_secs(&lane), 906, "another message may try");
        lane.note(Event::Stopped(cause(CauseKind::Quota)), at(906), at(902));
        assert_eq!(probe_secs(&lane), 902 + 1800);
    }

    #[test]
    fn five_suspicions_of_two_clients_stop_a_lane() {
        let mut lane = Lane::default();
        for delivery in 0..20 {
            assert_eq!(lane.note(suspected("camera", delivery), at(0), at(0)), Change::None, "one broken camera");
        }
        assert_eq!(lane.note(suspected("form", 20), at(0), at(0)), Change::Stopped);
        assert!(matches!(lane.standing, Standing::Paused(_)));
        let mut lane = Lane::default();
        for delivery in 0..4 {
            lane.note(suspected(if delivery % 2 == 0 { "a" } else { "b" }, delivery), at(0), at(0));
            lane.note(suspected("a", 0), at(0), at(0));
        }
        assert_eq!(lane.standing, Standing::Open, "four different ones are not five");
        lane.note(Event::Delivered, at(1), at(1));
        assert_eq!(lane.note(suspected("b", 9), at(2), at(2)), Change::None, "a delivery clears the slate");
    }

    #[test]
    fn a_flood_of_one_client_does_not_hide_the_others() {
        let mut lane = Lane::default();
        for delivery in 0..200 {
            lane.note(suspected("camera", delivery), at(0), at(0));
        }
        assert_eq!(lane.suspicions.len(), SUSPICIONS_KEPT);
        assert_eq!(lane.note(suspected("form", 900), at(0), at(0)), Change::Stopped);
    }

    #[test]
    fn a_doubtful_message_neither_prolongs_an_outage_nor_ends_a_rest() {
        let mut lane = Lane::default();
        lane.note(Event::Stopped(cause(CauseKind::Connect)), at(0), at(0));
        assert_eq!(lane.note(suspected("form", 1), at(5), at(5)), Change::Resumed, "there was a session");
        lane.note(Event::Stopped(cause(CauseKind::Quota)), at(10), at(10));
        assert_eq!(lane.note(suspected("form", 1), at(1000), at(1000)), Change::None);
        assert!(matches!(&lane.standing, Standing::Resting(stop) if stop.cause.kind == CauseKind::Quota));
        assert_eq!(probe_secs(&lane), 1005);
    }

    #[test]
    fn another_kind_of_fault_begins_its_own_count() {
        let mut lane = Lane::default();
        for _ in 0..20 {
            lane.note(Event::Stopped(cause(CauseKind::Connect)), at(0), at(0));
        }
        lane.note(Event::Stopped(cause(CauseKind::Rate)), at(100), at(100));
        assert_eq!(probe_secs(&lane), 110);
    }

    #[test]
    fn a_lane_that_was_told_to_slow_down_does_and_recovers_within_a_minute() {
        let cap = |secs| Cap { counted: Counted::Messages, count: 30, window: Duration::from_secs(secs) };
        let windows = vec![cap(60), cap(86_400)];
        let caps = Caps { windows, connections: 3, recipients_per_message: 500, message_size: 1 << 20 };
        let mut lane = Lane::default();
        let pace = |lane: &Lane, secs| {
            let caps = lane.paced(&caps, at(secs));
            (caps.windows[0].count, caps.windows[1].count, caps.connections)
        };
        assert_eq!((pace(&lane, 0), lane.faster_at(at(0))), ((30, 30, 3), None));
        lane.note(Event::Stopped(cause(CauseKind::Rate)), at(0), at(0));
        assert_eq!((pace(&lane, 0), lane.faster_at(at(0))), ((15, 30, 1), Some(at(8))));
        assert_eq!((pace(&lane, 9), lane.faster_at(at(9))), ((18, 30, 1), Some(at(16))));
        lane.note(Event::Stopped(cause(CauseKind::Rate)), at(10), at(10));
        lane.note(Event::Stopped(cause(CauseKind::Rate)), at(11), at(11));
        lane.note(Event::Stopped(cause(CauseKind::Rate)), at(12), at(12));
        assert_eq!(pace(&lane, 12), (3, 30, 1));
        assert_eq!((pace(&lane, 70), lane.faster_at(at(70))), ((30, 30, 3), None));
        lane.resume(at(13));
        assert_eq!(pace(&lane, 13), (30, 30, 3), "an operator knows better");
    }

    #[test]
    fn what_was_under_way_when_an_operator_opened_the_lane_does_not_stop_it_again() {
        let mut lane = Lane::default();
        lane.note(Event::Stopped(cause(CauseKind::Login)), at(0), at(0));
        lane.resume(at(10));
        assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Login)), at(9), at(11)), Change::None);
        assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Login)), at(11), at(12)), Change::Stopped);
    }

    #[test]
    fn an_operator_s_pause_ends_by_an_operator_alone() {
        let mut lane = Lane::default();
        lane.pause(at(5));
        assert_eq!(lane.note(Event::Delivered, at(6), at(7)), Change::None);
        assert_eq!(lane.note(Event::Stopped(cause(CauseKind::Login)), at(6), at(7)), Change::None);
        assert_eq!(lane.stop().unwrap().probe_at, None);
        assert_eq!(lane.resume(at(8)), Change::Resumed);
    }
}
