//! What an attempt means for each recipient and for the lane: a transcript in, outcomes and an event out.

mod heard;

use std::time::Duration;

use super::attempt::{End, Obstacle, RcptResult, Step, Transcript, Trouble, TroubleKind};
use super::lane::{Cause, CauseKind, Event, Lane, Standing, Suspicion};
use super::retry;
use crate::ids::{AccountName, ClientName, DeliveryId};
use crate::provider::Provider;
use crate::provider::refusal::{Class, Meaning, Parties, meaning, meaning_in};
use crate::smtp::Reply;
use crate::smtp::reply::steady;
use crate::time::Timestamp;
pub use heard::Heard;
use heard::{Judged, hear};

/// What a claim's recipients and rules are, as far as the verdict needs them.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Whose tables to read the replies by.
    pub provider: Provider,
    /// The delivery that was tried.
    pub delivery: DeliveryId,
    /// By which account.
    pub account: &'a AccountName,
    /// Whose message it is.
    pub client: &'a ClientName,
    /// From whom it may be sent, and to whom it goes.
    pub parties: Parties<'a>,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// For each recipient of the claim, how often it has been tried before.
    pub tried: &'a [u32],
    /// How long the message has been tried, without the time in which no account could.
    pub age: Duration,
    /// The age at which it has failed.
    pub max_age: Duration,
    /// An unlisted refusal of this delivery that was not believed.
    pub doubt: Option<&'a Doubt>,
    /// What to do where nobody knows whether the provider took it.
    pub when_uncertain: OnUncertain,
    /// The lane it was tried on, as it stands now.
    pub lane: &'a Lane,
    /// Whether another account of the route takes mail.
    pub elsewhere: Elsewhere,
}

/// Whether another account of a route takes mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// One is open.
    Open,
    /// There is no other, or all are stopped.
    Stopped,
}

/// What to do where nobody knows whether the provider took a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    /// Try again: a duplicate rather than a loss.
    Resend,
    /// Wait for a person.
    Hold,
}

/// An unlisted permanent refusal that is not believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// By which account it was refused: another one's refusals and deliveries say nothing about it.
    pub account: AccountName,
    /// When it came first.
    pub since: Timestamp,
    /// What it said, without what changes from one time to the next.
    pub refusal: String,
}

/// What the driver brings back from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// There was no session: the message was not shown to the provider.
    NoSession {
        /// What stood in the way.
        obstacle: Obstacle,
        /// How many logins were refused on the way: with a token, a fresh one, a password.
        refused_logins: u32,
    },
    /// There was a transaction.
    Transacted(Transcript),
    /// The message cannot go out by this account whatever the provider says; the sentence tells why.
    Unsendable(String),
}

/// What becomes of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it.
    Delivered,
    /// To be tried again, not before this time. `counted` where it counts as an attempt.
    Deferred {
        /// When.
        until: Timestamp,
        /// Whether the recipient itself was tried.
        counted: bool,
    },
    /// It failed for good.
    Failed,
    /// It was put off for longer than a message is kept.
    Expired,
    /// Nobody knows whether it was delivered; a person decides.
    Uncertain,
    /// It has not been tried; it waits as before.
    Untried,
}

/// The judgement of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// One for each recipient of the claim: what becomes of it, and the reply or trouble that decided.
    pub outcomes: Vec<(Outcome, String)>,
    /// Whether the transaction may count towards the provider's caps.
    pub charge: Charge,
    /// Whether the connection broke after the final dot.
    pub uncertain: bool,
    /// What the delivery is doubted for from now on.
    pub doubt: Option<Doubt>,
    /// What it says about the lane.
    pub event: Option<Event>,
    /// The sentence that explains it to a person.
    pub sentence: String,
    /// What belongs to the history of the message: everything that was said, each thing once. Nothing where the provider
    /// could not be asked, which is the account's trouble.
    pub heard: Vec<Heard>,
}

/// Whether a transaction may count towards the provider's caps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It may: from now until one window later.
    Kept,
    /// It never began.
    Refunded,
}

/// Judges an attempt. `jitter` is a random number in 0 to 1.
pub fn verdict(case: &Case<'_>, report: &Report, now: Timestamp, jitter: f64) -> Verdict {
    match report {
        Report::NoSession { obstacle, .. } => no_session(case, obstacle),
        Report::Unsendable(sentence) => Judge { case, now, jitter }.unsendable(sentence),
        Report::Transacted(transcript) => Judge { case, now, jitter }.transacted(transcript),
    }
}

