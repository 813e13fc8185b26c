//! What an attempt means for each recipient and for the lane: a transcript in, outcomes and an event out.

use std::time::Duration;

use super::attempt::{End, Obstacle, RcptResult, Step, Transcript, Trouble, TroubleKind};
use super::lane::{self, Cause, CauseKind, Event, Lane, Standing, Suspicion};
use super::retry;
use crate::ids::{AccountName, ClientName, DeliveryId};
use crate::provider::Provider;
use crate::provider::refusal::{Class, Meaning, meaning};
use crate::smtp::Reply;
use crate::time::Timestamp;

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
    NoSession(Obstacle),
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
        Report::NoSession(obstacle) => no_session(case, obstacle),
        Report::Unsendable(sentence) => Judge { case, now, jitter }.unsendable(sentence),
        Report::Transacted(transcript) => Judge { case, now, jitter }.transacted(transcript),
    }
}

fn no_session(case: &Case<'_>, obstacle: &Obstacle) -> Verdict {
    let (kind, sentence, reply) = match obstacle {
        Obstacle::Refused { step, reply } => {
            let Meaning { class, sentence } = meaning(case.provider, *step, reply);
            (cause_kind(class).unwrap_or(CauseKind::Connect), sentence.to_owned(), Some(reply.to_string()))
        }
        Obstacle::Trouble(trouble) => {
            // Who hangs up on a login may be refusing it: passwords are not tried every half minute.
            let kind = match (trouble.step, trouble.kind) {
                (Step::Auth, TroubleKind::Protocol) | (_, TroubleKind::TokenRefused) => CauseKind::Login,
                (Step::Auth, TroubleKind::HungUp | TroubleKind::TimedOut) => CauseKind::LoginLater,
                _ => CauseKind::Connect,
            };
            (kind, trouble.to_string(), None)
        }
    };
    let said = reply.clone().unwrap_or_else(|| sentence.clone());
    Verdict {
        outcomes: case.tried.iter().map(|_| (Outcome::Untried, said.clone())).collect(),
        charge: Charge::Refunded,
        uncertain: false,
        doubt: case.doubt.cloned(),
        event: Some(Event::Stopped(Cause { kind, sentence: sentence.clone(), reply })),
        sentence,
    }
}

