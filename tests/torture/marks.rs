//! The resume offsets, checked while the bridge runs. At every moment the spool's file has an offset for each partition
//! from which a start after a kill reads back, and no undelivered message is in front of it.

use std::collections::HashMap;

use rusqlite::{Connection, OpenFlags};

use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::{Plan, judge};
use crate::support::reader::consume;

/// The file's values at one moment.
struct Snapshot {
    delivered: u64,
    /// By topic and partition.
    resume_offsets: HashMap<(String, i32), usize>,
}

#[test]
fn no_undelivered_message_is_in_front_of_a_resume_offset_at_any_moment() {
    let mut home = Home::new("marks");
    home.set("KAFKA__PARTITIONS", "256");
    let bridge = home.start();
    // Creates the topics first: otherwise many partitions would get their first messages at once.
    let first = Plan::new(&home).with("groups", 4).with("each", 1).start().finish();
    bridge.settle();
    // Resume offsets move all the time. Sometimes a group is the first of its partition, whose offset is then noted at
    // once.
    let steady = Plan::new(&home)
        .with("groups", 4)
        .with("connections", 4)
        .with("rate", 1000)
        .start();
    let newcomers = Plan::new(&home)
        .with("groups", size("MARKS", 200, 4000))
        .with("connections", 1);
    let newcomers = newcomers.with("each", 1).with("rate", 25).start();
    let file = home.path().join("spool/spool.db");
    let file = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the bridge made it");
    let mut snapshots = Vec::new();
    let newcomers = std::thread::scope(|scope| {
        let end = scope.spawn(|| newcomers.finish());
        while !end.is_finished() {
            snapshots.push(snapshot(&file));
        }
        end.join().expect("it has ended")
    });
    let steady = steady.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let brokers = kafka::shared();
    let ledgers = [&*first.path, &*newcomers.path, &*steady.path];
    judge(&brokers, &home, &ledgers, "read_uncommitted").assert_kept();

    // These topics hold only events, so a message's index in its partition is its offset.
    let mut sequences: HashMap<(String, i32), Vec<u64>> = HashMap::new();
    for message in consume(&brokers, &home.prefix, &home.schemas()) {
        let (seq, _) = message.header("imbridge-seq").split_once('.').expect("seq.index");
        let seq = seq.parse().expect("a number");
        sequences
            .entry((message.topic.clone(), message.partition))
            .or_default()
            .push(seq);
    }
    let mut judged = 0;
    for snapshot in &snapshots {
        for (partition, offset) in &snapshot.resume_offsets {
            let before = sequences.get(partition).map_or(&[][..], |seqs| &seqs[..*offset]);
            judged += 1;
            let hidden = before.iter().filter(|seq| **seq > snapshot.delivered).count();
            assert_eq!(
                hidden, 0,
                "{partition:?}: {hidden} messages in front of offset {offset} are after record {}",
                snapshot.delivered
            );
        }
    }
    report(
        "marks",
        &format!(
            "{} snapshots, {judged} resume offsets, {} events, {} of them the first of a group",
            snapshots.len(),
            steady.acknowledged + newcomers.acknowledged,
            newcomers.acknowledged
        ),
    );
    assert!(
        snapshots.len() > 100 && judged > 1000,
        "{} snapshots, {judged} resume offsets",
        snapshots.len()
    );
}

fn snapshot(file: &Connection) -> Snapshot {
    // One statement reads one snapshot.
    let sql = "SELECT key, value FROM note WHERE key LIKE 'mark/%' UNION ALL SELECT key, value FROM state WHERE key = 'delivered'";
    let mut statement = file.prepare(sql).expect("these are its tables");
    let rows = statement.query_map([], |row| {
        let value = row.get_ref(1)?;
        let number = value.as_i64().ok().or_else(|| value.as_str().ok()?.parse().ok());
        Ok((row.get::<_, String>(0)?, number.expect("a number")))
    });
    let mut snapshot = Snapshot {
        delivered: 0,
        resume_offsets: HashMap::new(),
    };
    for row in rows.expect("a short read") {
        let (key, number) = row.expect("a short read");
        match key.strip_prefix("mark/").and_then(|place| place.rsplit_once('/')) {
            Some((topic, partition)) => {
                let partition = (topic.to_owned(), partition.parse().expect("a number"));
                snapshot.resume_offsets.insert(partition, number as usize);
            }
            None => snapshot.delivered = number as u64,
        }
    }
    snapshot
}
