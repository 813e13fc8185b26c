//! The integration tests, one binary: each module says what it shows.

mod architecture;
mod pacing;
mod queue_contract;
mod queue_room;
mod queue_sqlite;
mod receive;
mod session_scripts;
mod support;
