//! Callers who know how the spool's file lies on the disk, and hope for a damaged page: their bodies are full of rows that look
//! like records. A repair goes through raw pages; it may take none of them for what was acknowledged.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::damage::{DELIVERED, PAGE, fill, pages, quarantined, records, recovered, spoil};
use crate::disk::scratch;
use crate::size::{report, size};

/// How a forged row pretends to be whole.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// By the CRC-32 of format 1, which needs no secret.
    Crc,
    /// As the mark of a record that is lost.
    Mark,
    /// By a sum of as many bytes as the true ones, guessed.
    Guess,
    /// It is whole, in another spool.
    Stolen,
}

const KINDS: [Kind; 4] = [Kind::Crc, Kind::Mark, Kind::Guess, Kind::Stolen];
const FORGED: &str = "forged: the money goes to me";

fn varint(mut value: u64, into: &mut Vec<u8>) {
    assert!(value < 1 << 56, "nine bytes have another form");
    let mut bytes = vec![(value & 0x7f) as u8];
    while value > 0x7f {
        value >>= 7;
        bytes.push((value & 0x7f) as u8 | 0x80);
    }
    into.extend(bytes.iter().rev());
}

/// A row as SQLite writes it into a leaf.
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
        Kind::Mark => row(seq, -1, b""),
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
    // Another spool of the same history, whose file the forger has.
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
        // Behind the pages that say what it is: a spool without a head is refused.
        for _ in 0..random.u64(1..4) {
            let page = random.u64(4..pages(&file));
            let mut noise = vec![0; [64, 512, PAGE as usize][random.usize(..3)]];
            if round % 2 == 0 {
                noise.fill_with(|| random.u8(..));
            }
            spoil(&file, page * PAGE, &noise);
        }
        // And the way to all of them, so that every page is searched.
        spoil(&file, PAGE, &[0xee; 500]);
        match recovered(folder.path(), &truth) {
            Ok(missing) => lost += missing,
            Err(_) => refused += 1,
        }
        repaired += quarantined(folder.path());
    }
    report(
        "forger",
        &format!(
            "{rounds} damaged files of 300 records, of which a third are full of forged rows: {repaired} repaired, {refused} refused, {lost} records lost and marked, none forged"
        ),
    );
    assert!(repaired as u64 == rounds, "{repaired} repaired, {refused} refused");
}

#[test]
fn rows_that_name_long_chains_of_pages_do_not_hold_up_a_repair() {
    // So long that of it a leaf has 2038 bytes, and the number of the first page that has the rest stands 28 bytes behind
    // the beginning of such a row, and behind that of the next.
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
    // One record has the pages, and sixty name each of them.
    let mut truth = vec![vec![7; 16_000_000]];
    truth.extend((0..60).map(|at| (at..at + 450).flat_map(|page| chained(10 + page)).collect()));
    let truth = [vec![b"delivered".to_vec(); DELIVERED as usize], truth].concat();
    let folder = scratch();
    fill(folder.path(), &truth);
    spoil(&folder.path().join("spool.db"), PAGE, &[0xee; 500]);
    let begun = Instant::now();
    assert_eq!(recovered(folder.path(), &truth).expect("it is repaired"), 0);
    // It is about a second; 27 000 chains of a millisecond and more would be half a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}
