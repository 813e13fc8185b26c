//! The ledger on disk and its image in memory.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{LoginKey, SqliteStore, report};
use crate::ids::{AccountName, ClientName};
use crate::queue::record::ClaimRequest;
use crate::schedule::cap::Ledger;
use crate::time::Timestamp;

/// Below which number no charge may be given out that this process has not reserved.
pub(super) fn reserved(store: &SqliteStore) -> rusqlite::Result<i64> {
    Ok(report::kept(store, RESERVED)?.and_then(|number| number.parse().ok()).unwrap_or(0))
}

/// Reads all ledgers; by `logins` also what is under way and has no row.
pub(super) fn load(
    connection: &Connection,
    logins: &HashMap<AccountName, LoginKey>,
) -> rusqlite::Result<HashMap<LoginKey, Ledger>> {
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
    load_unwritten(connection, logins, &mut ledgers)?;
    Ok(ledgers)
}

/// What this process has leased without caps.
fn load_unwritten(
    connection: &Connection,
    logins: &HashMap<AccountName, LoginKey>,
    ledgers: &mut HashMap<LoginKey, Ledger>,
) -> rusqlite::Result<()> {
    if logins.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(
        "SELECT charge, account, client, \
                (SELECT count(*) FROM recipient WHERE delivery = delivery.id AND leased = fence AND state = 0) \
         FROM delivery WHERE state = 2 AND NOT EXISTS (SELECT 1 FROM charge WHERE charge.id = delivery.charge)",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let Some(login) = logins.get(&AccountName::from(row.get::<_, String>(1)?)) else { continue };
        let client = ClientName::from(row.get::<_, String>(2)?);
        ledgers.entry(login.clone()).or_default().open(row.get(0)?, Some(&client), row.get(3)?);
    }
    Ok(())
}

impl SqliteStore {
    /// Opens a charge for a client's mail and returns its number. Where there are no caps it only counts while it is under
    /// way, and what is under way when the process dies has ended: it stays in memory.
    pub(super) fn open_charge(
        &mut self,
        request: &ClaimRequest<'_>,
        recipients: u32,
        now: Timestamp,
    ) -> rusqlite::Result<i64> {
        let charge = self.take_charge()?;
        let (login, client) = (request.login, request.client);
        if request.caps.windows.is_empty() {
            self.logins.insert(request.account.clone(), login.clone());
        } else {
            self.connection
                .prepare_cached(
                    "INSERT INTO charge (id, login, client, recipients, claimed) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute((charge, &login.0, client.as_str(), recipients, now.as_micros()))?;
        }
        self.ledgers.entry(login.clone()).or_default().open(charge, Some(client), recipients);
        Ok(charge)
    }

    /// A number that was never given out, not even for a charge that was never written down: they are reserved by the
    /// million.
    fn take_charge(&mut self) -> rusqlite::Result<i64> {
        if self.next_charge >= self.reserved_charges {
            self.reserved_charges = self.next_charge + 1_000_000;
            report::keep(self, RESERVED, &self.reserved_charges.to_string())?;
        }
        self.next_charge += 1;
        Ok(self.next_charge - 1)
    }

    /// Ends a charge that is under way, and writes it down if it was not: there may be caps by now.
    pub(super) fn end_charge(&mut self, charge: i64, now: Timestamp) -> rusqlite::Result<()> {
        let end = |(login, ledger): (_, &mut Ledger)| Some((login, ledger.end(charge, now)?));
        let Some((login, ended)) = self.ledgers.iter_mut().find_map(end) else { return Ok(()) };
        self.connection
            .prepare_cached(
                "INSERT INTO charge (id, login, client, recipients, claimed, ended) VALUES (?1, ?2, ?3, ?4, ?5, ?5) \
                 ON CONFLICT (id) DO UPDATE SET ended = excluded.ended",
            )?
            .execute((
                charge,
                &login.0,
                ended.client.as_ref().map(ClientName::as_str),
                ended.recipients,
                ended.at.as_micros(),
            ))?;
        Ok(())
    }

    /// Takes back a charge whose transaction never began.
    pub(super) fn refund_charge(&mut self, charge: i64) -> rusqlite::Result<()> {
        self.ledgers.values_mut().for_each(|ledger| ledger.refund(charge));
        self.connection.prepare_cached("DELETE FROM charge WHERE id = ?1 AND ended IS NULL")?.execute([charge])?;
        Ok(())
    }
}

/// Where the numbers of charges that may have been given out are kept.
const RESERVED: &str = "charges";
