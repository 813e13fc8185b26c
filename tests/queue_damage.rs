//! A damaged queue: it is told with what can be saved, nothing is written to it, and `recover` saves what does not lie on
//! what is damaged. What was there before is there afterwards, or is said to be lost.

mod daemon;
mod furnished;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use mailsluice::ids::{LoginKey, MessageId};
use mailsluice::provider::{Cap, Caps, Counted};
use mailsluice::queue::record::{Fate, ListRequest};
use mailsluice::queue::sqlite::{CapsUnknown, Machine, Options, Recovered, SqliteStore, recover};
use mailsluice::queue::{OpenError, QueueReader, QueueStore, StoreError};
use mailsluice::route::Priority;
use mailsluice::schedule::cap::Allowance;

use furnished::{Furnished, LOGIN, NOW, PAGE, Stored};

/// What is done to a page.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// It is all zero, as a disk gives what it has lost.
    Zeroed,
    /// It holds something else.
    Garbage,
    /// Its first half is gone.
    Halved,
    /// One octet is another.
    Flipped(usize),
}

impl Harm {
    fn to(self, page: &mut [u8], random: &mut fastrand::Rng) {
        match self {
            Self::Zeroed => page.fill(0),
            Self::Garbage => page.fill_with(|| random.u8(..)),
            Self::Halved => page[..PAGE / 2].fill(0),
            Self::Flipped(at) => page[at] ^= 1 << random.u8(..8),
        }
    }
}

/// What can be read of a queue: each message that is not done, with its content.
fn messages(path: &Path) -> Result<BTreeMap<i64, Stored>, StoreError> {
    let mut store = SqliteStore::open(options_of(path)).map_err(|error| StoreError::Damaged(error.to_string()))?;
    store.take_up(NOW, &Machine::now())?;
    let mut reader = store.reader().map_err(|error| StoreError::Damaged(error.to_string()))?;
    let list = reader.list(&ListRequest { after: None, limit: 10_000, fate: None }, NOW)?;
    let mut found = BTreeMap::new();
    for one in list {
        let shown = reader.show(one.queue_id, NOW)?.expect("it is listed");
        let to = shown.each.iter().map(|each| (each.address.clone(), each.fate)).collect();
        found.insert(one.queue_id.0, Stored { fate: one.fate, to, content: reader.content(one.queue_id)? });
    }
    Ok(found)
}

fn options_of(path: &Path) -> Options {
    Options { path: path.to_owned(), max_bytes: 1 << 30, min_free: 0, ephemeral: true }
}

fn save(path: &Path) -> Option<Recovered> {
    recover(path, true, &[LoginKey(LOGIN.into())], CapsUnknown::Full).unwrap()
}

/// Opens a damaged queue as the daemon does: it works or it says so, and never panics. Afterwards the file is as it was
/// where it was refused.
fn opened_or_refused(path: &Path) -> Option<OpenError> {
    let before = std::fs::read(path).unwrap();
    let refused = match SqliteStore::open(options_of(path)) {
        Err(error) => Some(error),
        Ok(mut store) => match store.take_up(NOW, &Machine::now()) {
            Err(StoreError::Damaged(what)) => Some(store.damaged(&what)),
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        },
    };
    if let Some(error) = &refused {
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("mailsluice queue recover"), "{error}");
        assert!(std::fs::read(path).unwrap() == before, "{error}: it was written to");
    }
    refused
}

