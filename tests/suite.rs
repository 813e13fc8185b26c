//! The integration tests, one binary: each module says what it shows.

mod crash;
mod session_scripts;
mod support;
