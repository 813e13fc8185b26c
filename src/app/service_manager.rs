//! What the service manager hears (sd_notify(3), sd_watchdog_enabled(3)): that the daemon is ready, reads its configuration
//! again or stops; how it stands; and that the dispatcher looks at the queue, for as long as it does. Where no service
//! manager listens, nothing is told and nothing runs.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::queue::Queue;
use crate::queue::record::Stats;
use crate::schedule::turn::{Stance, Turn};
use crate::time::spoken;

/// Tells the service manager.
pub(super) fn tell(state: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(state);
}

/// How often the dispatcher must have looked, where the service manager watches: the daemon is killed where it hears
/// nothing for twice as long.
pub(super) fn look_every() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}

/// Tells the service manager that the daemon is ready, and from then on what becomes of it; no more once the value goes.
pub(super) fn ready(turns: &watch::Receiver<Turn>, queue: &Queue) -> JoinSet<()> {
    let mut telling = JoinSet::new();
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return telling;
    }
    tell(&[NotifyState::Ready]);
    telling.spawn(tell_status(turns.clone(), queue.clone()));
    if let Some(limit) = sd_notify::watchdog_enabled() {
        telling.spawn(feed(turns.clone(), limit));
    }
    telling
}

/// Feeds the watchdog while the dispatcher turns. It looks twice within the limit at least, and is told of within a quarter
/// of it. A timer alone would go on beside a dispatcher that hangs.
async fn feed(mut turns: watch::Receiver<Turn>, limit: Duration) {
    loop {
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(limit / 4).await;
        if turns.changed().await.is_err() {
            return;
        }
    }
}

/// Tells how the daemon stands when that has changed, which the dispatcher sees first.
async fn tell_status(mut turns: watch::Receiver<Turn>, queue: Queue) {
    let mut told = String::new();
    loop {
        let lanes = turns.borrow_and_update().lanes.clone();
        let began = queue.now();
        if let Ok(stats) = queue.read(|reader, now| reader.stats(now)).await {
            let status = status(&stats, &lanes);
            if status != told {
                tell(&[NotifyState::Status(&status)]);
                told = status;
            }
        }
        // It counts everything in the queue: of a large one, a hundredth of the time goes into it at most.
        let pause = queue.now().since(began).saturating_mul(100);
        tokio::time::sleep(pause.clamp(STATUS_EVERY, STATUS_RARELY)).await;
        if turns.changed().await.is_err() {
            return;
        }
    }
}

/// `3 waiting, the oldest 2 min; office open, backup paused`. What is being sent still waits.
fn status(stats: &Stats, lanes: &[Stance]) -> String {
    let waiting = stats.ready + stats.deferred + stats.sending;
    let mut text = match stats.oldest_seconds {
        Some(oldest) if waiting > 0 => format!("{waiting} waiting, the oldest {}", spoken(Duration::from_secs(oldest))),
        _ => format!("{waiting} waiting"),
    };
    let (open, stopped): (Vec<_>, Vec<_>) = lanes.iter().partition(|lane| lane.standing == "open");
    let told_of = |lane: &Stance| format!("{} {}", lane.account, lane.standing);
    let mut told: Vec<String> = Vec::new();
    if lanes.len() > NAMED {
        told.push(format!("{} accounts open", open.len()));
        told.extend(stopped.iter().take(NAMED).copied().map(told_of));
        told.extend((stopped.len() > NAMED).then(|| format!("{} more not", stopped.len() - NAMED)));
    } else {
        told.extend(lanes.iter().map(told_of));
    }
    if !told.is_empty() {
        text = format!("{text}; {}", told.join(", "));
    }
    text
}

/// The status is told at most this often.
const STATUS_EVERY: Duration = Duration::from_secs(3);
/// And at least this often where it changes.
const STATUS_RARELY: Duration = Duration::from_secs(300);
/// Accounts that are named in a status: it is one line.
const NAMED: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(ready: u64, deferred: u64, sending: u64, oldest_seconds: Option<u64>) -> Stats {
        Stats { ready, deferred, sending, oldest_seconds, ..Stats::default() }
    }

    #[test]
    fn a_status_is_one_line() {
        let stance = |account: &str, standing| Stance { account: account.into(), standing, unreached: None };
        let lanes = [stance("office", "open"), stance("backup", "paused")];
        assert_eq!(
            status(&stats(1, 1, 1, Some(120)), &lanes),
            "3 waiting, the oldest 2 min; office open, backup paused"
        );
        assert_eq!(status(&stats(0, 0, 0, None), &lanes[..1]), "0 waiting; office open");
        assert_eq!(status(&stats(0, 0, 0, None), &[]), "0 waiting");
        let many: Vec<Stance> =
            (0..20).map(|at| stance(&format!("a{at}"), if at < 12 { "open" } else { "resting" })).collect();
        let told = status(&stats(0, 0, 0, None), &many);
        assert!(
            told.starts_with("0 waiting; 12 accounts open, a12 resting, ") && told.ends_with(", 2 more not"),
            "{told}"
        );
    }
}
