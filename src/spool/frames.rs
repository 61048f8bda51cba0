//! Repairs a WAL that is damaged in its middle. SQLite reads a WAL up to the first frame with a wrong checksum: after a
//! power cut, nothing behind that frame was synced. But the writer syncs each transaction before it begins the next
//! one. So if two complete transactions follow the wrong frame, it was synced, and so were they. Then the checksums of
//! that frame and of all frames behind it are computed again. Only the page in the wrong frame is damaged after that,
//! and the repair of the file handles it.
//!
//! The format is described in SQLite's "WAL-mode File Format".

use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::Path;

use tracing::error;

use super::repair::{quarantine, sync_folder};

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const MAGIC: u32 = 0x377f_0682;
/// So many complete transactions behind a wrong frame show that it was synced. After one, its sync may not have ended.
const PROOF: usize = 2;

/// SQLite's running checksum over the WAL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum(u32, u32);

/// Reads a WAL frame by frame.
struct Frames<R> {
    file: R,
    header: [u8; HEADER_BYTES],
    /// The current frame, with its header.
    frame: Vec<u8>,
}

/// Frames are counted from 0.
#[derive(Debug, PartialEq, Eq)]
struct Damage {
    first_wrong: usize,
    /// The last frame of the last complete transaction.
    last: usize,
    /// Pages of the database after that transaction.
    pages: u32,
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

impl Sum {
    fn at(bytes: &[u8], at: usize) -> Sum {
        Sum(number(bytes, at), number(bytes, at + 4))
    }

    fn over(self, bytes: &[u8], big_endian: bool) -> Sum {
        let (pairs, _) = bytes.as_chunks::<8>();
        pairs.iter().fold(self, |Sum(first, second), pair| {
            let [a, b] = [0, 4].map(|at| {
                let number = number(pair, at);
                if big_endian { number } else { number.swap_bytes() }
            });
            let first = first.wrapping_add(a).wrapping_add(second);
            Sum(first, second.wrapping_add(b).wrapping_add(first))
        })
    }
}

impl<R: Read> Frames<R> {
    /// Reads the header; `None` if this is no WAL.
    fn open(mut file: R) -> io::Result<Option<Frames<R>>> {
        let mut header = [0; HEADER_BYTES];
        match file.read_exact(&mut header) {
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let page_bytes = number(&header, 8) as usize;
        let is_wal = number(&header, 0) & !1 == MAGIC && (512..=65536).contains(&page_bytes);
        Ok(is_wal.then(|| Frames {
            file,
            header,
            frame: vec![0; FRAME_HEADER_BYTES + page_bytes],
        }))
    }

    /// Reads the next frame; false if there is no complete one.
    fn advance(&mut self) -> io::Result<bool> {
        match self.file.read_exact(&mut self.frame) {
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => Ok(false),
            read => read.map(|()| true),
        }
    }

    fn sum(&self, before: Sum) -> Sum {
        let big_endian = number(&self.header, 0) & 1 == 1;
        let sum = before.over(&self.frame[..8], big_endian);
        sum.over(&self.frame[FRAME_HEADER_BYTES..], big_endian)
    }

    /// Whether the frame belongs to this WAL and its checksum is right. `before` is the checksum of the previous frame.
    fn is_sound(&self, before: Sum) -> bool {
        self.frame[8..16] == self.header[16..24] && self.sum(before) == Sum::at(&self.frame, 16)
    }

    /// If the frame ends a transaction, the pages of the database after it; otherwise 0.
    fn commits(&self) -> u32 {
        number(&self.frame, 4)
    }
}

/// Makes a WAL that is damaged in its middle readable to its end. No process may have it open.
///
/// # Errors
/// The operating system's. The WAL is then unchanged.
pub(super) fn repair_wal(database: &Path) -> io::Result<()> {
    let path = database.with_extension("db-wal");
    let open = || Frames::open(BufReader::new(File::open(&path)?));
    let frames = match open() {
        Err(cause) if cause.kind() == ErrorKind::NotFound => None,
        frames => frames?,
    };
    let Some(damage) = frames.map(find_damage).transpose()?.flatten() else {
        return Ok(());
    };
    let new = database.with_extension("db-wal.new");
    if let Some(frames) = open()? {
        rewrite(frames, &damage, File::create(&new)?)?;
    }
    let quarantined = quarantine(&path)?;
    std::fs::rename(&new, &path)?;
    sync_folder(database.parent().expect("a file is in a folder"))?;
    error!(
        frame = damage.first_wrong,
        frames = damage.last + 1,
        damaged = %quarantined.display(),
        "the spool's WAL was damaged in its middle; the transactions behind the damage were recovered"
    );
    Ok(())
}

fn find_damage(mut frames: Frames<impl Read>) -> io::Result<Option<Damage>> {
    let mut before = Sum::at(&frames.header, 24);
    let (mut first_wrong, mut proof, mut last, mut pages) = (None, 0, 0, 0);
    let mut place = 0;
    while frames.advance()? {
        let sound = frames.is_sound(before);
        if !sound {
            first_wrong = first_wrong.or(Some(place));
        } else if first_wrong.is_some() && frames.commits() > 0 {
            (last, pages) = (place, frames.commits());
            proof += 1;
        }
        // The checksum that the frame states, even if it is wrong: so the next frame is checked on its own.
        before = Sum::at(&frames.frame, 16);
        place += 1;
    }
    let damage = |first_wrong| Damage {
        first_wrong,
        last,
        pages,
    };
    Ok(first_wrong.filter(|_| proof >= PROOF).map(damage))
}

fn rewrite(mut frames: Frames<impl Read>, damage: &Damage, file: File) -> io::Result<()> {
    let mut new = BufWriter::new(file);
    new.write_all(&frames.header)?;
    let mut stored = Sum::at(&frames.header, 24);
    let mut written = stored;
    for _ in 0..=damage.last {
        if !frames.advance()? {
            break;
        }
        let sound = frames.is_sound(stored);
        stored = Sum::at(&frames.frame, 16);
        if !sound {
            // A page number that the database does not have is left out. A wrong frame does not end a transaction.
            if !(1..=damage.pages).contains(&number(&frames.frame, 0)) {
                continue;
            }
            frames.frame[4..8].fill(0);
        }
        let salts: [u8; 8] = std::array::from_fn(|at| frames.header[16 + at]);
        frames.frame[8..16].copy_from_slice(&salts);
        written = frames.sum(written);
        frames.frame[16..20].copy_from_slice(&written.0.to_be_bytes());
        frames.frame[20..24].copy_from_slice(&written.1.to_be_bytes());
        new.write_all(&frames.frame)?;
    }
    new.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAL of ten transactions, as SQLite writes it.
    fn wal() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let database = rusqlite::Connection::open(&path).unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        database.execute_batch("CREATE TABLE a (b BLOB)").unwrap();
        for _ in 0..9 {
            database.execute("INSERT INTO a VALUES (randomblob(3000))", []).unwrap();
        }
        std::fs::read(path.with_extension("db-wal")).unwrap()
    }

