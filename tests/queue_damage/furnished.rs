//! A queue with something of everything, as its octets, and what lies on each of its pages.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use mailsluice::ids::{LoginKey, MessageId};
use mailsluice::provider::Caps;
use mailsluice::queue::record::{Claim, ClaimRequest, Fate, NewMessage, Operation};
use mailsluice::queue::sqlite::{Existing, Machine, SqliteStore, back_up};
use mailsluice::queue::{QueueStore, StoreError};
use mailsluice::route::Priority;
use mailsluice::schedule::verdict::Outcome;
use mailsluice::time::Timestamp;
use rusqlite::Connection;

use crate::queue_contract::{mail, settlement};

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub(super) const LOGIN: &str = "user@host";
pub(super) const PAGE: usize = 4096;

/// A message that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) fate: Fate,
    pub(super) to: Vec<(String, Fate)>,
    pub(super) content: Option<Vec<u8>>,
}

/// What a page belongs to, by SQLite's own account.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    pub(super) name: String,
    pub(super) kind: String,
    cells: usize,
}

impl Owner {
    /// Whether its octets are content, which nothing vouches for.
    pub(super) fn holds_content(&self) -> bool {
        matches!(&*self.name, "message" | "chunk")
    }

    /// Whether what became of messages may lie on it.
    pub(super) fn holds_rows(&self) -> bool {
        matches!(&*self.name, "message" | "chunk" | "delivery" | "recipient")
    }

    /// Whether it is a page of a tree, of which each octet has a meaning.
    pub(super) fn is_a_tree(&self) -> bool {
        matches!(&*self.kind, "leaf" | "internal")
    }

    /// How many messages may be lost with it.
    pub(super) fn most_lost(&self) -> usize {
        match &*self.name {
            "message" | "delivery" if self.kind == "leaf" => self.cells,
            "recipient" => self.cells,
            "chunk" if self.kind == "leaf" => self.cells,
            "message" | "chunk" if self.kind == "overflow" => 1,
            _ => 0,
        }
    }
}

pub(super) struct Furnished {
    pub(super) octets: Vec<u8>,
    pub(super) messages: BTreeMap<i64, Stored>,
    pub(super) owners: BTreeMap<usize, Owner>,
}

impl Furnished {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        fill(&path);
        let messages = super::messages(&path).unwrap();
        assert!(messages.len() > 40, "{}", messages.len());
        let octets = std::fs::read(&path).unwrap();
        assert!(!folder.path().join("queue.db-wal").exists(), "it lies in one file");
        Self { owners: owners(&path, octets.len() / PAGE), messages, octets }
    }

    /// The same as a copy of it lies, by `queue backup` or VACUUM: its trees begin elsewhere.
    pub(super) fn packed(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("queue.db"), folder.path().join("copy.db"));
        std::fs::write(&path, &self.octets).unwrap();
        back_up(&path, &copy, Existing::Keep, 0).unwrap();
        // The first opening makes a log for it.
        drop(SqliteStore::open(super::options_of(&copy)).unwrap());
        let octets = std::fs::read(&copy).unwrap();
        Self { owners: owners(&copy, octets.len() / PAGE), messages: self.messages.clone(), octets }
    }

    pub(super) fn pages(&self) -> usize {
        self.octets.len() / PAGE
    }

    /// The database and its log, where these messages have come since in a transaction each, and then the power failed.
    pub(super) fn with_log(&self, names: &[&str]) -> (Vec<u8>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        std::fs::write(&path, &self.octets).unwrap();
        let mut store = SqliteStore::open(super::options_of(&path)).unwrap();
        for (number, name) in names.iter().enumerate() {
            write(&mut store, |store| store.enqueue(&sized(late_id(number), &[name], 3000), NOW));
        }
        (std::fs::read(&path).unwrap(), std::fs::read(folder.path().join("queue.db-wal")).unwrap())
    }
}

