//! The integration tests, one binary: each module says what it shows.

mod crash;
mod queue_contract;
mod receive;
mod session_scripts;
mod support;
mod traps;
