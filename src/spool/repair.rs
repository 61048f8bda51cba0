//! Replaces a damaged file. Every record that is found in its pages goes into a new file under its own number. An entry
//! stands for each lost record, and the forwarder publishes a dead letter for it, so that no number is missing
//! silently. The damaged file stays in the folder `quarantine`. Nobody else may have the file open.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use tracing::{error, warn};

use super::database::{Database, DatabaseError};
use super::fresh::Fresh;
use super::pages::{OnProgress, Pages};
use crate::lifecycle::unix_ms;

const QUARANTINE: &str = "quarantine";
/// Damaged files that are kept. When there are more, the oldest one is deleted.
const KEPT_FILES: usize = 3;
/// Ranges of lost numbers that are logged one by one.
const LOGGED_RANGES: usize = 20;

/// Why a file was not repaired.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairError {
    /// The file's name and its delivered position cannot be read, without which its records are of no use.
    #[error("its delivered position cannot be read any more ({0})")]
    Head(DatabaseError),
    #[error("the new file could not be written ({0}); it takes as much room as the old one")]
    Database(#[from] DatabaseError),
    #[error("the new file could not replace the old one: {0}")]
    Folder(#[from] io::Error),
    #[error("the bridge stops; the next start begins the repair again")]
    Cancelled,
}

impl RepairError {
    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            RepairError::Head(cause) => cause.may_pass() && !cause.is_damage(),
            RepairError::Database(cause) => !cause.is_damage(),
            _ => true,
        }
    }
}

/// Replaces the damaged file by a repaired one. Records up to `appended` are known to have been there. Returns how many
/// records are lost.
pub(super) fn repair(path: &Path, appended: u64, on_progress: OnProgress<'_>) -> Result<u64, RepairError> {
    let fresh = path.with_extension("db.new");
    remove(&fresh)?;
    let outcome = rebuild(path, &fresh, appended, on_progress).and_then(|lost| Ok((lost, swap(path, &fresh)?)));
    let (lost, quarantined) = outcome.inspect_err(|_| _ = remove(&fresh))?;
    let count = lost.iter().map(|range| range.end() - range.start() + 1).sum();
    error!(lost = count, damaged = %quarantined.display(), "the spool's file was damaged; its readable records are in a new one");
    for range in lost.iter().take(LOGGED_RANGES) {
        error!(
            first = range.start(),
            last = range.end(),
            "records of the spool are lost; a dead letter is published for each"
        );
    }
    Ok(count)
}

/// Copies everything that is not delivered into a new file, and returns the ranges of lost numbers.
fn rebuild(
    path: &Path,
    fresh: &Path,
    appended: u64,
    on_progress: OnProgress<'_>,
) -> Result<Vec<RangeInclusive<u64>>, RepairError> {
    let old = Database::open(path).map_err(RepairError::Head)?;
    let head = old.head().map_err(RepairError::Head)?;
    old.truncate_wal()?;
    let page_bytes = old.page_bytes()? as usize;
    let new = Fresh::create(fresh, &head, old.checksum)?;
    // Sequence numbers are SQLite's row numbers: positive, and 64 bits.
    let wanted = head.delivered + 1..=i64::MAX as u64;
    let pages = Pages::open(path, page_bytes, old.checksum)?;
    let unreadable = pages.search(wanted, |found| new.insert(&found), on_progress)?;
    let unreadable = unreadable.ok_or(RepairError::Cancelled)?;
    if unreadable > 0 {
        error!(
            pages = unreadable,
            "pages of the spool's damaged file could not be read at all"
        );
    }
    let lost = new.complete(head.delivered, appended.max(head.appended), unix_ms())?;
    drop(old);
    File::open(fresh)?.sync_all()?;
    Ok(lost)
}

/// Replaces the damaged file in one step. It has a name in the folder or in the quarantine at every moment.
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
    // The names are times with the same number of digits.
    files.sort();
    let surplus = files.len().saturating_sub(KEPT_FILES);
    for oldest in files.drain(..surplus) {
        warn!(file = %oldest.display(), "the spool's quarantine is full, so its oldest file is deleted");
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
