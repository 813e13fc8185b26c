//! The sign to stop, from the one who gives it to all who must heed it.

use std::time::Duration;

use tokio::sync::watch;

/// Gives the sign.
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<Duration>>);

/// Waits for the sign. Every clone sees it, early or late.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Option<Duration>>);

impl Stopper {
    /// A sign that was not given yet, and one who waits for it.
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), Shutdown(receiver))
    }

    /// Stop: nothing new begins, and what is in the middle of a message has `grace` to end it.
    pub fn stop(&self, grace: Duration) {
        self.0.send_replace(Some(grace));
    }
}

impl Shutdown {
    /// Returns the grace when the sign is given; none is left when the stopper is gone.
    pub async fn requested(&mut self) -> Duration {
        match self.0.wait_for(Option::is_some).await {
            Ok(grace) => grace.unwrap_or_default(),
            Err(_) => Duration::ZERO,
        }
    }
}
