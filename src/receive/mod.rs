//! Sockets in: accepts connections, lets in who may come, and drives a [`crate::session::Session`] for each.
//!
//! Moves bytes, time and answers; decides only who is let in (`admission`). What is said to a client is the session's,
//! what becomes of a message the intake's, what is logged `observe::fate`'s.

mod admission;
mod bind;
mod commons;
mod connection;
mod inherited;
mod input;
mod listener;
mod names;
mod passwords;
pub mod ports;
mod rates;
mod shutdown;
mod stream;
mod tls;
pub mod unix;

pub use bind::BindError;
pub use commons::Commons;
pub use inherited::{Inherited, Unserved};
pub use listener::{Listener, Settings};
pub use shutdown::{Shutdown, Stopper};
pub use tls::CertificateError;
