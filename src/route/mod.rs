//! Which client this is, and which accounts may carry its mail. Decides by value; knows no socket and no store.

pub mod client;

pub use client::{Client, Priority};

/// The name of the one route: all mail, by the accounts in the order of the configuration.
pub const DEFAULT: &str = "default";
