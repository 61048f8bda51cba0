//! What a start after a kill goes by, looked at while the bridge runs: at every moment the spool's file says for each
//! partition from where on undelivered messages would be found, and none lies in front of that.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::size::{report, size};
use crate::support::bridge::Home;
use crate::support::oracle::Plan;
use crate::support::reader::consume;
use crate::support::{eventually, kafka};

/// What stood in the file at one moment.
struct Look {
    delivered: u64,
    /// By topic and partition.
    marks: HashMap<(String, i32), usize>,
}

#[test]
fn no_undelivered_message_lies_in_front_of_a_mark_at_any_moment() {
    let mut home = Home::new("marks");
    // New partitions all the time: it is then that marks are noted out of turn.
    home.set("KAFKA__PARTITIONS", "32");
    let bridge = home.start();
    let (groups, each) = (600, size("MARKS", 15, 300));
    let events = groups * each;
    let load = Plan::new(&home).with("groups", groups).with("each", each).start();
    let file = home.path().join("spool/spool.db");
    let mut looks = Vec::new();
    let published = || bridge.metric(&["imbridge_messages_published_total"]);
    // Publishing begins when the topics are made; from then on, for as long as it lasts.
    eventually("the first look at a mark, and the last event", || {
        looks.extend((0..50).map(|_| look(&file)).filter(|look| !look.marks.is_empty()));
        (published() >= events as f64).then_some(())
    });
    let ledger = load.finish();
    bridge.settle();
    assert!(bridge.terminate().success());
    let brokers = kafka::shared();
    ledger.judge(&brokers, &home).assert_kept();

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
        &format!("{} looks, {judged} marks, {} events", looks.len(), ledger.acknowledged),
    );
    assert!(
        looks.len() > 100 && judged > 1000,
        "{} looks, {judged} marks",
        looks.len()
    );
}

fn look(file: &Path) -> Look {
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the bridge made it");
    // One statement is one moment.
    let sql = "SELECT key, value FROM note WHERE key LIKE 'mark/%' UNION ALL SELECT key, value FROM state WHERE key = 'delivered'";
    let mut statement = database.prepare(sql).expect("these are its tables");
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
