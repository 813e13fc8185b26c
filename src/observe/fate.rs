//! .

use std::net::{IpAddr, SocketAddr};

use crate::ids::ClientName;
use crate::smtp::{Address, Reply, ReversePath};

/// A client was refused something.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Who.
    pub client: &'a ClientName,
    /// Where it connects from.
    pub address: IpAddr,
    /// At which step.
    pub step: &'a str,
    /// What it was told.
    pub reply: &'a Reply,
    /// From whom the mail was, where that is known.
    pub from: Option<&'a ReversePath>,
    /// Which recipient was refused, where it was one.
    pub recipient: Option<&'a Address>,
}

/// A client was refused something.
pub fn refused(refused: &Refused<'_>) {
    let Refused { client, address, step, reply, from, recipient } = refused;
    tracing::warn!(
        event = "refused",
        %client,
        %address,
        step,
        %reply,
        from = from.map(tracing::field::display),
        recipient = recipient.map(tracing::field::display),
        "refused {client} at {step}: {reply}"
    );
}

/// A listener cannot take the connections that wait for it.
pub fn cannot_accept(listener: SocketAddr, error: &std::io::Error) {
    tracing::error!(event = "alarm", %listener, %error, "cannot take connections on {listener}: {error}");
}
