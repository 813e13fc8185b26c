//! Sockets out: from a claim to an outcome. Drives what the rules decide; holds no retry arithmetic and no SQL.

pub mod directory;
pub mod dispatcher;
pub mod mended;
pub mod returned;
pub mod round;
pub mod trial;
pub mod upstream;

mod connect;
mod credentials;
mod extensions;
mod lettre;
mod opening;
#[cfg(test)]
mod peer;
mod planner;
mod pool;
mod replies;
mod timeouts;
mod tls;
mod trouble;
mod witness;
mod worker;
