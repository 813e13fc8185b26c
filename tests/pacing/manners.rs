//! What a provider may do with a transaction.

use std::time::Duration;

use mailsluice::queue::record::Claim;
use mailsluice::schedule::attempt::{End, Obstacle, RcptResult, Step, Transcript, Trouble, TroubleKind};
use mailsluice::schedule::verdict::Report;
use mailsluice::smtp::Reply;

use super::simulation::{Conduct, Manners};

/// The kinds of endings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// 250.
    Accepted,
    /// 250, but the first recipient was refused for good.
    FirstRefused,
    /// 250, but all but the first must come in another transaction.
    FirstAlone,
    /// Refused at this step with this reply.
    Refused(Step, u16, &'static str),
    /// The connection breaks before the final dot.
    BreaksEarly,
    /// The connection breaks after the final dot; whether the provider had taken the message.
    BreaksLate(bool),
    /// No connection.
    NoSession,
    /// The login is refused.
    NoLogin(u16, &'static str),
}

pub(super) const LATER: Ending = Ending::Refused(Step::FinalReply, 451, "4.3.0 Try again later");
pub(super) const UNLISTED: Ending = Ending::Refused(Step::FinalReply, 554, "5.3.0 Something is not right");
pub(super) const QUOTA: Ending = Ending::Refused(
    Step::FinalReply,
    554,
    "5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
);
pub(super) const RATE: Ending = Ending::Refused(Step::Data, 432, "4.3.2 Concurrent connections limit exceeded.");

impl Ending {
    /// Such an ending after `latency`, counted after a part of it.
    pub(super) fn after(self, claim: &Claim, latency: Duration, counted: Duration) -> Conduct {
        let counted = (!matches!(self, Self::NoSession | Self::NoLogin(..))).then_some(counted);
        let (unsure, took_unsaid) = (matches!(self, Self::BreaksLate(_)), self == Self::BreaksLate(true));
        Conduct { latency, counted, report: self.report(claim), unsure, took_unsaid }
    }

    fn report(self, claim: &Claim) -> Report {
        let mut recipients = vec![RcptResult::Accepted; claim.recipients.len()];
        let mut end = End::Accepted(Reply::new(250, "2.0.0 OK"));
        match self {
            Self::Accepted => {}
            Self::FirstRefused => {
                recipients[0] = RcptResult::Refused(Reply::new(550, "5.1.10 RESOLVER.ADR.RecipientNotFound"));
                if recipients.len() == 1 {
                    end = End::NoRecipient;
                }
            }
            Self::FirstAlone => {
                recipients[1..].fill(RcptResult::Refused(Reply::new(452, "4.5.3 Too many recipients")));
            }
            Self::Refused(step, code, text) => {
                if step < Step::Rcpt {
                    recipients.fill(RcptResult::NotAsked);
                }
                end = End::Stopped(Obstacle::Refused { step, reply: Reply::new(code, text) });
            }
            Self::BreaksEarly => end = End::Stopped(hung_up(Step::Content)),
            Self::BreaksLate(_) => end = End::Stopped(hung_up(Step::FinalReply)),
            Self::NoSession => return Report::NoSession { obstacle: hung_up(Step::Connect), refused_logins: 0 },
            Self::NoLogin(code, text) => {
                let reply = Reply::new(code, text);
                return Report::NoSession {
                    obstacle: Obstacle::Refused { step: Step::Auth, reply },
                    refused_logins: 1,
                };
            }
        }
        Report::Transacted(Transcript { recipients, end })
    }
}

fn hung_up(step: Step) -> Obstacle {
    let kind = if step == Step::Connect { TroubleKind::Connect } else { TroubleKind::HungUp };
    Obstacle::Trouble(Trouble { step, kind, detail: "the peer hung up".into() })
}

/// Ends everything alike, 0.3 s after the claim, counted at the very end.
pub(super) fn always(ending: Ending) -> Manners {
    Box::new(move |claim| ending.after(claim, ANSWERS_IN, ANSWERS_IN))
}

/// The time in which a provider answers that has nothing else to do.
pub(super) const ANSWERS_IN: Duration = Duration::from_millis(300);

/// The replies that a plain reading of their digits would lose mail for, or that stop more than one message; each with
/// how the lane stands then.
pub(super) fn traps() -> Vec<(Ending, &'static str)> {
    let login = |code, text| (Ending::NoLogin(code, text), "paused");
    let mail = |text| (Ending::Refused(Step::Mail, 550, text), "paused");
    let paused = |code, text| (Ending::Refused(Step::FinalReply, code, text), "paused");
    let resting = |code, text| (Ending::Refused(Step::FinalReply, code, text), "resting");
    vec![
        login(535, "5.7.3 Authentication unsuccessful [AM0PR01CA0001.eurprd01.prod.exchangelabs.com]"),
        login(535, "5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant."),
        login(535, "5.7.139 Authentication unsuccessful, basic authentication is disabled."),
        login(535, "5.7.139 Authentication unsuccessful, the user credentials were incorrect."),
        login(550, "5.7.30 Basic authentication is not supported for Client Submission."),
        (Ending::Refused(Step::Mail, 530, "5.7.57 Client not authenticated to send mail."), "paused"),
        (QUOTA, "resting"),
        resting(
            550,
            "5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
        ),
        resting(550, "5.2.2 Submission quota exceeded"),
        resting(550, "5.7.232 Your message can't be sent because your trial tenant has exceeded its daily limit"),
        resting(550, "5.7.233 - Your message can't be sent because your tenant exceeded its daily limit"),
        paused(
            554,
            "5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
        ),
        paused(550, "5.1.8 Access denied, bad outbound sender AS(42004)"),
        mail("5.7.501 Access denied, spam abuse detected"),
        mail("5.7.502 Access denied, banned sender"),
        mail("5.7.503 Access denied, banned sender"),
        paused(550, "5.7.705 Access denied, tenant has exceeded threshold"),
        paused(550, "5.7.708 Access denied, traffic not accepted from this IP"),
        paused(550, "5.7.750 Service unavailable. Client blocked from sending from unregistered domains"),
        (RATE, "resting"),
        (Ending::Refused(Step::Data, 432, "4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"), "resting"),
    ]
}
