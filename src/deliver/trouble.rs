//! Trouble in sentences that whoever runs the relay can act on.

use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::replies::NotAReply;
use crate::schedule::attempt::{Step, Trouble, TroubleKind};
use crate::time::spoken;

/// Does the work of a step in its time.
pub(super) async fn within<T>(
    limit: Duration,
    step: Step,
    peer: &str,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Trouble> {
    match timeout(limit, work).await {
        Ok(result) => result.map_err(|error| broken(step, peer, &error)),
        Err(_) => Err(timed_out(step, peer, limit)),
    }
}

/// The peer took longer than `limit`.
pub(super) fn timed_out(step: Step, peer: &str, limit: Duration) -> Trouble {
    let detail = match step {
        Step::Content => format!("{peer} took no more of the message for {}", spoken(limit)),
        _ => format!("{peer} did not answer within {}", spoken(limit)),
    };
    Trouble { step, kind: TroubleKind::TimedOut, detail }
}

/// Reading from or writing to the peer failed.
pub(super) fn broken(step: Step, peer: &str, error: &io::Error) -> Trouble {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let inner = error.get_ref();
    if let Some(fault) = inner.and_then(|inner| inner.downcast_ref::<NotAReply>()) {
        return protocol(step, format!("{peer} does not speak SMTP here: {fault}"));
    }
    if let Some(fault) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return Trouble {
            step,
            kind: TroubleKind::Tls,
            detail: format!("the encrypted connection to {peer} broke: {fault}"),
        };
    }
    let detail = match error.kind() {
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => format!("{peer} closed the connection"),
        _ => format!("the connection to {peer} broke: {error}"),
    };
    Trouble { step, kind: TroubleKind::HungUp, detail }
}

/// The peer broke the protocol or lacks what we need.
pub(super) fn protocol(step: Step, detail: String) -> Trouble {
    Trouble { step, kind: TroubleKind::Protocol, detail }
}

/// Something on this machine stood in the way.
pub(super) fn local(step: Step, detail: String) -> Trouble {
    Trouble { step, kind: TroubleKind::Local, detail }
}
