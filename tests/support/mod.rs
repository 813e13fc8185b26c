//! What several of the integration tests stand on.

pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod eio;
pub(crate) mod hook;
pub(crate) mod kept;
pub(crate) mod mounts;
pub(crate) mod notifier;
pub(crate) mod relay;
pub(crate) mod scene;
pub(crate) mod service_manager;
pub(crate) mod tls;

use std::path::PathBuf;
use std::sync::Arc;

use mailsluice::ids::MessageId;
use mailsluice::intake::Intake;
use mailsluice::queue::record::{ListRequest, Listed};
use mailsluice::queue::sqlite::{Options, SqliteStore};
use mailsluice::queue::{Queue, StoreError};
use mailsluice::time::Clock;
use tempfile::TempDir;

/// A queue in a folder of its own, which goes with the value.
pub(crate) struct TempQueue {
    pub(crate) queue: Queue,
    folder: TempDir,
}

impl TempQueue {
    pub(crate) fn start(clock: Arc<dyn Clock>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(options(&folder)).unwrap();
        let reader = store.reader().unwrap();
        Self { queue: Queue::start(Box::new(store), vec![Box::new(reader)], clock), folder }
    }

    /// A door into it.
    pub(crate) fn intake(&self) -> Intake {
        let (_, config) = tokio::sync::watch::channel(Arc::default());
        Intake::new(self.queue.clone(), Arc::default(), config, Arc::default(), MessageId(0))
    }

    /// Its database.
    pub(crate) fn path(&self) -> PathBuf {
        options(&self.folder).path
    }

    /// The messages that are not done, with their contents; of damaged content nothing.
    pub(crate) async fn messages(&self) -> Vec<(Listed, Vec<u8>)> {
        let read = self.queue.read(|reader, now| {
            let list = reader.list(&ListRequest { after: None, limit: 1000, fate: None }, now)?;
            let mut content = |one: &Listed| match reader.content(one.queue_id) {
                Err(StoreError::Damaged(_)) => Ok(Vec::new()),
                content => content.map(Option::unwrap),
            };
            list.into_iter().map(|one| content(&one).map(|content| (one, content))).collect()
        });
        read.await.unwrap()
    }
}

/// A queue in this folder, wherever the folder lies, with much room.
pub(crate) fn options(folder: &TempDir) -> Options {
    Options { path: folder.path().join("queue.db"), max_bytes: 1 << 30, min_free: 0, ephemeral: true }
}
