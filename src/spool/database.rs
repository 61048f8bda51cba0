//! The SQLite file: its tables, its settings, and the statements that the spool runs, except those of a repair. It
//! knows no threads, and no positions beyond those in the file.
//!
//! WAL with `synchronous=FULL`: a commit returns after its sync. Opening ends with a truncating WAL checkpoint, which
//! copies the WAL into the file and syncs it. So after a failed sync, no later commit builds on pages that the disk
//! never got.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Params, params};

use super::record::{Checksum, Record};

/// A longer WAL is cut back to this length when all of it has been copied.
const WAL_KEPT_BYTES: i64 = 80 << 20;
/// The format that this version writes.
pub(super) const FORMAT: i64 = 2;
pub(super) const PAGE_BYTES: u64 = 16384;
pub(super) const TABLES: &str = "CREATE TABLE IF NOT EXISTS record (
        seq INTEGER PRIMARY KEY, appended_at_ms INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL);
     CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
     CREATE TABLE IF NOT EXISTS note (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

/// A handle on the file. The writer, the reader and the WAL checkpointer have one each.
pub(super) struct Database {
    pub connection: Connection,
    pub checksum: Checksum,
}

/// The name and the positions that are stored in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    /// Random, set at creation and never changed: it tells two files of the same spool id apart.
    pub incarnation: String,
    /// The last record appended, 0 when there was none.
    pub appended: u64,
    /// Every record up to here is delivered.
    pub delivered: u64,
    /// Every record up to here is deleted.
    pub retired: u64,
}

/// The pages in the WAL.
#[derive(Default)]
pub(super) struct WalState {
    /// Bytes in the WAL.
    pub bytes: u64,
    /// How many of them are copied into the file.
    pub copied_bytes: u64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error("the file lacks {0}")]
    Incomplete(&'static str),
    #[error("record {0} is not in the file")]
    Gap(u64),
    #[error(
        "another process reads the file, so its WAL cannot be copied into it; end that sqlite3, backup or similar process"
    )]
    Busy,
    #[error(
        "SQLite cannot use a WAL here (its journal_mode is `{found}`): the file system does not support shared memory; set spool.dir to a folder on a local disk"
    )]
    NoWal { found: String },
    #[error("the file has spool format {found}, this version reads format {FORMAT}; use the version that wrote it")]
    Format { found: i64 },
    #[error(
        "the file belongs to the spool `{found}`, not `{wanted}`: set spool.id = \"{found}\", or use another folder"
    )]
    OtherSpool { found: String, wanted: String },
}

/// SQLite's extended error codes for a read that failed or ended early.
const UNREADABLE: [i32; 2] = [rusqlite::ffi::SQLITE_IOERR_READ, rusqlite::ffi::SQLITE_IOERR_SHORT_READ];

impl DatabaseError {
    /// Whether the file itself is damaged, so that a retry does not help. This includes failed reads, most of which
    /// SQLite reports as a malformed file too.
    pub fn is_damage(&self) -> bool {
        match self {
            DatabaseError::Gap(_) | DatabaseError::Incomplete(_) => true,
            DatabaseError::Sqlite(rusqlite::Error::SqliteFailure(failure, _)) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
                    || UNREADABLE.contains(&failure.extended_code)
            }
            // A column holds a value that was never written there.
            DatabaseError::Sqlite(cause) => matches!(
                cause,
                rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::IntegralValueOutOfRange(..)
            ),
            _ => false,
        }
    }

    /// Whether it may pass by itself: a full disk, a disk fault, a file that another process has locked.
    pub fn may_pass(&self) -> bool {
        match self {
            DatabaseError::Busy => true,
            DatabaseError::Sqlite(cause) => matches!(
                cause.sqlite_error_code(),
                Some(
                    ErrorCode::DiskFull
                        | ErrorCode::SystemIoFailure
                        | ErrorCode::DatabaseBusy
                        | ErrorCode::DatabaseLocked
                        | ErrorCode::OutOfMemory
                )
            ),
            _ => false,
        }
    }
}

type Result<T> = std::result::Result<T, DatabaseError>;

