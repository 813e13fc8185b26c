//! The handle on the queue: work goes to one writer thread, which shares a commit among all that waits.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{QueueReader, QueueStore, StoreError};
use crate::time::{Clock, Timestamp};

/// What a piece of work may cost when there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// New mail: refused while there is no room.
    Intake,
    /// Claims, settlements and what operators do: for these the ballast is freed.
    Work,
}

/// The queue, as the rest of the program holds it. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    jobs: mpsc::Sender<Job>,
    readers: Arc<Readers>,
    failure: watch::Receiver<Option<StoreError>>,
    clock: Arc<dyn Clock>,
}

/// The readers that nobody uses just now, and a permit for each.
struct Readers {
    idle: Mutex<Vec<Box<dyn QueueReader>>>,
    permits: Arc<Semaphore>,
}

type Work = Box<dyn FnMut(&mut dyn QueueStore, Timestamp) -> Result<(), StoreError> + Send>;

/// A piece of work for the writer. It may be done twice where the first transaction had no room.
struct Job {
    urgency: Urgency,
    work: Work,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Queue {
    /// Starts the writer thread, which ends when the last handle is gone. `readers` are shared by all who read.
    pub fn start(store: Box<dyn QueueStore>, readers: Vec<Box<dyn QueueReader>>, clock: Arc<dyn Clock>) -> Self {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING);
        let (tell, failure) = watch::channel(None);
        let writer = Writer { store, waiting, tell, clock: Arc::clone(&clock) };
        std::thread::spawn(move || writer.run());
        let permits = Arc::new(Semaphore::new(readers.len()));
        let readers = Arc::new(Readers { idle: Mutex::new(readers), permits });
        Self { jobs, readers, failure, clock }
    }

    /// The scheduling time now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does `work` in a transaction, perhaps shared with others, and returns what it returned once that is durable.
    ///
    /// # Errors
    /// [`StoreError::Full`] where there is no room for it, else that the store has failed or is closed.
    pub async fn write<T: Send + 'static>(
        &self,
        urgency: Urgency,
        mut work: impl FnMut(&mut dyn QueueStore, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let work = Box::new(move |store: &mut dyn QueueStore, now| {
            let value = work(store, now)?;
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
            Ok(())
        });
        let (done, answer) = oneshot::channel();
        self.jobs.send(Job { urgency, work, done }).await.map_err(|_| self.why_closed())?;
        answer.await.map_err(|_| self.why_closed())??;
        result.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(StoreError::Closed)
    }

    /// Reads beside the writer, on a thread that may block.
    ///
    /// # Errors
    /// Where the store has failed.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut dyn QueueReader, Timestamp) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (readers, now) = (Arc::clone(&self.readers), self.now());
        let permit = Arc::clone(&readers.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let reading = tokio::task::spawn_blocking(move || {
            let idle = || readers.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let mut reader = idle().pop().ok_or(StoreError::Closed)?;
            let result = read(reader.as_mut(), now);
            idle().push(reader);
            // Only now, even where the caller has gone away meanwhile: a permit stands for an idle reader.
            drop(permit);
            result
        });
        reading.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits until the store has failed, and says how. Does not return where it does not.
    pub async fn failed(&self) -> StoreError {
        let mut failure = self.failure.clone();
        let failed = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        failed.unwrap_or_else(|| StoreError::Failed("the thread that writes it has ended".into()))
    }

    /// Ends this handle, and waits until the store is closed, where this was the last one.
    pub async fn closed(self) {
        let Self { jobs, readers, mut failure, .. } = self;
        drop((jobs, readers));
        // The writer lets go of the store first, and then of this.
        while failure.changed().await.is_ok() {}
    }

    fn why_closed(&self) -> StoreError {
        self.failure.borrow().clone().unwrap_or(StoreError::Closed)
    }
}

struct Writer {
    store: Box<dyn QueueStore>,
    waiting: mpsc::Receiver<Job>,
    tell: watch::Sender<Option<StoreError>>,
    clock: Arc<dyn Clock>,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        while self.waiting.blocking_recv_many(&mut batch, JOBS_IN_A_COMMIT) > 0 {
            if let Err(error) = self.write(&mut batch) {
                // The end: whoever waits is told, and whoever comes finds the door closed.
                self.store.give_up(&error);
                let _ = self.tell.send(Some(error.clone()));
                batch.drain(..).for_each(|job| drop(job.done.send(Err(error.clone()))));
                return;
            }
        }
    }

    /// Writes a batch and answers it; an error is the end of the store.
    fn write(&mut self, batch: &mut Vec<Job>) -> Result<(), StoreError> {
        let mut checkpointed = false;
        loop {
            let full = match self.attempt(batch) {
                Ok(answers) => {
                    for (job, answer) in batch.drain(..).zip(answers) {
                        let _ = job.done.send(answer);
                    }
                    return Ok(());
                }
                Err(StoreError::Full(full)) => full,
                Err(other) => return Err(other),
            };
            self.store.roll_back()?;
            // The log may be all there is no room for, while what it holds finds room in the database.
            if !std::mem::replace(&mut checkpointed, true) {
                self.store.checkpoint()?;
                continue;
            }
            // New mail is refused, the rest is done once more: with the ballast where even that finds no room.
            let (refused, kept): (Vec<Job>, Vec<Job>) = batch.drain(..).partition(|job| job.urgency == Urgency::Intake);
            *batch = kept;
            let none_refused = refused.is_empty();
            refused.into_iter().for_each(|job| drop(job.done.send(Err(StoreError::Full(full)))));
            if batch.is_empty() {
                return Ok(());
            }
            if none_refused && !self.store.free_ballast() {
                batch.drain(..).for_each(|job| drop(job.done.send(Err(StoreError::Full(full)))));
                return Ok(());
            }
        }
    }

    /// One transaction. What one job is refused by the store's own rules does not concern the others: its work writes
    /// nothing before it knows.
    fn attempt(&mut self, batch: &mut [Job]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.store.begin()?;
        let mut answers = Vec::with_capacity(batch.len());
        for job in batch.iter_mut() {
            match (job.work)(self.store.as_mut(), self.clock.now()) {
                Err(StoreError::Full(super::Full::Disk)) => return Err(StoreError::Full(super::Full::Disk)),
                Err(error @ (StoreError::Failed(_) | StoreError::Damaged(_) | StoreError::Closed)) => {
                    return Err(error);
                }
                answer => answers.push(answer),
            }
        }
        self.store.commit(self.clock.now())?;
        Ok(answers)
    }
}

/// Senders beyond wait for room; so does whoever reads from a client.
const JOBS_WAITING: usize = 1024;
/// So that no commit is huge: most jobs are some kilobytes, the largest a chunk of 256 KiB.
const JOBS_IN_A_COMMIT: usize = 256;
