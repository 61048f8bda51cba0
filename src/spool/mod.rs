//! The spool: opaque records, made durable in the order of their sequence numbers, kept until they are delivered.
//!
//! One SQLite file in a folder of its own, one writer thread with group commit, one reader, one WAL checkpointer.
//! [`Lane::append`] returns after the sync. Positions: `appended >= delivered >= retired`; what is retired is deleted, at
//! once after delivery or, with [`Keep`], some time later.
//! It knows no callbacks, no Avro, no Kafka, no HTTP.

mod database;
mod frames;
mod fresh;
mod group;
mod inspect;
mod lane;
mod metrics;
mod pages;
mod reader;
mod record;
mod repair;
mod shared;
mod stall;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::{error, warn};

use crate::lifecycle::Pulse;
pub use inspect::{InspectError, Inspector, Overview};

pub use lane::{AppendError, Appender, Lane};
pub use metrics::Metrics;
pub use reader::{ReadError, Reader};
pub use record::Record;
pub use shared::Health;

use database::{Database, DatabaseError, State};
use shared::Shared;
use wal::WalCheckpointer;
use writer::{Job, Writer};

/// The name of the database in the folder.
pub const FILE: &str = "spool.db";

/// `[spool]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A folder for this spool alone, on a disk that honours syncs.
    pub dir: PathBuf,
    /// Names this bridge in `imbridge-spool` and stays with the folder: `[A-Za-z0-9_-]`, 64 characters at most.
    pub id: String,
    /// Bytes of the file in use from which nothing more is accepted.
    pub max_bytes: u64,
    /// Bytes of the disk to leave free: below it nothing more is accepted, so that what is there can still be delivered.
    pub min_free_bytes: u64,
    /// Bytes that may wait for the disk in one worker thread.
    pub max_pending_bytes: usize,
    /// Milliseconds that a commit may take before its callers are told that it failed.
    pub commit_timeout_ms: u64,
    /// How long to keep what is delivered; without it, it is deleted at once. Not a key of the file.
    #[serde(skip)]
    pub keep: Option<Keep>,
}

/// How much of what is delivered stays readable, for as long as there is room: see the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Milliseconds before the first record that is not delivered, or before now where there is none.
    pub ms: i64,
    /// Records.
    pub records: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            dir: "/var/lib/imbridge".into(),
            id: "imbridge-0".into(),
            max_bytes: 10 << 30,
            min_free_bytes: 256 << 20,
            max_pending_bytes: 16 << 20,
            commit_timeout_ms: 1500,
            keep: None,
        }
    }
}

impl Config {
    /// What is wrong with a value: the key and what is allowed.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let id_ok = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(id_ok) {
            return Some((
                "id",
                format!("{:?}: 1 to 64 characters of A-Z a-z 0-9 - _ are allowed", self.id),
            ));
        }
        if self.max_bytes < 1 << 20 {
            return Some((
                "max_bytes",
                format!("{}: at least 1048576 (1 MiB) is allowed", self.max_bytes),
            ));
        }
        if !(1..=600_000).contains(&self.commit_timeout_ms) {
            return Some((
                "commit_timeout_ms",
                format!("{}: 1 to 600000 is allowed", self.commit_timeout_ms),
            ));
        }
        None
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
    },
}

/// An open spool. Dropping it without [`Spool::close`] is a crash, which it survives.
pub struct Spool {
    path: PathBuf,
    config: Config,
    incarnation: String,
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    pulse: Pulse,
    writer: JoinHandle<()>,
    checkpointer: JoinHandle<()>,
    _lock: File,
}

