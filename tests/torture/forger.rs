//! Callers who know the format of the spool's file and hope for a damaged page: their bodies are full of rows that look
//! like records. A repair searches raw pages, and must not take any of these rows for an acknowledged record.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::damage::{DELIVERED, PAGE, fill, overwrite, pages, quarantined, records, recovered};
use crate::disk::scratch;
use crate::size::{report, size};

/// How a forged row looks like a record.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// It has the CRC-32 of format 1, which needs no key.
    Crc,
    /// It looks like an entry for a lost record.
    Lost,
    /// It has a guessed checksum.
    Guess,
    /// It is a valid record of another spool.
    Stolen,
}

const KINDS: [Kind; 4] = [Kind::Crc, Kind::Lost, Kind::Guess, Kind::Stolen];
const FORGED: &str = "forged: the money goes to me";

fn varint(mut value: u64, into: &mut Vec<u8>) {
    assert!(value < 1 << 56, "nine bytes have another format");
    let mut bytes = vec![(value & 0x7f) as u8];
    while value > 0x7f {
        value >>= 7;
        bytes.push((value & 0x7f) as u8 | 0x80);
    }
    into.extend(bytes.iter().rev());
}

/// A row as SQLite writes it into a leaf page.
fn row(seq: u64, sum: i64, data: &[u8]) -> Vec<u8> {
    let at_ms = 1_700_000_000_000_i64;
    let mut types = vec![0, 5, 6];
    varint(12 + 2 * data.len() as u64, &mut types);
    let columns = [&at_ms.to_be_bytes()[2..], &sum.to_be_bytes(), data].concat();
    let mut row = Vec::new();
    varint((1 + types.len() + columns.len()) as u64, &mut row);
    varint(seq, &mut row);
    row.push(1 + types.len() as u8);
    [row, types, columns].concat()
}

/// A body of forged rows for numbers from `first` on.
fn body(kind: Kind, first: u64, stolen: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let crc = |seq: u64| {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&seq.to_le_bytes());
        hasher.update(FORGED.as_bytes());
        i64::from(hasher.finalize())
    };
    let forged = |seq: u64, random: &mut fastrand::Rng| match kind {
        Kind::Crc => row(seq, crc(seq), FORGED.as_bytes()),
        Kind::Lost => row(seq, -1, b""),
        Kind::Guess => row(seq, random.i64(..), FORGED.as_bytes()),
        Kind::Stolen => Vec::new(),
    };
    match kind {
        Kind::Stolen => stolen.to_vec(),
        _ => (first..first + 300).flat_map(|seq| forged(seq, random)).collect(),
    }
}

#[test]
fn rows_that_callers_put_into_bodies_never_become_records() {
    let rounds = size("FORGER", 12, 2000);
    let mut random = fastrand::Rng::with_seed(6);
    // Another spool, whose file the forger has.
    let other = scratch();
    fill(other.path(), &vec![FORGED.as_bytes().to_vec(); 400]);
    let mut stolen = vec![0; 2 * PAGE as usize];
    let file = File::open(other.path().join("spool.db")).expect("it is there");
    file.read_exact_at(&mut stolen, 4 * PAGE).expect("it is as long");

    let (mut repaired, mut refused, mut lost) = (0, 0, 0);
    for (round, kind) in (0..rounds).zip(KINDS.into_iter().cycle()) {
        let mut truth = records(300, &mut random);
        for record in truth.iter_mut().skip(1).step_by(3) {
            let first = random.u64(DELIVERED..310);
            *record = body(kind, first, &stolen, &mut random);
        }
        let folder = scratch();
        let file = folder.path().join("spool.db");
        fill(folder.path(), &truth);
        // Behind the pages with the head: a spool without its head is refused.
        for _ in 0..random.u64(1..4) {
            let page = random.u64(4..pages(&file));
            let mut noise = vec![0; [64, 512, PAGE as usize][random.usize(..3)]];
            if round % 2 == 0 {
                noise.fill_with(|| random.u8(..));
            }
            overwrite(&file, page * PAGE, &noise);
        }
        // The root page too, so that every page is searched.
        overwrite(&file, PAGE, &[0xee; 500]);
        match recovered(folder.path(), &truth) {
            Ok(missing) => lost += missing,
            Err(_) => refused += 1,
        }
        repaired += quarantined(folder.path());
    }
    report(
        "forger",
        &format!(
            "{rounds} damaged files of 300 records, of which a third are full of forged rows: {repaired} repaired, {refused} refused, {lost} records lost and reported, none forged"
        ),
    );
    assert!(repaired as u64 == rounds, "{repaired} repaired, {refused} refused");
}

#[test]
fn rows_that_refer_to_long_chains_of_pages_do_not_delay_a_repair() {
    // A row of this length has 2038 bytes in its leaf, followed by the number of its first overflow page. So this
    // number is 28 bytes behind the beginning of one of these rows.
    let (length, columns) = (2038 + 970 * 16380, 6);
    let chained = |page: u32| {
        let mut row = Vec::new();
        varint(length, &mut row);
        varint(200, &mut row);
        assert_eq!(row.len(), columns);
        row.extend([8, 0, 5, 6]);
        varint(12 + 2 * (length - 8 - 6 - 8), &mut row);
        row.resize(28, 0);
        [row, page.to_be_bytes().to_vec()].concat()
    };
    // One record has the overflow pages, and the rows in 60 others refer to each of them.
    let mut truth = vec![vec![7; 16_000_000]];
    truth.extend((0..60).map(|at| (at..at + 450).flat_map(|page| chained(10 + page)).collect()));
    let truth = [vec![b"delivered".to_vec(); DELIVERED as usize], truth].concat();
    let folder = scratch();
    fill(folder.path(), &truth);
    overwrite(&folder.path().join("spool.db"), PAGE, &[0xee; 500]);
    let begun = Instant::now();
    assert_eq!(recovered(folder.path(), &truth).expect("it is repaired"), 0);
    // It takes about a second. Without the limit, 27 000 chains of a millisecond or more would take half a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
