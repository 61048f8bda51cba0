//! Records found in the raw pages of a damaged file, by their checksums and not by the tree: what leads to a record may be
//! destroyed while the record is whole. It knows SQLite's form of a row, and nothing of where rows belong.

use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::record::checksum;

/// A row that may be a record.
pub(super) struct Found {
    pub seq: u64,
    pub appended_at_ms: i64,
    pub crc: i64,
    pub data: Vec<u8>,
}

impl Found {
    /// Whether the bytes have their checksum, so that this is a record beyond doubt.
    pub fn is_intact(&self) -> bool {
        self.crc == i64::from(checksum(self.seq, &self.data))
    }
}

/// What the disk refuses to read for so long, all pages together, is lost: it may be a fault that passes.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);

/// The pages of a file.
pub(super) struct Pages {
    file: File,
    page_bytes: usize,
    count: u64,
}

impl Pages {
    pub fn open(path: &std::path::Path, page_bytes: usize) -> io::Result<Pages> {
        let file = File::open(path)?;
        let count = file.metadata()?.len() / page_bytes as u64;
        Ok(Pages {
            file,
            page_bytes,
            count,
        })
    }

    /// Shows everything that looks like a record with one of these numbers, at any place of any page, the same record perhaps
    /// several times. Gives the number of pages that could not be read.
    pub fn search<E>(
        &self,
        seqs: RangeInclusive<u64>,
        mut found: impl FnMut(Found) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut page = vec![0; self.page_bytes];
        let (mut unreadable, deadline) = (0, Instant::now() + PATIENCE);
        for number in 1..=self.count {
            let mut read = self.read(number, &mut page);
            while read.is_none() && Instant::now() < deadline {
                std::thread::sleep(AGAIN);
                read = self.read(number, &mut page);
            }
            if read.is_none() {
                unreadable += 1;
                continue;
            }
            for at in 0..page.len() {
                if let Some(record) = self.record(&page, at, &seqs) {
                    found(record)?;
                }
            }
        }
        Ok(unreadable)
    }

    fn read(&self, number: u64, page: &mut [u8]) -> Option<()> {
        let at = number.checked_sub(1)?.checked_mul(self.page_bytes as u64)?;
        self.file.read_exact_at(page, at).ok()
    }

    /// The row that begins here, if one does: its length, its number, then the columns' types and the columns, of which the
    /// first is stored as NULL because the row's number stands for it.
    fn record(&self, page: &[u8], start: usize, seqs: &RangeInclusive<u64>) -> Option<Found> {
        let mut at = start;
        let length = usize::try_from(varint(page, &mut at)?).ok()?;
        let seq = varint(page, &mut at)?;
        if !seqs.contains(&seq) || length > 1 << 30 {
            return None;
        }
        let columns = at;
        let head = varint(page, &mut at)? as usize;
        let types = [(); 4].map(|()| varint(page, &mut at));
        let [Some(0), Some(at_type), Some(crc_type), Some(data_type)] = types else {
            return None;
        };
        let bytes = data_type.checked_sub(12).filter(|_| data_type % 2 == 0)? as usize / 2;
        let (at_bytes, crc_bytes) = (integer_bytes(at_type)?, integer_bytes(crc_type)?);
        let fits = at - columns == head && head + at_bytes + crc_bytes + bytes == length;
        if !fits {
            return None;
        }
        let row = self.row(page, columns, length)?;
        let (appended_at, rest) = row[head..].split_at(at_bytes);
        let (crc, data) = rest.split_at(crc_bytes);
        Some(Found {
            seq,
            appended_at_ms: integer(at_type, appended_at),
            crc: integer(crc_type, crc),
            data: data.to_vec(),
        })
    }

    /// A row's bytes, of which those that did not fit into its page are in a chain of others.
    fn row(&self, page: &[u8], start: usize, length: usize) -> Option<Vec<u8>> {
        let (usable, most) = (self.page_bytes, self.page_bytes - 35);
        if length <= most {
            return Some(page.get(start..start + length)?.to_vec());
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let wanted = least + (length - least) % (usable - 4);
        let local = if wanted <= most { wanted } else { least };
        let mut row = page.get(start..start + local)?.to_vec();
        let mut next = page.get(start + local..start + local + 4)?.try_into().ok()?;
        let mut other = vec![0; usable];
        while row.len() < length {
            self.read(u32::from_be_bytes(next).into(), &mut other)?;
            next = other[..4].try_into().ok()?;
            let rest = (length - row.len()).min(usable - 4);
            row.extend_from_slice(&other[4..4 + rest]);
        }
        Some(row)
    }
}

/// SQLite's integer of one to nine bytes, the highest bits first.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for place in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if place == 8 {
            return Some(value << 8 | u64::from(byte));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            break;
        }
    }
    Some(value)
}

/// How many bytes an integer column of this type has.
fn integer_bytes(kind: u64) -> Option<usize> {
    Some(match kind {
        8 | 9 => 0,
        1..=4 => kind as usize,
        5 => 6,
        6 => 8,
        _ => return None,
    })
}

fn integer(kind: u64, bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
    let start = if negative { -1 } else { i64::from(kind == 9) };
    bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte))
}