fn no_session(case: &Case<'_>, obstacle: &Obstacle) -> Verdict {
    let (step, event, said) = match obstacle {
        Obstacle::Refused { step, reply } => {
            let meaning = meaning(case.provider, *step, reply);
            let event = stop(&meaning, reply, case.account).unwrap_or_else(|| {
                Event::Stopped(Cause {
                    kind: CauseKind::Connect,
                    sentence: meaning.told_of(case.account),
                    reply: Some(reply.to_string()),
                })
            });
            (*step, event, Some(reply.to_string()))
        }
        Obstacle::Trouble(trouble) => {
            // Who hangs up on a login may be refusing it: passwords are not tried every half minute.
            let kind = match (trouble.step, trouble.kind) {
                (Step::Auth, TroubleKind::Protocol) | (_, TroubleKind::TokenRefused) => CauseKind::Login,
                (Step::Auth, TroubleKind::HungUp | TroubleKind::TimedOut) => CauseKind::LoginLater,
                _ => CauseKind::Connect,
            };
            let answered = (trouble.kind == TroubleKind::TokenRefused).then(|| trouble.to_string());
            (trouble.step, Event::Stopped(Cause { kind, sentence: trouble.to_string(), reply: None }), answered)
        }
    };
    let sentence = match &event {
        Event::Stopped(cause) | Event::Slowed { cause, .. } => cause.sentence.clone(),
        Event::Delivered | Event::Answered | Event::Suspected { .. } => String::new(),
    };
    let reply = said.clone().unwrap_or_else(|| sentence.clone());
    let heard = said.map(|reply| Heard {
        step: Some(step),
        reply,
        sentence: sentence.clone(),
        recipients: (0..case.tried.len()).collect(),
    });
    Verdict {
        outcomes: case.tried.iter().map(|_| (Outcome::Untried, reply.clone())).collect(),
        charge: Charge::Refunded,
        uncertain: false,
        doubt: case.doubt.cloned(),
        event: Some(event),
        sentence,
        heard: heard.into_iter().collect(),
    }
}

/// The stop of the lane that a refusal asks for, where it asks for one.
fn stop(meaning: &Meaning, reply: &Reply, account: &AccountName) -> Option<Event> {
    let kind = match meaning.class {
        Class::Rate(_) => CauseKind::Rate,
        Class::Quota => CauseKind::Quota,
        Class::Login => CauseKind::Login,
        Class::LoginLater => CauseKind::LoginLater,
        Class::Account => CauseKind::Account,
        Class::Connect => CauseKind::Connect,
        Class::Recipient
        | Class::Message
        | Class::Wait
        | Class::WaitAtLeast(_)
        | Class::NextTransaction
        | Class::Unlisted => return None,
    };
    let cause = Cause { kind, sentence: meaning.told_of(account), reply: Some(reply.to_string()) };
    Some(match meaning.class {
        Class::Rate(rate) => Event::Slowed { cause, rate },
        _ => Event::Stopped(cause),
    })
}

struct Judge<'a> {
    case: &'a Case<'a>,
    now: Timestamp,
    jitter: f64,
}

