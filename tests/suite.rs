//! The integration tests, one binary: each module says what it shows.

mod architecture;
mod session_scripts;
mod support;