impl Database {
    /// Opens or creates the file for writing, and syncs it.
    pub fn open_writer(path: &Path, spool_id: &str) -> Result<(Database, State)> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
        let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if mode != "wal" {
            return Err(DatabaseError::NoWal { found: mode });
        }
        connection.pragma_update_and_check(None, "journal_size_limit", WAL_KEPT_BYTES, |_| Ok(()))?;
        let mut database = Database::configured(connection)?;
        database.connection.execute_batch(TABLES)?;
        database.claim(spool_id)?;
        let appended = database.read_state()?.appended;
        match database.noted_last() {
            Some(last) if last > appended => return Err(DatabaseError::Gap(last)),
            Some(last) if last == appended => {}
            _ => database.note_last(appended)?,
        }
        database.truncate_wal()?;
        let state = database.read_state()?;
        Ok((database, state))
    }

    /// Opens the existing file for reading and for WAL checkpoints.
    pub fn open(path: &Path) -> Result<Database> {
        Database::open_existing(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens the existing file read-only. Its WAL is not copied either.
    pub fn open_read_only(path: &Path) -> Result<Database> {
        Database::open_existing(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }

    fn open_existing(path: &Path, flags: OpenFlags) -> Result<Database> {
        let mut database = Database::configured(Connection::open_with_flags(path, flags)?)?;
        database.load_checksum()?;
        Ok(database)
    }

    /// Runs `read` in one transaction, so that all its values are of one moment.
    pub fn snapshot<T>(&self, read: impl FnOnce(&Database) -> Result<T>) -> Result<T> {
        self.run("BEGIN", [])?;
        let found = read(self);
        self.commit()?;
        found
    }

    fn configured(connection: Connection) -> Result<Database> {
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?;
        connection.pragma_update(None, "cache_size", -8192)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(32);
        let checksum = Checksum::Crc32;
        Ok(Database { connection, checksum })
    }

    pub fn read_state(&self) -> Result<State> {
        let delivered = self.state::<i64>("delivered")?.unwrap_or(0);
        let last: Option<i64> = self.value("SELECT max(seq) FROM record", [])?;
        let first: Option<i64> = self.value("SELECT min(seq) FROM record", [])?;
        // No record ever had such a number: a disk that loses writes leaves pages of different ages.
        if delivered < 0 || first.is_some_and(|first| first < 1) {
            return Err(DatabaseError::Incomplete("the numbers of its records"));
        }
        let delivered = delivered as u64;
        let appended = last.map_or(delivered, |last| delivered.max(last as u64));
        if appended > delivered + 1 && !self.is_plausible(appended)? {
            return Err(DatabaseError::Gap(appended - 1));
        }
        let retired = first.map_or(delivered, |first| first as u64 - 1);
        Ok(State {
            incarnation: self.state("incarnation")?.unwrap_or_default(),
            appended,
            delivered,
            retired,
        })
    }

    /// Whether the last record is intact or has a predecessor. A number that a damaged page made up has neither.
    fn is_plausible(&self, last: u64) -> Result<bool> {
        let records = self.read(last - 2, usize::MAX)?;
        let (first, last_one) = (records.first(), records.last());
        Ok(first.is_some_and(|record| record.seq == last - 1) || last_one.is_some_and(|record| record.intact))
    }

    pub fn state<T: FromSql>(&self, key: &str) -> Result<Option<T>> {
        Ok(self.value("SELECT value FROM state WHERE key = ?1", [key]).optional()?)
    }

    pub fn set_state(&self, key: &str, value: impl rusqlite::ToSql) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO state (key, value) VALUES (?1, ?2)";
        self.run(sql, params![key, value])
    }

    pub fn begin(&self) -> Result<()> {
        self.run("BEGIN IMMEDIATE", [])
    }

    /// Returns after the sync.
    pub fn commit(&self) -> Result<()> {
        self.run("COMMIT", [])
    }

    fn run(&self, sql: &str, values: impl Params) -> Result<()> {
        self.connection.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// The first column of the first row.
    fn value<T: FromSql>(&self, sql: &str, values: impl Params) -> rusqlite::Result<T> {
        self.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))
    }

    pub fn insert(&self, first_seq: u64, appended_at_ms: i64, records: &[Vec<u8>]) -> Result<()> {
        let mut statement = self
            .connection
            .prepare_cached("INSERT INTO record (seq, appended_at_ms, crc, data) VALUES (?1, ?2, ?3, ?4)")?;
        for (seq, data) in (first_seq..).zip(records) {
            let sum = self.checksum.of(seq, appended_at_ms, data);
            statement.execute(params![seq as i64, appended_at_ms, sum, data])?;
        }
        Ok(())
    }

    pub fn set_delivered(&self, delivered: u64) -> Result<()> {
        self.set_state("delivered", delivered as i64)
    }

    pub fn set_note(&self, key: &str, value: &str) -> Result<()> {
        self.run("INSERT OR REPLACE INTO note (key, value) VALUES (?1, ?2)", [key, value])
    }

    pub fn notes(&self) -> Result<Vec<(String, String)>> {
        let mut statement = self.connection.prepare_cached("SELECT key, value FROM note")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Deletes the records up to and including `seq`.
    pub fn retire(&self, seq: u64) -> Result<()> {
        self.run("DELETE FROM record WHERE seq <= ?1", [seq as i64])
    }

    /// The records after `after_seq`, in order, until they reach `max_bytes`; at least one, if there is one.
    pub fn read(&self, after_seq: u64, max_bytes: usize) -> Result<Vec<Record>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, appended_at_ms, crc, data FROM record WHERE seq > ?1 ORDER BY seq LIMIT 4096",
        )?;
        let mut rows = statement.query([after_seq as i64])?;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while bytes < max_bytes
            && let Some(row) = rows.next()?
        {
            let seq = row.get::<_, i64>(0)? as u64;
            let (appended_at_ms, sum): (i64, i64) = (row.get(1)?, row.get(2)?);
            let data: Vec<u8> = row.get(3)?;
            bytes += data.len();
            records.push(Record {
                seq,
                appended_at_ms,
                intact: self.checksum.of(seq, appended_at_ms, &data) == sum,
                data: data.into(),
            });
        }
        Ok(records)
    }

    /// When the first record after `seq` was appended, in Unix milliseconds.
    pub fn appended_at_ms(&self, after_seq: u64) -> Result<Option<i64>> {
        let sql = "SELECT appended_at_ms FROM record WHERE seq > ?1 ORDER BY seq LIMIT 1";
        Ok(self.value(sql, [after_seq as i64]).optional()?)
    }

    /// Of the `most` records after `seq`, the last one in front of the first that was appended at `since_ms` or later;
    /// `seq` if there is none.
    pub fn last_before(&self, seq: u64, most: u64, since_ms: i64) -> Result<u64> {
        let sql = "SELECT seq FROM record WHERE seq > ?1 AND seq <= ?2 AND appended_at_ms >= ?3 ORDER BY seq LIMIT 1";
        let end = seq + most;
        let first: Option<i64> = self.value(sql, [seq as i64, end as i64, since_ms]).optional()?;
        Ok(first.map_or(end, |first| first as u64 - 1))
    }

    /// Bytes of the file that are in use. Freed pages do not count, since SQLite uses them again.
    pub fn used_bytes(&self) -> Result<u64> {
        let pages: i64 = self.value("PRAGMA page_count", [])?;
        let free: i64 = self.value("PRAGMA freelist_count", [])?;
        Ok((pages - free) as u64 * self.page_bytes()?)
    }

    /// Copies the whole WAL into the file and syncs it.
    pub fn truncate_wal(&self) -> Result<()> {
        let busy: bool = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy { Err(DatabaseError::Busy) } else { Ok(()) }
    }

    /// Runs a WAL checkpoint of this mode and returns the state after it. `NOOP` copies nothing.
    pub fn checkpoint_wal(&self, mode: &str) -> Result<WalState> {
        let mut statement = self
            .connection
            .prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
        let (pages, copied): (i64, i64) = statement.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?;
        let page_bytes = self.page_bytes()?;
        Ok(WalState {
            bytes: pages.max(0) as u64 * page_bytes,
            copied_bytes: copied.max(0) as u64 * page_bytes,
        })
    }

    pub fn page_bytes(&self) -> Result<u64> {
        Ok(self.value::<i64>("PRAGMA page_size", [])? as u64)
    }
}

/// The length of a file in bytes; 0 if there is none.
pub(super) fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[cfg(test)]
mod tests;
