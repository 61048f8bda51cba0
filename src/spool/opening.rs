//! Opens a spool: locks the folder, opens the file, converts it to this version's format and repairs it. Errors that
//! may pass - a full disk, a disk fault, another process's read - are retried.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rusqlite::ErrorCode;
use tracing::warn;

use super::database::{Database, DatabaseError, State, file_bytes};
use super::frames;
use super::repair::{RepairError, repair, sync_folder};
use super::shared::Health;
use super::writer::Writer;
use crate::lifecycle::Backoff;

/// The least and the longest wait between two attempts to open the file.
const RETRY_WAITS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(4)];
/// Of failed attempts, every 15th is logged: the first one, and then about one a minute.
const LOGGED_EVERY: u64 = 15;
/// With less on the disk, SQLite cannot create its files beside the spool's.
const NO_ROOM_BYTES: u64 = 1 << 20;

/// The first opening of a spool's file, on the writer's thread.
pub struct Opening(pub(super) Receiver<Result<u64, OpenError>>);

impl Opening {
    /// Blocks until the file is open. Returns the number of its last record.
    ///
    /// # Errors
    /// An error that a retry does not solve, or [`OpenError::Cancelled`].
    pub fn wait(&self) -> Result<u64, OpenError> {
        self.0.recv().unwrap_or(Err(OpenError::Cancelled))
    }
}

/// Why the spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the lock file cannot be created or opened.
    #[error("cannot use the spool folder {path}: {cause}; make it writable for this user or set spool.dir")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        cause: std::io::Error,
    },
    /// Another process has locked the folder.
    #[error(
        "the spool {path} is in use by another process; two bridges must not share a spool: stop the other one or set another spool.dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file is damaged and cannot be repaired.
    #[error(
        "the spool {path} is damaged ({cause}) and cannot be repaired: {repair}; keep the folder, since its records are not delivered; to begin with an empty spool, set another spool.dir or move the folder away"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// Why it is not repaired.
        repair: String,
    },
    /// The database cannot be used, has another version, or belongs to another spool.
    #[error("cannot open the spool {path}: {cause}")]
    Database {
        /// The file.
        path: PathBuf,
        /// The error of SQLite, or of the spool's own check.
        cause: String,
        /// Whether a later attempt may succeed.
        may_pass: bool,
    },
    /// The spool was closed before its file was open.
    #[error("the spool was closed before its file was open")]
    Cancelled,
}

impl Writer {
    /// Opens the file for the first time. If `patient`, it retries errors that may pass. Returns the last record's
    /// number.
    pub fn open(&mut self, patient: bool) -> Result<u64, OpenError> {
        let wal_mib = file_bytes(&self.path.with_extension("db-wal")) >> 20;
        let text = format!("the file is being opened, and its WAL of {wal_mib} MiB is being copied into it");
        self.shared.set_health(Health::Opening(text));
        let (mut backoff, mut failures) = (Backoff::new(RETRY_WAITS[0], RETRY_WAITS[1]), 0u64);
        let (database, state) = loop {
            let cause = match self.open_or_repair() {
                Err(cause @ OpenError::Database { may_pass: true, .. }) if patient => cause,
                outcome => break outcome?,
            };
            if failures.is_multiple_of(LOGGED_EVERY) {
                warn!(%cause, "the spool could not be opened; this is retried, and nothing is acknowledged meanwhile");
            }
            failures += 1;
            self.shared.set_health(Health::Opening(cause.to_string()));
            let cancelled = || self.shared.opening_cancelled.load(Ordering::SeqCst).then_some(());
            if self.shared.writer.wait(backoff.wait(), cancelled).is_some() {
                return Err(OpenError::Cancelled);
            }
        };
        self.shared
            .set_opened(format!("{}.{}", self.config.id, state.incarnation), &state);
        self.metrics
            .max_bytes
            .set(self.config.max_bytes.min(i64::MAX as u64) as i64);
        if let Ok(used_bytes) = database.used_bytes() {
            self.check_room(used_bytes);
        }
        (self.database, self.incarnation) = (Some(database), state.incarnation);
        Ok(state.appended)
    }

    /// Opens the file. If it is damaged, a repair first replaces it.
    pub fn open_or_repair(&mut self) -> Result<(Database, State), OpenError> {
        let path = self.path.clone();
        let fail = |cause: String, may_pass| OpenError::Database {
            path: path.clone(),
            cause,
            may_pass,
        };
        let unusable = |cause: DatabaseError| fail(cause.to_string(), cause.may_pass() || lacks_room(&path, &cause));
        if self.shared.name.get().is_none() {
            // Before SQLite opens it: SQLite would cut off the WAL where the damage begins.
            frames::repair_wal(&path).map_err(|cause| {
                let may_pass = cause.kind() != std::io::ErrorKind::PermissionDenied;
                fail(format!("its WAL could not be checked: {cause}"), may_pass)
            })?;
        }
        if self.damage.is_none() {
            match Database::open_writer(&path, &self.config.id) {
                Err(cause) if cause.is_damage() => self.note_damage(cause.to_string()),
                opened => return opened.map_err(unusable),
            }
        }
        let damage = self.damage.clone().unwrap_or_default();
        let (shared, appended) = (&self.shared, self.shared.appended.load(Ordering::SeqCst));
        let lost = shared.with_file_closed(|| repair(&path, appended, &|done, all| shared.note_repair(done, all)));
        shared.note_repair(0, 0);
        let lost = lost.map_err(|cause| match cause {
            RepairError::Cancelled => OpenError::Cancelled,
            cause if cause.may_pass() => fail(format!("it is damaged ({damage}) and not repaired yet: {cause}"), true),
            cause => OpenError::Damaged {
                path: path.clone(),
                cause: damage,
                repair: cause.to_string(),
            },
        })?;
        self.metrics.repairs.inc();
        self.metrics.lost.inc_by(lost);
        self.damage = None;
        Database::open_writer(&path, &self.config.id).map_err(unusable)
    }
}

/// Whether SQLite could not create a file because the disk is full: it reports a file that cannot be opened.
fn lacks_room(path: &Path, cause: &DatabaseError) -> bool {
    let DatabaseError::Sqlite(cause) = cause else {
        return false;
    };
    let disk = rustix::fs::statvfs(path.parent().unwrap_or(path));
    let is_full = |disk: rustix::fs::StatVfs| {
        disk.f_bavail * disk.f_frsize < NO_ROOM_BYTES || (disk.f_files > 0 && disk.f_favail == 0)
    };
    cause.sqlite_error_code() == Some(ErrorCode::CannotOpen) && disk.is_ok_and(is_full)
}

/// Locks the folder for this process. The lock lasts as long as the returned file is open.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let fail = |cause| OpenError::Folder {
        path: dir.to_owned(),
        cause,
    };
    create_folder(dir).map_err(fail)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: dir.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(fail(cause)),
    }
}

/// Creates the folder and makes its name durable: a power cut must not remove it with everything in it.
fn create_folder(dir: &Path) -> std::io::Result<()> {
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let created: Vec<&Path> = dir.ancestors().take_while(is_new).collect();
    std::fs::create_dir_all(dir)?;
    // The previous start may have ended before it synced, so the folder's own name is always synced.
    for folder in created.into_iter().chain([dir]) {
        match folder.canonicalize()?.parent().map(sync_folder) {
            // A user who may not read the parent folder did not create this one either.
            Some(Err(cause)) if cause.kind() != std::io::ErrorKind::PermissionDenied => return Err(cause),
            _ => {}
        }
    }
    Ok(())
}
