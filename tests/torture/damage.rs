//! Damaged files, opened by the real spool. What can be read comes back in order, an entry stands for each lost record,
//! and nothing comes back wrong. The tests change bytes of the file and know the layout of its pages.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use imbridge::spool::{Config, Metrics, OpenError, Reader, Record, Spool};

use crate::disk::image::{self, Luck, Model};
use crate::disk::{Disk, scratch};
use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::eventually;

pub const PAGE: u64 = 16384;
/// The tables' root pages. The spool creates the tables in this order, behind the page with SQLite's schema.
const RECORD_ROOT: u64 = 2;
const STATE_ROOT: u64 = 3;

fn open(folder: &Path) -> Result<Spool, OpenError> {
    open_counted(folder, &prometheus::Registry::new())
}

fn open_counted(folder: &Path, registry: &prometheus::Registry) -> Result<Spool, OpenError> {
    let config = Config {
        dir: folder.to_owned(),
        ..Config::default()
    };
    Spool::open(&config, Metrics::new(registry).expect("they are new there"))
}

/// Makes a closed spool with these records, of which the first 40 are delivered.
pub fn fill(folder: &Path, records: &[Vec<u8>]) {
    filled(folder, records).close();
}

/// Makes such a spool and leaves it open, with one transaction per record in its WAL.
fn filled(folder: &Path, records: &[Vec<u8>]) -> Spool {
    let spool = open(folder).expect("a new spool");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let all = async {
        let lane = spool.appender().lane();
        for record in records {
            lane.append(record.clone()).await.expect("it accepts");
        }
    };
    tokio::task::LocalSet::new().block_on(&runtime.expect("a runtime"), all);
    let reader = spool.reader();
    reader.deliver(DELIVERED, Vec::new());
    reader
        .deliver_durably(0, vec![("a".into(), "b".into())])
        .expect("it accepts");
    spool
}

pub const DELIVERED: u64 = 40;

/// Records of every size, some in several pages each.
pub fn records(count: u64, random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let record = |at: u64, random: &mut fastrand::Rng| {
        let length = [200, 1000, 16_000, 50_000][random.choice([0, 0, 0, 0, 1, 1, 2, 3]).expect("one of them")];
        let mut bytes = vec![0; random.usize(1..length)];
        bytes.fill_with(|| random.u8(..));
        [&at.to_le_bytes()[..], &bytes].concat()
    };
    (1..=count).map(|at| record(at, random)).collect()
}

/// Reads everything that is not delivered. A read that fails is retried until the spool has repaired itself.
fn read_all(reader: &mut Reader) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let last = records.last().map_or(reader.delivered(), |record| record.seq);
        let more = eventually("the spool to be repaired", || reader.read(last, usize::MAX).ok());
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

/// Opens a damaged folder and judges its records. Returns how many of them are not intact: each has a changed byte or
/// is counted as lost.
pub fn recovered(folder: &Path, truth: &[Vec<u8>]) -> Result<usize, OpenError> {
    let registry = prometheus::Registry::new();
    let spool = open_counted(folder, &registry)?;
    let mut reader = spool.reader();
    let found = read_all(&mut reader);
    drop(reader);
    spool.close();
    for (seq, record) in (DELIVERED + 1..).zip(&found) {
        assert_eq!(record.seq, seq, "numbers have no gap");
        let wanted = truth.get(seq as usize - 1);
        let wanted = wanted.unwrap_or_else(|| panic!("record {seq} was never appended"));
        assert!(
            !record.intact || record.data == *wanted,
            "record {seq} has wrong bytes: {:?}",
            String::from_utf8_lossy(&record.data[..record.data.len().min(40)])
        );
    }
    assert_eq!(
        found.len(),
        truth.len() - DELIVERED as usize,
        "none is missing silently"
    );
    let counter = |name| {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| family.get_metric()[0].get_counter().get_value())
    };
    let lost = found.iter().filter(|record| !record.intact && record.data.is_empty());
    // It may have been repaired before it was opened here.
    if counter("imbridge_spool_repairs_total") > 0.0 {
        let counted = counter("imbridge_spool_lost_records_total");
        // A record with a changed byte may have been read before a missing one was found. The repair then counts both.
        let (least, most) = (
            lost.count() as f64,
            found.iter().filter(|record| !record.intact).count() as f64,
        );
        assert!(
            (least..=most).contains(&counted),
            "{least} to {most} are lost, {counted} counted"
        );
    }
    Ok(found.iter().filter(|record| !record.intact).count())
}

pub fn pages(file: &Path) -> u64 {
    std::fs::metadata(file).expect("it is there").len() / PAGE
}

pub fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(file).expect("it is there");
    file.write_all_at(bytes, at).expect("it is writable");
}

pub fn quarantined(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("quarantine")).map_or(0, Iterator::count)
}

