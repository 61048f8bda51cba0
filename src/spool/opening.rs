//! The way to an open spool: its folder, which it has alone, then its file, which is opened, brought to this version's format,
//! repaired. What may pass by itself - no room on the disk, a fault of it, somebody's read - is waited for.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rusqlite::ErrorCode;
use tracing::warn;

use super::database::{Database, DatabaseError, State};
use super::frames;
use super::repair::{RepairError, repair, sync_folder};
use super::shared::Health;
use super::writer::Writer;
use crate::lifecycle::Backoff;

/// Between two attempts to open a file.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(4)];
/// Of failed attempts, the first is logged, and then about one a minute.
const LOGGED_EVERY: u64 = 15;
/// A disk with less has no room for the files that SQLite makes beside the spool's.
const NO_ROOM_BYTES: u64 = 1 << 20;

/// The first opening of a spool's file, on the writer's thread.
pub struct Opening(pub(super) Receiver<Result<u64, OpenError>>);

impl Opening {
    /// Blocks until the file is open; gives the last record that it held already.
    ///
    /// # Errors
    /// What waiting cannot mend, or [`OpenError::Abandoned`].
    pub fn wait(&self) -> Result<u64, OpenError> {
        self.0.recv().unwrap_or(Err(OpenError::Abandoned))
    }
}

/// Why the spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the lock file cannot be made or opened.
    #[error("cannot use the spool folder {path}: {cause}; make it writable for this user or set spool.dir")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's words.
        cause: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "the spool {path} is in use by another process; two bridges must not share a spool: stop the other one or set another spool.dir"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The file is damaged where it cannot be repaired.
    #[error(
        "the spool {path} is damaged ({cause}) and cannot be repaired: {repair}; keep the folder, for what it holds is not delivered, and set another spool.dir or move the folder away to begin with an empty spool"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
        /// Why it is not repaired.
        repair: String,
    },
    /// The database cannot be used, is of another version, or another spool's.
    #[error("cannot open the spool {path}: {cause}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite or the spool's own check says.
        cause: String,
        /// Whether another attempt may go well, later.
        may_pass: bool,
    },
    /// Nobody waits for it any longer.
    #[error("the spool was not open yet when it was closed")]
    Abandoned,
}

impl Writer {
    /// Opens the file for the first time; where `patient`, until it succeeds or waiting is of no use. Gives the last record.
    pub fn open(&mut self, patient: bool) -> Result<u64, OpenError> {
        let wal = std::fs::metadata(self.path.with_extension("db-wal"));
        let wal_mib = wal.map_or(0, |wal| wal.len() >> 20);
        let text = format!("the file is being opened, and a WAL of {wal_mib} MiB copied into it");
        self.shared.set_health(Health::Opening(text));
        let (mut again, mut failures) = (Backoff::new(AGAIN[0], AGAIN[1]), 0u64);
        let (database, state) = loop {
            let cause = match self.open_or_repair() {
                Err(cause @ OpenError::Database { may_pass: true, .. }) if patient => cause,
                outcome => break outcome?,
            };
            if failures.is_multiple_of(LOGGED_EVERY) {
                warn!(%cause, "the spool is not open yet; it is tried again and again, and nothing is acknowledged meanwhile");
            }
            failures += 1;
            self.shared.set_health(Health::Opening(cause.to_string()));
            let given_over = || self.shared.given_over.load(Ordering::SeqCst).then_some(());
            if self.shared.wait_as_writer(again.wait(), given_over).is_some() {
                return Err(OpenError::Abandoned);
            }
        };
        self.shared
            .begin_at(format!("{}.{}", self.config.id, state.incarnation), &state);
        self.metrics
            .max_bytes
            .set(self.config.max_bytes.min(i64::MAX as u64) as i64);
        if let Ok(used_bytes) = database.used_bytes() {
            self.judge_room(used_bytes);
        }
        (self.database, self.incarnation) = (Some(database), state.incarnation);
        Ok(state.appended)
    }

    /// Opens the file, and puts a whole one in its place first where it is damaged.
    pub fn open_or_repair(&mut self) -> Result<(Database, State), OpenError> {
        let path = self.path.clone();
        let fail = |cause: String, may_pass| OpenError::Database {
            path: path.clone(),
            cause,
            may_pass,
        };
        let unusable = |cause: DatabaseError| fail(cause.to_string(), cause.may_pass() || lacks_room(&path, &cause));
        if self.shared.name.get().is_none() {
            // Without it, SQLite would cut off what stands behind the damage.
            frames::mend(&path).map_err(|cause| {
                let may_pass = cause.kind() != std::io::ErrorKind::PermissionDenied;
                fail(format!("its WAL could not be looked through: {cause}"), may_pass)
            })?;
        }
        if self.damage.is_none() {
            match Database::open_writer(&path, &self.config.id) {
                Err(cause) if cause.is_damage() => self.give_up(cause.to_string()),
                opened => return opened.map_err(unusable),
            }
        }
        let damage = self.damage.clone().unwrap_or_default();
        let (shared, appended) = (&self.shared, self.shared.appended.load(Ordering::SeqCst));
        let lost = shared.alone(|| repair(&path, appended, &|done, all| shared.look_through(done, all)));
        shared.look_through(0, 0);
        let lost = lost.map_err(|cause| match cause {
            RepairError::Abandoned => OpenError::Abandoned,
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

/// Whether SQLite could not make a file for want of room, which it calls a file that cannot be opened.
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

/// Takes the folder for this process alone, for as long as the file it gives is open.
pub(super) fn lock(dir: &Path) -> Result<File, OpenError> {
    let fail = |cause| OpenError::Folder {
        path: dir.to_owned(),
        cause,
    };
    make_folder(dir).map_err(fail)?;
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

/// Makes the folder, and its name durable: a power cut must not take it away with everything in it.
fn make_folder(dir: &Path) -> std::io::Result<()> {
    let is_new = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made: Vec<&Path> = dir.ancestors().take_while(is_new).collect();
    std::fs::create_dir_all(dir)?;
    // The last start may have ended before it synced, so the folder's own name is always synced.
    for folder in made.into_iter().chain([dir]) {
        match folder.canonicalize()?.parent().map(sync_folder) {
            // Whoever may not read the folder above did not make this one either.
            Some(Err(cause)) if cause.kind() != std::io::ErrorKind::PermissionDenied => return Err(cause),
            _ => {}
        }
    }
    Ok(())
}