/// The id of a message that came later.
pub(super) fn late_id(number: usize) -> i64 {
    1_800_000_001_000_000 + i64::try_from(number).unwrap()
}

fn write<T>(store: &mut SqliteStore, work: impl FnOnce(&mut SqliteStore) -> Result<T, StoreError>) -> T {
    store.begin().unwrap();
    let done = work(store).unwrap();
    store.commit(NOW).unwrap();
    done
}

fn sized(id: i64, to: &[&str], size: usize) -> NewMessage {
    let mut message = mail(id, to);
    let mut random = fastrand::Rng::with_seed(id.cast_unsigned());
    message.head.extend(std::iter::repeat_with(|| random.u8(..)).take(size));
    message.size = message.head.len() as u64;
    message
}

/// Messages of all sizes, some with parts, some with many recipients, in every state.
fn fill(path: &Path) {
    let mut store = SqliteStore::open(super::options_of(path)).unwrap();
    store.take_up(NOW, &Machine::now()).unwrap();
    let id = |number: i64| 1_800_000_000_000_000 + number;
    for number in 0..60 {
        let to: Vec<String> = (0..1 + number % 7).map(|one| format!("someone.{number}.{one}")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        let mut message = sized(id(number), &to, [10, 700, 3000, 9000][usize::try_from(number % 4).unwrap()]);
        if number % 10 == 5 {
            message.chunks = 2;
            for part in 1..=2 {
                let chunk = vec![u8::try_from(number).unwrap(); 11_000];
                message.size += chunk.len() as u64;
                write(&mut store, |store| store.append(message.id, part, &chunk));
            }
        }
        write(&mut store, |store| store.enqueue(&message, NOW));
    }
    // The first eighteen have been tried: six of them done, six failed, six put off with one recipient done.
    for number in 0..18 {
        let claim = claim(&mut store).expect("one waits");
        assert_eq!(claim.message.0, id(number));
        let outcome = |place: usize| match number % 3 {
            0 => Outcome::Delivered,
            1 => Outcome::Failed,
            _ if place == 0 => Outcome::Delivered,
            _ => Outcome::Deferred { until: NOW.after(Duration::from_secs(600)), counted: true },
        };
        let settlement = settlement((0..claim.recipients.len()).map(outcome).collect());
        let _ = write(&mut store, |store| store.settle(&claim, &settlement, NOW));
    }
    for number in 20..23 {
        write(&mut store, |store| store.operate(MessageId(id(number)), Operation::Hold, NOW));
    }
    for number in 23..26 {
        write(&mut store, |store| store.operate(MessageId(id(number)), Operation::Delete, NOW));
    }
    write(&mut store, |store| store.keep("told", "{}"));
    write(&mut store, |store| store.set_lane(&"office".into(), &mailsluice::schedule::lane::Lane::default()));
}

fn claim(store: &mut SqliteStore) -> Option<Claim> {
    write(store, |store| {
        let caps = Caps { windows: vec![], connections: 9, recipients_per_message: 100, message_size: 1 << 20 };
        let request = ClaimRequest {
            account: &"office".into(),
            login: &LoginKey(LOGIN.into()),
            caps: &caps,
            share: None,
            route: &"default".into(),
            client: &"shop".into(),
            priority: Priority::Normal,
            lease: Duration::from_secs(600),
        };
        store.claim(&request, NOW)
    })
}

pub(super) fn owners(path: &Path, pages: usize) -> BTreeMap<usize, Owner> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare("SELECT pageno, name, pagetype, ncell FROM dbstat").unwrap();
    let mut owners: BTreeMap<usize, Owner> = (1..=pages).map(|number| (number, Owner::default())).collect();
    let rows = statement.query_map((), |row| {
        let (number, cells) = (row.get::<_, u32>(0)? as usize, row.get::<_, u32>(3)? as usize);
        Ok((number, Owner { name: row.get(1)?, kind: row.get(2)?, cells }))
    });
    owners.extend(rows.unwrap().map(Result::unwrap));
    owners
}
