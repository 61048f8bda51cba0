//! The one thread that writes. Everything that waits goes into one transaction with one sync (group commit), then all
//! callers of that commit are completed. It knows records and positions, not what they mean.
//!
//! The first error of a commit latches: the records of that commit and all later ones are refused, and the handle is
//! dropped. Records are accepted again only with a new handle that has synced the whole file (see `database`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{error, info};

use super::Config;
use super::database::{Database, DatabaseError};
use super::group::Group;
use super::metrics::Metrics;
use super::opening::OpenError;
use super::queue::AppendError;
use super::shared::{Health, Shared};
use crate::lifecycle::unix_ms;

/// Records that one commit deletes at most, so that deletion delays acknowledgements little.
const RETIRE_STEP: u64 = 4096;
/// A busy writer deletes only when so many records are due: SQLite frees whole pages.
const RETIRE_AT: u64 = 1024;
/// The delivered records that are kept may take one part in so many of `max_bytes`.
const KEPT_SHARE: u64 = 10;
/// How often an idle writer wakes up to delete, and a broken one to try the file again.
const TICK: Duration = Duration::from_millis(500);
/// The least time between two repairs.
const REPAIR_EVERY: Duration = Duration::from_secs(10);
/// When the WAL is larger, the writer itself copies it into the file, so that it starts over. By then the WAL
/// checkpointer has copied nearly all of it.
const WAL_LIMIT_BYTES: u64 = 64 << 20;

/// Callers that post again at once would make many small commits, each with its sync. So after a commit of at least
/// [`PACED_RECORDS`], the next one begins this long per record after it began, [`INTERVAL_MAX`] at most.
const INTERVAL_PER_RECORD: Duration = Duration::from_micros(15);
const INTERVAL_MAX: Duration = Duration::from_millis(1);
const PACED_RECORDS: usize = 64;

/// The room is checked after so much time or so many bytes: not at each commit, and before a limit is passed by much.
const CHECK_ROOM_EVERY: Duration = Duration::from_millis(50);
const CHECK_ROOM_BYTES: usize = 256 << 10;

/// What else the writer can be asked for.
pub(super) enum Job {
    /// Write the delivery update and answer after the sync.
    Sync(oneshot::Sender<Result<(), AppendError>>),
    /// Write everything and end.
    Close,
}

pub(super) struct Writer {
    pub path: PathBuf,
    pub config: Config,
    pub incarnation: String,
    pub database: Option<Database>,
    pub jobs: Receiver<Job>,
    pub shared: Arc<Shared>,
    pub metrics: Metrics,
    pub room_checked_at: Instant,
    /// Bytes written since the room was checked.
    pub unchecked_bytes: usize,
    /// What is wrong with the file, until it is repaired.
    pub damage: Option<String>,
}

impl Writer {
    /// Opens the file and sends the number of its last record, or the error. Then it writes until the spool is closed.
    pub fn run(mut self, opened: Sender<Result<u64, OpenError>>, patient: bool) {
        let _end = End(Arc::clone(&self.shared));
        let outcome = self.open(patient);
        let failed = outcome.is_err();
        opened.send(outcome).ok();
        if failed {
            return;
        }
        let (mut tried, mut pause) = (Instant::now(), TICK);
        let (mut begun, mut interval) = (Instant::now(), Duration::ZERO);
        loop {
            std::thread::sleep(interval.saturating_sub(begun.elapsed()));
            let group = self.next_group();
            begun = Instant::now();
            interval = pace(group.records());
            if let Some(cause) = group.damage.clone() {
                self.note_damage(cause);
            }
            if self.database.is_none() && tried.elapsed() >= pause {
                self.reopen();
                tried = Instant::now();
                // A repair reads the whole file, and a disk that damages it at once will probably do so again.
                pause = if self.damage.is_some() { REPAIR_EVERY } else { TICK };
            }
            let close = group.close;
            match self.database.take() {
                Some(database) => self.serve(database, group),
                None => self.refuse(group),
            }
            if close {
                let last = self.shared.appended.load(Ordering::SeqCst);
                // If this fails, the next opening finds the number itself.
                self.database.map(|database| database.note_last(last));
                return;
            }
        }
    }

