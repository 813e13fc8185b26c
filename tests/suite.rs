//! The integration tests, one binary: each module says what it shows.

mod pacing;
mod session_scripts;
