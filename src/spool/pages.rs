//! Records found in the raw pages of a damaged file, by their checksums and not by the tree: what leads to a record may be
//! destroyed while the record is whole. It knows SQLite's form of a row, and nothing of where rows belong.
//!
//! Bodies may hold rows too, which their authors have put there: they have no checksum of this file's key, and each costs
//! little to look at.

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

/// Hears how many bytes of how many have been looked through; false ends the search.
pub(super) type GoOn<'a> = &'a dyn Fn(u64, u64) -> bool;

/// A record beyond doubt, or the mark of one that was lost before.
pub(super) struct Found {
    pub seq: u64,
    pub appended_at_ms: i64,
    pub sum: i64,
    pub data: Vec<u8>,
}

/// What the disk refuses to read for so long, all pages together, is lost: it may be a fault that passes.
const PATIENCE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(200);
/// Pages between two reports of how far it has come.
const REPORTED_EVERY: u64 = 256;
/// The most bytes in front of a row's columns: its length and its number.
const PREFIX_BYTES: usize = 14;
/// What a page begins with that holds rows; the places of its rows follow behind eight bytes.
const LEAF: u8 = 13;

/// The pages of a file.
pub(super) struct Pages {
    file: File,
    page_bytes: usize,
    count: u64,
    checksum: Checksum,
    /// Pages that may still be read for rows to which no page's head leads: bodies can name any number of them.
    spare: Cell<u64>,
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
            spare: (2 * count).into(),
        })
    }

    /// Shows every record with one of these numbers, at any place of any page, the same perhaps several times. Gives the number of
    /// pages that could not be read, or nothing when it was ended.
    pub fn search(
        &self,
        seqs: RangeInclusive<u64>,
        mut found: impl FnMut(Found) -> Result<(), DatabaseError>,
        go_on: GoOn<'_>,
    ) -> Result<Option<u64>, DatabaseError> {
        let mut page = vec![0; self.page_bytes];
        let (mut unreadable, deadline) = (0, Instant::now() + PATIENCE);
        for number in 1..=self.count {
            let report = || go_on(number * self.page_bytes as u64, self.count * self.page_bytes as u64);
            if number.is_multiple_of(REPORTED_EVERY) && !report() {
                return Ok(None);
            }
            let mut read = self.read(number, &mut page);
            while read.is_none() && Instant::now() < deadline {
                std::thread::sleep(AGAIN);
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
            // A row's columns begin with the length of their types, which is short, and with NULL for its number.
            for (columns, types) in page.windows(4).enumerate() {
                let [5..=9, 0, 0..=9, 0..=9] = types else { continue };
                for start in columns.saturating_sub(PREFIX_BYTES)..columns {
                    let led_to = cells.contains(&start);
                    if let Some(record) = self
                        .record(&page, start, columns, led_to)
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

    /// The record that begins at `start`, if one does: its length, its number, then the columns' types and the columns, of which
    /// the first is stored as NULL because the row's number stands for it.
    fn record(&self, page: &[u8], start: usize, columns: usize, led_to: bool) -> Option<Found> {
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
        let row = self.row(page, columns, length, led_to)?;
        let (appended_at, rest) = row[head..].split_at(at_bytes);
        let (sum, data) = rest.split_at(sum_bytes);
        let (appended_at_ms, sum) = (integer(at_type, appended_at), integer(sum_type, sum));
        let is_lost = data.is_empty() && sum == self.checksum.of_lost(seq, appended_at_ms);
        (is_lost || sum == self.checksum.of(seq, appended_at_ms, data)).then(|| Found {
            seq,
            appended_at_ms,
            sum,
            data: data.to_vec(),
        })
    }

    /// A row's bytes, of which those that did not fit into its page are in a chain of others.
    fn row<'a>(&self, page: &'a [u8], start: usize, length: usize, led_to: bool) -> Option<Cow<'a, [u8]>> {
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
            if !led_to {
                self.spare.set(self.spare.get().checked_sub(1)?);
            }
            self.read(u32::from_be_bytes(next).into(), &mut other)?;
            next = other[..4].try_into().ok()?;
            let rest = (length - row.len()).min(usable - 4);
            row.extend_from_slice(&other[4..4 + rest]);
        }
        Some(row.into())
    }
}

/// Where the page's own head says that its rows begin.
fn cells(page: &[u8]) -> HashSet<usize> {
    let count = if page[0] == LEAF {
        u16::from_be_bytes([page[3], page[4]]).into()
    } else {
        0
    };
    let (places, _) = page[8..].as_chunks();
    let places = places.iter().take(count);
    places.map(|place| u16::from_be_bytes(*place).into()).collect()
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