/// The kind of stop that a class of refusal asks for, where it asks for one.
fn cause_kind(class: Class) -> Option<CauseKind> {
    match class {
        Class::Rate => Some(CauseKind::Rate),
        Class::Quota => Some(CauseKind::Quota),
        Class::Login => Some(CauseKind::Login),
        Class::LoginLater => Some(CauseKind::LoginLater),
        Class::Account => Some(CauseKind::Account),
        Class::Connect => Some(CauseKind::Connect),
        Class::Recipient | Class::Message | Class::Wait | Class::NextTransaction | Class::Unlisted => None,
    }
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
        let outcomes = (0..self.case.tried.len()).map(|index| (self.aged(self.put_off(index)), sentence.to_owned()));
        Verdict {
            outcomes: outcomes.collect(),
            charge: Charge::Refunded,
            uncertain: false,
            doubt: self.case.doubt.cloned(),
            event: None,
            sentence: sentence.to_owned(),
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
        };
        let whole = self.whole(&transcript.end, &mut verdict);
        let some_accepted = transcript.recipients.contains(&RcptResult::Accepted);
        for (index, result) in transcript.recipients.iter().enumerate() {
            let outcome = match result {
                RcptResult::Accepted => whole.clone(),
                RcptResult::NotAsked => match whole.0 {
                    // Not asked means that the transaction broke before it was this recipient's turn.
                    Outcome::Delivered | Outcome::Uncertain => (Outcome::Untried, whole.1.clone()),
                    _ => whole.clone(),
                },
                RcptResult::Refused(reply) => self.recipient(index, reply, some_accepted, &mut verdict),
            };
            verdict.outcomes.push((self.aged(outcome.0), outcome.1));
        }
        verdict
    }

    /// What the end of the transaction means for the recipients that were not refused on their own.
    fn whole(&self, end: &End, verdict: &mut Verdict) -> (Outcome, String) {
        match end {
            End::Accepted(reply) => {
                verdict.event = Some(Event::Delivered);
                verdict.doubt = None;
                verdict.sentence = "The provider accepted the message.".into();
                (Outcome::Delivered, reply.to_string())
            }
            End::NoRecipient => (Outcome::Untried, String::new()),
            End::Stopped(Obstacle::Trouble(trouble)) => self.trouble(trouble, verdict),
            End::Stopped(Obstacle::Refused { step, reply }) => self.refused(*step, reply, verdict),
        }
    }

    fn trouble(&self, trouble: &Trouble, verdict: &mut Verdict) -> (Outcome, String) {
        // A session there was: it says nothing more of the account than any other answer.
        verdict.sentence = trouble.to_string();
        if trouble.step != Step::FinalReply {
            return (self.put_off(0), trouble.to_string());
        }
        verdict.uncertain = true;
        let outcome = match self.case.when_uncertain {
            OnUncertain::Resend => self.put_off(0),
            OnUncertain::Hold => Outcome::Uncertain,
        };
        (outcome, trouble.to_string())
    }

    fn refused(&self, step: Step, reply: &Reply, verdict: &mut Verdict) -> (Outcome, String) {
        let Meaning { class, sentence } = meaning(self.case.provider, step, reply);
        verdict.sentence = sentence.into();
        let said = reply.to_string();
        if let Some(kind) = cause_kind(class) {
            verdict.event = Some(Event::Stopped(Cause { kind, sentence: sentence.into(), reply: Some(said.clone()) }));
            return (self.step_aside(kind), said);
        }
        let outcome = match class {
            Class::Message | Class::Recipient => Outcome::Failed,
            Class::Unlisted => self.doubted(reply, verdict),
            _ => self.put_off(0),
        };
        (outcome, said)
    }

    /// An unlisted permanent refusal of the message: believed where the lane has delivered another message since the
    /// first time, or where it has come twice a quarter of an hour apart while the lane was open and no operator had to
    /// open it in between.
    fn doubted(&self, reply: &Reply, verdict: &mut Verdict) -> Outcome {
        let refusal = recognisable(reply);
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
        verdict.event = Some(Event::Suspected { suspicion, reply: reply.to_string() });
        let since = same.map_or(self.now, |doubt| doubt.since);
        verdict.doubt = Some(Doubt { account: self.case.account.clone(), since, refusal });
        // Not before the quarter is over, so that the second refusal decides; a delivery by the lane wakes it earlier.
        let until = since.after(DOUBT_LASTS).max(self.now.after(retry::delay(1, self.jitter)));
        Outcome::Deferred { until, counted: true }
    }

    fn recipient(&self, index: usize, reply: &Reply, some_accepted: bool, verdict: &mut Verdict) -> (Outcome, String) {
        let Meaning { class, sentence } = meaning(self.case.provider, Step::Rcpt, reply);
        let said = reply.to_string();
        if verdict.sentence.is_empty() {
            verdict.sentence = sentence.into();
        }
        let delivered = verdict.event == Some(Event::Delivered);
        let outcome = match (class, cause_kind(class)) {
            (_, Some(kind)) if !delivered => {
                let cause = Cause { kind, sentence: sentence.into(), reply: Some(said.clone()) };
                if !matches!(verdict.event, Some(Event::Stopped(_))) {
                    verdict.event = Some(Event::Stopped(cause));
                }
                self.step_aside(kind)
            }
            (Class::Recipient | Class::Message | Class::Unlisted, _) => Outcome::Failed,
            (Class::NextTransaction, _) if some_accepted => Outcome::Deferred { until: self.now, counted: false },
            _ => self.put_off(index),
        };
        (outcome, said)
    }

    /// A message that met a fault of the account waits until the probe is through, so that the probe takes another one:
    /// it may be this message that the account is refused for.
    fn step_aside(&self, kind: CauseKind) -> Outcome {
        let failed_probes = self.case.lane.stop().map_or(0, |stop| stop.failed_probes + 1);
        let until = self.now.after(lane::probe_delay(kind, failed_probes)).after(BEHIND_THE_PROBE);
        Outcome::Deferred { until, counted: false }
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

/// A reply without what differs each time it is given: code and text up to the trailing bracket of host and time.
fn recognisable(reply: &Reply) -> String {
    let text = reply.text();
    let steady = text.split(" [").next().unwrap_or_default();
    format!("{} {steady}", reply.code)
}

/// How long after a probe the messages follow that made it necessary.
const BEHIND_THE_PROBE: Duration = Duration::from_secs(1);
/// How long an unlisted refusal must stand before its second coming is believed.
const DOUBT_LASTS: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "5.3.0 mystery";

    fn now() -> Timestamp {
        Timestamp::from_secs(100_000)
    }

    struct Setup {
        lane: Lane,
        account: AccountName,
        client: ClientName,
        doubt: Option<Doubt>,
        age: Duration,
        tried: Vec<u32>,
        when_uncertain: OnUncertain,
    }

    impl Setup {
        fn new() -> Self {
            let when_uncertain = OnUncertain::Resend;
            Self {
                lane: Lane::default(),
                account: "m365".into(),
                client: "c".into(),
                doubt: None,
                age: Duration::ZERO,
                tried: vec![0, 0],
                when_uncertain,
            }
        }

        fn judge(&self, report: &Report) -> Verdict {
            let case = Case {
                provider: Provider::Microsoft365,
                delivery: DeliveryId(1),
                account: &self.account,
                client: &self.client,
                tried: &self.tried,
                age: self.age,
                max_age: Duration::from_secs(5 * 86_400),
                doubt: self.doubt.as_ref(),
                when_uncertain: self.when_uncertain,
                lane: &self.lane,
            };
            verdict(&case, report, now(), 0.5)
        }
    }

    fn transacted(recipients: Vec<RcptResult>, end: End) -> Report {
        Report::Transacted(Transcript { recipients, end })
    }

    fn refused(step: Step, code: u16, text: &str) -> End {
        End::Stopped(Obstacle::Refused { step, reply: Reply::new(code, text) })
    }

    fn both_refused_at_the_end(code: u16, text: &str) -> Report {
        transacted(vec![RcptResult::Accepted, RcptResult::Accepted], refused(Step::FinalReply, code, text))
    }

    fn outcomes(verdict: &Verdict) -> Vec<&Outcome> {
        verdict.outcomes.iter().map(|(outcome, _)| outcome).collect()
    }

    #[test]
    fn one_refused_recipient_does_not_fail_the_other() {
        let report = transacted(
            vec![RcptResult::Refused(Reply::new(550, "5.1.10 RESOLVER.ADR.RecipientNotFound")), RcptResult::Accepted],
            End::Accepted(Reply::new(250, "2.0.0 OK")),
        );
        let verdict = Setup::new().judge(&report);
        assert_eq!(outcomes(&verdict), [&Outcome::Failed, &Outcome::Delivered]);
        assert_eq!(verdict.event, Some(Event::Delivered));
    }

    #[test]
    fn a_fault_of_the_account_costs_no_recipient_anything() {
        for (code, text) in
            [(554, "5.2.0 x:SubmissionQuotaExceededException"), (554, "5.2.2 mailbox full"), (550, "5.1.8 x")]
        {
            let mut setup = Setup::new();
            setup.age = Duration::from_secs(99 * 86_400);
            let verdict = setup.judge(&both_refused_at_the_end(code, text));
            let aside = |outcome: &&Outcome| matches!(outcome, Outcome::Deferred { counted: false, .. });
            assert!(outcomes(&verdict).iter().all(aside), "{text}");
            assert!(matches!(verdict.event, Some(Event::Stopped(_))));
            assert_eq!(verdict.charge, Charge::Kept);
        }
    }

    #[test]
    fn without_a_session_nothing_is_charged_and_nothing_counts() {
        let trouble = Trouble { step: Step::Connect, kind: TroubleKind::Connect, detail: "no route".into() };
        let verdict = Setup::new().judge(&Report::NoSession(Obstacle::Trouble(trouble)));
        assert_eq!(outcomes(&verdict), [&Outcome::Untried, &Outcome::Untried]);
        assert_eq!(verdict.charge, Charge::Refunded);
        assert!(matches!(verdict.event, Some(Event::Stopped(Cause { kind: CauseKind::Connect, .. }))));
    }

    #[test]
    fn an_unlisted_refusal_is_not_believed_at_first() {
        let verdict = Setup::new().judge(&both_refused_at_the_end(554, REPLY));
        assert!(verdict.outcomes.iter().all(|(outcome, _)| matches!(outcome, Outcome::Deferred { counted: true, .. })));
        assert!(matches!(verdict.event, Some(Event::Suspected { .. })));
        assert_eq!(verdict.doubt.unwrap().since, now());
    }

    #[test]
    fn an_unlisted_refusal_is_believed_where_another_message_passed_or_where_it_stands() {
        let doubt = |secs_ago: u64, text: &str| Doubt {
            account: "m365".into(),
            since: now().before(Duration::from_secs(secs_ago)),
            refusal: format!("554 {text}"),
        };
        let mut setup = Setup::new();
        setup.doubt = Some(doubt(60, REPLY));
        let again = both_refused_at_the_end(554, "5.3.0 mystery [HOST 2026-11-22 08DB]");
        assert!(matches!(outcomes(&setup.judge(&again))[0], Outcome::Deferred { .. }), "too soon");
        setup.lane.last_delivered = Some(now().before(Duration::from_secs(30)));
        assert_eq!(
            outcomes(&setup.judge(&again)),
            [&Outcome::Failed, &Outcome::Failed],
            "the lane has delivered since"
        );
        setup.lane.last_delivered = Some(now().before(Duration::from_secs(90)));
        assert!(matches!(outcomes(&setup.judge(&again))[0], Outcome::Deferred { .. }), "delivered before");
        setup.lane.last_delivered = None;
        setup.doubt = Some(doubt(900, REPLY));
        assert_eq!(outcomes(&setup.judge(&again)), [&Outcome::Failed, &Outcome::Failed], "twice, a quarter apart");
        setup.account = "other".into();
        assert!(matches!(outcomes(&setup.judge(&again))[0], Outcome::Deferred { .. }), "refused by another account");
        setup.account = "m365".into();
        setup.lane.resumed = Some(now().before(Duration::from_secs(1)));
        let verdict = setup.judge(&again);
        assert!(matches!(outcomes(&verdict)[0], Outcome::Deferred { .. }), "an operator opened the lane since");
        assert_eq!(verdict.doubt.unwrap().since, now(), "so the first time is now");
        setup.lane.resumed = None;
        setup.doubt = Some(doubt(900, "other"));
        assert!(matches!(outcomes(&setup.judge(&again))[0], Outcome::Deferred { .. }), "another reply");
        setup.doubt = Some(doubt(900, REPLY));
        setup.lane.note(
            Event::Stopped(Cause { kind: CauseKind::Suspicion, sentence: String::new(), reply: None }),
            now(),
            now(),
        );
        assert!(
            matches!(outcomes(&setup.judge(&again))[0], Outcome::Deferred { .. }),
            "while the lane itself is in doubt"
        );
    }

    #[test]
    fn what_breaks_after_the_final_dot_is_uncertain() {
        let trouble = Trouble { step: Step::FinalReply, kind: TroubleKind::HungUp, detail: "closed".into() };
        let report = transacted(vec![RcptResult::Accepted; 2], End::Stopped(Obstacle::Trouble(trouble)));
        let mut setup = Setup::new();
        let verdict = setup.judge(&report);
        assert!(verdict.uncertain && matches!(outcomes(&verdict)[0], Outcome::Deferred { .. }));
        setup.when_uncertain = OnUncertain::Hold;
        assert_eq!(outcomes(&setup.judge(&report)), [&Outcome::Uncertain, &Outcome::Uncertain]);
    }

    #[test]
    fn surplus_recipients_go_at_once_in_another_transaction() {
        let surplus = RcptResult::Refused(Reply::new(452, "4.5.3 Too many recipients"));
        let accepted = End::Accepted(Reply::new(250, "ok"));
        let verdict = Setup::new().judge(&transacted(vec![RcptResult::Accepted, surplus.clone()], accepted));
        assert_eq!(verdict.outcomes[1].0, Outcome::Deferred { until: now(), counted: false });
        let verdict = Setup::new().judge(&transacted(vec![surplus.clone(), surplus], End::NoRecipient));
        assert!(matches!(verdict.outcomes[1].0, Outcome::Deferred { until, counted: true } if until > now()));
    }

    #[test]
    fn what_our_own_settings_keep_waits_and_does_not_fail() {
        let mut setup = Setup::new();
        let verdict = setup.judge(&Report::Unsendable("too large".into()));
        assert!(outcomes(&verdict).iter().all(|outcome| matches!(outcome, Outcome::Deferred { counted: true, .. })));
        assert_eq!(verdict.charge, Charge::Refunded);
        setup.age = Duration::from_secs(5 * 86_400);
        assert_eq!(outcomes(&setup.judge(&Report::Unsendable("too large".into()))), [&Outcome::Expired; 2]);
    }

    #[test]
    fn who_hangs_up_on_a_login_is_not_asked_every_half_minute() {
        let trouble = Trouble { step: Step::Auth, kind: TroubleKind::HungUp, detail: "closed".into() };
        let verdict = Setup::new().judge(&Report::NoSession(Obstacle::Trouble(trouble)));
        assert!(matches!(verdict.event, Some(Event::Stopped(Cause { kind: CauseKind::LoginLater, .. }))));
    }

    #[test]
    fn what_is_put_off_for_too_long_expires() {
        let mut setup = Setup::new();
        setup.age = Duration::from_secs(5 * 86_400);
        assert_eq!(outcomes(&setup.judge(&both_refused_at_the_end(451, "4.3.0 later"))), [&Outcome::Expired; 2]);
    }
}
