//! The lanes on disk and their image in memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use super::StoreError;
use super::connection::failed;
use crate::ids::AccountName;
use crate::schedule::lane::Lane;

/// The lanes that were asked for: each as it stands, and as it is on disk.
#[derive(Debug, Default)]
pub(super) struct Lanes(HashMap<AccountName, Known>);

#[derive(Debug)]
struct Known {
    lane: Lane,
    written: Lane,
}

impl Lanes {
    pub(super) fn get(&mut self, connection: &Connection, account: &AccountName) -> Result<Lane, StoreError> {
        let known = match self.0.entry(account.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let lane = read(connection, account).map_err(failed)?;
                unknown.insert(Known { written: lane.clone(), lane })
            }
        };
        Ok(known.lane.clone())
    }

    /// Writes the lane down, unless nothing has changed but when the provider last took a message, and what is on disk of
    /// that lags behind by less than [`LAG`]: it would be a page of the log for each delivery. After a restart a message
    /// that waits for another one to pass may thus wait for one more.
    pub(super) fn set(
        &mut self,
        connection: &Connection,
        account: &AccountName,
        lane: &Lane,
    ) -> Result<(), StoreError> {
        let known = self.0.get_mut(account);
        if let Some(known) = known
            && lane.stands_as(&known.written)
            && lags_little(lane, &known.written)
        {
            known.lane.clone_from(lane);
            return Ok(());
        }
        let standing = serde_json::to_string(lane).map_err(|error| StoreError::Failed(error.to_string()))?;
        connection
            .prepare_cached("INSERT OR REPLACE INTO lane (account, standing) VALUES (?1, ?2)")
            .and_then(|mut statement| statement.execute((account.as_str(), standing)))
            .map_err(failed)?;
        self.0.insert(account.clone(), Known { lane: lane.clone(), written: lane.clone() });
        Ok(())
    }
}

/// A standing that cannot be read is one of another version: the lane finds out anew.
fn read(connection: &Connection, account: &AccountName) -> rusqlite::Result<Lane> {
    let standing: Option<String> = connection
        .prepare_cached("SELECT standing FROM lane WHERE account = ?1")?
        .query_row([account.as_str()], |row| row.get(0))
        .optional()?;
    Ok(standing.and_then(|standing| serde_json::from_str(&standing).ok()).unwrap_or_default())
}

fn lags_little(lane: &Lane, written: &Lane) -> bool {
    match (lane.last_delivered, written.last_delivered) {
        (Some(now), Some(then)) => now.since(then) < LAG,
        (now, then) => now == then,
    }
}

/// By how much the time of the last delivery on disk may lag behind.
const LAG: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::lane::Event;
    use crate::time::Timestamp;

    fn at(millis: u64) -> Timestamp {
        Timestamp::EPOCH.after(Duration::from_millis(millis))
    }

    #[test]
    fn the_time_of_the_last_delivery_lags_behind_by_less_than_a_second_and_nothing_else_does() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE lane (account TEXT PRIMARY KEY, standing TEXT NOT NULL)").unwrap();
        let (account, mut lanes, mut lane) = (AccountName::from("office"), Lanes::default(), Lane::default());
        let mut set = |lane: &Lane| {
            lanes.set(&connection, &account, lane).unwrap();
            assert_eq!(lanes.get(&connection, &account).unwrap(), *lane, "in memory");
            Lanes::default().get(&connection, &account).unwrap()
        };
        for (now, on_disk) in [(1, 1), (2, 1), (1_000, 1), (1_001, 1_001), (1_002, 1_001), (9_000, 9_000)] {
            lane.note(Event::Delivered, at(now), at(now));
            assert_eq!(set(&lane).last_delivered, Some(at(on_disk)), "{now}");
        }
        lane.note(Event::Delivered, at(9_001), at(9_001));
        lane.pause(at(9_002));
        assert_eq!(set(&lane), lane);
        lane.resume(at(9_003));
        assert_eq!(set(&lane), lane);
    }
}
