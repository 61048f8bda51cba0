//! Reads a spool from outside, whether a bridge has it open or not. It takes no lock, writes nothing, and makes short
//! reads only, since a long one would keep the WAL from being copied. It knows no callbacks.

use std::path::{Path, PathBuf};

use super::FILE;
use super::database::{Database, DatabaseError, file_bytes};
use super::record::Record;

/// Why a spool cannot be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// There is no file.
    #[error("there is no spool at {0}: is spool.dir the bridge's folder?")]
    NotThere(PathBuf),
    /// This user cannot read the file, or nobody can.
    #[error("cannot read the spool {path}: {cause}; is this the bridge's user?")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of SQLite.
        cause: String,
    },
}

/// The spool as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// `<id>.<incarnation>`.
    pub name: String,
    /// The version of the file's format.
    pub format: i64,
    /// The last record.
    pub appended: u64,
    /// Every record up to here is delivered, by the last delivery update that was written.
    pub delivered: u64,
    /// Every record up to here is deleted.
    pub retired: u64,
    /// When the first undelivered record was appended, in Unix milliseconds.
    pub oldest_undelivered_ms: Option<i64>,
    /// Bytes of the file that are in use, which `spool.max_bytes` limits.
    pub used_bytes: u64,
    /// The file's length in bytes, with the free pages, which SQLite uses again.
    pub file_bytes: u64,
    /// The WAL's length in bytes.
    pub wal_bytes: u64,
    /// The forwarder's notes, by key.
    pub notes: Vec<(String, String)>,
}

/// A read-only handle on a spool.
pub struct Inspector {
    path: PathBuf,
    database: Database,
}

impl Inspector {
    /// Opens the spool of this folder.
    ///
    /// # Errors
    /// [`InspectError`] if there is no spool, or it cannot be read.
    pub fn open(dir: &Path) -> Result<Inspector, InspectError> {
        let path = dir.join(FILE);
        if !path.exists() {
            return Err(InspectError::NotThere(path));
        }
        let database = Database::open_read_only(&path).map_err(|cause| unreadable(&path, &cause))?;
        Ok(Inspector { path, database })
    }

    /// The state at this moment.
    ///
    /// # Errors
    /// [`InspectError::Unreadable`].
    pub fn overview(&self) -> Result<Overview, InspectError> {
        let read = |database: &Database| {
            let state = database.read_state()?;
            let id: String = database.state("spool_id")?.unwrap_or_default();
            Ok(Overview {
                name: format!("{id}.{}", state.incarnation),
                format: database.state("format")?.unwrap_or_default(),
                oldest_undelivered_ms: database.appended_at_ms(state.delivered)?,
                appended: state.appended,
                delivered: state.delivered,
                retired: state.retired,
                used_bytes: database.used_bytes()?,
                file_bytes: file_bytes(&self.path),
                wal_bytes: file_bytes(&self.path.with_extension("db-wal")),
                notes: database.notes()?,
            })
        };
        self.database
            .snapshot(read)
            .map_err(|cause| unreadable(&self.path, &cause))
    }

    /// The records after `after_seq`, in order, up to about `max_bytes`. Empty if there are none.
    ///
    /// # Errors
    /// [`InspectError::Unreadable`].
    pub fn read(&self, after_seq: u64, max_bytes: usize) -> Result<Vec<Record>, InspectError> {
        self.database
            .read(after_seq, max_bytes)
            .map_err(|cause| unreadable(&self.path, &cause))
    }
}

fn unreadable(path: &Path, cause: &DatabaseError) -> InspectError {
    InspectError::Unreadable {
        path: path.to_owned(),
        cause: cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inspection_sees_what_is_only_in_the_wal_and_changes_no_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert!(matches!(Inspector::open(folder.path()), Err(InspectError::NotThere(_))));
        let (database, created) = Database::open_writer(&path, "a").unwrap();
        database
            .insert(1, 5, &[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()])
            .unwrap();
        database.set_delivered(1).unwrap();
        database.set_note("mark/t/0", "17").unwrap();
        let bytes =
            || ["spool.db", "spool.db-wal"].map(|name| std::fs::read(folder.path().join(name)).expect("it is there"));
        let before = bytes();
        let inspector = Inspector::open(folder.path()).unwrap();
        let overview = inspector.overview().unwrap();
        assert_eq!(overview.name, format!("a.{}", created.incarnation));
        assert_eq!((overview.appended, overview.delivered, overview.retired), (3, 1, 0));
        assert_eq!(overview.oldest_undelivered_ms, Some(5));
        assert_eq!(overview.notes, [("mark/t/0".to_owned(), "17".to_owned())]);
        assert!(overview.wal_bytes > 0);
        let records = inspector.read(1, usize::MAX).unwrap();
        assert_eq!(
            records.iter().map(|record| record.data.as_ref()).collect::<Vec<_>>(),
            [&b"two"[..], b"three"]
        );
        // The writer's handle stays open, so that only the inspector's is closed.
        drop(inspector);
        assert!(bytes() == before, "the inspection wrote something");
        assert_eq!(database.read(0, usize::MAX).unwrap().len(), 3);
    }
}
