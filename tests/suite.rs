//! The integration tests, one binary: each module says what it shows.

mod architecture;
mod pacing;
mod queue_contract;
mod queue_room;
mod queue_sqlite;
mod crash;
mod pacing_wire;
mod receive;
mod clients;
mod commands;
mod postfix;
mod quickstart;
mod session_scripts;
mod support;
mod traps;
mod uncertain;
