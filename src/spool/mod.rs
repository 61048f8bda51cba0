//! The spool: opaque records, made durable in the order of their sequence numbers, kept until they are delivered.
//!
//! One SQLite file in a folder of its own, one writer thread with group commit, one reader, one WAL checkpointer.
//! [`Lane::append`] returns after the sync. Positions: `appended >= delivered >= retired`; what is retired is deleted.
//! It knows no callbacks, no Avro, no Kafka, no HTTP.

mod database;
mod inspect;
mod lane;
mod metrics;
mod reader;
mod record;
mod shared;
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

pub use inspect::{InspectError, Inspector, Overview};
pub use lane::{AppendError, Appender, Lane};
pub use metrics::Metrics;
pub use reader::{ReadError, Reader};
pub use record::Record;
pub use shared::Health;

use database::Database;
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
        if self.commit_timeout_ms == 0 {
            return Some(("commit_timeout_ms", "0: at least 1 is allowed".into()));
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
    /// The database is damaged, of another version, or another spool's.
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
        let (database, state) = Database::open_writer(&path, &config.id).map_err(|cause| OpenError::Database {
            path: path.clone(),
            cause: cause.to_string(),
        })?;
        let commit_timeout = Duration::from_millis(config.commit_timeout_ms);
        let shared = Arc::new(Shared::new(&state, commit_timeout));
        let (jobs, receiver) = mpsc::channel();
        let writer = Writer {
            path: path.clone(),
            spool_id: config.id.clone(),
            incarnation: state.incarnation.clone(),
            max_bytes: config.max_bytes,
            min_free_bytes: config.min_free_bytes,
            database: Some(database),
            jobs: receiver,
            shared: shared.clone(),
            metrics: metrics.clone(),
            judged_at: Instant::now(),
            unjudged_bytes: 0,
        };
        let checkpointer = WalCheckpointer {
            path: path.clone(),
            shared: shared.clone(),
            metrics,
        };
        Ok(Spool {
            path,
            config: config.clone(),
            incarnation: state.incarnation,
            jobs,
            shared,
            writer: spawn("spool-writer", move || writer.run()),
            checkpointer: spawn("spool-wal", move || checkpointer.run()),
            _lock: lock,
        })
    }

    /// `<id>.<incarnation>`: never the same for two spools, even when one folder is emptied and used again.
    pub fn name(&self) -> String {
        format!("{}.{}", self.config.id, self.incarnation)
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
            database: None,
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
    std::fs::create_dir_all(dir).map_err(fail)?;
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

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .expect("the operating system starts a thread")
}
