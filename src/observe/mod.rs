//! .

pub mod fate;
