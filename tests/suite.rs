//! The integration tests, one binary: each module says what it shows.

mod clock;
mod crash;
mod pacing_wire;
mod receive;
mod session_scripts;
mod support;
mod traps;
mod uncertain;