impl Judge<'_> {
    /// It is our own settings, or what the host offers today, that keep the message: either may be mended, so it waits
    /// as if the provider had put it off.
    fn unsendable(&self, sentence: &str) -> Verdict {
        let places = 0..self.case.tried.len();
        let outcomes = places.clone().map(|index| (self.aged(self.put_off(index)), sentence.to_owned()));
        let heard = Heard {
            step: None,
            reply: sentence.to_owned(),
            sentence: sentence.to_owned(),
            recipients: places.clone().collect(),
        };
        Verdict {
            outcomes: outcomes.collect(),
            charge: Charge::Refunded,
            uncertain: false,
            doubt: self.case.doubt.cloned(),
            event: None,
            sentence: sentence.to_owned(),
            heard: vec![heard],
        }
    }

    fn transacted(&self, transcript: &Transcript) -> Verdict {
        let mut verdict = Verdict {
            outcomes: Vec::with_capacity(transcript.recipients.len()),
            charge: Charge::Kept,
            uncertain: false,
            doubt: self.case.doubt.cloned(),
            event: Some(Event::Answered),
            sentence: String::new(),
            heard: Vec::new(),
        };
        let whole = self.whole(&transcript.end, &mut verdict);
        let some_accepted = transcript.recipients.contains(&RcptResult::Accepted);
        for (index, result) in transcript.recipients.iter().enumerate() {
            let refused = match result {
                RcptResult::Refused(reply) => Some(self.recipient(index, reply, some_accepted, &mut verdict)),
                RcptResult::Accepted | RcptResult::NotAsked => None,
            };
            let Some(judged) = refused.as_ref().or(whole.as_ref()) else {
                verdict.outcomes.push((Outcome::Untried, String::new()));
                continue;
            };
            let outcome = match (result, &judged.outcome) {
                // Not asked means that the transaction broke before it was this recipient's turn.
                (RcptResult::NotAsked, Outcome::Delivered | Outcome::Uncertain) => Outcome::Untried,
                (_, outcome) => {
                    hear(&mut verdict.heard, judged, index);
                    outcome.clone()
                }
            };
            verdict.outcomes.push((self.aged(outcome), judged.reply.clone()));
        }
        verdict
    }

    /// What the end of the transaction means for the recipients that were not refused on their own.
    fn whole(&self, end: &End, verdict: &mut Verdict) -> Option<Judged> {
        let judged = match end {
            End::Accepted(reply) => {
                verdict.event = Some(Event::Delivered);
                verdict.doubt = None;
                let sentence = "The provider accepted the message.".into();
                Judged { outcome: Outcome::Delivered, step: Step::FinalReply, reply: reply.to_string(), sentence }
            }
            End::NoRecipient => return None,
            End::Stopped(Obstacle::Trouble(trouble)) => self.trouble(trouble, verdict),
            End::Stopped(Obstacle::Refused { step, reply }) => self.refused(*step, reply, verdict),
        };
        verdict.sentence.clone_from(&judged.sentence);
        Some(judged)
    }

    fn trouble(&self, trouble: &Trouble, verdict: &mut Verdict) -> Judged {
        // A session there was: it says nothing more of the account than any other answer.
        verdict.uncertain = trouble.step == Step::FinalReply;
        let outcome = match self.case.when_uncertain {
            OnUncertain::Hold if verdict.uncertain => Outcome::Uncertain,
            OnUncertain::Hold | OnUncertain::Resend => self.put_off(0),
        };
        let sentence = trouble.to_string();
        Judged { outcome, step: trouble.step, reply: sentence.clone(), sentence }
    }

    fn refused(&self, step: Step, reply: &Reply, verdict: &mut Verdict) -> Judged {
        let meaning = meaning_in(self.case.provider, step, reply, &self.case.parties);
        let outcome = match (meaning.class, stop(&meaning, reply, self.case.account)) {
            (Class::Account, _) if self.is_alone_refused() => self.put_off(0),
            (_, Some(event)) => {
                let outcome = self.step_aside(&event);
                verdict.event = Some(event);
                outcome
            }
            (Class::Message | Class::Recipient, _) => Outcome::Failed,
            (Class::Unlisted, _) => self.doubted(reply, verdict),
            (Class::WaitAtLeast(least), _) => self.put_off_at_least(0, least),
            _ => self.put_off(0),
        };
        Judged { outcome, step, reply: reply.to_string(), sentence: meaning.told_of(self.case.account) }
    }

    /// An unlisted permanent refusal of the message: believed where the lane has delivered another message since the
    /// first time, or where it has come twice a quarter of an hour apart while the lane was open and no operator had to
    /// open it in between.
    fn doubted(&self, reply: &Reply, verdict: &mut Verdict) -> Outcome {
        let refusal = steady(&reply.to_string()).to_owned();
        let lane = self.case.lane;
        let holds = |doubt: &&Doubt| lane.resumed.is_none_or(|resumed| doubt.since >= resumed);
        let doubt = self.case.doubt.filter(|doubt| doubt.account == *self.case.account);
        let same = doubt.filter(|doubt| doubt.refusal == refusal).filter(holds);
        let delivered_since = doubt.is_some_and(|doubt| lane.last_delivered.is_some_and(|at| at > doubt.since));
        let long_since = same.is_some_and(|doubt| self.now.since(doubt.since) >= DOUBT_LASTS);
        if delivered_since || long_since && lane.standing == Standing::Open {
            return Outcome::Failed;
        }
        let suspicion = Suspicion { client: self.case.client.clone(), delivery: self.case.delivery };
        if !stops_the_lane(verdict.event.as_ref()) {
            verdict.event = Some(Event::Suspected { suspicion, reply: reply.to_string() });
        }
        let since = same.map_or(self.now, |doubt| doubt.since);
        verdict.doubt = Some(Doubt { account: self.case.account.clone(), since, refusal });
        // Not before the quarter is over, so that the second refusal decides; a delivery by the lane wakes it earlier.
        let until = since.after(DOUBT_LASTS).max(self.now.after(retry::delay(1, self.jitter)));
        Outcome::Deferred { until, counted: true }
    }

    fn recipient(&self, index: usize, reply: &Reply, some_accepted: bool, verdict: &mut Verdict) -> Judged {
        let meaning = meaning_in(self.case.provider, Step::Rcpt, reply, &self.case.parties);
        let sentence = meaning.told_of(self.case.account);
        if verdict.sentence.is_empty() {
            verdict.sentence.clone_from(&sentence);
        }
        // Where the others were taken, it is not the account's fault.
        let delivered = verdict.event == Some(Event::Delivered);
        let outcome = match (meaning.class, stop(&meaning, reply, self.case.account)) {
            (Class::Account, _) if self.is_alone_refused() => self.put_off(index),
            (_, Some(event)) if !delivered => {
                let outcome = self.step_aside(&event);
                if !stops_the_lane(verdict.event.as_ref()) {
                    verdict.event = Some(event);
                }
                outcome
            }
            (Class::Unlisted, _) if !delivered => self.doubted(reply, verdict),
            (Class::Recipient | Class::Message | Class::Unlisted, _) => Outcome::Failed,
            (Class::NextTransaction, _) if some_accepted => Outcome::Deferred { until: self.now, counted: false },
            (Class::WaitAtLeast(least), _) => self.put_off_at_least(index, least),
            _ => self.put_off(index),
        };
        Judged { outcome, step: Step::Rcpt, reply: reply.to_string(), sentence }
    }

    /// Whether it is this message that the account is refused for, as others pass: it waits and ages like one that is put off,
    /// and does not stop the lane again and again.
    fn is_alone_refused(&self) -> bool {
        self.case.lane.is_alone_refused(self.case.delivery)
    }

    /// A message that met a fault of the account goes by another one, where there is one. Else it waits until the probe
    /// is through, so that the probe takes another message: it may be this one that the account is refused for.
    fn step_aside(&self, event: &Event) -> Outcome {
        let mut lane = self.case.lane.clone();
        lane.note(event.clone(), self.case.claimed, self.now);
        let probe_at = lane.stop().and_then(|stop| stop.probe_at).unwrap_or(self.now).max(self.now);
        let until = match self.case.elsewhere {
            Elsewhere::Open => self.now,
            Elsewhere::Stopped => probe_at.after(BEHIND_THE_PROBE),
        };
        Outcome::Deferred { until, counted: false }
    }

    fn put_off_at_least(&self, index: usize, least: Duration) -> Outcome {
        match self.put_off(index) {
            Outcome::Deferred { until, counted } => {
                Outcome::Deferred { until: until.max(self.now.after(least)), counted }
            }
            other => other,
        }
    }

    fn put_off(&self, index: usize) -> Outcome {
        let attempts = self.case.tried.get(index).map_or(1, |tried| tried + 1);
        Outcome::Deferred { until: self.now.after(retry::delay(attempts, self.jitter)), counted: true }
    }

    /// A recipient that would be put off once more has failed where its message is too old.
    fn aged(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Deferred { counted: true, .. } if self.case.age >= self.case.max_age => Outcome::Expired,
            other => other,
        }
    }
}

fn stops_the_lane(event: Option<&Event>) -> bool {
    matches!(event, Some(Event::Stopped(_) | Event::Slowed { .. }))
}

/// How long after a probe the messages follow that made it necessary.
const BEHIND_THE_PROBE: Duration = Duration::from_secs(1);
/// How long an unlisted refusal must stand before its second coming is believed.
const DOUBT_LASTS: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests;
