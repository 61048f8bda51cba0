//! The one thread that writes: everything that waits goes into one transaction and one sync, then everyone who waited
//! is told. It knows records and positions, not what they mean.
//!
//! The first error of a commit latches: the records of that commit and all later ones are refused, the handle is dropped,
//! and only a fresh handle that has synced the whole file (see `database`) accepts again.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tracing::{error, info};

use super::database::{Database, DatabaseError};
use super::lane::AppendError;
use super::metrics::Metrics;
use super::shared::{Health, Progress, Shared};

/// Records deleted in one commit at most, so that deletion never delays an acknowledgement much.
const RETIRE_STEP: u64 = 4096;
/// Records that wait for deletion before a busy writer bothers; whole pages are freed, not parts of them.
const RETIRE_AT: u64 = 1024;
/// An idle writer wakes this often for deletion, and a broken one to try the file again.
const TICK: Duration = Duration::from_millis(500);
/// A WAL above this is copied into the file by the writer itself, so that it starts over; the WAL checkpointer
/// has done nearly all of it by then.
const WAL_LIMIT_BYTES: u64 = 64 << 20;

/// What the writer is asked for.
pub(super) enum Job {
    /// Make these durable; answers the first sequence number.
    Append { records: Vec<Vec<u8>>, done: oneshot::Sender<Result<u64, AppendError>> },
    /// There is progress to write down.
    Progress,
    /// Write the progress down and answer after the sync.
    Sync(oneshot::Sender<Result<(), AppendError>>),
    /// Write the progress down and end.
    Close,
}

/// The jobs of one commit.
#[derive(Default)]
struct Group {
    appends: Vec<(Vec<Vec<u8>>, oneshot::Sender<Result<u64, AppendError>>)>,
    syncs: Vec<oneshot::Sender<Result<(), AppendError>>>,
    close: bool,
}

pub(super) struct Writer {
    pub path: PathBuf,
    pub spool_id: String,
    pub max_bytes: u64,
    pub database: Option<Database>,
    pub jobs: Receiver<Job>,
    pub shared: Arc<Shared>,
    pub metrics: Metrics,
}

impl Writer {
    pub fn run(mut self) {
        let mut tried = Instant::now();
        loop {
            let group = self.next_group();
            if self.database.is_none() && tried.elapsed() >= TICK {
                self.reopen();
                tried = Instant::now();
            }
            let close = group.close;
            match self.database.take() {
                Some(database) => self.serve(database, group),
                None => group.refuse(&AppendError::Broken),
            }
            if close {
                return;
            }
        }
    }

    /// Waits for a job, then takes everything that waits.
    fn next_group(&self) -> Group {
        let mut group = Group::default();
        match self.jobs.recv_timeout(TICK) {
            Ok(job) => group.add(job),
            Err(RecvTimeoutError::Timeout) => return group,
            Err(RecvTimeoutError::Disconnected) => group.close = true,
        }
        while let Ok(job) = self.jobs.try_recv() {
            group.add(job);
        }
        group
    }

    fn serve(&mut self, database: Database, group: Group) {
        let started = Instant::now();
        let progress = self.shared.take_progress();
        match self.commit(&database, &group, progress.as_ref()) {
            Ok(committed) => {
                if committed > 0 {
                    self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                }
                self.database = Some(database);
                group.acknowledge(self.shared.appended.load(Ordering::SeqCst));
            }
            Err(cause) => {
                error!(%cause, path = %self.path.display(), "the spool failed to commit; nothing is acknowledged until it is opened again");
                self.metrics.commit_errors.inc();
                self.shared.set_health(Health::Broken(cause.to_string()));
                if let Some(progress) = progress {
                    self.shared.leave_progress(progress.delivered, progress.notes);
                }
                group.refuse(&AppendError::Broken);
            }
        }
    }

