//! What comes out of a session: gathers the actions of one call, and keeps count of what must not be said or told too often.

use super::contract::{Action, Event, Question, Refused, Step};
use super::quirk::Quirk;
use super::reports::Reports;
use crate::smtp::{Address, Reply, ReversePath};

/// The actions of the call that is going on, and what was said and told before.
#[derive(Debug, Default)]
pub(super) struct Output {
    actions: Vec<Action>,
    reports: Reports,
    /// Quirks that were told.
    quirks: Vec<Quirk>,
    /// Commands since the last message that were none, or ill formed.
    faults: u32,
}

/// Whether there is still patience with a client that says what is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Left,
    Over,
}

impl Output {
    /// The actions of this call.
    pub(super) fn take(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(super) fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        self.push(Action::Send(reply.to_bytes()));
    }

    pub(super) fn refuse(&mut self, step: Step, reply: Reply, from: Option<&ReversePath>, recipient: Option<Address>) {
        self.say(&reply);
        if let Some(refused) = self.reports.admit(Refused { step, reply, from: from.cloned(), recipient }) {
            self.report(Event::Refused(refused));
        }
    }

    pub(super) fn report(&mut self, event: Event) {
        self.push(Action::Report(event));
    }

    /// Tells a quirk, unless it was told before.
    pub(super) fn note(&mut self, quirk: Quirk) {
        if !self.quirks.contains(&quirk) {
            self.quirks.push(quirk);
            self.report(Event::Quirk(quirk));
        }
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.push(Action::Ask(question));
    }

    pub(super) fn abandon(&mut self, chunks: u32) {
        if chunks > 0 {
            self.push(Action::Abandon);
        }
    }

    /// Counts a command that is none, or ill formed.
    pub(super) fn count_fault(&mut self) -> Patience {
        self.faults += 1;
        if self.faults > MOST_FAULTS { Patience::Over } else { Patience::Left }
    }

    /// MAIL, RSET or a greeting: what is refused after it no longer follows from what was before.
    pub(super) fn begin(&mut self) {
        self.reports.begin();
    }

    /// A message was taken: counts begin anew.
    pub(super) fn message_taken(&mut self) {
        self.reports = Reports::default();
        self.faults = 0;
    }
}

/// A client that has said so many things that are no commands since its last message will not come to its senses; text of
/// a message whose DATA was refused looks so.
const MOST_FAULTS: u32 = 20;