    fn found(wal: &[u8]) -> Option<Damage> {
        find_damage(Frames::open(wal).unwrap().expect("a WAL")).unwrap()
    }

    /// The numbers of the frames that end transactions.
    fn ends(wal: &[u8]) -> Vec<usize> {
        let mut frames = Frames::open(wal).unwrap().expect("a WAL");
        let mut ends = Vec::new();
        let mut place = 0;
        while frames.advance().unwrap() {
            ends.extend((frames.commits() > 0).then_some(place));
            place += 1;
        }
        ends
    }

    #[test]
    fn a_wal_that_sqlite_has_written_is_sound_at_any_length() {
        let wal = wal();
        for length in (HEADER_BYTES..=wal.len()).step_by(500) {
            assert_eq!(found(&wal[..length]), None, "{length} bytes");
        }
        assert!(Frames::open(&wal[..HEADER_BYTES - 1]).unwrap().is_none());
    }

    #[test]
    fn a_wrong_byte_is_damage_if_two_transactions_follow_and_otherwise_a_torn_end() {
        let wal = wal();
        let frame_bytes = FRAME_HEADER_BYTES + number(&wal, 8) as usize;
        let ends = ends(&wal);
        assert_eq!(ends.len(), 10);
        for at in (HEADER_BYTES..wal.len()).step_by(97) {
            let mut wal = wal.clone();
            wal[at] ^= 0x10;
            let frame = (at - HEADER_BYTES) / frame_bytes;
            // A wrong checksum in a frame makes the next frame wrong too.
            let in_sum = (16..24).contains(&((at - HEADER_BYTES) % frame_bytes));
            let behind = frame + usize::from(in_sum);
            let proof = ends.iter().filter(|end| **end > behind).count();
            let first = found(&wal).map(|damage| damage.first_wrong);
            assert_eq!(first, (proof >= PROOF).then_some(frame), "byte {at}");
        }
    }
}
