//! The integration tests, one binary: each module says what it shows.

mod architecture;
mod clients;
mod commands;
mod pacing;
mod postfix;
mod queue_contract;
mod queue_room;
mod queue_sqlite;
mod quickstart;
mod receive;
mod session_scripts;
mod support;
