//! The file that a repair writes: with the head of the damaged one, the records that were found, and marks where records
//! are lost. Until it is complete nobody depends on it, so it is written without a journal and synced at the end.

use std::path::Path;

use rusqlite::{Connection, params};

use super::database::{DatabaseError, Head, PAGE_BYTES, TABLES};
use super::pages::Found;
use super::record::LOST;

type Result<T> = std::result::Result<T, DatabaseError>;

pub(super) struct Fresh(Connection);

impl Fresh {
    /// Begins a new file.
    pub fn create(path: &Path, head: &Head) -> Result<Fresh> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
        connection.pragma_update(None, "journal_mode", "OFF")?;
        connection.pragma_update(None, "synchronous", "OFF")?;
        connection.execute_batch(TABLES)?;
        connection.execute_batch(
            "CREATE TEMP TABLE doubtful (seq INTEGER PRIMARY KEY, appended_at_ms, crc, data);
             BEGIN",
        )?;
        for (key, value) in &head.state {
            connection.execute("INSERT INTO state (key, value) VALUES (?1, ?2)", params![key, value])?;
        }
        for (key, value) in &head.notes {
            connection.execute("INSERT INTO note (key, value) VALUES (?1, ?2)", params![key, value])?;
        }
        Ok(Fresh(connection))
    }

    /// Takes what was found; what lacks its checksum only counts where nothing better is found.
    pub fn take(&self, found: &Found) -> Result<()> {
        let sql = if found.is_intact() {
            "INSERT OR IGNORE INTO record (seq, appended_at_ms, crc, data) VALUES (?1, ?2, ?3, ?4)"
        } else {
            "INSERT OR IGNORE INTO doubtful (seq, appended_at_ms, crc, data) VALUES (?1, ?2, ?3, ?4)"
        };
        self.0
            .prepare_cached(sql)?
            .execute(params![found.seq as i64, found.appended_at_ms, found.crc, found.data])?;
        Ok(())
    }

    /// Puts a mark in each place behind `delivered` that is still empty, up to the last record that is known to have been
    /// there, and gives the first and last number of each stretch of them.
    pub fn complete(self, delivered: u64, appended: u64, now_ms: i64) -> Result<Vec<(u64, u64)>> {
        let last: Option<i64> = self.0.query_row("SELECT max(seq) FROM record", [], |row| row.get(0))?;
        let mut last = appended.max(delivered).max(last.unwrap_or(0) as u64);
        self.take_doubtful(delivered, last)?;
        // The very last records may have lost their checksums too.
        while self.take_doubtful(last, last + 1)? == 1 {
            last += 1;
        }
        let stretches = self.empty_stretches(delivered, last)?;
        for (from, to) in &stretches {
            let mut statement = self.0.prepare_cached(
                "WITH RECURSIVE place(seq) AS (SELECT ?1 UNION ALL SELECT seq + 1 FROM place WHERE seq < ?2)
                 INSERT INTO record (seq, appended_at_ms, crc, data) SELECT seq, ?3, ?4, x'' FROM place",
            )?;
            statement.execute(params![*from as i64, *to as i64, now_ms, LOST])?;
        }
        self.0.execute_batch("COMMIT")?;
        Ok(stretches)
    }

    fn take_doubtful(&self, after: u64, last: u64) -> Result<usize> {
        let sql = "INSERT OR IGNORE INTO record SELECT seq, appended_at_ms, crc, data FROM doubtful WHERE seq > ?1 AND seq <= ?2";
        Ok(self.0.prepare_cached(sql)?.execute([after as i64, last as i64])?)
    }

    fn empty_stretches(&self, delivered: u64, last: u64) -> Result<Vec<(u64, u64)>> {
        let mut statement = self.0.prepare("SELECT seq FROM record ORDER BY seq")?;
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