    /// One transaction for the whole group; gives the number of statements' worth of work, 0 when nothing was to do.
    fn commit(&self, database: &Database, group: &Group, progress: Option<&Progress>) -> Result<usize, DatabaseError> {
        let shared = &self.shared;
        let appended = shared.appended.load(Ordering::SeqCst);
        let delivered = progress.map_or(0, |p| p.delivered).max(shared.delivered.load(Ordering::SeqCst));
        let retired = self.retire_to(delivered, group.appends.is_empty());
        let count: usize = group.appends.iter().map(|(records, _)| records.len()).sum();
        let work = count + usize::from(progress.is_some()) + usize::from(retired.is_some()) + group.syncs.len();
        if work == 0 {
            return Ok(0);
        }
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        database.begin()?;
        let mut seq = appended;
        for (records, _) in &group.appends {
            database.insert(seq + 1, now_ms, records)?;
            seq += records.len() as u64;
        }
        if let Some(progress) = progress {
            database.set_delivered(delivered)?;
            for (key, value) in &progress.notes {
                database.set_note(key, value)?;
            }
        }
        if let Some(retired) = retired {
            database.retire(retired)?;
        }
        let used_bytes = database.used_bytes()?;
        database.commit()?;
        shared.delivered.store(delivered, Ordering::SeqCst);
        if let Some(retired) = retired {
            shared.retired.store(retired, Ordering::SeqCst);
        }
        if count > 0 {
            self.metrics.batch_records.observe(count as f64);
            shared.publish_appended(seq);
        }
        self.judge_room(used_bytes);
        if database.checkpoint_wal("NOOP")? > WAL_LIMIT_BYTES {
            database.checkpoint_wal("PASSIVE")?;
        }
        Ok(work)
    }

    /// How far this commit deletes, if at all.
    fn retire_to(&self, delivered: u64, idle: bool) -> Option<u64> {
        let retired = self.shared.retired.load(Ordering::SeqCst);
        let waiting = delivered.saturating_sub(retired);
        (waiting >= RETIRE_AT || (idle && waiting > 0)).then(|| retired + waiting.min(RETIRE_STEP))
    }

    fn judge_room(&self, used_bytes: u64) {
        self.shared.used_bytes.store(used_bytes, Ordering::Relaxed);
        let health = if used_bytes >= self.max_bytes {
            Health::Full { used_bytes, max_bytes: self.max_bytes }
        } else {
            Health::Accepting
        };
        if self.shared.is_accepting() != (health == Health::Accepting) {
            self.shared.set_health(health);
        }
    }

    fn reopen(&mut self) {
        match Database::open_writer(&self.path, &self.spool_id) {
            Ok((database, state)) => {
                info!(appended = state.appended, "the spool is open and synced again");
                self.database = Some(database);
                self.shared.set_health(Health::Accepting);
                self.shared.publish_appended(state.appended);
            }
            Err(cause) => self.shared.set_health(Health::Broken(cause.to_string())),
        }
    }
}

impl Group {
    fn add(&mut self, job: Job) {
        match job {
            Job::Append { records, done } => self.appends.push((records, done)),
            Job::Progress => {}
            Job::Sync(done) => self.syncs.push(done),
            Job::Close => self.close = true,
        }
    }

    /// Tells everyone, where `last` is the last sequence number of the group. Who has gone away needs no answer.
    fn acknowledge(self, last: u64) {
        let count: usize = self.appends.iter().map(|(records, _)| records.len()).sum();
        let mut first = last - count as u64 + 1;
        for (records, done) in self.appends {
            done.send(Ok(first)).ok();
            first += records.len() as u64;
        }
        self.syncs.into_iter().for_each(|done| drop(done.send(Ok(()))));
    }

    fn refuse(self, cause: &AppendError) {
        self.appends.into_iter().for_each(|(_, done)| drop(done.send(Err(cause.clone()))));
        self.syncs.into_iter().for_each(|done| drop(done.send(Err(cause.clone()))));
    }
}
