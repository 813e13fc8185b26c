//! What belongs together: a message with its content, its delivery and its recipients. What is whole stays, what cannot be
//! told is put on hold, what is lost is said.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _};

use super::super::salvage::{Damage, SalvageError};
use super::{Held, Lost, Recovered};
use crate::ids::MessageId;
use crate::route;

/// Goes through all that was read, in the new queue.
pub(super) fn reconcile(connection: &Connection, contents: &Path, found: &Damage) -> Result<Recovered, SalvageError> {
    let mut recovered = Recovered::default();
    // What a recipient can still get, in the order of the questions below.
    connection.execute_batch(
        "INSERT OR IGNORE INTO partly
         SELECT m.id FROM message m WHERE m.head IS NOT NULL AND (
             m.size <> length(m.head) + (SELECT coalesce(sum(length(bytes)), 0) FROM chunk WHERE message = m.id)
             OR m.chunks <> (SELECT count(*) FROM chunk WHERE message = m.id)
             OR m.chunks <> (SELECT coalesce(max(number), 0) FROM chunk WHERE message = m.id));",
    )?;
    rebuild_deliveries(connection)?;
    let mut case = Case { connection, contents, recovered: &mut recovered };
    case.without_delivery()?;
    case.without_message()?;
    case.without_recipients()?;
    case.with_fewer_recipients()?;
    case.unknown()?;
    hold(connection, found, &mut recovered.held)?;
    connection.execute_batch(
        "DELETE FROM recipient WHERE delivery NOT IN (SELECT id FROM delivery);
         DELETE FROM attempt WHERE delivery NOT IN (SELECT id FROM delivery);
         DELETE FROM report WHERE message NOT IN (SELECT id FROM message);
         DELETE FROM chunk WHERE message NOT IN (SELECT id FROM message);",
    )?;
    Ok(recovered)
}

/// Where the index still says which delivery was a message's, and its recipients are known: what each of them has is
/// known too, but not whether it was being sent.
fn rebuild_deliveries(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "INSERT INTO delivery (id, message, route, priority, client, state, waiting, due, aged_from, stopped, fence)
         SELECT l.delivery, m.id, '{route}', m.priority, m.client, 3, 0, m.accepted, m.accepted, 0,
                1 + (SELECT max(leased) FROM recipient WHERE delivery = l.delivery)
         FROM temp.link l JOIN message m ON m.id = l.message
         WHERE m.head IS NOT NULL AND m.id NOT IN (SELECT message FROM delivery)
           AND l.delivery NOT IN (SELECT id FROM delivery)
           AND EXISTS (SELECT 1 FROM recipient WHERE delivery = l.delivery);
         INSERT OR IGNORE INTO temp.doubted_delivery
         SELECT l.delivery, 'whether it was being sent could not be read' FROM temp.link l JOIN delivery d ON d.id = l.delivery
         WHERE d.state = 3 AND d.waiting = 0;
         UPDATE delivery SET waiting = (SELECT count(*) FROM recipient WHERE delivery = delivery.id AND state = 0)
         WHERE state = 3 AND waiting = 0;",
        route = route::DEFAULT
    ))?;
    stand(connection, "state = 3 AND waiting = 0")
}

/// Where deliveries stand of which no recipient waits, as after a settlement.
fn stand(connection: &Connection, which: &str) -> rusqlite::Result<()> {
    let of =
        |states: &str| format!("EXISTS (SELECT 1 FROM recipient WHERE delivery = delivery.id AND state IN ({states}))");
    let (uncertain, failed) = (of("4"), of("2, 3"));
    connection.execute_batch(&format!(
        "UPDATE delivery SET account = NULL, charge = NULL, lease_until = NULL,
             ended = CASE WHEN {uncertain} THEN NULL
                          ELSE coalesce((SELECT max(due) FROM recipient WHERE delivery = delivery.id), due) END,
             state = CASE WHEN {uncertain} THEN 4 WHEN {failed} THEN 6 ELSE 5 END
         WHERE {which};"
    ))
}

