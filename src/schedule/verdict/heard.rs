//! What was said in an attempt, for the history of its message.

use super::super::attempt::Step;
use super::Outcome;
use crate::smtp::reply::steady;

/// Something that was said in an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// To which step; none where our own settings kept the message.
    pub step: Option<Step>,
    /// The reply, or the trouble where none came.
    pub reply: String,
    /// What it means, in a sentence; for trouble, the same once more.
    pub sentence: String,
    /// Which recipients it was about, by their places in the claim.
    pub recipients: Vec<usize>,
}

/// What was said to a step, what it means, and what becomes of whoever it is about.
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) step: Step,
    pub(super) reply: String,
    pub(super) sentence: String,
}

/// Adds to what was heard of a recipient: what was said to several is told once. Where each hears something else, some
/// are enough: every recipient keeps its own last reply.
pub(super) fn hear(heard: &mut Vec<Heard>, judged: &Judged, recipient: usize) {
    let same = |one: &&mut Heard| one.step == Some(judged.step) && steady(&one.reply) == steady(&judged.reply);
    if let Some(one) = heard.iter_mut().find(same) {
        one.recipients.push(recipient);
    } else if heard.len() < HEARD_KEPT {
        heard.push(Heard {
            step: Some(judged.step),
            reply: judged.reply.clone(),
            sentence: judged.sentence.clone(),
            recipients: vec![recipient],
        });
    }
}

/// So many different replies of an attempt are kept in its history.
pub(super) const HEARD_KEPT: usize = 20;
