//! The forwarder's side of the spool: it reads records in order and reports what is delivered. It reads durable records
//! only, since SQLite shows a commit to other connections after its sync.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::Duration;

use tokio::sync::oneshot;

use super::database::{Database, DatabaseError};
use super::queue::AppendError;
use super::record::Record;
use super::shared::{Handle, Shared, lock_handle};
use super::writer::Job;

/// The file could not be read. Wait and read again: the reader then opens it again. A damaged file is repaired
/// meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the spool {path}: {cause}")]
pub struct ReadError {
    path: PathBuf,
    cause: String,
}

/// Reads records in order. The caller keeps the position.
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) handle: Handle,
    pub(super) jobs: Sender<Job>,
    pub(super) shared: Arc<Shared>,
}

impl Reader {
    /// The records after `after_seq`, in order and without a gap, up to about `max_bytes`. Empty if there are none.
    ///
    /// # Errors
    /// [`ReadError`] when the file cannot be read.
    pub fn read(&mut self, after_seq: u64, max_bytes: usize) -> Result<Vec<Record>, ReadError> {
        if self.shared.appended.load(Ordering::SeqCst) <= after_seq {
            return Ok(Vec::new());
        }
        // Delivered records may be deleted already. Other numbers have no gap, so if the first one is missing, the file is
        // damaged.
        let is_complete = after_seq >= self.delivered();
        self.with_database(|database| {
            let mut records = database.read(after_seq, max_bytes)?;
            if is_complete {
                let pairs = (after_seq + 1..).zip(&records);
                match pairs.take_while(|(seq, record)| *seq == record.seq).count() {
                    0 => return Err(DatabaseError::Gap(after_seq + 1)),
                    whole => records.truncate(whole),
                }
            }
            Ok(records)
        })
    }

    /// All notes, by key.
    ///
    /// # Errors
    /// [`ReadError`] when the file cannot be read.
    pub fn notes(&mut self) -> Result<Vec<(String, String)>, ReadError> {
        self.with_database(Database::notes)
    }

    fn with_database<T>(&mut self, read: impl FnOnce(&Database) -> Result<T, DatabaseError>) -> Result<T, ReadError> {
        let mut handle = lock_handle(&self.handle);
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
                self.shared.writer.wake();
            }
            ReadError {
                path: self.path.clone(),
                cause: cause.to_string(),
            }
        })
    }

    /// A function with which another thread ends the current [`Reader::wait`], or the next one.
    pub fn interrupter(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.interrupt_reader()
    }

    /// Blocks until there is a record after `after_seq` (then it returns true), the [`Reader::interrupter`] is called,
    /// the spool is closed, or the time is over.
    pub fn wait(&self, after_seq: u64, timeout: Duration) -> bool {
        self.shared.wait_for_record(after_seq, timeout)
    }

    /// `<id>.<incarnation>` once the spool is open. It differs for any two spools, also when a folder is emptied and
    /// used again.
    pub fn name(&self) -> String {
        self.shared.name.get().cloned().unwrap_or_default()
    }

    /// The last durable record.
    pub fn appended(&self) -> u64 {
        self.shared.appended.load(Ordering::SeqCst)
    }

    /// Every record up to here is delivered, by the last delivery update that the spool has written.
    pub fn delivered(&self) -> u64 {
        self.shared.delivered.load(Ordering::SeqCst)
    }

    /// Reports that every record up to `seq` is delivered. The next commit writes this with the notes.
    pub fn deliver(&self, seq: u64, notes: Vec<(String, String)>) {
        self.shared.note_delivery(seq, notes);
        self.shared.writer.wake();
    }

    /// Like [`Reader::deliver`], and returns after the sync. `seq` and its notes are written in one commit: with notes
    /// that are newer than `seq`, a start would look for what is sent again in the wrong place.
    ///
    /// # Errors
    /// [`AppendError`] if it was not made durable.
    pub fn deliver_durably(&self, seq: u64, notes: Vec<(String, String)>) -> Result<(), AppendError> {
        let (done, answer) = oneshot::channel();
        self.shared.note_delivery(seq, notes);
        self.jobs.send(Job::Sync(done)).map_err(|_| AppendError::Closed)?;
        self.shared.writer.wake();
        answer.blocking_recv().map_err(|_| AppendError::Closed)?
    }

    /// Reports that every record up to `seq` is in Kafka, which releases the answers that wait for it. Must also be
    /// called from time to time when `seq` has not moved, so that the breaker closes.
    pub fn confirm(&self, seq: u64) {
        self.shared.confirm(seq);
    }

    /// Whether a message of record `seq`, which is about to be sent `age` after its arrival, must be marked as late:
    /// its callback was or may be answered before Kafka has it, although answers wait for Kafka.
    pub fn is_late(&self, seq: u64, age: Duration) -> bool {
        self.shared.confirmed.must_mark(seq, age)
    }

    /// Reports whether the forwarder is looking for what an earlier process had in flight.
    pub fn note_recovery(&self, is_under_way: bool) {
        self.shared.recovering.store(is_under_way, Ordering::SeqCst);
    }

    /// Accepts nothing more, for this reason, until the process restarts.
    pub fn stop_accepting(&self, reason: &str) {
        self.shared.stop_accepting(reason);
    }
}
