//! What attempts mean, case by case.

use super::heard::HEARD_KEPT;
use super::*;
use crate::provider::refusal::{Pace, Rate};

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
    elsewhere: Elsewhere,
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
            elsewhere: Elsewhere::Stopped,
        }
    }

    fn judge(&self, report: &Report) -> Verdict {
        let case = Case {
            provider: Provider::Microsoft365,
            delivery: DeliveryId(1),
            account: &self.account,
            client: &self.client,
            parties: Parties::default(),
            claimed: now(),
            tried: &self.tried,
            age: self.age,
            max_age: Duration::from_secs(5 * 86_400),
            doubt: self.doubt.as_ref(),
            when_uncertain: self.when_uncertain,
            lane: &self.lane,
            elsewhere: self.elsewhere,
        };
        verdict(&case, report, now(), 0.5)
    }
}

fn transacted(recipients: Vec<RcptResult>, end: End) -> Report {
    Report::Transacted(Transcript { recipients, end })
}

fn refused_at(step: Step, code: u16, text: &str) -> End {
    End::Stopped(Obstacle::Refused { step, reply: Reply::new(code, text) })
}

fn both_refused_at_the_end(code: u16, text: &str) -> Report {
    transacted(vec![RcptResult::Accepted, RcptResult::Accepted], refused_at(Step::FinalReply, code, text))
}

fn outcomes(verdict: &Verdict) -> Vec<&Outcome> {
    verdict.outcomes.iter().map(|(outcome, _)| outcome).collect()
}

fn no_session(obstacle: Obstacle) -> Report {
    Report::NoSession { obstacle, refused_logins: 1 }
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
    let verdict = Setup::new().judge(&no_session(Obstacle::Trouble(trouble)));
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
    assert_eq!(outcomes(&setup.judge(&again)), [&Outcome::Failed, &Outcome::Failed], "the lane has delivered since");
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
    assert!(matches!(outcomes(&setup.judge(&again))[0], Outcome::Deferred { .. }), "while the lane itself is in doubt");
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
    let verdict = Setup::new().judge(&no_session(Obstacle::Trouble(trouble)));
    assert!(matches!(verdict.event, Some(Event::Stopped(Cause { kind: CauseKind::LoginLater, .. }))));
}

#[test]
fn what_is_put_off_for_too_long_expires() {
    let mut setup = Setup::new();
    setup.age = Duration::from_secs(5 * 86_400);
    assert_eq!(outcomes(&setup.judge(&both_refused_at_the_end(451, "4.3.0 later"))), [&Outcome::Expired; 2]);
}

#[test]
fn a_refused_token_is_a_refused_login_and_other_trouble_with_it_is_not() {
    let verdict = |kind| {
        let trouble = Trouble { step: Step::Token, kind, detail: "The client secret has expired.".into() };
        Setup::new().judge(&no_session(Obstacle::Trouble(trouble)))
    };
    let kind = |verdict: &Verdict| match &verdict.event {
        Some(Event::Stopped(cause)) => cause.kind,
        other => panic!("{other:?}"),
    };
    let refused = verdict(TroubleKind::TokenRefused);
    assert_eq!(kind(&refused), CauseKind::Login);
    let said = "The client secret has expired. (token)";
    assert_eq!((refused.sentence.as_str(), refused.heard[0].step), (said, Some(Step::Token)));
    let others = [
        TroubleKind::Resolve,
        TroubleKind::Connect,
        TroubleKind::Tls,
        TroubleKind::TimedOut,
        TroubleKind::HungUp,
        TroubleKind::Protocol,
        TroubleKind::Local,
    ];
    for other in others.map(verdict) {
        assert_eq!((kind(&other), other.heard), (CauseKind::Connect, vec![]));
    }
    let throttled = Obstacle::Refused { step: Step::Token, reply: Reply::new(429, "Too Many Requests") };
    assert_eq!(kind(&Setup::new().judge(&no_session(throttled))), CauseKind::Connect);
}

#[test]
fn a_rate_says_of_what_there_was_too_much_and_for_how_long() {
    let rate = |code, text| match Setup::new().judge(&both_refused_at_the_end(code, text)).event {
        Some(Event::Slowed { rate, cause: Cause { kind: CauseKind::Rate, .. } }) => rate,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        rate(432, "4.3.2 Concurrent connections limit exceeded."),
        Rate { limits: Pace::Connections, rest: None }
    );
    let rest = Some(Duration::from_secs(90));
    let text = "4.4.2 Message submission rate for this client has exceeded the limit, try again in 90 seconds";
    assert_eq!(rate(421, text), Rate { limits: Pace::Messages, rest });
}

