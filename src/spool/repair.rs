//! A damaged file becomes a whole one. Every record that is still anywhere in its pages goes into a new file under its own
//! number; in the place of each that is lost stands a mark, which the forwarder publishes as a dead letter, so that no
//! number is missing silently. The damaged file stays in the folder `quarantine`. Nobody else may have the file open.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::database::{Database, DatabaseError};
use super::fresh::Fresh;
use super::pages::{GoOn, Pages};
use crate::lifecycle::unix_ms;

const QUARANTINE: &str = "quarantine";
/// Damaged files that are kept; when there are more, the oldest goes.
const KEPT_FILES: usize = 3;
/// Stretches of lost numbers that are logged one by one.
const LOGGED_STRETCHES: usize = 20;

/// Why a file was not repaired.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairError {
    /// Its position and its name cannot be read, without which its records are of no use.
    #[error("what is delivered and what is not cannot be read any more ({0})")]
    Head(DatabaseError),
    #[error("the new file could not be written ({0}); it takes as much room as the old one")]
    Database(#[from] DatabaseError),
    #[error("the new file could not be put in the old one's place: {0}")]
    Folder(#[from] io::Error),
    #[error("the bridge stops; the next start begins the repair again")]
    Abandoned,
}

impl RepairError {
    /// Whether another attempt may go well.
    pub fn may_pass(&self) -> bool {
        match self {
            RepairError::Head(cause) => cause.may_pass() && !cause.is_damage(),
            RepairError::Database(cause) => !cause.is_damage(),
            _ => true,
        }
    }
}

/// Puts a whole file in the damaged one's place. Records up to `appended` are known to have been there. Gives how many are lost; marks
/// stand for them.
pub(super) fn repair(path: &Path, appended: u64, go_on: GoOn<'_>) -> Result<u64, RepairError> {
    let fresh = path.with_extension("db.new");
    remove(&fresh)?;
    let outcome = rebuild(path, &fresh, appended, go_on).and_then(|stretches| {
        let quarantined = swap(path, &fresh)?;
        Ok((stretches, quarantined))
    });
    let (stretches, quarantined) = outcome.inspect_err(|_| _ = remove(&fresh))?;
    let lost = stretches.iter().map(|(first, last)| last - first + 1).sum();
    error!(lost, damaged = %quarantined.display(), "the spool's file was damaged; its readable records are in a new one");
    for (first, last) in stretches.iter().take(LOGGED_STRETCHES) {
        error!(
            first,
            last, "records of the spool are lost; a dead letter stands for each"
        );
    }
    Ok(lost)
}

/// Copies everything that is not delivered into a new file, and gives the first and last number of each lost stretch.
fn rebuild(path: &Path, fresh: &Path, appended: u64, go_on: GoOn<'_>) -> Result<Vec<(u64, u64)>, RepairError> {
    let old = Database::open(path).map_err(RepairError::Head)?;
    let head = old.head().map_err(RepairError::Head)?;
    old.truncate_wal()?;
    let page_bytes = old.page_bytes()? as usize;
    let new = Fresh::create(fresh, &head, old.checksum)?;
    // Sequence numbers are SQLite's row numbers: positive, and 64 bits.
    let wanted = head.delivered + 1..=i64::MAX as u64;
    let pages = Pages::open(path, page_bytes, old.checksum)?;
    let unreadable = pages.search(wanted, |found| new.take(&found), go_on)?;
    let unreadable = unreadable.ok_or(RepairError::Abandoned)?;
    if unreadable > 0 {
        error!(
            pages = unreadable,
            "pages of the spool's damaged file could not be read at all"
        );
    }
    let stretches = new.complete(head.delivered, appended.max(head.appended), unix_ms())?;
    drop(old);
    File::open(fresh)?.sync_all()?;
    Ok(stretches)
}

/// The damaged file keeps a name at every moment; the new one takes its place in one step.
fn swap(path: &Path, fresh: &Path) -> io::Result<PathBuf> {
    let kept = quarantine(path)?;
    // The WAL is empty, and the new file must not find the old one's.
    remove(&path.with_extension("db-wal"))?;
    remove(&path.with_extension("db-shm"))?;
    std::fs::rename(fresh, path)?;
    sync_folder(path.parent().expect("a file is in a folder"))?;
    Ok(kept)
}

/// Gives a damaged file a second name, in the quarantine beside it.
pub(super) fn quarantine(path: &Path) -> io::Result<PathBuf> {
    let quarantine = path.with_file_name(QUARANTINE);
    std::fs::create_dir_all(&quarantine)?;
    let extension = path.extension().unwrap_or_default().display();
    let kept = quarantine.join(format!("spool-{}.{extension}", unix_ms()));
    std::fs::hard_link(path, &kept).or_else(|_| std::fs::copy(path, &kept).map(drop))?;
    sync_folder(&quarantine)?;
    limit(&quarantine)?;
    Ok(kept)
}

fn limit(quarantine: &Path) -> io::Result<()> {
    let entries = std::fs::read_dir(quarantine)?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    // Their names are times, of as many digits each.
    files.sort();
    let surplus = files.len().saturating_sub(KEPT_FILES);
    for oldest in files.drain(..surplus) {
        warn!(file = %oldest.display(), "the spool's quarantine is full; its oldest file goes");
        std::fs::remove_file(oldest)?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
