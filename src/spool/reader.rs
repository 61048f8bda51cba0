//! The forwarder's side of the spool: records in order, and the progress it reports back. It reads only what is
//! durable, since SQLite shows a commit to other connections after its sync.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::oneshot;

use super::database::{Database, DatabaseError};
use super::queue::AppendError;
use super::record::Record;
use super::shared::{Handle, Shared, use_handle};
use super::writer::Job;

/// The file could not be read. Wait and read again; the reader opens it anew, and a damaged one is repaired meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the spool {path}: {cause}")]
pub struct ReadError {
    path: PathBuf,
    cause: String,
}

/// Reads records in order; its owner keeps the position.
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) handle: Handle,
    pub(super) jobs: Sender<Job>,
    pub(super) shared: Arc<Shared>,
}

impl Reader {
    /// The records after `after_seq`, in order and without a gap, about `max_bytes` of them; none where there are none.
    ///
    /// # Errors
    /// [`ReadError`] when the file cannot be read.
    pub fn read(&mut self, after_seq: u64, max_bytes: usize) -> Result<Vec<Record>, ReadError> {
        if self.shared.appended.load(Ordering::SeqCst) <= after_seq {
            return Ok(Vec::new());
        }
        // What is delivered may be deleted already.
        let is_complete = after_seq >= self.delivered();
        self.with_database(|database| {
            let records = database.read(after_seq, max_bytes)?;
            if is_complete {
                without_gap(records, after_seq)
            } else {
                Ok(records)
            }
        })
    }

    /// Every note that was left, by key.
    ///
    /// # Errors
    /// [`ReadError`] when the file cannot be read.
    pub fn notes(&mut self) -> Result<Vec<(String, String)>, ReadError> {
        self.with_database(Database::notes)
    }

    fn with_database<T>(&mut self, read: impl FnOnce(&Database) -> Result<T, DatabaseError>) -> Result<T, ReadError> {
        let mut handle = use_handle(&self.handle);
        let outcome = match handle.take() {
            Some(database) => Ok(database),
            None => Database::open(&self.path),
        };
        let outcome = outcome.and_then(|database| {
            let found = read(&database)?;
            *handle = Some(database);
            Ok(found)
        });
        outcome.map_err(|cause| {
            if cause.is_damage() {
                self.shared.report_damage(cause.to_string());
                self.shared.wake_writer();
            }
            ReadError {
                path: self.path.clone(),
                cause: cause.to_string(),
            }
        })
    }

    /// Ends the thread's [`Reader::wait`], or its next one, from another thread.
    pub fn caller(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.call_reader()
    }

    /// Blocks until there is a record after `after_seq`, or it is called, or the time is over, or the spool is closed; true in the first case.
    pub fn wait(&self, after_seq: u64, timeout: Duration) -> bool {
        self.shared.wait_for_record(after_seq, timeout)
    }

    /// `<id>.<incarnation>`, once the spool is open: never the same for two spools, even when one folder is emptied and used again.
    pub fn name(&self) -> String {
        self.shared.name.get().cloned().unwrap_or_default()
    }

    /// The last durable record.
    pub fn appended(&self) -> u64 {
        self.shared.appended.load(Ordering::SeqCst)
    }

    /// Every record up to here was delivered when the spool last wrote it down.
    pub fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::SeqCst)
    }

    /// Every record up to `seq` is delivered: the next commit writes it down, with the notes, and deletes them in time.
    pub fn deliver(&self, seq: u64, notes: Vec<(String, String)>) {
        self.shared.leave_progress(seq, notes);
        self.shared.wake_writer();
    }

    /// Every record up to `seq` is in Kafka: answers that wait for it go. To be called now and then without news too, so that answers
    /// wait again once confirmations are fast.
    pub fn confirm(&self, seq: u64) {
        self.shared.confirm(seq);
    }

    /// Whether a message of record `seq`, which is about to be sent so long after its arrival, was or may be answered before Kafka has it,
    /// while others' answers wait for that.
    pub fn is_late(&self, seq: u64, age: Duration) -> bool {
        self.shared.confirmed.must_mark(seq, age)
    }

    /// What an earlier process left on its way is being looked for, or no longer.
    pub fn note_recovery(&self, is_under_way: bool) {
        self.shared.recovering.store(is_under_way, Ordering::SeqCst);
    }

    /// Nothing more is accepted, for this reason, until the process is restarted.
    pub fn give_up(&self, reason: &str) {
        self.shared.give_up(reason);
    }

    /// The same, and returns after the sync. Notes of what was delivered never stand there without its `seq`: a start that
    /// goes by the one would look for the other in the wrong place.
    ///
    /// # Errors
    /// [`AppendError`] when it was not made durable.
    pub fn deliver_durably(&self, seq: u64, notes: Vec<(String, String)>) -> Result<(), AppendError> {
        let (done, answer) = oneshot::channel();
        self.shared.leave_progress(seq, notes);
        self.jobs.send(Job::Sync(done)).map_err(|_| AppendError::Closed)?;
        self.shared.wake_writer();
        answer.blocking_recv().map_err(|_| AppendError::Closed)?
    }
}

/// The records up to the first gap. Numbers have none, so one that is missing at the very place is damage.
fn without_gap(mut records: Vec<Record>, after_seq: u64) -> Result<Vec<Record>, DatabaseError> {
    let whole = (after_seq + 1..)
        .zip(&records)
        .take_while(|(seq, record)| *seq == record.seq)
        .count();
    if whole == 0 {
        return Err(DatabaseError::Gap(after_seq + 1));
    }
    records.truncate(whole);
    Ok(records)
}
