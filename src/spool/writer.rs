//! The one thread that writes: everything that waits goes into one transaction and one sync, then everyone who waited
//! is told. It knows records and positions, not what they mean.
//!
//! The first error of a commit latches: the records of that commit and all later ones are refused, the handle is dropped,
//! and only a fresh handle that has synced the whole file (see `database`) accepts again.

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

/// Records deleted in one commit at most, so that deletion never delays an acknowledgement much.
const RETIRE_STEP: u64 = 4096;
/// Records that wait for deletion before a busy writer bothers; whole pages are freed, not parts of them.
const RETIRE_AT: u64 = 1024;
/// What is delivered and kept may take this part of the spool's bytes.
const KEPT_SHARE: u64 = 10;
/// An idle writer wakes this often for deletion, and a broken one to try the file again.
const TICK: Duration = Duration::from_millis(500);
/// At most so often a repair is tried.
const REPAIR_EVERY: Duration = Duration::from_secs(10);
/// A WAL above this is copied into the file by the writer itself, so that it starts over; the WAL checkpointer
/// has done nearly all of it by then.
const WAL_LIMIT_BYTES: u64 = 64 << 20;

/// Callers that come back at once make many small commits, each with its sync. The next commit begins no sooner after one
/// of at least [`PACED_RECORDS`] than this for each of its records, [`INTERVAL_MAX`] at most, so that it is as large.
const INTERVAL_PER_RECORD: Duration = Duration::from_micros(15);
const INTERVAL_MAX: Duration = Duration::from_millis(1);
const PACED_RECORDS: usize = 64;

/// How often the room is looked at: often enough that the bound is overshot by little, and not at each commit.
const JUDGE_EVERY: Duration = Duration::from_millis(50);
const JUDGE_AT_BYTES: usize = 256 << 10;

/// What the writer is asked for beside appends.
pub(super) enum Job {
    /// Write the progress down and answer after the sync.
    Sync(oneshot::Sender<Result<(), AppendError>>),
    /// Write everything down and end.
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
    pub judged_at: Instant,
    pub unjudged_bytes: usize,
    /// What is wrong with the file, until it is repaired.
    pub damage: Option<String>,
}

impl Writer {
    /// Opens the file, and tells with which last record or why not; then writes until it is closed.
    pub fn run(mut self, opened: Sender<Result<u64, OpenError>>, patient: bool) {
        let _end = End(Arc::clone(&self.shared));
        self.shared.i_am_the_writer();
        match self.open(patient) {
            Ok(appended) => _ = opened.send(Ok(appended)),
            Err(cause) => {
                opened.send(Err(cause)).ok();
                return;
            }
        }
        let (mut tried, mut pause) = (Instant::now(), TICK);
        let (mut begun, mut interval) = (Instant::now(), Duration::ZERO);
        loop {
            std::thread::sleep(interval.saturating_sub(begun.elapsed()));
            let group = self.next_group();
            begun = Instant::now();
            interval = pace(group.records());
            if let Some(cause) = group.damage.clone() {
                self.give_up(cause);
            }
            if self.database.is_none() && tried.elapsed() >= pause {
                self.reopen();
                tried = Instant::now();
                // Each repair goes through the whole file, and a disk that damages it at once will do so again.
                pause = if self.damage.is_some() { REPAIR_EVERY } else { TICK };
            }
            let close = group.close;
            match self.database.take() {
                Some(database) => self.serve(database, group),
                None => self.refuse(group, AppendError::Broken),
            }
            if close {
                let last = self.shared.appended.load(Ordering::SeqCst);
                // The next opening finds it out where this fails.
                self.database.map(|database| database.note_last(last));
                return;
            }
        }
    }

    /// Waits until there is something to do, and takes everything there is; empty after a tick without.
    fn next_group(&self) -> Group {
        let open = self.database.is_some();
        let gather = || {
            let mut group = Group::default();
            // Before the progress: whoever asks for a sync has left his own, which this commit has to hold.
            for job in self.jobs.try_iter() {
                match job {
                    Job::Sync(done) => group.syncs.push(done),
                    Job::Close => group.close = true,
                }
            }
            group.appends = self.shared.take_appends();
            group.progress = open.then(|| self.shared.take_progress()).flatten();
            group.damage = self.shared.take_damage();
            (group.close || group.damage.is_some() || group.work() > 0).then_some(group)
        };
        self.shared.wait_as_writer(TICK, gather).unwrap_or_default()
    }

    fn serve(&mut self, database: Database, group: Group) {
        let started = Instant::now();
        self.shared.note_commit(true);
        let outcome = self.commit(&database, &group);
        self.shared.note_commit(false);
        match outcome {
            Ok(()) => {
                if group.work() > 0 {
                    self.metrics.commit_seconds.observe(started.elapsed().as_secs_f64());
                }
                let bytes = group.bytes();
                group.acknowledge(self.shared.appended.load(Ordering::SeqCst));
                match self.keep_house(&database, bytes) {
                    Ok(()) => self.database = Some(database),
                    Err(cause) => self.latch(&cause),
                }
            }
            Err(cause) => {
                self.latch(&cause);
                self.refuse(group, AppendError::Broken);
            }
        }
    }

    /// The file is in doubt: nothing is accepted until it was opened and synced anew.
    fn latch(&mut self, cause: &DatabaseError) {
        error!(%cause, path = %self.path.display(), "the spool failed to commit; nothing is acknowledged until it is opened again");
        self.metrics.commit_errors.inc();
        self.shared
            .set_health(Health::Broken(format!("the last commit failed: {cause}")));
        if cause.is_damage() {
            self.give_up(cause.to_string());
        }
    }