/// Damages one page, and looks at what becomes of the messages.
fn one_page(furnished: &Furnished, number: usize, harm: Harm, random: &mut fastrand::Rng) -> Option<Recovered> {
    let owner = &furnished.owners[&number];
    let place = format!("page {number} ({owner:?}) {harm:?}");
    let [tried, mended] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (tried, mended) = (tried.path().join("queue.db"), mended.path().join("queue.db"));
    let mut octets = furnished.octets.clone();
    harm.to(&mut octets[(number - 1) * PAGE..number * PAGE], random);
    for path in [&tried, &mended] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &octets).unwrap();
    }
    opened_or_refused(&tried);
    let recovered = save(&mended)?;
    let kept = std::fs::read(&recovered.kept_as).unwrap();
    assert!(kept == octets, "{place}: the damaged file is kept as it is");
    let found = messages(&mended).unwrap_or_else(|error| panic!("{place}: what was recovered is sound: {error}"));

    let lost: BTreeSet<i64> = recovered.lost.iter().filter_map(|lost| lost.id.map(|id| id.0)).collect();
    let held: BTreeSet<i64> = recovered.held.iter().map(|held| held.id.0).collect();
    for (id, stored) in &furnished.messages {
        let Some(now) = found.get(id) else {
            assert!(lost.contains(id), "{place}: {id} is lost, and nobody says so: {recovered:#?}");
            continue;
        };
        if !owner.holds_content() {
            assert_eq!(now.content, stored.content, "{place}: {id}");
        }
        // Who has it already must not get it again by itself.
        for (address, fate) in &now.to {
            let before = stored.to.iter().find(|(known, _)| known == address);
            let sent = before.is_some_and(|(_, fate)| matches!(fate, Fate::Delivered | Fate::Deleted));
            let goes = matches!(fate, Fate::Waiting | Fate::Sending);
            assert!(!(sent && goes), "{place}: {id} goes to {address} again");
        }
        let fewer = stored.to.len().saturating_sub(now.to.len());
        assert!(
            fewer == 0 || lost.contains(id) || now.fate != Fate::Waiting,
            "{place}: {id} has lost {fewer} recipients"
        );
        assert!(now.fate == stored.fate || held.contains(id) || owner.holds_rows(), "{place}: {id} is {:?}", now.fate);
    }
    let caps = recovered.also.iter().any(|what| what.contains("within the caps"));
    assert!(!caps || matches!(&*owner.name, "charge" | ""), "{place}: the ledger is not lost: {recovered:#?}");
    // Nothing is lost that does not lie there.
    let most = owner.most_lost();
    assert!(recovered.lost.len() <= most, "{place}: more than {most} are lost: {recovered:#?}");
    Some(recovered)
}

#[test]
fn a_sound_queue_is_left_as_it_is() {
    let furnished = Furnished::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    std::fs::write(&path, &furnished.octets).unwrap();
    assert_eq!(save(&path), None);
    assert!(std::fs::read(&path).unwrap() == furnished.octets);
    assert_eq!(messages(&path).unwrap(), furnished.messages);
}

/// A copy that was put back is as good a queue as the one it was made of, and can be recovered like it.
#[test]
fn a_copy_that_was_put_back_is_a_sound_queue_too() {
    let furnished = Furnished::new().packed();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    std::fs::write(&path, &furnished.octets).unwrap();
    assert_eq!(save(&path), None);
    std::fs::write(folder.path().join("queue.db-damaged"), "memory that failed").unwrap();
    assert_eq!(messages(&path).unwrap(), furnished.messages);

    let mut random = fastrand::Rng::with_seed(3);
    let mut recovered = 0;
    for (number, harm) in (1..=furnished.pages()).zip([Harm::Zeroed, Harm::Garbage].into_iter().cycle()) {
        recovered += usize::from(one_page(&furnished, number, harm, &mut random).is_some());
    }
    assert!(recovered * 2 > furnished.pages(), "{recovered} of {} are seen at all", furnished.pages());
}

#[test]
fn every_page_may_be_damaged() {
    let furnished = Furnished::new();
    let mut random = fastrand::Rng::with_seed(7);
    let mut recovered = 0;
    for (number, harm) in (1..=furnished.pages()).zip(harms(&mut random).into_iter().cycle()) {
        recovered += usize::from(one_page(&furnished, number, harm, &mut random.fork()).is_some());
    }
    assert!(recovered * 2 > furnished.pages(), "{recovered} of {} are seen at all", furnished.pages());
}

