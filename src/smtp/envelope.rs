//! The envelope of a message (RFC 5321 §2.3.1).

use serde::{Deserialize, Serialize};

use super::{Address, ReversePath};

/// Whom the message is from and whom it goes to, whatever its header says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// From MAIL.
    pub reverse_path: ReversePath,
    /// From RCPT, in the order in which they were accepted; never empty in a stored message.
    pub recipients: Vec<Address>,
}
