//! What operators see: one line and one count for each fate, all of them from here.

mod alarms;
pub mod clients;
pub mod fate;
mod lines;
pub mod logging;
pub mod metrics;

pub use fate::Observer;