impl Spool {
    /// Opens or creates the spool, alone in its folder, and starts its threads.
    ///
    /// # Errors
    /// [`OpenError`], which says what to do.
    pub fn open(config: &Config, metrics: Metrics) -> Result<Spool, OpenError> {
        let lock = lock(&config.dir)?;
        let path = config.dir.join(FILE);
        let (database, state) = open_or_repair(&path, &config.id, &metrics)?;
        let commit_timeout = Duration::from_millis(config.commit_timeout_ms);
        let shared = Arc::new(Shared::new(&state, commit_timeout));
        let (jobs, receiver) = mpsc::channel();
        metrics.max_bytes.set(config.max_bytes.min(i64::MAX as u64) as i64);
        let writer = Writer {
            path: path.clone(),
            spool_id: config.id.clone(),
            incarnation: state.incarnation.clone(),
            max_bytes: config.max_bytes,
            min_free_bytes: config.min_free_bytes,
            keep: config.keep,
            database: Some(database),
            jobs: receiver,
            shared: shared.clone(),
            metrics: metrics.clone(),
            judged_at: Instant::now(),
            unjudged_bytes: 0,
            damage: None,
            repair_tried: None,
        };
        let checkpointer = WalCheckpointer {
            path: path.clone(),
            handle: shared.open_handle(),
            failures: 0,
            stall: stall::Stall::default(),
            shared: shared.clone(),
            metrics,
        };
        let pulse = Pulse::default();
        Ok(Spool {
            path,
            config: config.clone(),
            incarnation: state.incarnation,
            jobs,
            shared,
            writer: spawn("spool-writer", &pulse, move || writer.run()),
            checkpointer: spawn("spool-wal", &pulse, move || checkpointer.run()),
            pulse,
            _lock: lock,
        })
    }

    /// `<id>.<incarnation>`: never the same for two spools, even when one folder is emptied and used again.
    pub fn name(&self) -> String {
        format!("{}.{}", self.config.id, self.incarnation)
    }

    /// Whether its threads are there.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// For the threads that append.
    pub fn appender(&self) -> Appender {
        Appender {
            shared: self.shared.clone(),
            max_pending_bytes: self.config.max_pending_bytes,
            commit_timeout: Duration::from_millis(self.config.commit_timeout_ms),
        }
    }

    /// For the one thread that forwards.
    pub fn reader(&self) -> Reader {
        Reader {
            path: self.path.clone(),
            handle: self.shared.open_handle(),
            jobs: self.jobs.clone(),
            shared: self.shared.clone(),
        }
    }

    /// Writes down what was reported and ends the threads.
    pub fn close(self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.wake_reader();
        self.jobs.send(Job::Close).ok();
        self.shared.wake_writer();
        self.writer.join().expect("the spool's writer does not panic");
        self.checkpointer.thread().unpark();
        self.checkpointer.join().expect("the WAL checkpointer does not panic");
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
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
        match folder.canonicalize()?.parent().map(repair::sync_folder) {
            // Whoever may not read the folder above did not make this one either.
            Some(Err(cause)) if cause.kind() != std::io::ErrorKind::PermissionDenied => return Err(cause),
            _ => {}
        }
    }
    Ok(())
}

fn open_or_repair(path: &Path, id: &str, metrics: &Metrics) -> Result<(Database, State), OpenError> {
    let fail = |cause: DatabaseError| OpenError::Database {
        path: path.to_owned(),
        cause: cause.to_string(),
    };
    if let Err(cause) = frames::mend(path) {
        // SQLite reads it next, and says what is to be said.
        warn!(%cause, "the spool's WAL could not be looked through");
    }
    let damage = match Database::open_writer(path, id) {
        Err(cause) if cause.is_damage() => cause.to_string(),
        opened => return opened.map_err(fail),
    };
    error!(damage, path = %path.display(), "the spool's file is damaged; it is being repaired");
    let repaired = repair::repair(path, 0).map_err(|cause| OpenError::Damaged {
        path: path.to_owned(),
        cause: damage,
        repair: cause.to_string(),
    })?;
    metrics.count(&repaired);
    Database::open_writer(path, id).map_err(fail)
}

fn spawn(name: &'static str, pulse: &Pulse, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let watched = pulse.watch(name);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _watched = watched;
            run();
        })
        .expect("the operating system starts a thread")
}
