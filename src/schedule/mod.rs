//! What to send now and when to look again. Knows counts and times, never an address or a byte of mail.

pub mod attempt;
pub mod cap;
pub mod fairness;
pub mod lane;
pub mod pace;
pub mod plan;
pub mod retry;
pub mod trial;
pub mod turn;
pub mod verdict;