#[test]
fn a_message_steps_aside_for_the_probe_or_goes_elsewhere() {
    let mut setup = Setup::new();
    let full = both_refused_at_the_end(554, "5.2.2 mailbox full");
    let until = |setup: &Setup| match &setup.judge(&full).outcomes[0].0 {
        Outcome::Deferred { until, counted: false } => until.since(now()).as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(until(&setup), 61, "the first probe comes after a minute");
    let full_then = Cause { kind: CauseKind::Account, sentence: String::new(), reply: None };
    setup.lane.note(Event::Stopped(full_then), now().before(Duration::from_secs(60)), now());
    assert_eq!(until(&setup), 121, "it was the probe");
    setup.elsewhere = Elsewhere::Open;
    assert_eq!(until(&setup), 0);
}

#[test]
fn a_recipient_that_has_had_its_share_waits_an_hour() {
    let refused = RcptResult::Refused(Reply::new(550, "5.2.121 per hour message receive limit from specific sender"));
    let report = transacted(vec![refused, RcptResult::Accepted], End::Accepted(Reply::new(250, "2.0.0 OK")));
    let verdict = Setup::new().judge(&report);
    let hour = now().after(Duration::from_secs(3600));
    assert_eq!(outcomes(&verdict), [&Outcome::Deferred { until: hour, counted: true }, &Outcome::Delivered]);
}

#[test]
fn an_unlisted_refusal_of_a_recipient_is_doubted_unless_another_one_was_taken() {
    let refused = || RcptResult::Refused(Reply::new(550, "5.7.60 SMTP; Client does not have permissions to send as"));
    let alone = Setup::new().judge(&transacted(vec![refused(), refused()], End::NoRecipient));
    assert!(matches!(outcomes(&alone)[0], Outcome::Deferred { counted: true, .. }));
    assert!(matches!(alone.event, Some(Event::Suspected { .. })));
    let taken = End::Accepted(Reply::new(250, "2.0.0 OK"));
    let beside = Setup::new().judge(&transacted(vec![refused(), RcptResult::Accepted], taken));
    assert_eq!(outcomes(&beside), [&Outcome::Failed, &Outcome::Delivered]);
    let stopped = refused_at(Step::FinalReply, 554, "5.2.2 mailbox full");
    let stopped = Setup::new().judge(&transacted(vec![refused(), RcptResult::Accepted], stopped));
    assert!(matches!(stopped.event, Some(Event::Stopped(_))), "what is known of the account counts for more");
}

#[test]
fn what_was_said_is_heard_once_with_whom_it_concerns() {
    let mut setup = Setup::new();
    setup.tried = vec![0; 5];
    let unknown = |bracket: &str| RcptResult::Refused(Reply::new(550, format!("5.1.10 RecipientNotFound {bracket}")));
    let results = vec![
        unknown("[HOST 20:59:57.214Z 08DB]"),
        RcptResult::Accepted,
        unknown("[HOST 20:59:57.331Z 08DB]"),
        RcptResult::Accepted,
        RcptResult::Refused(Reply::new(450, "4.2.1 busy")),
    ];
    let verdict = setup.judge(&transacted(results, End::Accepted(Reply::new(250, "2.0.0 OK"))));
    let heard: Vec<_> = verdict.heard.iter().map(|one| (one.step, &one.reply[..3], one.recipients.clone())).collect();
    let rcpt = Some(Step::Rcpt);
    assert_eq!(heard, [(rcpt, "550", vec![0, 2]), (Some(Step::FinalReply), "250", vec![1, 3]), (rcpt, "450", vec![4])]);
    assert_eq!(verdict.heard[0].sentence, "There is no such recipient.");
    setup.tried = vec![0; 50];
    let each = (0..50).map(|number| RcptResult::Refused(Reply::new(550, format!("5.1.1 <{number}@b> unknown"))));
    assert_eq!(setup.judge(&transacted(each.collect(), End::NoRecipient)).heard.len(), HEARD_KEPT);
}

#[test]
fn a_session_that_was_refused_is_heard_and_one_that_could_not_be_had_is_not() {
    let refused = Obstacle::Refused { step: Step::Greeting, reply: Reply::new(421, "4.3.2 Service not available") };
    let verdict = Setup::new().judge(&no_session(refused));
    assert_eq!(outcomes(&verdict), [&Outcome::Untried; 2]);
    let [heard] = &verdict.heard[..] else { panic!("{:?}", verdict.heard) };
    assert_eq!((heard.step, heard.reply.as_str()), (Some(Step::Greeting), "421 4.3.2 Service not available"));
    assert_eq!((heard.recipients.as_slice(), &heard.sentence), (&[0, 1][..], &verdict.sentence));
    let trouble = Trouble { step: Step::Connect, kind: TroubleKind::Connect, detail: "no route".into() };
    assert_eq!(Setup::new().judge(&no_session(Obstacle::Trouble(trouble))).heard, []);
}
