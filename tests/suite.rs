//! The integration tests, one binary: each module says what it shows.

mod clients;
mod commands;
mod postfix;
mod quickstart;
mod session_scripts;
mod support;
