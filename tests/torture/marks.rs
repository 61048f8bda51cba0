//! What a start after a kill goes by, looked at while the bridge runs: at every moment the spool's file says for each
//! partition from where on undelivered messages would be found, and none lies in front of that.

use std::collections::HashMap;

use rusqlite::{Connection, OpenFlags};

use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::{Plan, judge};
use crate::support::reader::consume;

/// What stood in the file at one moment.
struct Look {
    delivered: u64,
    /// By topic and partition.
    marks: HashMap<(String, i32), usize>,
}

#[test]
fn no_undelivered_message_lies_in_front_of_a_mark_at_any_moment() {
    let mut home = Home::new("marks");
    home.set("KAFKA__PARTITIONS", "256");
    let bridge = home.start();
    // What waits for the topics to be made would meet its partitions all at once.
    let first = Plan::new(&home).with("groups", 4).with("each", 1).start().finish();
    bridge.settle();
    // Marks move all the time, and now and then a group is the first of its partition: its mark is noted out of turn.
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
    let mut looks = Vec::new();
    let newcomers = std::thread::scope(|scope| {
        let end = scope.spawn(|| newcomers.finish());
        while !end.is_finished() {
            looks.push(look(&file));
        }
        end.join().expect("it has ended")
    });
    let steady = steady.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let brokers = kafka::shared();
    let ledgers = [&*first.path, &*newcomers.path, &*steady.path];
    judge(&brokers, &home, &ledgers, "read_uncommitted").assert_kept();

    // Nothing but events is in these topics, so that a message's place in its partition is its offset.
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
    for look in &looks {
        for (slot, mark) in &look.marks {
            let before = sequences.get(slot).map_or(&[][..], |seqs| &seqs[..*mark]);
            judged += 1;
            let hidden = before.iter().filter(|seq| **seq > look.delivered).count();
            assert_eq!(
                hidden, 0,
                "{slot:?}: {hidden} messages in front of {mark} are not in {}",
                look.delivered
            );
        }
    }
    report(
        "marks",
        &format!(
            "{} looks, {judged} marks, {} events, {} of them the first of a group",
            looks.len(),
            steady.acknowledged + newcomers.acknowledged,
            newcomers.acknowledged
        ),
    );
    assert!(
        looks.len() > 100 && judged > 1000,
        "{} looks, {judged} marks",
        looks.len()
    );
}

fn look(file: &Connection) -> Look {
    // One statement is one moment.
    let sql = "SELECT key, value FROM note WHERE key LIKE 'mark/%' UNION ALL SELECT key, value FROM state WHERE key = 'delivered'";
    let mut statement = file.prepare(sql).expect("these are its tables");
    let rows = statement.query_map([], |row| {
        let value = row.get_ref(1)?;
        let number = value.as_i64().ok().or_else(|| value.as_str().ok()?.parse().ok());
        Ok((row.get::<_, String>(0)?, number.expect("a number")))
    });
    let mut look = Look {
        delivered: 0,
        marks: HashMap::new(),
    };
    for row in rows.expect("a short read") {
        let (key, number) = row.expect("a short read");
        match key.strip_prefix("mark/").and_then(|place| place.rsplit_once('/')) {
            Some((topic, partition)) => {
                let slot = (topic.to_owned(), partition.parse().expect("a number"));
                look.marks.insert(slot, number as usize);
            }
            None => look.delivered = number as u64,
        }
    }
    look
}