#[test]
fn a_destroyed_root_page_loses_no_record() {
    let folder = scratch();
    let truth = records(200, &mut fastrand::Rng::with_seed(1));
    fill(folder.path(), &truth);
    overwrite(&folder.path().join("spool.db"), (RECORD_ROOT - 1) * PAGE, &[0xee; 2000]);
    assert_eq!(recovered(folder.path(), &truth).expect("it is repaired"), 0);
    assert_eq!(quarantined(folder.path()), 1);
    let spool = open(folder.path()).expect("it is whole");
    assert_eq!(
        spool.reader().notes().expect("it is whole"),
        [("a".to_owned(), "b".to_owned())]
    );
    spool.close();
}

#[test]
fn the_last_records_are_not_forgotten_with_the_page_that_held_them() {
    // A destroyed page loses as many records as it holds. If only the page's count of rows is destroyed, none is lost.
    // `recovered` checks that none is missing silently.
    for (at, damage, may_be_lost) in [(0, &[0; PAGE as usize][..], 1..=40), (3, &[0, 1], 0..=0)] {
        let folder = scratch();
        let file = folder.path().join("spool.db");
        let truth: Vec<_> = (0..300u32).map(|at| at.to_le_bytes().repeat(100)).collect();
        fill(folder.path(), &truth);
        let bytes = std::fs::read(&file).expect("it is there");
        let last = truth.last().expect("there are some");
        let found = bytes.windows(last.len()).rposition(|window| window == last.as_slice());
        let page = found.expect("it is in the file") as u64 / PAGE;
        overwrite(&file, page * PAGE + at, damage);
        let lost = recovered(folder.path(), &truth).expect("it is repaired");
        assert!(may_be_lost.contains(&lost), "{lost}");
    }
}

#[test]
fn a_file_without_its_head_is_refused_with_what_to_do() {
    for (page, length) in [(1, 100), (1, PAGE), (STATE_ROOT, PAGE)] {
        let folder = scratch();
        let file = folder.path().join("spool.db");
        fill(folder.path(), &records(200, &mut fastrand::Rng::with_seed(2)));
        overwrite(&file, (page - 1) * PAGE, &vec![0xee; length as usize]);
        let before = std::fs::read(&file).expect("it is readable");
        let refused = open(folder.path()).err().expect("it is damaged").to_string();
        assert!(
            refused.contains("cannot be repaired") && refused.contains("keep the folder"),
            "{refused}"
        );
        assert_eq!(std::fs::read(&file).expect("it is readable"), before, "it is unchanged");
    }
}

#[test]
fn damage_anywhere_is_repaired_or_refused_and_never_wrong() {
    let rounds = size("DAMAGE", 12, 2000);
    let mut random = fastrand::Rng::with_seed(3);
    let (mut refused, mut lost, mut repaired) = (0, 0, 0);
    let truth = records(400, &mut random);
    let sound = scratch();
    fill(sound.path(), &truth);
    for round in 0..rounds {
        let folder = scratch();
        let file = folder.path().join("spool.db");
        std::fs::copy(sound.path().join("spool.db"), &file).expect("a temporary folder is writable");
        for _ in 0..random.u64(1..4) {
            let at = random.u64(..pages(&file) * PAGE / 512) * 512;
            let length = [1, 512, 4096, PAGE as usize][random.usize(..4)].min((pages(&file) * PAGE - at) as usize);
            let byte = random.u8(..);
            let bytes: Vec<u8> = (0..length)
                .map(|_| if round % 2 == 0 { byte } else { random.u8(..) })
                .collect();
            overwrite(&file, at + if length == 1 { random.u64(..512) } else { 0 }, &bytes);
        }
        match recovered(folder.path(), &truth) {
            Ok(missing) => lost += missing,
            Err(_) => refused += 1,
        }
        repaired += quarantined(folder.path());
    }
    report(
        "damage",
        &format!(
            "{rounds} damaged files: {repaired} repaired, {refused} refused, {lost} records of {} lost in all",
            rounds * 360
        ),
    );
    assert!(
        refused < rounds && repaired > 0,
        "{refused} refused, {repaired} repaired"
    );
}

