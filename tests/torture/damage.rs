//! Files that a disk has spoiled: what can be read is delivered in order, what cannot is named, and nothing is silent or
//! for ever. Damage is done to the bytes of the spool's file, by a test that knows how its pages look.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use imbridge::spool::{Config, Metrics, OpenError, Reader, Record, Spool};

use crate::disk::acks::{Ack, post};
use crate::disk::{Disk, EIO, Word, scratch};
use crate::size::{report, size};
use crate::support::bridge::{Bridge, Home};
use crate::support::reader::{Consumed, consume};
use crate::support::{eventually, kafka};

const PAGE: u64 = 16384;
/// Where the tables' roots are: the spool makes them in this order, behind the page with the schema.
const RECORD_ROOT: u64 = 2;
const STATE_ROOT: u64 = 3;

fn open(folder: &Path) -> Result<Spool, OpenError> {
    let config = Config {
        dir: folder.to_owned(),
        ..Config::default()
    };
    Spool::open(
        &config,
        Metrics::new(&prometheus::Registry::new()).expect("they are new there"),
    )
}

/// A closed spool with these records, of which the first 40 are delivered.
fn fill(folder: &Path, records: &[Vec<u8>]) {
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
    reader.note(vec![("a".into(), "b".into())]).expect("it accepts");
    drop(reader);
    spool.close();
}

const DELIVERED: u64 = 40;

/// Records of every size, some in several pages each.
fn records(random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let record = |at: u64, random: &mut fastrand::Rng| {
        let length = [200, 1000, 16_000, 50_000][random.choice([0, 0, 0, 0, 1, 1, 2, 3]).expect("one of them")];
        let mut bytes = vec![0; random.usize(1..length)];
        bytes.fill_with(|| random.u8(..));
        [&at.to_le_bytes()[..], &bytes].concat()
    };
    (1..=400).map(|at| record(at, random)).collect()
}

/// Everything that is not delivered; a reader that fails is asked again, until the spool has repaired itself.
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

/// Opens a damaged folder, judges what comes out, and gives how many records are lost.
fn recovered(folder: &Path, truth: &[Vec<u8>]) -> Result<usize, OpenError> {
    let spool = open(folder)?;
    let mut reader = spool.reader();
    let found = read_all(&mut reader);
    drop(reader);
    spool.close();
    for (seq, record) in (DELIVERED + 1..).zip(&found) {
        assert_eq!(record.seq, seq, "numbers have no gap");
        assert!(
            !record.intact || record.data == truth[seq as usize - 1],
            "record {seq} has wrong bytes"
        );
    }
    Ok(truth.len() - DELIVERED as usize - found.iter().filter(|record| record.intact).count())
}

fn pages(file: &Path) -> u64 {
    std::fs::metadata(file).expect("it is there").len() / PAGE
}

fn spoil(file: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(file).expect("it is there");
    file.write_all_at(bytes, at).expect("it is writable");
}

fn quarantined(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("quarantine")).map_or(0, Iterator::count)
}

#[test]
fn a_destroyed_way_to_the_records_loses_none_of_them() {
    let folder = scratch();
    let truth = records(&mut fastrand::Rng::with_seed(1));
    fill(folder.path(), &truth);
    spoil(&folder.path().join("spool.db"), (RECORD_ROOT - 1) * PAGE, &[0xee; 2000]);
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
fn a_file_that_has_lost_its_head_is_refused_with_what_to_do() {
    for (page, length) in [(1, 100), (1, PAGE), (STATE_ROOT, PAGE)] {
        let folder = scratch();
        let file = folder.path().join("spool.db");
        fill(folder.path(), &records(&mut fastrand::Rng::with_seed(2)));
        spoil(&file, (page - 1) * PAGE, &vec![0xee; length as usize]);
        let before = std::fs::read(&file).expect("it is readable");
        let refused = open(folder.path()).err().expect("it is damaged").to_string();
        assert!(
            refused.contains("cannot be repaired") && refused.contains("keep the folder"),
            "{refused}"
        );
        assert_eq!(
            std::fs::read(&file).expect("it is readable"),
            before,
            "it is left as it is"
        );
    }
}

#[test]
fn damage_anywhere_is_repaired_or_refused_and_never_wrong() {
    let rounds = size("DAMAGE", 25, 2000);
    let mut random = fastrand::Rng::with_seed(3);
    let (mut refused, mut lost, mut repaired) = (0, 0, 0);
    let truth = records(&mut random);
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
            spoil(&file, at + if length == 1 { random.u64(..512) } else { 0 }, &bytes);
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
            "{rounds} spoiled files: {repaired} repaired, {refused} refused, {lost} records of {} lost in all",
            rounds * 360
        ),
    );
    assert!(
        refused < rounds && repaired > 0,
        "{refused} refused, {repaired} repaired"
    );
}