#[test]
#[ignore = "takes half a minute"]
fn every_page_may_be_damaged_in_every_way() {
    let furnished = Furnished::new();
    let seed = std::env::var("MAILSLUICE_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("MAILSLUICE_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 1..=furnished.pages() {
        for harm in [harms(&mut random), harms(&mut random)].concat() {
            one_page(&furnished, number, harm, &mut random.fork());
        }
    }
}

fn harms(random: &mut fastrand::Rng) -> Vec<Harm> {
    let flips = [0, 3, 7, 8, 11, random.usize(12..100), random.usize(100..PAGE)].map(Harm::Flipped);
    [vec![Harm::Zeroed, Harm::Garbage, Harm::Halved], flips.to_vec()].concat()
}

#[test]
fn every_page_that_is_lost_whole_is_seen() {
    let furnished = Furnished::new();
    let mut random = fastrand::Rng::with_seed(1);
    for number in (1..=furnished.pages()).filter(|number| furnished.owners[number].is_a_tree()) {
        assert!(one_page(&furnished, number, Harm::Garbage, &mut random).is_some(), "page {number}");
    }
}

#[test]
fn a_queue_that_was_cut_off_tells_what_is_missing() {
    let furnished = Furnished::new();
    for part in [1, 2, 3, 5, 7] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let length = furnished.octets.len() * part / 8;
        std::fs::write(&path, &furnished.octets[..length]).unwrap();
        let Some(recovered) = save(&path) else { panic!("{part} of 8 parts are no queue") };
        let found = messages(&path).unwrap();
        assert!(found.len() as u64 == recovered.saved + recovered_failed(&found), "{recovered:#?}");
        // Content and addresses are intact where anything is.
        for (id, now) in &found {
            assert_eq!(now.content, furnished.messages[id].content);
        }
    }
}

fn recovered_failed(found: &BTreeMap<i64, Stored>) -> u64 {
    found.values().filter(|one| matches!(one.fate, Fate::Failed | Fate::Expired)).count() as u64
}

#[test]
fn an_empty_file_and_garbage_are_no_new_queues() {
    for octets in [vec![], b"These are the minutes of the meeting. ".repeat(300), vec![0; 3 * PAGE]] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        std::fs::write(&path, &octets).unwrap();
        let error = opened_or_refused(&path).unwrap_or_else(|| panic!("{} octets were opened", octets.len()));
        assert!(error.to_string().contains("No message can be read in it."), "{error}");
        let recovered = save(&path).unwrap();
        assert_eq!((recovered.saved, recovered.lost.len()), (0, 0));
        assert!(std::fs::read(&recovered.kept_as).unwrap() == octets);
        assert_eq!(messages(&path).unwrap(), BTreeMap::new());
    }
}

#[test]
fn a_database_that_is_gone_is_no_new_queue_while_its_log_is_there() {
    let furnished = Furnished::new();
    let folder = tempfile::tempdir().unwrap();
    let (octets, log) = furnished.with_log(&["a", "b"]);
    let path = folder.path().join("queue.db");
    std::fs::write(folder.path().join("queue.db-wal"), &log).unwrap();
    let error = SqliteStore::open(options_of(&path)).unwrap_err();
    assert!(error.to_string().contains("the database is not there, but its log is"), "{error}");
    assert!(!path.exists() && std::fs::read(folder.path().join("queue.db-wal")).unwrap() == log);
    // Put back, it is all there.
    std::fs::write(&path, octets).unwrap();
    assert_eq!(messages(&path).unwrap().len(), furnished.messages.len() + 2);
}

