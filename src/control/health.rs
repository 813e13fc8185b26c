//! Whether the daemon does what it is there for: asked often, by programs. Writes no log line.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::desk::{Asked, Desk, Listening};
use super::request::Answer;
use crate::queue::{StoreError, Urgency};

/// Tries the queue's writer, wakes the dispatcher and waits for it to look, and asks which listeners serve. All at once, so
/// that the answer comes within [`PATIENCE`].
pub(super) async fn answer(desk: &Desk) -> Answer {
    let (queue, dispatcher, listening) = tokio::join!(queue(desk), dispatcher(desk), listeners(desk));
    let (listening, listeners) = listening.map_or_else(
        |why| (Vec::new(), Some(why)),
        |Listening { on, gone }| (on, (!gone.is_empty()).then(|| format!("nobody serves {}", gone.join(", ")))),
    );
    Answer::Health { listening, trouble: [queue, dispatcher, listeners].into_iter().flatten().collect() }
}

/// A full disk is no fault of the daemon: an alarm tells of it.
async fn queue(desk: &Desk) -> Option<String> {
    match timeout(PATIENCE, desk.queue.write(Urgency::Work, |_, _| Ok(()))).await {
        Ok(Ok(()) | Err(StoreError::Full(_))) => None,
        Ok(Err(error)) => Some(format!("the queue does not work: {error}")),
        Err(_) => Some(format!("the queue has not answered for {} s: its disk may hang", PATIENCE.as_secs())),
    }
}

async fn dispatcher(desk: &Desk) -> Option<String> {
    let (asked, mut turns) = (desk.queue.now(), desk.turns.clone());
    desk.wake.notify_one();
    let late = match timeout(PATIENCE, turns.wait_for(|turn| turn.at >= asked)).await {
        Ok(Ok(_)) => return None,
        Ok(Err(_)) => "the dispatcher has ended: nothing is sent".into(),
        Err(_) => format!("the dispatcher was woken and has not looked at the queue for {} s", PATIENCE.as_secs()),
    };
    Some(late)
}

async fn listeners(desk: &Desk) -> Result<Listening, String> {
    let Some(app) = &desk.app else { return Ok(Listening::default()) };
    let (asker, answer) = oneshot::channel();
    let heard = async {
        app.send(Asked::Listening(asker)).await.ok()?;
        answer.await.ok()
    };
    match timeout(PATIENCE, heard).await {
        Ok(Some(listening)) => Ok(listening),
        Ok(None) => Err("the daemon is stopping".into()),
        Err(_) => Err(format!("whether the listeners serve was not known within {} s", PATIENCE.as_secs())),
    }
}

/// Who has not answered by then hangs: a healthy one takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