/// Puts on hold what nobody can be sure of.
fn hold(connection: &Connection, found: &Damage, held: &mut Vec<Held>) -> rusqlite::Result<()> {
    const OLD: &str = "what was written last is lost, so that it may have been sent already";
    const READ: &str = "what was read of it lay on a damaged page";
    const SENDING: &str = "whether it was being sent could not be read";
    connection.execute_batch(&format!(
        "INSERT OR IGNORE INTO temp.doubted_delivery
         SELECT d.id, '{READ}' FROM delivery d JOIN temp.doubted_message m ON m.id = d.message;"
    ))?;
    if found.old {
        connection.execute_batch(&format!(
            "INSERT OR IGNORE INTO temp.doubted_delivery SELECT id, '{OLD}' FROM delivery WHERE state < 3;"
        ))?;
    }
    connection.execute_batch(
        "UPDATE delivery SET state = 3, account = NULL, charge = NULL, lease_until = NULL, fence = fence + 1
         WHERE state < 3 AND id IN (SELECT id FROM temp.doubted_delivery);",
    )?;
    let mut statement = connection.prepare(
        "SELECT d.message, t.why FROM delivery d JOIN temp.doubted_delivery t ON t.id = d.id WHERE d.state = 3 ORDER BY d.message",
    )?;
    let rows = statement.query_map((), |row| {
        let why: String = row.get(1)?;
        let why = [OLD, SENDING].into_iter().find(|known| *known == why).unwrap_or(READ);
        Ok(Held { id: MessageId(row.get(0)?), why })
    })?;
    held.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(())
}

/// What cannot be kept, one kind after the other.
struct Case<'a> {
    connection: &'a Connection,
    contents: &'a Path,
    recovered: &'a mut Recovered,
}