#[test]
fn every_frame_of_the_log_may_be_damaged() {
    let furnished = Furnished::new();
    let names: Vec<String> = (0..6).map(|number| format!("late{number}")).collect();
    let (octets, log) = furnished.with_log(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let frames = (log.len() - 32) / (24 + PAGE);
    assert!(frames > 20);
    let late: Vec<i64> = (0..6).map(furnished::late_id).collect();
    // In the header, in the header of each frame, and in each page.
    let places = (0..frames).flat_map(|frame| [0, 9, 17, 24 + 8].map(|inside| 32 + frame * (24 + PAGE) + inside));
    let mut said = 0;
    for at in [0, 9, 17, 25].into_iter().chain(places) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        std::fs::write(&path, &octets).unwrap();
        let mut damaged = log.clone();
        damaged[at] ^= 0x20;
        std::fs::write(folder.path().join("queue.db-wal"), &damaged).unwrap();
        let Err(error) = SqliteStore::open(options_of(&path)) else {
            // A crash leaves the same: of the last transaction, or of nothing that was synced.
            let frame = (at - 32) / (24 + PAGE);
            assert!(frame * 10 > frames * 6, "damage in frame {frame} of {frames} was passed over");
            continue;
        };
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
        said += 1;
        let recovered = save(&path).unwrap();
        let found = messages(&path).unwrap();
        let lost: BTreeSet<i64> = recovered.lost.iter().filter_map(|lost| lost.id.map(|id| id.0)).collect();
        for id in furnished.messages.keys().chain(&late[..5]) {
            assert!(
                found.contains_key(id) || lost.contains(id),
                "octet {at}: {id} is lost and not said: {recovered:#?}"
            );
        }
    }
    assert!(said > frames * 2, "{said} of {frames} frames");
}

/// Who finds damage at opening leaves the log where it is too: it is what the rest can be recovered from.
#[test]
fn neither_a_damaged_database_nor_its_log_is_touched() {
    let furnished = Furnished::new();
    let folder = tempfile::tempdir().unwrap();
    let (path, beside) = (folder.path().join("queue.db"), folder.path().join("queue.db-wal"));
    let (mut octets, log) = furnished.with_log(&["a", "b"]);
    let page = *furnished.owners.iter().find(|(_, owner)| owner.name == "charge").unwrap().0;
    octets[(page - 1) * PAGE..page * PAGE].fill(0);
    std::fs::write(&path, &octets).unwrap();
    std::fs::write(&beside, &log).unwrap();
    assert!(matches!(opened_or_refused(&path), Some(OpenError::Damaged { .. })));
    assert!(std::fs::read(&beside).unwrap() == log, "the log is as it was");
    assert!(save(&path).unwrap().lost.is_empty());
    assert_eq!(messages(&path).unwrap().len(), furnished.messages.len() + 2);
}

/// A page that does not add up may hold what was never written: what is read of it goes nowhere by itself.
#[test]
fn what_is_read_of_a_page_that_is_not_whole_is_put_on_hold() {
    let furnished = Furnished::new();
    let leaf = |owner: &furnished::Owner| owner.name == "delivery" && owner.kind == "leaf";
    let page = *furnished.owners.iter().rfind(|(_, owner)| leaf(owner)).unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut octets = furnished.octets.clone();
    // The count of octets that are free between its cells.
    octets[(page - 1) * PAGE + 7] ^= 1;
    std::fs::write(&path, &octets).unwrap();
    let recovered = save(&path).unwrap();
    assert!(recovered.lost.is_empty() && recovered.held.len() > 10, "{recovered:#?}");
    let found = messages(&path).unwrap();
    for held in &recovered.held {
        assert_eq!(found[&held.id.0].fate, Fate::Held, "{held:?}");
    }
}

/// Nothing is sent that may have been sent within a cap that nobody can count any more.
#[test]
fn caps_are_full_where_the_ledger_is_lost() {
    let furnished = Furnished::new();
    let page = *furnished.owners.iter().find(|(_, owner)| owner.name == "charge").unwrap().0;
    for (caps, room) in [(CapsUnknown::Full, false), (CapsUnknown::Empty, true)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let mut octets = furnished.octets.clone();
        octets[(page - 1) * PAGE..page * PAGE].fill(0);
        std::fs::write(&path, octets).unwrap();
        let logins = [LoginKey(LOGIN.into()), LoginKey("other@host".into())];
        let recovered = recover(&path, true, &logins, caps).unwrap().unwrap();
        assert!(recovered.also.iter().any(|what| what.contains("within the caps")), "{:?}", recovered.also);
        let store = SqliteStore::open(options_of(&path)).unwrap();
        for login in &logins {
            for counted in [Counted::Messages, Counted::Recipients] {
                let cap = Cap { counted, count: 1000, window: Duration::from_secs(86_400) };
                let caps = Caps { windows: vec![cap], connections: 1, recipients_per_message: 10, message_size: 1 };
                let at = store.newest().after(Duration::from_secs(3600));
                let allowed = store.ledger(login).cloned().unwrap_or_default().allowance(&caps, Priority::High, at);
                assert_eq!(matches!(allowed, Allowance::Now(_)), room, "{login:?} {counted:?}: {allowed:?}");
            }
        }
    }
}

