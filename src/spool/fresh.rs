//! The new file that a repair writes: the head of the damaged file, the records that were found, and entries that stand
//! for lost records. Nothing depends on it before it is complete, so it is written without a journal and synced at the
//! end.

use std::ops::RangeInclusive;
use std::path::Path;

use rusqlite::{Connection, params};

use super::database::{DatabaseError, PAGE_BYTES, TABLES};
use super::format::Head;
use super::pages::FoundRecord;
use super::record::Checksum;

type Result<T> = std::result::Result<T, DatabaseError>;

pub(super) struct Fresh {
    connection: Connection,
    checksum: Checksum,
}

impl Fresh {
    /// Creates the file.
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

    /// Adds a record, if there is none with its number yet.
    pub fn insert(&self, found: &FoundRecord) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO record (seq, appended_at_ms, crc, data) VALUES (?1, ?2, ?3, ?4)";
        let values = params![found.seq as i64, found.appended_at_ms, found.sum, found.data];
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Adds an entry for each number after `delivered` that is missing, up to `appended` or the last record if that is
    /// later. Returns the ranges of these numbers.
    pub fn complete(self, delivered: u64, appended: u64, now_ms: i64) -> Result<Vec<RangeInclusive<u64>>> {
        let lost = self.missing(delivered, appended)?;
        for seq in lost.iter().cloned().flatten() {
            self.insert(&FoundRecord {
                seq,
                appended_at_ms: now_ms,
                sum: self.checksum.of_lost(seq, now_ms),
                data: Vec::new(),
            })?;
        }
        self.connection.execute_batch("COMMIT")?;
        Ok(lost)
    }

    fn missing(&self, delivered: u64, appended: u64) -> Result<Vec<RangeInclusive<u64>>> {
        let mut statement = self.connection.prepare("SELECT seq FROM record ORDER BY seq")?;
        let mut rows = statement.query([])?;
        let (mut next, mut missing) = (delivered + 1, Vec::new());
        while let Some(row) = rows.next()? {
            let seq = row.get::<_, i64>(0)? as u64;
            if seq > next {
                missing.push(next..=seq - 1);
            }
            next = seq + 1;
        }
        if next <= appended {
            missing.push(next..=appended);
        }
        Ok(missing)
    }
}
