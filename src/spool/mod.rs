//! The spool: opaque records, made durable in the order of their sequence numbers and kept until they are delivered.
//!
//! It is one SQLite file in a folder of its own, with one writer thread (group commit), one reader and one WAL
//! checkpointer. [`Lane::append`] returns after the sync. Positions: `appended >= delivered >= retired`. Records up to
//! `retired` are deleted: at once after delivery or, with [`Keep`], some time later.
//! It knows no callbacks, no Avro, no Kafka, no HTTP.

mod confirmed;
mod database;
mod format;
mod frames;
mod fresh;
mod group;
mod inspect;
mod lane;
mod metrics;
mod opening;
mod pages;
mod queue;
mod reader;
mod record;
mod repair;
mod shared;
mod stall;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::lifecycle::Pulse;
pub use inspect::{InspectError, Inspector, Overview};

pub use confirmed::Release;
pub use lane::{Appender, Lane};
pub use metrics::Metrics;
pub use opening::{OpenError, Opening};
pub use queue::AppendError;
pub use reader::{ReadError, Reader};
pub use record::Record;
pub use shared::Health;

use shared::Shared;
use wal::WalCheckpointer;
use writer::{Job, Writer};

/// The name of the database in the folder.
pub const FILE: &str = "spool.db";

/// `[spool]` of the configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A folder for this spool alone, on a disk that honours fsync.
    pub dir: PathBuf,
    /// Names this bridge in `imbridge-spool` and stays with the folder: `[A-Za-z0-9_-]`, 64 characters at most.
    pub id: String,
    /// When so many bytes of the file are in use, nothing more is accepted.
    pub max_bytes: u64,
    /// When fewer bytes of the disk are free, nothing more is accepted, so that there is room to deliver the rest.
    pub min_free_bytes: u64,
    /// Bytes that may wait for the disk in one worker thread.
    pub max_pending_bytes: usize,
    /// Milliseconds that a commit may take before its callers get an error.
    pub commit_timeout_ms: u64,
    /// How long to keep delivered records; `None`: they are deleted at once. Not a key of the file.
    #[serde(skip)]
    pub keep: Option<Keep>,
    /// How long an answer may wait for its confirmation; `None`: answers do not wait. Not a key of this table.
    #[serde(skip)]
    pub hold: Option<Duration>,
}

/// How many delivered records stay readable, as long as there is room (see the writer). A record is deleted when it
/// exceeds one of the two limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Milliseconds before the first record that is not delivered; before now if there is none.
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
            hold: None,
        }
    }
}

impl Config {
    /// The first key with a wrong value, and what is allowed; `None` if there is none.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let id_ok = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.bytes().all(id_ok) {
            let problem = format!("{:?}: 1 to 64 characters of A-Z a-z 0-9 - _ are allowed", self.id);
            return Some(("id", problem));
        }
        let (bytes, ms) = (self.max_bytes, self.commit_timeout_ms);
        if bytes < 1 << 20 {
            return Some(("max_bytes", format!("{bytes}: at least 1048576 (1 MiB) is allowed")));
        }
        let is_wrong = !(1..=600_000).contains(&ms);
        is_wrong.then(|| ("commit_timeout_ms", format!("{ms}: 1 to 600000 is allowed")))
    }
}

/// A spool. Dropping it without [`Spool::close`] is like a crash, and loses no record.
pub struct Spool {
    path: PathBuf,
    jobs: Sender<Job>,
    shared: Arc<Shared>,
    pulse: Pulse,
    writer: JoinHandle<()>,
    checkpointer: JoinHandle<()>,
    _lock: File,
}

impl Spool {
    /// Locks the folder, opens or creates the spool with one attempt, and starts its threads.
    ///
    /// # Errors
    /// [`OpenError`], whose text says what to do.
    pub fn open(config: &Config, metrics: Metrics) -> Result<Spool, OpenError> {
        let (spool, opening) = Spool::launch(config, metrics, false)?;
        match opening.wait() {
            Ok(_) => Ok(spool),
            Err(cause) => {
                spool.close();
                Err(cause)
            }
        }
    }

    /// Locks the folder and returns. The writer's thread then opens the file, and repairs it if necessary. Until it is
    /// open, the appender reports why nothing is accepted. Errors that may pass, like a full disk, are retried.
    ///
    /// # Errors
    /// [`OpenError`] if the folder cannot be used. [`Opening::wait`] returns the errors of the file.
    pub fn start(config: &Config, metrics: Metrics) -> Result<(Spool, Opening), OpenError> {
        Spool::launch(config, metrics, true)
    }

    fn launch(config: &Config, metrics: Metrics, patient: bool) -> Result<(Spool, Opening), OpenError> {
        let lock = opening::lock(&config.dir)?;
        let path = config.dir.join(FILE);
        let shared = Arc::new(Shared::new(config));
        let (jobs, receiver) = mpsc::channel();
        let (opened, opening) = mpsc::channel();
        let writer = Writer {
            path: path.clone(),
            config: config.clone(),
            incarnation: String::new(),
            database: None,
            jobs: receiver,
            shared: shared.clone(),
            metrics: metrics.clone(),
            room_checked_at: Instant::now(),
            unchecked_bytes: 0,
            damage: None,
        };
        let checkpointer = WalCheckpointer {
            path: path.clone(),
            handle: shared.open_handle(),
            failures: 0,
            stall: Default::default(),
            pin: Default::default(),
            logged_pin: Duration::ZERO,
            shared: shared.clone(),
            metrics,
        };
        let pulse = Pulse::default();
        let spool = Spool {
            path,
            jobs,
            shared,
            writer: spawn("spool-writer", &pulse, move || writer.run(opened, patient)),
            checkpointer: spawn("spool-wal", &pulse, move || checkpointer.run()),
            pulse,
            _lock: lock,
        };
        Ok((spool, Opening(opening)))
    }

    /// [`Reader::name`].
    pub fn name(&self) -> String {
        self.reader().name()
    }

    /// Announces that the bridge is about to end: [`Appender::unready`] reports it, and a first opening is cancelled.
    pub fn leave(&self) {
        self.shared.leaving.store(true, Ordering::SeqCst);
        if self.shared.name.get().is_none() {
            self.shared.cancel_opening();
        }
    }

    /// Reports whether its threads are alive.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// The appender, for the worker threads.
    pub fn appender(&self) -> Appender {
        Appender(self.shared.clone())
    }

    /// The reader, for the one thread that forwards.
    pub fn reader(&self) -> Reader {
        Reader {
            path: self.path.clone(),
            handle: self.shared.open_handle(),
            jobs: self.jobs.clone(),
            shared: self.shared.clone(),
        }
    }

    /// Writes the last delivery update and ends the threads.
    pub fn close(self) {
        self.shared.cancel_opening();
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.reader.wake();
        self.jobs.send(Job::Close).ok();
        self.shared.writer.wake();
        self.writer.join().expect("the spool's writer does not panic");
        self.checkpointer.thread().unpark();
        self.checkpointer.join().expect("the WAL checkpointer does not panic");
    }
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