    /// Waits until there is something to do and takes all of it. The group is empty after a tick without work.
    fn next_group(&self) -> Group {
        let open = self.database.is_some();
        let gather = || {
            let mut group = Group::default();
            // Before the delivery update: a caller of `Job::Sync` has left one, which this commit must contain.
            for job in self.jobs.try_iter() {
                match job {
                    Job::Sync(done) => group.syncs.push(done),
                    Job::Close => group.close = true,
                }
            }
            group.appends = self.shared.take_appends();
            group.delivery = open.then(|| self.shared.take_delivery()).flatten();
            group.damage = self.shared.take_damage();
            (group.close || group.damage.is_some() || group.has_work()).then_some(group)
        };
        self.shared.writer.wait(TICK, gather).unwrap_or_default()
    }

    fn serve(&mut self, database: Database, group: Group) {
        let started = Instant::now();
        self.shared.note_commit(true);
        let outcome = self.commit(&database, &group);
        self.shared.note_commit(false);
        match outcome {
            Ok(()) => {
                if group.has_work() {
                    self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                }
                let bytes = group.bytes();
                group.complete(Ok(self.shared.appended.load(Ordering::SeqCst)));
                match self.maintain(&database, bytes) {
                    Ok(()) => self.database = Some(database),
                    Err(cause) => self.latch(&cause),
                }
            }
            Err(cause) => {
                self.latch(&cause);
                self.refuse(group);
            }
        }
    }

    /// Notes a failed commit. Nothing is accepted until the file has been opened and synced again.
    fn latch(&mut self, cause: &DatabaseError) {
        error!(%cause, path = %self.path.display(), "the spool failed to commit; nothing is acknowledged until it is opened again");
        self.metrics.commit_errors.inc();
        self.shared
            .set_health(Health::Broken(format!("the last commit failed: {cause}")));
        if cause.is_damage() {
            self.note_damage(cause.to_string());
        }
    }

    /// Notes that the file is damaged. It is not used until it is repaired.
    pub fn note_damage(&mut self, cause: String) {
        error!(cause, path = %self.path.display(), "the spool's file is damaged; nothing is acknowledged until it is repaired");
        self.database = None;
        let text = format!("the file is damaged ({cause}) and is being repaired");
        let is_new = self.shared.name.get().is_none();
        self.shared.set_health(if is_new {
            Health::Opening(text)
        } else {
            Health::Broken(text)
        });
        self.damage = Some(cause);
    }

    /// Checks the room and the length of the WAL from time to time, after the callers of a commit were completed.
    fn maintain(&mut self, database: &Database, committed_bytes: usize) -> Result<(), DatabaseError> {
        self.unchecked_bytes += committed_bytes;
        let soon = self.unchecked_bytes < CHECK_ROOM_BYTES && self.room_checked_at.elapsed() < CHECK_ROOM_EVERY;
        if soon && self.shared.is_accepting() {
            return Ok(());
        }
        (self.unchecked_bytes, self.room_checked_at) = (0, Instant::now());
        if database.checkpoint_wal("NOOP")?.bytes > WAL_LIMIT_BYTES {
            database.checkpoint_wal("PASSIVE")?;
        }
        self.check_room(database.used_bytes()?);
        Ok(())
    }

    /// Runs one transaction for the whole group, if there is something to write or to delete.
    fn commit(&self, database: &Database, group: &Group) -> Result<(), DatabaseError> {
        let shared = &self.shared;
        let delivery = group.delivery.as_ref();
        let delivered = delivery
            .map_or(0, |delivery| delivery.delivered)
            .max(shared.delivered.load(Ordering::SeqCst));
        let now_ms = unix_ms();
        let due = self.due_records(database, delivered, group.appends.is_empty(), now_ms)?;
        let retired = due.map(|due| shared.retired.load(Ordering::SeqCst) + due);
        if !group.has_work() && retired.is_none() {
            return Ok(());
        }
        database.begin()?;
        let mut seq = shared.appended.load(Ordering::SeqCst);
        for (_, records) in &group.appends {
            database.insert(seq + 1, now_ms, records)?;
            seq += records.len() as u64;
        }
        if let Some(delivery) = delivery {
            database.set_delivered(delivered)?;
            for (key, value) in &delivery.notes {
                database.set_note(key, value)?;
            }
        }
        if let Some(retired) = retired {
            database.retire(retired)?;
        }
        database.commit()?;
        shared.delivered.store(delivered, Ordering::SeqCst);
        if let Some(retired) = retired {
            shared.retired.store(retired, Ordering::SeqCst);
        }
        if !group.appends.is_empty() {
            self.metrics.batch_records.observe(group.records() as f64);
            shared.confirmed.note_durable(seq);
            shared.publish_appended(seq);
        }
        Ok(())
    }

