//! A look of the dispatcher, as others see it.

use crate::ids::AccountName;
use crate::time::Timestamp;

/// A look that came to its end: the store has answered, and what could be claimed is under way. Who waits for the next one
/// sees that the dispatcher, and the queue's writer behind it, still work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// When it ended, in scheduling time.
    pub at: Timestamp,
    /// How each account stood then: `open`, `resting` or `paused`; none before the first look.
    pub lanes: Vec<(AccountName, &'static str)>,
}
