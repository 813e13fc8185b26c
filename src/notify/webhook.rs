//! News to a webhook: posted one after the other by a task of its own, so that nothing waits for a server somewhere.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::hostname;
use crate::alarm::{Kind, Telling};
use crate::config::{Config, Webhook};
use crate::observe::Observer;
use crate::web::{Answer, ContentType, Web, WebError};

/// Takes news to the webhook.
pub(super) struct Courier {
    parcels: mpsc::Sender<Parcel>,
    task: JoinHandle<()>,
    observer: Arc<Observer>,
}

/// One post.
struct Parcel {
    webhook: Webhook,
    kind: Kind,
    body: Vec<u8>,
}

impl Courier {
    pub(super) fn start(observer: Arc<Observer>) -> Self {
        let (parcels, waiting) = mpsc::channel(WAITING);
        Self { parcels, task: tokio::spawn(carry(waiting, Arc::clone(&observer))), observer }
    }

    /// Hands over one piece of news, where there is a webhook.
    pub(super) fn send(&self, config: &Config, telling: &Telling) {
        let Some(webhook) = config.alarms.webhook.clone() else { return };
        let body = body(telling, hostname(config));
        if self.parcels.try_send(Parcel { webhook, kind: telling.kind.clone(), body }).is_err() {
            self.observer.webhook_failed(&telling.kind, "too many others wait for it");
        }
    }

    /// Ends it. What is on its way has a moment to arrive.
    pub(super) async fn stop(self) {
        drop(self.parcels);
        let abort = self.task.abort_handle();
        if tokio::time::timeout(FAREWELL, self.task).await.is_err() {
            abort.abort();
        }
    }
}

/// What is posted. `text` says it all, for chat services, which show that.
fn body(telling: &Telling, host: &str) -> Vec<u8> {
    let Telling { kind, subject, sentence, since, news, .. } = telling;
    let text = format!("[{host}] {kind} {}: {sentence}", news.as_str());
    let version = env!("CARGO_PKG_VERSION");
    let body = json!({
        "kind": kind, "state": news, "subject": subject, "sentence": sentence, "since": since.to_string(),
        "host": host, "version": version, "text": text,
    });
    body.to_string().into_bytes()
}

async fn carry(mut waiting: mpsc::Receiver<Parcel>, observer: Arc<Observer>) {
    let mut web = None;
    while let Some(Parcel { webhook, kind, body }) = waiting.recv().await {
        if let Err(why) = deliver(&mut web, &webhook, &body).await {
            observer.webhook_failed(&kind, &why);
        }
    }
}

async fn deliver(web: &mut Option<Web>, webhook: &Webhook, body: &[u8]) -> Result<(), String> {
    let own = webhook.clone();
    let address = tokio::task::spawn_blocking(move || own.address()).await.map_err(|broken| broken.to_string())?;
    let address = address.map_err(|error| error.to_string())?;
    let web = match web {
        Some(web) => &*web,
        None => web.insert(Web::new().map_err(|error| error.to_string())?),
    };
    insist(|| web.post(address.expose_secret(), ContentType::Json, body.to_vec())).await
}

/// Posts until it is taken, with growing pauses; in the end says why it was not.
async fn insist<F: Future<Output = Result<Answer, WebError>>>(mut post: impl FnMut() -> F) -> Result<(), String> {
    let mut pauses = PAUSES.iter();
    loop {
        let (why, asked) = match post().await {
            Ok(answer) if answer.is_success() => return Ok(()),
            Ok(answer) => (format!("it answered {}", answer.status), answer.retry_after.unwrap_or_default()),
            Err(error) => (error.to_string(), Duration::ZERO),
        };
        let Some(pause) = pauses.next() else { return Err(format!("{why}; it was tried {} times", PAUSES.len() + 1)) };
        tokio::time::sleep((*pause).max(asked.min(LONGEST_PAUSE))).await;
    }
}

/// Pauses between tries.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];
/// However long the server asks us to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Posts that wait for those before them.
const WAITING: usize = 256;
/// For what is on its way when the daemon stops.
const FAREWELL: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    fn answer(status: u16, retry_after: Option<u64>) -> Result<Answer, WebError> {
        Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs), body: vec![] })
    }

    /// What comes of these answers, and after how many seconds each of them was asked for.
    async fn insisted(answers: Vec<Result<Answer, WebError>>) -> (Result<(), String>, Vec<u64>) {
        let (begun, answers, times) = (Instant::now(), RefCell::new(answers.into_iter()), RefCell::new(Vec::new()));
        let outcome = insist(|| async {
            times.borrow_mut().push(begun.elapsed().as_secs());
            answers.borrow_mut().next().unwrap()
        });
        (outcome.await, times.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_four_times_with_growing_pauses_and_then_given_up() {
        assert_eq!(insisted(vec![answer(204, None)]).await, (Ok(()), vec![0]));
        let late = vec![Err(WebError::TimedOut), answer(503, None), answer(200, None)];
        assert_eq!(insisted(late).await, (Ok(()), vec![0, 1, 11]));
        let never = vec![answer(500, None), answer(429, Some(30)), Err(WebError::TimedOut), answer(404, None)];
        let why = Err("it answered 404; it was tried 4 times".to_owned());
        assert_eq!(insisted(never).await, (why, vec![0, 1, 31, 91]));
    }
}
