//! The names of local users, who come by Unix sockets. Where a name cannot be had, mail is taken all the same: by the name that
//! the user had before, or by its number.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::users;

/// Asks for names, and remembers them.
pub(super) struct Names {
    ask: Arc<Ask>,
    /// For those that are asked for now: a directory that does not answer must not take all threads.
    places: Arc<Semaphore>,
    known: Mutex<HashMap<u32, String>>,
}

type Ask = dyn Fn(u32) -> io::Result<Option<String>> + Send + Sync;

impl Names {
    /// As the system has them.
    pub(super) fn of_system() -> Self {
        Self::new(users::name_of)
    }

    fn new(ask: impl Fn(u32) -> io::Result<Option<String>> + Send + Sync + 'static) -> Self {
        Self { ask: Arc::new(ask), places: Arc::new(Semaphore::new(PLACES)), known: Mutex::default() }
    }

    /// The name of the user with this id, as it is now, or as it was when it could last be had; none where it has none.
    pub(super) async fn of(&self, user: u32) -> Option<String> {
        let asked = timeout(PATIENCE, self.asked(user)).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok(Ok(Some(name))) => {
                if known.len() < MOST_KNOWN {
                    known.insert(user, name.clone());
                }
                Some(name)
            }
            Ok(Ok(None)) => {
                known.remove(&user);
                None
            }
            Ok(Err(_)) | Err(_) => known.get(&user).cloned(),
        }
    }

    async fn asked(&self, user: u32) -> io::Result<Option<String>> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let ask = Arc::clone(&self.ask);
        let asked = spawn_blocking(move || {
            let name = ask(user);
            drop(place);
            name
        });
        asked.await.map_err(io::Error::other)?
    }
}

/// How long a connection waits for a name.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names that are asked for at a time.
const PLACES: usize = 16;
/// Names that are remembered. A machine has fewer users that send mail.
const MOST_KNOWN: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_that_cannot_be_had_is_what_it_was_and_nobody_waits_long() {
        let works = Arc::new(AtomicBool::new(true));
        let answers = Arc::clone(&works);
        let names = Names::new(move |user| match (answers.load(Ordering::Relaxed), user) {
            (true, 33) => Ok(Some("www-data".into())),
            (true, _) => Ok(None),
            (false, _) => Err(io::ErrorKind::TimedOut.into()),
        });
        assert_eq!((names.of(33).await.as_deref(), names.of(34).await), (Some("www-data"), None));
        works.store(false, Ordering::Relaxed);
        assert_eq!((names.of(33).await.as_deref(), names.of(34).await), (Some("www-data"), None));

        // The directory does not answer, and all who could ask it are waiting.
        let hang = names.places.acquire_many(u32::try_from(PLACES).unwrap()).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert_eq!((names.of(33).await.as_deref(), names.of(34).await), (Some("www-data"), None));
        assert_eq!(begun.elapsed().as_secs(), 2 * PATIENCE.as_secs());
        drop(hang);

        works.store(true, Ordering::Relaxed);
        assert_eq!(names.of(33).await.as_deref(), Some("www-data"));
    }

    #[tokio::test]
    async fn the_system_knows_root() {
        assert_eq!(Names::of_system().of(0).await.as_deref(), Some("root"));
    }
}