    /// How many records this commit deletes, if any.
    fn due_records(
        &self,
        database: &Database,
        delivered: u64,
        idle: bool,
        now_ms: i64,
    ) -> Result<Option<u64>, DatabaseError> {
        let retired = self.shared.retired.load(Ordering::SeqCst);
        let kept = delivered.saturating_sub(retired);
        let mut due = kept;
        if let Some(keep) = self.config.keep.filter(|_| !self.is_crowded(kept)) {
            due = kept.saturating_sub(keep.records);
            // This reads the file, so it runs only when no caller waits.
            if idle && kept > 0 && due < RETIRE_STEP {
                let until_ms = database.appended_at_ms(delivered)?.unwrap_or(now_ms);
                let old = database.last_before(retired, kept.min(RETIRE_STEP), until_ms - keep.ms)?;
                due = due.max(old - retired);
            }
        }
        Ok((due >= RETIRE_AT || (idle && due > 0)).then_some(due.min(RETIRE_STEP)))
    }

    /// Whether the kept records take too much room: more than a tenth of the spool, by their share of the records, or
    /// any when the spool is full.
    fn is_crowded(&self, kept: u64) -> bool {
        let records = self.shared.appended.load(Ordering::SeqCst) - self.shared.retired.load(Ordering::SeqCst);
        let used_bytes = self.shared.used_bytes.load(Ordering::Relaxed);
        let kept_bytes = u128::from(used_bytes) * u128::from(kept) / u128::from(records.max(1));
        !self.shared.is_accepting() || kept_bytes > u128::from(self.config.max_bytes / KEPT_SHARE)
    }

    pub fn check_room(&self, used_bytes: u64) {
        self.shared.used_bytes.store(used_bytes, Ordering::Relaxed);
        let folder = self.path.parent().unwrap_or(&self.path);
        let free_bytes = rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail * disk.f_frsize);
        let room_bytes = self
            .config
            .max_bytes
            .saturating_sub(used_bytes)
            .min(free_bytes.saturating_sub(self.config.min_free_bytes));
        self.metrics.room_bytes.set(room_bytes.min(i64::MAX as u64) as i64);
        let health = if used_bytes >= self.config.max_bytes {
            Health::Full(format!(
                "{used_bytes} of spool.max_bytes {} are in use; there is room again when records are delivered",
                self.config.max_bytes
            ))
        } else if free_bytes < self.config.min_free_bytes {
            Health::Full(format!(
                "the disk has {free_bytes} bytes free, spool.min_free_bytes is {}; free space on it",
                self.config.min_free_bytes
            ))
        } else {
            Health::Accepting
        };
        if self.shared.is_accepting() != (health == Health::Accepting) {
            self.shared.set_health(health);
        }
    }

    /// Completes all callers with an error. The delivery update is kept for a later commit.
    fn refuse(&self, mut group: Group) {
        if let Some(delivery) = group.delivery.take() {
            self.shared.return_delivery(delivery);
        }
        group.complete(Err(AppendError::Broken));
    }

    fn reopen(&mut self) {
        match self.open_again() {
            Ok(database) => {
                info!("the spool is open and synced again");
                self.shared.set_health(Health::Accepting);
                self.database = Some(database);
            }
            Err(cause) => {
                if self.damage.is_some() {
                    error!(cause, "the spool's file is damaged and not repaired");
                }
                self.shared.set_health(Health::Broken(cause));
            }
        }
    }

    /// Opens the file again and checks that it is the one that was open before, with all its records.
    fn open_again(&mut self) -> Result<Database, String> {
        if !self.path.exists() {
            return Err(format!(
                "{} does not exist any more; restore it, or restart with an empty folder",
                self.path.display()
            ));
        }
        let (database, state) = self.open_or_repair().map_err(|cause| cause.to_string())?;
        let appended = self.shared.appended.load(Ordering::SeqCst);
        if state.incarnation != self.incarnation || state.appended < appended {
            return Err(format!(
                "{} is not the file that was open, or it lacks records; restart the bridge",
                self.path.display()
            ));
        }
        // A commit that changes nothing: it shows that the disk accepts commits again.
        database
            .set_delivered(state.delivered)
            .map_err(|cause| cause.to_string())?;
        self.shared.publish_appended(state.appended);
        Ok(database)
    }
}

/// The least time from the beginning of a commit with so many records to the beginning of the next one.
fn pace(records: usize) -> Duration {
    if records < PACED_RECORDS {
        Duration::ZERO
    } else {
        INTERVAL_MAX.min(INTERVAL_PER_RECORD * records as u32)
    }
}

/// Marks the spool as broken when the thread ends, also by a panic.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set_health(Health::Broken("the writer has ended".into()));
    }
}
