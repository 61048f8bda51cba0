//! Finds records in the raw pages of a damaged file, by their checksums and not by SQLite's tree: a record may be
//! intact although the tree that leads to it is destroyed. It knows the format of a row in SQLite, but not the tree.
//!
//! The author of a body may have put rows into it. They are not taken for records, since they have no checksum with
//! this file's key, and checking one costs little.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::database::DatabaseError;
use super::record::Checksum;

/// Gets the bytes that have been searched, and all bytes. It returns false to end the search.
pub(super) type OnProgress<'a> = &'a dyn Fn(u64, u64) -> bool;

/// A row whose checksum is right: a record, or the entry for one that was lost earlier.
pub(super) struct FoundRecord {
    pub seq: u64,
    pub appended_at_ms: i64,
    pub sum: i64,
    pub data: Vec<u8>,
}

/// Failed reads are retried for this time in total, since a disk fault may pass. Then the pages are given up as lost.
const RETRY_FOR: Duration = Duration::from_secs(10);
const RETRY_WAIT: Duration = Duration::from_millis(200);
/// Pages between two reports of the progress.
const REPORTED_EVERY: u64 = 256;
/// The most bytes in front of a row's columns: its length and its number.
const PREFIX_BYTES: usize = 14;
/// The first byte of a page that holds rows. The offsets of its rows begin at byte 8.
const LEAF: u8 = 13;

/// The pages of a file.
pub(super) struct Pages {
    file: File,
    page_bytes: usize,
    count: u64,
    checksum: Checksum,
    /// How many pages may still be read for rows that no page's header points to. It is limited, since a body can hold
    /// rows that refer to any number of pages.
    read_budget: Cell<u64>,
}

impl Pages {
    pub fn open(path: &std::path::Path, page_bytes: usize, checksum: Checksum) -> io::Result<Pages> {
        let file = File::open(path)?;
        let count = file.metadata()?.len() / page_bytes as u64;
        Ok(Pages {
            file,
            page_bytes,
            count,
            checksum,
            read_budget: (2 * count).into(),
        })
    }

    /// Passes every record with one of these numbers to `found`, wherever it is in a page. A record may come several
    /// times. Returns the number of pages that could not be read; `None` if `on_progress` ended the search.
    pub fn search(
        &self,
        seqs: RangeInclusive<u64>,
        mut found: impl FnMut(FoundRecord) -> Result<(), DatabaseError>,
        on_progress: OnProgress<'_>,
    ) -> Result<Option<u64>, DatabaseError> {
        let mut page = vec![0; self.page_bytes];
        let (mut unreadable, deadline) = (0, Instant::now() + RETRY_FOR);
        for number in 1..=self.count {
            let report = || on_progress(number * self.page_bytes as u64, self.count * self.page_bytes as u64);
            if number.is_multiple_of(REPORTED_EVERY) && !report() {
                return Ok(None);
            }
            let mut read = self.read(number, &mut page);
            while read.is_none() && Instant::now() < deadline {
                std::thread::sleep(RETRY_WAIT);
                if !report() {
                    return Ok(None);
                }
                read = self.read(number, &mut page);
            }
            if read.is_none() {
                unreadable += 1;
                continue;
            }
            let cells = cells(&page);
            // The header of a row's columns begins with its own length, 5 to 9, and the type NULL of the first column.
            for (columns, types) in page.windows(4).enumerate() {
                let [5..=9, 0, 0..=9, 0..=9] = types else { continue };
                for start in columns.saturating_sub(PREFIX_BYTES)..columns {
                    let in_header = cells.contains(&start);
                    if let Some(record) = self
                        .record(&page, start, columns, in_header)
                        .filter(|record| seqs.contains(&record.seq))
                    {
                        found(record)?;
                    }
                }
            }
        }
        Ok(Some(unreadable))
    }

    fn read(&self, number: u64, page: &mut [u8]) -> Option<()> {
        let at = number.checked_sub(1)?.checked_mul(self.page_bytes as u64)?;
        self.file.read_exact_at(page, at).ok()
    }

    /// The record that begins at `start`, if there is one. A row is its length, its number, the columns' types and the
    /// columns. The first column is stored as NULL, since it is the row's number.
    fn record(&self, page: &[u8], start: usize, columns: usize, in_header: bool) -> Option<FoundRecord> {
        let mut at = start;
        let length = usize::try_from(varint(page, &mut at)?).ok()?;
        let seq = varint(page, &mut at)?;
        if at != columns || length > 1 << 30 {
            return None;
        }
        let head = varint(page, &mut at)? as usize;
        let [_, at_type, sum_type, data_type] = [(); 4].map(|()| varint(page, &mut at));
        let (at_type, sum_type, data_type) = (at_type?, sum_type?, data_type?);
        let bytes = data_type.checked_sub(12).filter(|_| data_type % 2 == 0)? as usize / 2;
        let (at_bytes, sum_bytes) = (integer_bytes(at_type)?, integer_bytes(sum_type)?);
        let fits = at - columns == head && head + at_bytes + sum_bytes + bytes == length;
        if !fits {
            return None;
        }
        let row = self.row(page, columns, length, in_header)?;
        let (appended_at, rest) = row[head..].split_at(at_bytes);
        let (sum, data) = rest.split_at(sum_bytes);
        let (appended_at_ms, sum) = (integer(at_type, appended_at), integer(sum_type, sum));
        let is_lost = data.is_empty() && sum == self.checksum.of_lost(seq, appended_at_ms);
        (is_lost || sum == self.checksum.of(seq, appended_at_ms, data)).then(|| FoundRecord {
            seq,
            appended_at_ms,
            sum,
            data: data.to_vec(),
        })
    }

    /// A row's bytes. Those that do not fit into its page are in a chain of overflow pages.
    fn row<'a>(&self, page: &'a [u8], start: usize, length: usize, in_header: bool) -> Option<Cow<'a, [u8]>> {
        let (usable, most) = (self.page_bytes, self.page_bytes - 35);
        if length <= most {
            return Some(page.get(start..start + length)?.into());
        }
        let least = (usable - 12) * 32 / 255 - 23;
        let wanted = least + (length - least) % (usable - 4);
        let local = if wanted <= most { wanted } else { least };
        let mut row = page.get(start..start + local)?.to_vec();
        let mut next = page.get(start + local..start + local + 4)?.try_into().ok()?;
        let mut other = vec![0; usable];
        while row.len() < length {
            if !in_header {
                self.read_budget.set(self.read_budget.get().checked_sub(1)?);
            }
            self.read(u32::from_be_bytes(next).into(), &mut other)?;
            next = other[..4].try_into().ok()?;
            let rest = (length - row.len()).min(usable - 4);
            row.extend_from_slice(&other[4..4 + rest]);
        }
        Some(row.into())
    }
}

/// The offsets of the rows in the page, by the page's header.
fn cells(page: &[u8]) -> HashSet<usize> {
    let count = if page[0] == LEAF {
        u16::from_be_bytes([page[3], page[4]]).into()
    } else {
        0
    };
    let (offsets, _) = page[8..].as_chunks();
    let offsets = offsets.iter().take(count);
    offsets.map(|offset| u16::from_be_bytes(*offset).into()).collect()
}

/// SQLite's variable-length integer: one to nine bytes, highest bits first.
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

/// The bytes of an integer column of this type.
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