/// A bridge's spool with some thousand events that Kafka has not, and what was acknowledged.
fn waiting(home: &Home) -> Vec<Ack> {
    let bridge = home.start();
    let acks = post(&bridge, 8, 1000, || {
        let (_, text) = bridge.admin("/metrics").unwrap_or_default();
        let appended = text
            .lines()
            .find_map(|line| line.strip_prefix("imbridge_spool_records "));
        appended.is_some_and(|count| count.parse::<f64>().is_ok_and(|count| count > 1500.0))
    });
    // In order, so that everything is in the file and nothing in the WAL.
    assert!(bridge.terminate().success());
    acks
}

/// The page that holds the middle one of the records that were acknowledged, and where in the file its bytes are.
fn place_of_the_middle_one(home: &Home, acks: &[Ack]) -> u64 {
    let bytes = std::fs::read(home.path().join("spool/spool.db")).expect("it is readable");
    let mut ids: Vec<u64> = acks.iter().map(|ack| ack.id).collect();
    ids.sort_unstable();
    let text = format!(r#""Name":"{}""#, ids[ids.len() / 2]);
    let found = bytes.windows(text.len()).rposition(|window| window == text.as_bytes());
    found.expect("it is in the file") as u64
}

/// Everything in Kafka: events by their number in the spool, and dead letters by theirs.
fn found(home: &Home) -> (BTreeMap<u64, u64>, BTreeMap<u64, Consumed>) {
    let (mut events, mut letters) = (BTreeMap::new(), BTreeMap::new());
    let mut last = BTreeMap::<(String, i32), u64>::new();
    for message in consume(&kafka::shared(), &home.prefix, &home.schemas()) {
        let (seq, _) = message.header("imbridge-seq").split_once('.').expect("a position");
        let seq = seq.parse().expect("a number");
        let before = last.insert((message.topic.clone(), message.partition), seq);
        assert!(before.is_none_or(|before| before < seq), "{seq} behind {before:?}");
        if message.topic.ends_with("dead-letter") {
            assert!(letters.insert(seq, message).is_none(), "{seq} is there twice");
        } else {
            let name = message.value.as_ref().expect("a record")["Name"]
                .as_str()
                .expect("a number")
                .parse();
            assert!(
                events.insert(seq, name.expect("a number")).is_none(),
                "{seq} is there twice"
            );
        }
    }
    (events, letters)
}

/// Every number is there, as an event or as a dead letter of this reason; acknowledged events are the same but for so many letters.
fn judge(home: &Home, acks: &[Ack], reason: &str) -> u64 {
    let (events, letters) = found(home);
    let numbers: Vec<u64> = events.keys().chain(letters.keys()).copied().collect();
    let all: std::collections::BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(all.len(), numbers.len(), "events and dead letters share numbers");
    assert_eq!(
        all.into_iter().collect::<Vec<_>>(),
        (1..=numbers.len() as u64).collect::<Vec<_>>()
    );
    assert!(
        letters
            .values()
            .all(|letter| letter.header("imbridge-reason") == reason),
        "{letters:?}"
    );
    let ids: std::collections::HashSet<u64> = events.values().copied().collect();
    let missing = acks.iter().filter(|ack| !ids.contains(&ack.id)).count();
    assert!(
        missing <= letters.len(),
        "{missing} are missing, {} are named",
        letters.len()
    );
    letters.len() as u64
}

/// The spool stays closed to Kafka while it is filled; then the damage is done.
fn filled_home(name: &str) -> (Home, Disk, Vec<Ack>) {
    let mut home = Home::with_brokers(name, "127.0.0.1:1");
    let disk = Disk::under(&mut home, false);
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    let acks = waiting(&home);
    home.set("KAFKA__BROKERS", kafka::shared());
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "20");
    (home, disk, acks)
}

