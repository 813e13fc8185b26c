//! The ledger on disk and its image in memory.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{LoginKey, SqliteStore};
use crate::ids::ClientName;
use crate::schedule::cap::Ledger;
use crate::time::Timestamp;

/// Reads all ledgers.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<HashMap<LoginKey, Ledger>> {
    let mut ledgers: HashMap<LoginKey, Ledger> = HashMap::new();
    let mut statement =
        connection.prepare_cached("SELECT id, login, recipients, ended, client FROM charge ORDER BY ended, id")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let ledger = ledgers.entry(LoginKey(row.get(1)?)).or_default();
        let client = row.get::<_, Option<String>>(4)?.map(ClientName::from);
        match row.get::<_, Option<i64>>(3)? {
            Some(ended) => ledger.book(Timestamp::from_micros(ended), client.as_ref(), row.get(2)?),
            None => ledger.open(row.get(0)?, client.as_ref(), row.get(2)?),
        }
    }
    Ok(ledgers)
}

impl SqliteStore {
    /// Opens a charge for a client's mail and returns its number.
    pub(super) fn open_charge(
        &mut self,
        login: &LoginKey,
        client: &ClientName,
        recipients: u32,
        now: Timestamp,
    ) -> rusqlite::Result<i64> {
        let charge = self.next_charge;
        self.connection
            .prepare_cached("INSERT INTO charge (id, login, client, recipients, claimed) VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute((charge, &login.0, client.as_str(), recipients, now.as_micros()))?;
        self.next_charge += 1;
        self.ledgers.entry(login.clone()).or_default().open(charge, Some(client), recipients);
        Ok(charge)
    }

    /// Ends a charge that is under way.
    pub(super) fn end_charge(&mut self, login: &LoginKey, charge: i64, now: Timestamp) -> rusqlite::Result<()> {
        let ended = self.ledgers.entry(login.clone()).or_default().end(charge, now);
        self.connection
            .prepare_cached("UPDATE charge SET ended = ?2 WHERE id = ?1 AND ended IS NULL")?
            .execute((charge, ended.as_micros()))?;
        Ok(())
    }

    /// Takes back a charge whose transaction never began.
    pub(super) fn refund_charge(&mut self, login: &LoginKey, charge: i64) -> rusqlite::Result<()> {
        self.ledgers.entry(login.clone()).or_default().refund(charge);
        self.connection.prepare_cached("DELETE FROM charge WHERE id = ?1 AND ended IS NULL")?.execute([charge])?;
        Ok(())
    }
}
