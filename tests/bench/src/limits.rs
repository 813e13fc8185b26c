//! What nothing on this machine can exceed: the disk, SQLite on it, and the two programs that send and take.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::Result;
use crate::peers::{Connections, Load, Sink, per_second};
use crate::plan::Plan;
use crate::table::{Row, Table};

pub(crate) fn measure(plan: &Plan, table: &mut Table) -> Result<()> {
    let mut record = |name: String, value| table.record(Row::new(name, ""), 0, value);
    let folder = tempfile::Builder::new().prefix("limits-").tempdir_in(&plan.directory)?;
    record("fdatasync/s, 4 KiB overwritten".to_owned(), overwritten(plan, folder.path(), File::sync_data)?);
    record("fsync/s, 4 KiB overwritten".to_owned(), overwritten(plan, folder.path(), File::sync_all)?);
    record("fdatasync/s, 4 KiB appended".to_owned(), appended(plan, folder.path())?);
    record("SQLite: commits/s, a row of 2 KB in each".to_owned(), committed(plan, folder.path(), 1)?);
    record("SQLite: rows/s, 50 of 2 KB in a commit".to_owned(), committed(plan, folder.path(), 50)?);
    for (size, sessions, connections) in [
        (2 << 10, 1, Connections::Kept),
        (2 << 10, 10, Connections::Kept),
        (2 << 10, 50, Connections::Kept),
        (100 << 10, 50, Connections::Kept),
        (2 << 10, 50, Connections::ForEach),
    ] {
        let load = Load { size, sessions, connections };
        record(format!("smtp-source into smtp-sink: messages/s, {load}"), straight(plan, load, &folder)?);
    }
    Ok(())
}

fn overwritten(plan: &Plan, folder: &Path, sync: fn(&File) -> std::io::Result<()>) -> Result<f64> {
    let file = File::create(folder.join("overwritten"))?;
    file.write_all_at(&[0; 1 << 20], 0)?;
    file.sync_all()?;
    rate(plan.stretch, |at| {
        file.write_all_at(&PAGE, at % 256 * 4096)?;
        Ok(sync(&file)?)
    })
}

fn appended(plan: &Plan, folder: &Path) -> Result<f64> {
    let file = File::create(folder.join("appended"))?;
    rate(plan.stretch, |at| {
        file.write_all_at(&PAGE, at * 4096)?;
        Ok(file.sync_data()?)
    })
}

/// With the settings of the relay's queue (src/queue/sqlite/connection.rs), but that SQLite itself empties its log.
fn committed(plan: &Plan, folder: &Path, rows: u64) -> Result<f64> {
    let mut connection = Connection::open(folder.join(format!("commits-{rows}.db")))?;
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -1024)?;
    connection.execute_batch("CREATE TABLE message (id INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT")?;
    let commits = rate(plan.stretch, |_| {
        let transaction = connection.transaction()?;
        for _ in 0..rows {
            let mut insert = transaction.prepare_cached("INSERT INTO message (content) VALUES (?1)")?;
            insert.execute([&PAGE[..2048]])?;
        }
        Ok(transaction.commit()?)
    })?;
    Ok(commits * f64::from(u32::try_from(rows)?))
}

/// How fast the client is that all rates here are measured with.
fn straight(plan: &Plan, load: Load, folder: &TempDir) -> Result<f64> {
    let at = crate::relay::free_address()?;
    let _sink = Sink::start(at, folder.path())?;
    let count = load.count_for(plan, |pilot| load.send(at, pilot))?;
    Ok(per_second(count, load.send(at, count)?))
}

/// How often a second something can be done.
fn rate(stretch: Duration, mut work: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < stretch {
        work(done)?;
        done += 1;
    }
    Ok(per_second(usize::try_from(done)?, began.elapsed()))
}

const PAGE: [u8; 4096] = [b'x'; 4096];
