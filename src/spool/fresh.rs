//! The file that a repair writes: with the head of the damaged one, the records that were found, and marks where records
//! are lost. Until it is complete nobody depends on it, so it is written without a journal and synced at the end.

use std::path::Path;

use rusqlite::{Connection, params};

use super::database::{DatabaseError, PAGE_BYTES, TABLES};
use super::format::Head;
use super::pages::Found;
use super::record::Checksum;

type Result<T> = std::result::Result<T, DatabaseError>;

pub(super) struct Fresh {
    connection: Connection,
    checksum: Checksum,
}

impl Fresh {
    /// Begins a new file.
    pub fn create(path: &Path, head: &Head, checksum: Checksum) -> Result<Fresh> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch("BEGIN")?;
        for (key, value) in &head.state {
            connection.execute("INSERT INTO state (key, value) VALUES (?1, ?2)", params![key, value])?;
        }
        for (key, value) in &head.notes {
            connection.execute("INSERT INTO note (key, value) VALUES (?1, ?2)", params![key, value])?;
        }
        Ok(Fresh { connection, checksum })
    }

    /// Takes what was found.
    pub fn take(&self, found: &Found) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO record (seq, appended_at_ms, crc, data) VALUES (?1, ?2, ?3, ?4)";
        let values = params![found.seq as i64, found.appended_at_ms, found.sum, found.data];
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Puts a mark in each place behind `delivered` that is still empty, up to the last record that is known to have been
    /// there, and gives the first and last number of each stretch of them.
    pub fn complete(self, delivered: u64, appended: u64, now_ms: i64) -> Result<Vec<(u64, u64)>> {
        let stretches = self.empty_stretches(delivered, appended)?;
        for seq in stretches.iter().flat_map(|(from, to)| *from..=*to) {
            let sum = self.checksum.of_lost(seq, now_ms);
            self.take(&Found {
                seq,
                appended_at_ms: now_ms,
                sum,
                data: Vec::new(),
            })?;
        }
        self.connection.execute_batch("COMMIT")?;
        Ok(stretches)
    }

    fn empty_stretches(&self, delivered: u64, last: u64) -> Result<Vec<(u64, u64)>> {
        let mut statement = self.connection.prepare("SELECT seq FROM record ORDER BY seq")?;
        let mut rows = statement.query([])?;
        let (mut next, mut stretches) = (delivered + 1, Vec::new());
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)? as u64;
            if seq > next {
                stretches.push((next, seq - 1));
            }
            next = seq + 1;
        }
        if next <= last {
            stretches.push((next, last));
        }
        Ok(stretches)
    }
}