#[test]
fn a_recovery_that_was_interrupted_goes_on() {
    let furnished = Furnished::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let mut octets = furnished.octets.clone();
    octets[..PAGE].fill(0);
    // As it lies when the power fails between putting the old files aside and putting the new one in their place.
    std::fs::write(folder.path().join("queue.db-damaged-20260101T000000"), &octets).unwrap();
    std::fs::write(folder.path().join("queue.db-recovering"), "20260101T000000").unwrap();
    let error = SqliteStore::open(options_of(&path)).unwrap_err();
    assert!(error.to_string().contains("interrupted"), "{error}");
    assert!(!path.exists());
    let recovered = save(&path).unwrap();
    assert!(recovered.lost.is_empty(), "{recovered:#?}");
    assert_eq!(messages(&path).unwrap(), furnished.messages);
    assert_eq!(save(&path), None);
}

/// As it lies when there was no room for the note: nothing was put aside yet, so the damaged file must still be kept.
#[test]
fn a_recovery_that_was_interrupted_before_its_note_was_whole_keeps_the_damaged_file() {
    let furnished = Furnished::new();
    let folder = tempfile::tempdir().unwrap();
    let (path, note) = (folder.path().join("queue.db"), folder.path().join("queue.db-recovering"));
    let mut octets = furnished.octets.clone();
    octets[..PAGE].fill(0);
    std::fs::write(&path, &octets).unwrap();
    std::fs::write(&note, "").unwrap();
    let recovered = save(&path).unwrap();
    assert!(std::fs::read(&recovered.kept_as).unwrap() == octets);
    assert_eq!(messages(&path).unwrap(), furnished.messages);
    // Of a sound queue such a note is nothing to go by.
    std::fs::write(&note, "").unwrap();
    assert_eq!(save(&path), None);
    assert_eq!(messages(&path).unwrap(), furnished.messages);
    // What was put aside and is gone is no empty queue.
    std::fs::write(&note, "20260101T000000").unwrap();
    recover(&path, true, &[], CapsUnknown::Full).unwrap_err();
    std::fs::remove_file(&note).unwrap();
    assert_eq!(messages(&path).unwrap(), furnished.messages);
}

/// Who meets damage leaves a mark; the next start checks everything, and goes on where nothing is wrong.
#[test]
fn a_mark_has_the_whole_file_checked() {
    let furnished = Furnished::new();
    let folder = tempfile::tempdir().unwrap();
    let (path, mark) = (folder.path().join("queue.db"), folder.path().join("queue.db-damaged"));
    let page = *furnished.owners.iter().find(|(_, owner)| owner.name == "attempt").unwrap().0;
    let mut octets = furnished.octets.clone();
    octets[(page - 1) * PAGE..page * PAGE].fill(0);
    std::fs::write(&path, &octets).unwrap();
    let id = MessageId(*furnished.messages.iter().find(|(_, stored)| stored.fate == Fate::Failed).unwrap().0);
    {
        let store = SqliteStore::open(options_of(&path)).unwrap();
        assert!(!mark.exists(), "nothing is met at opening");
        let met = store.reader().unwrap().show(id, NOW).unwrap_err();
        assert!(matches!(met, StoreError::Damaged(_)), "{met}");
        assert!(mark.exists());
    }
    let refused = SqliteStore::open(options_of(&path)).unwrap_err().to_string();
    assert!(refused.contains("met before") && refused.contains("All of its messages"), "{refused}");
    assert!(save(&path).is_some() && !mark.exists());
    SqliteStore::open(options_of(&path)).unwrap();

    std::fs::write(&mark, "memory that failed").unwrap();
    SqliteStore::open(options_of(&path)).unwrap();
    assert!(!mark.exists());
}
