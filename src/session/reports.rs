//! Which refusals are reported. Each of them may be lost mail, but a client that is refused over and over must not fill the
//! log: what follows from a refusal tells nothing new, and of the others there is a bound.

use super::contract::{Refused, Step};
use super::replies;
use crate::smtp::EnhancedStatus;

/// What was reported since a message was taken.
#[derive(Debug, Default)]
pub(super) struct Reports {
    made: u32,
    /// Steps at which a command out of sequence was reported since the conversation began anew.
    out_of_sequence: Vec<Step>,
}

impl Reports {
    /// What of a refusal is to be reported. Content is always: the client has sent a whole message for it.
    pub(super) fn admit(&mut self, mut refused: Refused) -> Option<Refused> {
        if refused.step == Step::Content {
            return Some(refused);
        }
        if refused.reply.status() == Some(OUT_OF_SEQUENCE) {
            if self.out_of_sequence.contains(&refused.step) {
                return None;
            }
            self.out_of_sequence.push(refused.step);
        }
        self.made = self.made.saturating_add(1);
        if self.made == MOST + 1 {
            refused.reply = replies::last_reported(refused.reply);
        }
        (self.made <= MOST + 1).then_some(refused)
    }

    /// MAIL, RSET or a greeting: a refusal after it no longer follows from those before.
    pub(super) fn begin(&mut self) {
        self.out_of_sequence.clear();
    }
}

/// RFC 3463 §3.6: the command came when it could not be.
const OUT_OF_SEQUENCE: EnhancedStatus = EnhancedStatus::new(5, 5, 1);

/// Reports before the last one, which says that it is the last.
const MOST: u32 = 20;