#[test]
fn a_wal_that_is_damaged_in_its_middle_is_read_to_its_end() {
    let rounds = size("DAMAGE", 12, 2000);
    let mut random = fastrand::Rng::with_seed(5);
    let (folder, copy) = (scratch(), scratch());
    let truth = records(100, &mut random);
    let spool = filled(folder.path(), &truth);
    let files = ["spool.db", "spool.db-wal"].map(|name| std::fs::read(folder.path().join(name)).expect("it is open"));
    spool.close();
    let (mut lost, mut cut) = (0, 0);
    for _ in 0..rounds {
        let copied = |folder: &Path| {
            std::fs::remove_dir_all(folder).ok();
            std::fs::create_dir(folder).expect("a temporary folder is writable");
            for (name, bytes) in ["spool.db", "spool.db-wal"].iter().zip(&files) {
                std::fs::write(folder.join(name), bytes).expect("a temporary folder is writable");
            }
        };
        // Behind the first transactions, which create the tables, and before the last ones.
        let at = random.usize(files[1].len() / 4..files[1].len() * 9 / 10);
        let mut noise = vec![0; [1, 16, 512, PAGE as usize][random.usize(..4)]];
        noise.fill_with(|| random.u8(..));
        let damage = |folder: &Path| overwrite(&folder.join("spool.db-wal"), at as u64, &noise);

        copied(copy.path());
        damage(copy.path());
        let alone = rusqlite::Connection::open(copy.path().join("spool.db")).expect("SQLite cuts it");
        let last: i64 = alone
            .query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| row.get(0))
            .expect("what it leaves is whole");
        drop(alone);
        copied(copy.path());
        damage(copy.path());
        // The bytes may be the same by chance.
        if last as usize == truth.len() {
            continue;
        }
        cut += truth.len() - last as usize;
        lost += recovered(copy.path(), &truth).expect("it is repaired");
        assert!(quarantined(copy.path()) > 0);
        let spool = open(copy.path()).expect("it is whole");
        assert_eq!(
            spool.reader().appended(),
            truth.len() as u64,
            "damaged at {at}, {} bytes",
            noise.len()
        );
        spool.close();
    }
    report(
        "damage",
        &format!(
            "{rounds} WALs damaged in their middle: {lost} records lost in all, where SQLite alone would cut off {cut}"
        ),
    );
    assert!(lost * 10 < cut, "{lost} lost, {cut} cut off by SQLite alone");
}

#[test]
fn a_wal_that_cannot_be_repaired_now_is_not_cut_off() {
    let (folder, copy) = (scratch(), scratch());
    let truth = records(100, &mut fastrand::Rng::with_seed(7));
    let spool = filled(folder.path(), &truth);
    for name in ["spool.db", "spool.db-wal"] {
        std::fs::copy(folder.path().join(name), copy.path().join(name)).expect("it is open");
    }
    spool.close();
    let wal = copy.path().join("spool.db-wal");
    overwrite(
        &wal,
        std::fs::metadata(&wal).expect("it is there").len() / 2,
        &[0xee; 64],
    );
    // A folder in the place of the new WAL has the same effect as a full disk.
    let in_the_way = copy.path().join("spool.db-wal.new");
    std::fs::create_dir(&in_the_way).expect("a temporary folder is writable");
    let refused = open(copy.path()).err().expect("it is not repaired").to_string();
    assert!(refused.contains("its WAL could not be checked"), "{refused}");
    std::fs::remove_dir(&in_the_way).expect("it is empty");
    recovered(copy.path(), &truth).expect("it is repaired");
}

#[test]
fn a_power_cut_at_any_moment_of_a_repair_costs_nothing_more() {
    let cuts = size("REPAIR_CUTS", 5, 1000);
    let mut home = Home::with_brokers("repair", "127.0.0.1:1");
    let disk = Disk::under(&mut home, true);
    let spool = disk.spool().clone();
    let mut random = fastrand::Rng::with_seed(4);
    let truth = records(120, &mut random);
    fill(&spool, &truth);
    let leaf = pages(&spool.join("spool.db")) / 2;
    overwrite(&spool.join("spool.db"), (RECORD_ROOT - 1) * PAGE, &[0; 100]);
    overwrite(&spool.join("spool.db"), leaf * PAGE, &[0; PAGE as usize]);
    let base = image::read(&spool);
    home.start().kill();
    let (log, folder) = (disk.take_log(), scratch());
    let operations = log.operations();
    let (mut model, mut tried) = (Model::new(&base), 0);
    let expected = recovered(&spool, &truth).expect("it is repaired");
    let step = (operations.len() / cuts as usize).max(1);
    for (at, operation) in operations.iter().enumerate() {
        model.apply(operation);
        if (at + 1) % step != 0 {
            continue;
        }
        for luck in [Luck::None, Luck::All, Luck::Some(random.f64())] {
            image::write(folder.path(), &model.cut(luck, &mut random));
            let lost = recovered(folder.path(), &truth).unwrap_or_else(|cause| panic!("{luck:?}: {cause}"));
            assert_eq!(lost, expected, "{luck:?}, after {operation:?}");
            tried += 1;
        }
    }
    report(
        "damage",
        &format!("{tried} power cuts during a repair: {expected} records lost each time, as without one"),
    );
    // There are no more cuts than the repair has operations.
    let wanted = (operations.len() as u64).min(cuts);
    assert!(expected > 0 && tried > wanted, "{expected} lost, {tried} cuts");
}
