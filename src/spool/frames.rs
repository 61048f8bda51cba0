//! A WAL that is damaged in its middle. SQLite reads one up to the first frame whose checksum is wrong, since after a power cut
//! nothing behind it was ever synced. But the writer syncs each transaction before it begins the next one: where two whole
//! ones follow the wrong frame, it was synced, and so were they. Then its checksum is made to fit, and those of all
//! frames behind it, so that nothing but that page is damaged: that is what a repair is for.
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
/// Transactions behind a wrong frame that show that it was synced: of one alone, the sync may have been under way.
const PROOF: usize = 2;

/// SQLite's checksum, over everything so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sum(u32, u32);

/// A WAL while it is read from its first frame on.
struct Frames<R> {
    file: R,
    header: [u8; HEADER_BYTES],
    /// The frame that was read last, with its own header.
    frame: Vec<u8>,
}

/// Frames by their place, from 0.
#[derive(Debug, PartialEq, Eq)]
struct Damage {
    first_wrong: usize,
    /// The last frame of the last whole transaction.
    last: usize,
    /// Pages of the database as of then.
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
    /// `None` where there is no WAL with a frame.
    fn open(mut file: R) -> io::Result<Option<Frames<R>>> {
        let mut header = [0; HEADER_BYTES];
        match file.read_exact(&mut header) {
            Err(cause) if cause.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let page_bytes = number(&header, 8) as usize;
        let is_one = number(&header, 0) & !1 == MAGIC && (512..=65536).contains(&page_bytes);
        Ok(is_one.then(|| Frames {
            file,
            header,
            frame: vec![0; FRAME_HEADER_BYTES + page_bytes],
        }))
    }

    /// Reads the next frame; false when there is no whole one.
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

    /// Whether the frame is of this WAL and what its checksum says, behind a frame with this one.
    fn is_sound(&self, before: Sum) -> bool {
        self.frame[8..16] == self.header[16..24] && self.sum(before) == Sum::at(&self.frame, 16)
    }

    /// Pages of the database, where the frame ends a transaction; else 0.
    fn commits(&self) -> u32 {
        number(&self.frame, 4)
    }
}

/// Makes a WAL that is damaged in its middle readable to its end. Nobody may have it open.
///
/// # Errors
/// The operating system's; the WAL is as it was.
pub(super) fn mend(database: &Path) -> io::Result<()> {
    let path = database.with_extension("db-wal");
    let open = || Frames::open(BufReader::new(File::open(&path)?));
    let frames = match open() {
        Err(cause) if cause.kind() == ErrorKind::NotFound => None,
        frames => frames?,
    };
    let Some(damage) = frames.map(find).transpose()?.flatten() else {
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
        "the spool's WAL was damaged in its middle; what stands behind that is read all the same"
    );
    Ok(())
}

fn find(mut frames: Frames<impl Read>) -> io::Result<Option<Damage>> {
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
        // What the frame says of itself, so that the next one is judged by itself.
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
            // A page that the database has not is left out, and a transaction ends where a sound frame says so.
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
        find(Frames::open(wal).unwrap().expect("a WAL")).unwrap()
    }

    /// The places of the frames that end transactions.
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
    fn what_sqlite_has_written_is_sound_however_little_of_it_there_is() {
        let wal = wal();
        for length in (HEADER_BYTES..=wal.len()).step_by(500) {
            assert_eq!(found(&wal[..length]), None, "{length} bytes");
        }
        assert!(Frames::open(&wal[..HEADER_BYTES - 1]).unwrap().is_none());
    }

    #[test]
    fn a_wrong_byte_is_damage_where_two_transactions_follow_and_else_the_torn_end_of_a_power_cut() {
        let wal = wal();
        let frame_bytes = FRAME_HEADER_BYTES + number(&wal, 8) as usize;
        let ends = ends(&wal);
        assert_eq!(ends.len(), 10);
        for at in (HEADER_BYTES..wal.len()).step_by(97) {
            let mut wal = wal.clone();
            wal[at] ^= 0x10;
            let frame = (at - HEADER_BYTES) / frame_bytes;
            // A wrong checksum in a frame makes the next one wrong, too.
            let in_sum = (16..24).contains(&((at - HEADER_BYTES) % frame_bytes));
            let behind = frame + usize::from(in_sum);
            let proof = ends.iter().filter(|end| **end > behind).count();
            let first = found(&wal).map(|damage| damage.first_wrong);
            assert_eq!(first, (proof >= PROOF).then_some(frame), "byte {at}");
        }
    }
}
