//! Sockets out: from a claim to an outcome. Drives what the rules decide; holds no retry arithmetic and no SQL.

pub mod directory;
pub mod upstream;

mod connect;
mod credentials;
mod extensions;
mod lettre;
#[cfg(test)]
mod peer;
mod replies;
mod timeouts;
mod tls;
mod trouble;
