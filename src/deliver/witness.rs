//! Who watches a session being opened. Deliveries are watched by nobody; a trial of an account tells people what it saw.

use std::net::SocketAddr;

use rustls::ClientConnection;

use super::extensions::Extensions;
use crate::config::Method;
use crate::provider::Mechanism;
use crate::smtp::Reply;

/// What opening a session shows, in the order in which it does.
#[derive(Debug)]
pub(super) enum Sight<'a> {
    /// There is a token.
    Token,
    /// The host has these addresses.
    Addresses(&'a [SocketAddr]),
    /// This one took the connection.
    Connected(SocketAddr),
    /// The host greeted.
    Greeting(&'a Reply),
    /// The connection is encrypted.
    Encrypted(&'a ClientConnection),
    /// The host offers this, now that the connection is as it will stay.
    Offered(&'a Extensions),
    /// The host let us in.
    LoggedIn(Mechanism, &'a Reply),
    /// A method did not open the account, with what was said; another one is tried.
    Fallen(Method, &'a str),
}

/// Sees a session being opened.
pub(super) trait Witness: Send + Sync {
    /// This was seen. Called while the session waits, so it must be brief.
    fn saw(&self, sight: Sight<'_>);
}

/// Nobody watches.
pub(super) struct Unwatched;

impl Witness for Unwatched {
    fn saw(&self, _: Sight<'_>) {}
}