    /// The file is damaged: it must not be used before it is repaired.
    pub fn give_up(&mut self, cause: String) {
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

    /// Now and then after a commit, when those who waited for it have been told: room, and a WAL that grows too long.
    fn keep_house(&mut self, database: &Database, committed_bytes: usize) -> Result<(), DatabaseError> {
        self.unjudged_bytes += committed_bytes;
        let soon = self.unjudged_bytes < JUDGE_AT_BYTES && self.judged_at.elapsed() < JUDGE_EVERY;
        if soon && self.shared.is_accepting() {
            return Ok(());
        }
        (self.unjudged_bytes, self.judged_at) = (0, Instant::now());
        if database.checkpoint_wal("NOOP")?.0 > WAL_LIMIT_BYTES {
            database.checkpoint_wal("PASSIVE")?;
        }
        self.judge_room(database.used_bytes()?);
        Ok(())
    }

    /// One transaction for the whole group; none where there is nothing to write or to delete.
    fn commit(&self, database: &Database, group: &Group) -> Result<(), DatabaseError> {
        let shared = &self.shared;
        let progress = group.progress.as_ref();
        let delivered = progress
            .map_or(0, |p| p.delivered)
            .max(shared.delivered.load(Ordering::SeqCst));
        let now_ms = unix_ms();
        let retired = self.retire_to(database, (delivered, group.appends.is_empty()), now_ms)?;
        if group.work() == 0 && retired.is_none() {
            return Ok(());
        }
        database.begin()?;
        let mut seq = shared.appended.load(Ordering::SeqCst);
        for (_, records) in &group.appends {
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

    /// How far this commit deletes, if at all.
    fn retire_to(
        &self,
        database: &Database,
        (delivered, idle): (u64, bool),
        now_ms: i64,
    ) -> Result<Option<u64>, DatabaseError> {
        let retired = self.shared.retired.load(Ordering::SeqCst);
        let kept = delivered.saturating_sub(retired);
        let mut due = kept;
        if let Some(keep) = self.config.keep.filter(|_| !self.is_crowded(kept)) {
            due = kept.saturating_sub(keep.records);
            // Looked up in the file, and so only when nobody waits.
            if idle && kept > 0 && due < RETIRE_STEP {
                let until_ms = database.appended_at_ms(delivered)?.unwrap_or(now_ms);
                let old = database.last_before(retired, kept.min(RETIRE_STEP), until_ms - keep.ms)?;
                due = due.max(old - retired);
            }
        }
        Ok((due >= RETIRE_AT || (idle && due > 0)).then(|| retired + due.min(RETIRE_STEP)))
    }

    /// What is delivered may take a tenth of the spool, by its share of the records, and nothing when the spool is full.
    fn is_crowded(&self, kept: u64) -> bool {
        let records = self.shared.appended.load(Ordering::SeqCst) - self.shared.retired.load(Ordering::SeqCst);
        let used_bytes = self.shared.used_bytes.load(Ordering::Relaxed);
        let kept_bytes = u128::from(used_bytes) * u128::from(kept) / u128::from(records.max(1));
        !self.shared.is_accepting() || kept_bytes > u128::from(self.config.max_bytes / KEPT_SHARE)
    }

    pub fn judge_room(&self, used_bytes: u64) {
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
                "{used_bytes} of spool.max_bytes {} are in use; what is delivered makes room",
                self.config.max_bytes
            ))
        } else if free_bytes < self.config.min_free_bytes {
            Health::Full(format!(
                "the disk has {free_bytes} bytes free, spool.min_free_bytes is {}; make room on it",
                self.config.min_free_bytes
            ))
        } else {
            Health::Accepting
        };
        if self.shared.is_accepting() != (health == Health::Accepting) {
            self.shared.set_health(health);
        }
    }

    /// Tells everyone that nothing was made durable. The progress is kept for a later commit.
    fn refuse(&self, group: Group, cause: AppendError) {
        if let Some(progress) = group.progress {
            self.shared.return_progress(progress);
        }
        group
            .appends
            .into_iter()
            .for_each(|(lane, records)| lane.tell(records.len(), Err(cause)));
        group.syncs.into_iter().for_each(|done| _ = done.send(Err(cause)));
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

    /// Opens the file anew and makes sure that it is the one that was open before, with everything in it.
    fn open_again(&mut self) -> Result<Database, String> {
        if !self.path.exists() {
            return Err(format!(
                "{} has gone; bring it back, or restart with an empty folder",
                self.path.display()
            ));
        }
        let (database, state) = self.open_or_repair().map_err(|cause| cause.to_string())?;
        let appended = self.shared.appended.load(Ordering::SeqCst);
        if state.incarnation != self.incarnation || state.appended < appended {
            return Err(format!(
                "{} is not the file that was open: it lacks records; restart the bridge",
                self.path.display()
            ));
        }
        database.prove(state.delivered).map_err(|cause| cause.to_string())?;
        self.shared.publish_appended(state.appended);
        Ok(database)
    }
}

/// The least time between the beginning of a commit of so many records and the next.
fn pace(records: usize) -> Duration {
    if records < PACED_RECORDS {
        Duration::ZERO
    } else {
        INTERVAL_MAX.min(INTERVAL_PER_RECORD * records as u32)
    }
}

/// However the thread ends, a panic included, nothing is accepted afterwards.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.set_health(Health::Broken("the writer has ended".into()));
    }
}
