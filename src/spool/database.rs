//! The SQLite file: its tables, its settings, and each statement the spool runs. It knows no threads and no positions
//! beyond what stands in the file.
//!
//! WAL with `synchronous=FULL`: a commit returns after its sync. Opening ends with a truncating WAL checkpoint, which
//! copies whatever the WAL holds into the file and syncs it: after a failed sync, no later commit builds on pages that
//! the disk never got.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::record::{Record, checksum};

const FORMAT: i64 = 1;
const PAGE_BYTES: u64 = 16384;

/// A handle on the file; the writer, the reader and the WAL checkpointer have one each.
pub(super) struct Database(Connection);

/// What the file says at opening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Set at creation, never changed: tells this file from another of the same spool id.
    pub incarnation: String,
    /// The last record appended, 0 when there was none.
    pub appended: u64,
    /// Every record up to here is delivered.
    pub delivered: u64,
    /// Every record up to here is deleted.
    pub retired: u64,
}

/// A file that is no spool of this version.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("somebody reads the file, so that its WAL cannot be copied into it")]
    Busy,
    #[error("the file has spool format {found}, this version reads format {FORMAT}: use the version that wrote it")]
    Format { found: i64 },
    #[error(
        "the file belongs to the spool `{found}`, not `{wanted}`: set spool.id = \"{found}\", or use another folder"
    )]
    OtherSpool { found: String, wanted: String },
}

type Result<T> = std::result::Result<T, DatabaseError>;

