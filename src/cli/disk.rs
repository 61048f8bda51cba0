//! The disk under the spool: how long a sync takes, which file system it has, and how much space is free. The sync is
//! the same call that each commit of the spool waits for, on a file of its own that is removed afterwards.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::spool;

const SYNCS: usize = 100;
const APPEND_BYTES: usize = 4096;
/// Callers wait for a sync, and Tencent's time-out for the whole request is 2 s.
const SLOW: Duration = Duration::from_millis(50);
/// No device writes faster: a sync that returns sooner has written nothing.
const TOO_FAST: Duration = Duration::from_micros(20);
/// The spool's WAL beside its file.
const WAL_BYTES: u64 = 100 << 20;

/// The name of a file system by its number in `statfs`, and its problem if it is unsuitable for a spool.
fn file_system(number: u64) -> (&'static str, Option<&'static str>) {
    match number {
        0xEF53 => ("ext4", None),
        0x5846_5342 => ("xfs", None),
        0x9123_683E => ("btrfs", None),
        0x2FC1_2FC1 => ("zfs", None),
        0xF2F5_2010 => ("f2fs", None),
        0x0102_1994 => ("tmpfs", Some(VOLATILE)),
        0x8584_58F6 => ("ramfs", Some(VOLATILE)),
        0x794C_7630 => ("overlayfs", Some(EPHEMERAL)),
        0x6969 => ("nfs", Some(REMOTE)),
        0xFF53_4D42 => ("cifs", Some(REMOTE)),
        0xFE53_4D42 => ("smb2", Some(REMOTE)),
        0x00C3_6400 => ("ceph", Some(REMOTE)),
        0x0102_1997 => ("9p", Some(REMOTE)),
        0x6573_5546 => ("fuse", Some(REMOTE)),
        _ => ("an unknown file system", None),
    }
}
const VOLATILE: &str = "it is memory: a power failure loses every callback in the spool; use a disk";
const EPHEMERAL: &str = "it is deleted with its container, and the spool with it; mount a volume at spool.dir";
const REMOTE: &str = "SQLite's WAL needs locks and shared memory, which such file systems do not provide; use a local disk or a block device";

/// The measurements.
pub(super) struct Disk {
    /// The time of each sync, the shortest first.
    syncs: Vec<Duration>,
    file_system: u64,
    free_bytes: u64,
    /// Bytes that the spool uses already.
    spool_bytes: u64,
}

impl Disk {
    /// Appends to a file in this folder and syncs it, [`SYNCS`] times.
    pub fn measure(dir: &Path) -> io::Result<Disk> {
        let path = dir.join("check.tmp");
        let syncs = sync_times(&path);
        std::fs::remove_file(&path)?;
        let space = rustix::fs::statvfs(dir)?;
        let spool = std::fs::metadata(dir.join(spool::FILE));
        Ok(Disk {
            syncs: syncs?,
            file_system: rustix::fs::statfs(dir)?.f_type as u64 & 0xFFFF_FFFF,
            free_bytes: space.f_bavail * space.f_frsize,
            spool_bytes: spool.map_or(0, |file| file.len()),
        })
    }

    fn at(&self, share: f64) -> Duration {
        self.syncs[((self.syncs.len() - 1) as f64 * share) as usize]
    }

    /// Why it is unsuitable for this spool.
    pub fn problems(&self, config: &spool::Config) -> Vec<String> {
        let mut problems = Vec::new();
        let (typical, slow) = (self.at(0.5), self.at(0.99));
        if slow > SLOW {
            problems.push(format!(
                "one sync in a hundred takes {}: every callback waits for a sync, and OpenIM and Tencent time out after a few seconds; use a faster disk",
                ms(slow)
            ));
        }
        if typical < TOO_FAST {
            problems.push(format!(
                "a sync takes {}, which is faster than any device: the disk does not honour syncs, and a power failure loses acknowledged callbacks",
                ms(typical)
            ));
        }
        if let (name, Some(problem)) = file_system(self.file_system) {
            problems.push(format!("the file system is {name}: {problem}"));
        }
        let needed = config.max_bytes.saturating_sub(self.spool_bytes) + config.min_free_bytes + WAL_BYTES;
        if self.free_bytes < needed {
            problems.push(format!(
                "{} free, {} needed for spool.max_bytes, spool.min_free_bytes and the WAL: the disk fills up before the spool does; lower spool.max_bytes",
                gib(self.free_bytes),
                gib(needed)
            ));
        }
        problems
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}, {} free; {SYNCS} syncs of {APPEND_BYTES} bytes: p50 {}, p99 {}, longest {}",
            file_system(self.file_system).0,
            gib(self.free_bytes),
            ms(self.at(0.5)),
            ms(self.at(0.99)),
            ms(self.at(1.0))
        )
    }
}

fn sync_times(path: &Path) -> io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    let bytes = [0x5A; APPEND_BYTES];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times)
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1000.0)
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(micros: u64, file_system: u64, free_bytes: u64) -> Disk {
        Disk {
            syncs: vec![Duration::from_micros(micros); SYNCS],
            file_system,
            free_bytes,
            spool_bytes: 0,
        }
    }

    #[test]
    fn a_slow_a_volatile_and_a_small_disk_are_each_reported() {
        let config = spool::Config::default();
        let problems = |disk: Disk| disk.problems(&config).join("\n");
        let plenty = 100 << 30;
        assert_eq!(problems(disk(900, 0xEF53, plenty)), "");
        assert!(problems(disk(60_000, 0xEF53, plenty)).contains("one sync in a hundred takes 60.000 ms"));
        assert!(problems(disk(5, 0xEF53, plenty)).contains("does not honour syncs"));
        assert!(problems(disk(900, 0x0102_1994, plenty)).contains("tmpfs: it is memory"));
        assert!(problems(disk(900, 0x794C_7630, plenty)).contains("overlayfs: it is deleted with its container"));
        assert!(problems(disk(900, 0x6969, plenty)).contains("nfs: SQLite"));
        assert!(problems(disk(900, 0xEF53, 10 << 30)).contains("10.0 GiB free, 10.3 GiB needed"));
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::measure(folder.path()).unwrap();
        assert_eq!(disk.syncs.len(), SYNCS);
        assert!(disk.free_bytes > 0 && disk.at(0.5) <= disk.at(1.0));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