impl Case<'_> {
    /// Content of which nobody knows who is to get it; without content it was done.
    fn without_delivery(&mut self) -> Result<(), SalvageError> {
        let ids = self.numbers("SELECT id FROM message WHERE id NOT IN (SELECT message FROM delivery) ORDER BY id")?;
        for id in ids {
            let mail: bool = self.one("SELECT head IS NOT NULL FROM message WHERE id = ?1", id)?;
            if mail {
                let delivery: Option<i64> = self
                    .connection
                    .query_row("SELECT delivery FROM temp.link WHERE message = ?1", [id], |row| row.get(0))
                    .optional()?;
                self.lose(Some(id), delivery, "its recipients, and what became of it")?;
            } else {
                self.recovered.history_lost += 1;
            }
            self.forget(id, None)?;
        }
        Ok(())
    }

    /// Recipients without the content that is to go to them.
    fn without_message(&mut self) -> Result<(), SalvageError> {
        self.lose_deliveries(
            "SELECT d.id FROM delivery d LEFT JOIN message m ON m.id = d.message \
             WHERE m.id IS NULL OR m.id IN (SELECT id FROM partly) OR m.head IS NULL AND d.state <> 5 ORDER BY d.message",
            "its content",
        )
    }

    fn without_recipients(&mut self) -> Result<(), SalvageError> {
        self.lose_deliveries(
            "SELECT id FROM delivery WHERE id NOT IN (SELECT delivery FROM recipient) ORDER BY message",
            "its recipients",
        )
    }

    /// The deliveries that `sql` names have lost `what`; of those that were done it was history.
    fn lose_deliveries(&mut self, sql: &str, what: &str) -> Result<(), SalvageError> {
        for delivery in self.numbers(sql)? {
            let id: i64 = self.one("SELECT message FROM delivery WHERE id = ?1", delivery)?;
            let done: bool = self.one("SELECT state = 5 FROM delivery WHERE id = ?1", delivery)?;
            if done {
                self.recovered.history_lost += 1;
            } else {
                self.lose(Some(id), Some(delivery), what)?;
            }
            self.forget(id, Some(delivery))?;
        }
        Ok(())
    }

    /// Those that are left get it; that others are lost is known by the count.
    fn with_fewer_recipients(&mut self) -> Result<(), SalvageError> {
        let fewer = self.numbers(
            "SELECT id FROM delivery WHERE state < 5 AND \
             waiting <> (SELECT count(*) FROM recipient WHERE delivery = delivery.id AND state = 0)",
        )?;
        for delivery in fewer {
            let id: i64 = self.one("SELECT message FROM delivery WHERE id = ?1", delivery)?;
            let missing: i64 = self.one(
                "SELECT waiting - (SELECT count(*) FROM recipient WHERE delivery = ?1 AND state = 0) FROM delivery WHERE id = ?1",
                delivery,
            )?;
            if missing > 0 {
                self.lose(Some(id), None, &format!("{missing} of its recipients; the others keep it"))?;
            } else {
                self.connection.execute(
                    "INSERT OR IGNORE INTO temp.doubted_delivery VALUES (?1, 'what was read of it lay on a damaged page')",
                    [delivery],
                )?;
            }
            self.connection.execute(
                "UPDATE delivery SET waiting = (SELECT count(*) FROM recipient WHERE delivery = ?1 AND state = 0) WHERE id = ?1",
                [delivery],
            )?;
            stand(self.connection, &format!("id = {delivery} AND state < 4 AND waiting = 0"))?;
        }
        Ok(())
    }

    /// Messages of which there is a trace and nothing else.
    fn unknown(&mut self) -> Result<(), SalvageError> {
        let told: Vec<i64> = self.recovered.lost.iter().filter_map(|lost| lost.id.map(|id| id.0)).collect();
        let traces = self.numbers(
            "SELECT delivery FROM temp.link WHERE message NOT IN (SELECT id FROM message) \
             AND delivery NOT IN (SELECT id FROM delivery) ORDER BY message",
        )?;
        for delivery in traces {
            let id: i64 = self.one("SELECT message FROM temp.link WHERE delivery = ?1", delivery)?;
            let waits: bool = self.one(WAITS, delivery)?;
            let known: bool = self.one("SELECT EXISTS (SELECT 1 FROM recipient WHERE delivery = ?1)", delivery)?;
            if told.contains(&id) {
                continue;
            }
            if known && !waits {
                self.recovered.history_lost += 1;
            } else {
                self.lose(Some(id), Some(delivery), "everything else; it may have been done")?;
            }
        }
        let strays = self.numbers(
            "SELECT DISTINCT delivery FROM recipient WHERE delivery NOT IN (SELECT id FROM delivery) \
             AND delivery NOT IN (SELECT delivery FROM temp.link) AND state IN (0, 4)",
        )?;
        for delivery in strays {
            self.lose(None, Some(delivery), "its id, sender and content")?;
        }
        Ok(())
    }

    /// Says that something is lost, with what is known of it, and saves the content where that is whole.
    fn lose(&mut self, id: Option<i64>, delivery: Option<i64>, what: &str) -> Result<(), SalvageError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT address FROM recipient WHERE delivery = ?1 AND state NOT IN (1, 5) ORDER BY number LIMIT 1000",
        )?;
        let to = statement.query_map([delivery], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        let from: Option<String> = self
            .connection
            .query_row("SELECT reverse_path FROM message WHERE id = ?1", [id], |row| row.get(0))
            .optional()?;
        let whole: bool = self.connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM message WHERE id = ?1 AND head IS NOT NULL AND id NOT IN (SELECT id FROM partly))",
            [id],
            |row| row.get(0),
        )?;
        let content = match id {
            Some(id) if whole => Some(self.write_content(id)?),
            _ => None,
        };
        let id = id.map(MessageId);
        self.recovered.lost.push(Lost { id, from: from.unwrap_or_default(), to, what: what.to_owned(), content });
        Ok(())
    }

    fn write_content(&self, id: i64) -> Result<PathBuf, SalvageError> {
        match DirBuilder::new().mode(0o700).create(self.contents) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        let path = self.contents.join(format!("{}.eml", MessageId(id)));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        let head: Vec<u8> = self.one("SELECT head FROM message WHERE id = ?1", id)?;
        file.write_all(&head)?;
        let mut statement =
            self.connection.prepare_cached("SELECT bytes FROM chunk WHERE message = ?1 ORDER BY number")?;
        let mut rows = statement.query([id])?;
        while let Some(row) = rows.next()? {
            file.write_all(&row.get::<_, Vec<u8>>(0)?)?;
        }
        file.sync_all()?;
        Ok(path)
    }

    fn forget(&self, id: i64, delivery: Option<i64>) -> rusqlite::Result<()> {
        for (sql, of) in [
            ("DELETE FROM recipient WHERE delivery = ?1", delivery),
            ("DELETE FROM delivery WHERE id = ?1", delivery),
            ("DELETE FROM chunk WHERE message = ?1", Some(id)),
            ("DELETE FROM message WHERE id = ?1", Some(id)),
        ] {
            self.connection.prepare_cached(sql)?.execute([of])?;
        }
        Ok(())
    }

    fn numbers(&self, sql: &str) -> rusqlite::Result<Vec<i64>> {
        self.connection.prepare(sql)?.query_map((), |row| row.get(0))?.collect()
    }

    fn one<T: rusqlite::types::FromSql>(&self, sql: &str, of: i64) -> rusqlite::Result<T> {
        self.connection.prepare_cached(sql)?.query_row([of], |row| row.get(0))
    }
}

const WAITS: &str = "SELECT EXISTS (SELECT 1 FROM recipient WHERE delivery = ?1 AND state IN (0, 4))";