impl Database {
    /// Opens or creates the file for writing and brings it to a synced state.
    pub fn open_writer(path: &Path, spool_id: &str) -> Result<(Database, State)> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        let database = Database(connection).configured()?;
        database.0.execute_batch(
            "CREATE TABLE IF NOT EXISTS record (
                seq INTEGER PRIMARY KEY, appended_at_ms INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
             CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
             CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;",
        )?;
        let format: Option<i64> = database.state("format")?;
        match format {
            None => database.initialise(spool_id)?,
            Some(FORMAT) => {}
            Some(found) => return Err(DatabaseError::Format { found }),
        }
        let found: String = database.state("spool_id")?.unwrap_or_default();
        if found != spool_id {
            return Err(DatabaseError::OtherSpool {
                found,
                wanted: spool_id.to_owned(),
            });
        }
        database.truncate_wal()?;
        let state = database.read_state()?;
        Ok((database, state))
    }

    /// Opens the existing file for reading and for WAL checkpoints.
    pub fn open(path: &Path) -> Result<Database> {
        Database(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?).configured()
    }

    /// Opens the existing file for looking only: nothing of it is written, nor is its WAL copied.
    pub fn open_read_only(path: &Path) -> Result<Database> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Database(Connection::open_with_flags(path, flags)?).configured()?;
        match database.state("format")? {
            Some(FORMAT) => Ok(database),
            found => Err(DatabaseError::Format {
                found: found.unwrap_or_default(),
            }),
        }
    }

    /// All that `look` asks for is of one moment, whatever is written meanwhile.
    pub fn at_one_moment<T>(&self, look: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        self.run("BEGIN")?;
        let found = look(self);
        self.run("COMMIT")?;
        found
    }

    fn configured(self) -> Result<Database> {
        self.0.busy_timeout(Duration::from_secs(5))?;
        self.0.pragma_update(None, "synchronous", "FULL")?;
        self.0.pragma_update(None, "wal_autocheckpoint", 0)?;
        self.0.pragma_update(None, "cache_size", -8192)?;
        self.0.pragma_update(None, "temp_store", "MEMORY")?;
        self.0.set_prepared_statement_cache_capacity(32);
        Ok(self)
    }

    fn initialise(&self, spool_id: &str) -> Result<()> {
        self.begin()?;
        self.set_state("format", FORMAT)?;
        self.set_state("spool_id", spool_id)?;
        self.set_state("delivered", 0)?;
        self.0.execute(
            "INSERT INTO state (key, value) VALUES ('incarnation', lower(hex(randomblob(6))))",
            [],
        )?;
        self.commit()
    }

    pub fn read_state(&self) -> Result<State> {
        let delivered = self.state::<i64>("delivered")?.unwrap_or(0) as u64;
        let last: Option<i64> = self.0.query_row("SELECT max(seq) FROM record", [], |row| row.get(0))?;
        let first: Option<i64> = self.0.query_row("SELECT min(seq) FROM record", [], |row| row.get(0))?;
        let appended = last.map_or(delivered, |last| delivered.max(last as u64));
        let retired = first.map_or(delivered, |first| first as u64 - 1);
        Ok(State {
            incarnation: self.state("incarnation")?.unwrap_or_default(),
            appended,
            delivered,
            retired,
        })
    }

    pub fn state<T: rusqlite::types::FromSql>(&self, key: &str) -> Result<Option<T>> {
        let mut statement = self.0.prepare_cached("SELECT value FROM state WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    fn set_state(&self, key: &str, value: impl rusqlite::ToSql) -> Result<()> {
        let mut statement = self
            .0
            .prepare_cached("INSERT OR REPLACE INTO state (key, value) VALUES (?1, ?2)")?;
        statement.execute(params![key, value])?;
        Ok(())
    }

    pub fn begin(&self) -> Result<()> {
        self.run("BEGIN IMMEDIATE")
    }

    /// Returns after the sync.
    pub fn commit(&self) -> Result<()> {
        self.run("COMMIT")
    }

    fn run(&self, statement: &str) -> Result<()> {
        self.0.prepare_cached(statement)?.execute([])?;
        Ok(())
    }

    pub fn insert(&self, first_seq: u64, appended_at_ms: i64, records: &[Vec<u8>]) -> Result<()> {
        let mut statement = self
            .0
            .prepare_cached("INSERT INTO record (seq, appended_at_ms, crc, data) VALUES (?1, ?2, ?3, ?4)")?;
        for (seq, data) in (first_seq..).zip(records) {
            statement.execute(params![seq as i64, appended_at_ms, checksum(seq, data), data])?;
        }
        Ok(())
    }

    pub fn set_delivered(&self, delivered: u64) -> Result<()> {
        self.set_state("delivered", delivered as i64)
    }

    pub fn set_note(&self, key: &str, value: &str) -> Result<()> {
        let mut statement = self
            .0
            .prepare_cached("INSERT OR REPLACE INTO note (key, value) VALUES (?1, ?2)")?;
        statement.execute([key, value])?;
        Ok(())
    }

    pub fn notes(&self) -> Result<Vec<(String, String)>> {
        let mut statement = self.0.prepare_cached("SELECT key, value FROM note")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes the records up to and including `seq`.
    pub fn retire(&self, seq: u64) -> Result<()> {
        self.0
            .prepare_cached("DELETE FROM record WHERE seq <= ?1")?
            .execute([seq as i64])?;
        Ok(())
    }

    /// The records after `seq`, in order, until they amount to `max_bytes` (always at least one, if there is one).
    pub fn read(&self, after_seq: u64, max_bytes: usize) -> Result<Vec<Record>> {
        let mut statement = self.0.prepare_cached(
            "SELECT seq, appended_at_ms, crc, data FROM record WHERE seq > ?1 ORDER BY seq LIMIT 4096",
        )?;
        let mut rows = statement.query([after_seq as i64])?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes
            && let Some(row) = rows.next()?
        {
            let seq = row.get::<_, i64>(0)? as u64;
            let crc: u32 = row.get(2)?;
            let data: Vec<u8> = row.get(3)?;
            bytes += data.len();
            let intact = checksum(seq, &data) == crc;
            records.push(Record {
                seq,
                appended_at_ms: row.get(1)?,
                data: data.into(),
                intact,
            });
        }
        Ok(records)
    }

    /// When the first record after `seq` was appended, in Unix milliseconds.
    pub fn appended_at_ms(&self, after_seq: u64) -> Result<Option<i64>> {
        let sql = "SELECT appended_at_ms FROM record WHERE seq > ?1 ORDER BY seq LIMIT 1";
        Ok(self
            .0
            .prepare_cached(sql)?
            .query_row([after_seq as i64], |row| row.get(0))
            .optional()?)
    }

    /// Bytes of the file that hold something; freed pages are used again and do not count.
    pub fn used_bytes(&self) -> Result<u64> {
        let pages: i64 = self
            .0
            .prepare_cached("PRAGMA page_count")?
            .query_row([], |row| row.get(0))?;
        let free: i64 = self
            .0
            .prepare_cached("PRAGMA freelist_count")?
            .query_row([], |row| row.get(0))?;
        Ok((pages - free) as u64 * self.page_bytes()?)
    }

    /// Copies the whole WAL into the file and syncs it.
    fn truncate_wal(&self) -> Result<()> {
        let busy: bool = self
            .0
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy { Err(DatabaseError::Busy) } else { Ok(()) }
    }

    /// Runs a WAL checkpoint of this mode and gives the bytes that the WAL holds after it. `NOOP` only looks.
    pub fn checkpoint_wal(&self, mode: &str) -> Result<u64> {
        let mut statement = self.0.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
        let pages: i64 = statement.query_row([], |row| row.get(1))?;
        Ok(pages.max(0) as u64 * self.page_bytes()?)
    }

    fn page_bytes(&self) -> Result<u64> {
        Ok(self
            .0
            .prepare_cached("PRAGMA page_size")?
            .query_row([], |row| row.get::<_, i64>(0))? as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_remembers_its_records_its_position_and_its_notes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        let (database, created) = Database::open_writer(&path, "a").unwrap();
        assert_eq!((created.appended, created.delivered, created.retired), (0, 0, 0));
        database.begin().unwrap();
        database
            .insert(1, 5, &[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()])
            .unwrap();
        database.set_delivered(2).unwrap();
        database.set_note("topic/0", "17").unwrap();
        database.retire(1).unwrap();
        database.commit().unwrap();
        drop(database);
        let (database, state) = Database::open_writer(&path, "a").unwrap();
        assert_eq!(
            state,
            State {
                incarnation: created.incarnation,
                appended: 3,
                delivered: 2,
                retired: 1
            }
        );
        assert_eq!(database.notes().unwrap(), [("topic/0".to_owned(), "17".to_owned())]);
        let records = database.read(1, usize::MAX).unwrap();
        assert_eq!(
            records.iter().map(|record| record.data.as_ref()).collect::<Vec<_>>(),
            [&b"two"[..], b"three"]
        );
        assert!(records.iter().all(|record| record.intact));
        assert_eq!(database.read(1, 1).unwrap().len(), 1);
    }

    #[test]
    fn a_file_whose_wal_cannot_be_copied_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        let (database, _) = Database::open_writer(&path, "a").unwrap();
        database.insert(1, 5, &[b"one".to_vec()]).unwrap();
        let reader = Database::open(&path).unwrap();
        let mut statement = reader.0.prepare("SELECT seq FROM record").unwrap();
        let mut rows = statement.query([]).unwrap();
        rows.next().unwrap();
        database.insert(2, 5, &[b"two".to_vec()]).unwrap();
        drop(database);
        assert!(matches!(Database::open_writer(&path, "a"), Err(DatabaseError::Busy)));
        drop(rows);
        assert_eq!(Database::open_writer(&path, "a").unwrap().1.appended, 2);
    }

    #[test]
    fn a_changed_byte_is_found_by_the_checksum() {
        let folder = tempfile::tempdir().unwrap();
        let (database, _) = Database::open_writer(&folder.path().join("spool.db"), "a").unwrap();
        database.insert(1, 5, &[b"one".to_vec()]).unwrap();
        database.0.execute("UPDATE record SET data = x'6f6e66'", []).unwrap();
        assert!(!database.read(0, usize::MAX).unwrap()[0].intact);
    }

    #[test]
    fn a_file_of_another_spool_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spool.db");
        drop(Database::open_writer(&path, "a").unwrap());
        assert!(matches!(
            Database::open_writer(&path, "b"),
            Err(DatabaseError::OtherSpool { .. })
        ));
    }
}