fn finish(bridge: Bridge) -> (f64, f64) {
    bridge.settle();
    let counts = ["imbridge_spool_repairs_total ", "imbridge_spool_lost_records_total "];
    let [repairs, lost] = counts.map(|name| bridge.metric(&[name]));
    let lines = bridge.log();
    assert_eq!(lines.contains("records of the spool are lost"), lost > 0.0, "{lines}");
    assert!(bridge.terminate().success());
    (repairs, lost)
}

#[test]
fn a_changed_byte_of_a_record_becomes_one_dead_letter_with_its_bytes() {
    let (home, _disk, acks) = filled_home("byte");
    let at = place_of_the_middle_one(&home, &acks);
    spoil(&home.path().join("spool/spool.db"), at + 8, b"?");
    assert_eq!(finish(home.start()), (0.0, 0.0));
    assert_eq!(judge(&home, &acks, "corrupt_record"), 1);
    let letter = found(&home).1.into_values().next().expect("one");
    assert!(
        letter.raw().windows(9).any(|window| window == br#""Name":"?"#),
        "its bytes are kept"
    );
}

#[test]
fn a_destroyed_page_costs_its_own_records_and_each_is_named() {
    let (home, _disk, acks) = filled_home("page");
    let page = place_of_the_middle_one(&home, &acks) / PAGE;
    spoil(&home.path().join("spool/spool.db"), page * PAGE, &[0; PAGE as usize]);
    let (repairs, lost) = finish(home.start());
    assert_eq!(repairs, 1.0);
    assert!((1.0..=20.0).contains(&lost), "{lost} records of 1 KB in a page of 16");
    assert_eq!(judge(&home, &acks, "corrupt_page") as f64, lost);
    assert_eq!(quarantined(&home.path().join("spool")), 1);
    report(
        "damage",
        &format!(
            "a destroyed page: {lost} of {} records lost, each a dead letter, the rest in order",
            acks.len()
        ),
    );
}

#[test]
fn a_page_that_the_disk_spoils_under_a_running_bridge_is_repaired_in_passing() {
    let (mut home, _disk, mut acks) = filled_home("running");
    let page = place_of_the_middle_one(&home, &acks) / PAGE;
    // Before it sends anything the bridge waits so long, and has read only the first of the records by then.
    home.set("KAFKA__SETTLE_MS", "4000");
    let bridge = home.start();
    spoil(&home.path().join("spool/spool.db"), page * PAGE, &[0; PAGE as usize]);
    let repaired = || bridge.metric(&["imbridge_spool_repairs_total "]) > 0.0;
    eventually("the spool to be repaired", || repaired().then_some(()));
    eventually("readiness", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    let begun = std::time::Instant::now();
    acks.extend(post(&bridge, 4, 100, || begun.elapsed().as_secs() >= 1));
    let log = bridge.log();
    let (repairs, lost) = finish(bridge);
    assert!(
        repairs == 1.0 && (1.0..=20.0).contains(&lost),
        "{repairs} repairs, {lost} lost:\n{log}"
    );
    assert_eq!(judge(&home, &acks, "corrupt_page") as f64, lost);
}

#[test]
fn a_sector_that_cannot_be_read_is_given_up_after_a_while_and_named() {
    let (home, disk, acks) = filled_home("sector");
    let page = place_of_the_middle_one(&home, &acks) / PAGE;
    let file = std::fs::metadata(home.path().join("spool/spool.db")).expect("it is there");
    disk.set(Word::ReadFile, file.ino() as i64);
    disk.set(Word::ReadFrom, (page * PAGE) as i64);
    disk.set(Word::ReadTo, ((page + 1) * PAGE) as i64);
    disk.set(Word::ReadErrno, EIO);
    let bridge = home.start();
    eventually("the spool to be repaired", || {
        (bridge.metric(&["imbridge_spool_repairs_total "]) > 0.0).then_some(())
    });
    disk.behave();
    let log = bridge.log();
    let (repairs, lost) = finish(bridge);
    assert!(
        repairs == 1.0 && (1.0..=20.0).contains(&lost),
        "{repairs} repairs, {lost} lost:\n{log}"
    );
    assert_eq!(judge(&home, &acks, "corrupt_page") as f64, lost);
}
