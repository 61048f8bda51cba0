//! A bridge whose spool the disk has damaged. Everything that can be read arrives in order, and there is a dead letter
//! for each record that cannot. The bridge goes on, without a restart if it is running.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use crate::damage::{PAGE, overwrite, quarantined};
use crate::disk::acks::{Ack, post};
use crate::disk::{Disk, EIO, Word};
use crate::size::report;
use crate::support::bridge::{Bridge, Home};
use crate::support::reader::{Consumed, consume};
use crate::support::{eventually, kafka, schemas};

/// Fills a bridge's spool with some thousand events that are not in Kafka. Returns the acknowledged ones.
fn fill(home: &Home) -> Vec<Ack> {
    let bridge = home.start();
    let acks = post(&bridge, 8, 1000, || {
        let (_, text) = bridge.admin("/metrics").unwrap_or_default();
        let appended = text
            .lines()
            .find_map(|line| line.strip_prefix("imbridge_spool_records "));
        appended.is_some_and(|count| count.parse::<f64>().is_ok_and(|count| count > 1500.0))
    });
    // After a normal end, everything is in the file and nothing in the WAL.
    assert!(bridge.terminate().success());
    acks
}

/// The offset in the file of the middle one of the acknowledged records.
fn offset_of_the_middle_one(home: &Home, acks: &[Ack]) -> u64 {
    let bytes = std::fs::read(home.path().join("spool/spool.db")).expect("it is readable");
    let mut ids: Vec<u64> = acks.iter().map(|ack| ack.id).collect();
    ids.sort_unstable();
    let text = format!(r#""Name":"{}""#, ids[ids.len() / 2]);
    let found = bytes.windows(text.len()).rposition(|window| window == text.as_bytes());
    found.expect("it is in the file") as u64
}

/// Everything in Kafka: events and dead letters, each by its number in the spool.
fn found(home: &Home) -> (BTreeMap<u64, u64>, BTreeMap<u64, Consumed>) {
    let (mut events, mut letters) = (BTreeMap::new(), BTreeMap::new());
    let mut last = BTreeMap::<(String, i32), u64>::new();
    for message in consume(&kafka::shared(), &home.prefix, &home.schemas()) {
        let (seq, _) = message.header("imbridge-seq").split_once('.').expect("a position");
        let seq = seq.parse().expect("a number");
        let before = last.insert((message.topic.clone(), message.partition), seq);
        assert!(before.is_none_or(|before| before < seq), "{seq} after {before:?}");
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

/// Checks that every number is in Kafka, as an event or as a dead letter with this reason, and that no more
/// acknowledged events are missing than there are dead letters. Returns the number of dead letters.
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

/// A home whose spool is filled without Kafka, so that it can be damaged before the next start.
fn filled_home(name: &str) -> (Home, Disk, Vec<Ack>) {
    let mut home = Home::with_brokers(name, "127.0.0.1:1");
    let disk = Disk::under(&mut home, false);
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "0");
    let acks = fill(&home);
    home.set("KAFKA__BROKERS", kafka::shared());
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "20");
    (home, disk, acks)
}

/// Makes reads of a page of the spool's file fail.
fn make_unreadable(home: &Home, disk: &Disk, page: u64) {
    let file = std::fs::metadata(home.path().join("spool/spool.db")).expect("it is there");
    disk.set(Word::ReadFile, file.ino() as i64);
    disk.set(Word::ReadFrom, (page * PAGE) as i64);
    disk.set(Word::ReadTo, ((page + 1) * PAGE) as i64);
    disk.set(Word::ReadErrno, EIO);
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

/// Ends a bridge whose spool was repaired once, and checks that each record of the lost page is a dead letter.
fn finish_after_loss(bridge: Bridge, home: &Home, acks: &[Ack]) {
    let log = bridge.log();
    let (repairs, lost) = finish(bridge);
    assert!(
        repairs == 1.0 && (1.0..=20.0).contains(&lost),
        "{repairs} repairs, {lost} lost:\n{log}"
    );
    assert_eq!(judge(home, acks, "corrupt_page") as f64, lost);
}

#[test]
fn a_changed_byte_of_a_record_becomes_one_dead_letter_with_its_bytes() {
    let (home, _disk, acks) = filled_home("byte");
    let at = offset_of_the_middle_one(&home, &acks);
    overwrite(&home.path().join("spool/spool.db"), at + 8, b"?");
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
    let page = offset_of_the_middle_one(&home, &acks) / PAGE;
    overwrite(&home.path().join("spool/spool.db"), page * PAGE, &[0; PAGE as usize]);
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
fn a_page_that_is_damaged_while_the_bridge_runs_is_repaired_without_a_restart() {
    let (mut home, _disk, mut acks) = filled_home("running");
    let page = offset_of_the_middle_one(&home, &acks) / PAGE;
    // The bridge settles so long before it sends anything. By then it has read only the first of the records.
    home.set("KAFKA__SETTLE_MS", "4000");
    let bridge = home.start();
    overwrite(&home.path().join("spool/spool.db"), page * PAGE, &[0; PAGE as usize]);
    let repaired = || bridge.metric(&["imbridge_spool_repairs_total "]) > 0.0;
    eventually("the spool to be repaired", || repaired().then_some(()));
    eventually("readiness", || {
        bridge.admin("/readyz").filter(|(status, _)| *status == 200)
    });
    let begun = std::time::Instant::now();
    acks.extend(post(&bridge, 4, 100, || begun.elapsed().as_secs() >= 1));
    finish_after_loss(bridge, &home, &acks);
}

#[test]
fn the_records_of_an_unreadable_sector_become_dead_letters() {
    let (home, disk, acks) = filled_home("sector");
    let page = offset_of_the_middle_one(&home, &acks) / PAGE;
    make_unreadable(&home, &disk, page);
    let bridge = home.start();
    eventually("the spool to be repaired", || {
        (bridge.metric(&["imbridge_spool_repairs_total "]) > 0.0).then_some(())
    });
    disk.behave();
    finish_after_loss(bridge, &home, &acks);
}

#[test]
fn while_a_file_is_repaired_at_the_start_both_ports_answer_and_a_stop_costs_nothing() {
    let (mut home, disk, acks) = filled_home("ports");
    let before = schemas::add_before_command(&home.schemas());
    let file = home.path().join("spool/spool.db");
    let page = offset_of_the_middle_one(&home, &acks) / PAGE;
    // The root page of the records, so that the opening finds the damage, and a sector that the repair retries for ten
    // seconds.
    overwrite(&file, PAGE, &[0xee; 500]);
    make_unreadable(&home, &disk, page);
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "60");
    let bridge = home.start_unready();
    let progress = eventually("the repair's progress", || {
        let (status, text) = bridge.admin("/readyz")?;
        (status == 503 && text.contains("MiB are searched")).then_some(text)
    });
    assert!(
        progress.contains("spool_opening") && progress.contains("is being repaired"),
        "{progress}"
    );
    assert_eq!(bridge.admin("/livez").expect("the admin port answers").0, 200);
    let body = r#"{"GroupId":"g","Name":"n"}"#;
    let asked = Instant::now();
    let allowed = bridge.post(before, body);
    assert!(
        allowed.status == 200 && allowed.body.contains(r#""ActionStatus":"OK""#),
        "{allowed:?}"
    );
    assert!(asked.elapsed() < Duration::from_millis(1500), "{:?}", asked.elapsed());
    let refused = bridge.post("Group.CallbackAfterCreateGroup", body);
    assert!(
        refused.status == 503 && refused.header("retry-after").is_some(),
        "{refused:?}"
    );
    let counted = ["imbridge_failed_open_total", before, "spool_opening"];
    assert_eq!(bridge.metric(&counted), 1.0);
    let asked = Instant::now();
    assert!(bridge.terminate().success());
    // Well within the drain time-out, and not because the repair was finished.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    let log = std::fs::read_to_string(home.path().join("log")).expect("it was written");
    assert!(!log.contains("its readable records are in a new one"), "{log}");

    disk.behave();
    let (repairs, lost) = finish(home.start());
    assert_eq!((repairs, lost), (1.0, 0.0));
    assert_eq!(judge(&home, &acks, "corrupt_page"), 0);
}
