//! The judge itself on trial: whatever breaks the promise is reported. Topics are made of what a bridge wrote, with one
//! thing changed; and a bridge is made to send again what Kafka has.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::support::bridge::Home;
use crate::support::oracle::{Plan, Verdict, judge_with};
use crate::support::{eventually, kafka};

const TOPICS: [&str; 4] = [
    "tencent.Group.CallbackAfterCreateGroup",
    "openim.callbackAfterTransferGroupOwnerCommand",
    "timeline",
    "dead-letter",
];
const PARTITIONS: i32 = 4;
const CLOCK: Duration = Duration::from_secs(20);

/// One message of a made-up topic.
#[derive(Clone, PartialEq)]
struct Made {
    /// Without the prefix.
    topic: String,
    partition: i32,
    key: Vec<u8>,
    payload: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// A case: what is changed, in the messages and in the ledger, and the faults that the judge must see.
type Case = (
    &'static str,
    fn(&mut Vec<Made>),
    fn(&str) -> String,
    &'static [(&'static str, u64)],
);

const AS_IT_IS: fn(&str) -> String = str::to_owned;
const NOTHING: fn(&mut Vec<Made>) = |_| {};

const CASES: [Case; 15] = [
    ("untouched", NOTHING, AS_IT_IS, &[]),
    (
        "missing",
        |made| drop(made.remove(17)),
        AS_IT_IS,
        &[("acknowledged_and_missing", 1)],
    ),
    ("doubled", |made| made.push(made[5].clone()), AS_IT_IS, &[("twice", 1)]),
    ("swapped", |made| _ = swap(made), AS_IT_IS, &[("out_of_order", 1)]),
    (
        "moved",
        |made| made[9].partition = (made[9].partition + 1) % PARTITIONS,
        AS_IT_IS,
        &[("several_partitions", 1)],
    ),
    ("renamed", |made| made[3].key.push(b'x'), AS_IT_IS, &[("wrong_key", 1)]),
    (
        "renumbered",
        |made| header(&mut made[3], "imbridge-seq").push(b'1'),
        AS_IT_IS,
        &[("wrong_position", 1)],
    ),
    (
        "of-another-spool",
        |made| header(made.last_mut().expect("there is a timeline"), "imbridge-spool").push(b'x'),
        AS_IT_IS,
        &[("wrong_position", 1)],
    ),
    (
        "buried",
        |made| made[4].topic = "dead-letter".into(),
        AS_IT_IS,
        &[("acknowledged_and_missing", 1)],
    ),
    (
        "unposted",
        NOTHING,
        without_the_last_line,
        &[("never_posted", 1), ("timeline_wrong", 1)],
    ),
    ("untold", |made| drop(made.pop()), AS_IT_IS, &[("timeline_missing", 1)]),
    (
        "told-again",
        |made| made.push(made[made.len() - 5].clone()),
        AS_IT_IS,
        &[("timeline_twice", 1)],
    ),
    (
        "told-late",
        |made| {
            let first = made.iter().position(|made| made.topic == "timeline");
            swap(&mut made[first.expect("there is a timeline")..]);
        },
        AS_IT_IS,
        &[("timeline_out_of_order", 1)],
    ),
    (
        "told-elsewhere",
        |made| made.last_mut().expect("there is a timeline").key.push(b'x'),
        AS_IT_IS,
        &[("timeline_missing", 1), ("timeline_wrong", 1)],
    ),
    (
        "unanswered",
        NOTHING,
        |ledger| ledger.replacen("\"acknowledged\":true", "\"acknowledged\":false", 1),
        &[],
    ),
];

/// What several bridges write is held against less: an event that is late, or has no success, has no order.
const REPLICAS: [Case; 10] = [
    ("as-written", NOTHING, AS_IT_IS, &[]),
    ("punctual", |made| _ = swap(made), AS_IT_IS, &[("out_of_order", 1)]),
    ("marked", |made| late(swap(made)), AS_IT_IS, &[]),
    ("delayed", |made| delayed(swap(made)), AS_IT_IS, &[]),
    ("no-success", |made| _ = swap(made), |ledger| unanswered(ledger, 0), &[]),
    (
        "next-without-success",
        |made| _ = swap(made),
        |ledger| unanswered(ledger, 1),
        &[("out_of_order", 1)],
    ),
    (
        "next-late",
        |made| {
            swap(made);
            late(&mut made[0]);
        },
        AS_IT_IS,
        &[("out_of_order", 1)],
    ),
    (
        "late-and-missing",
        |made| {
            late(&mut made[17]);
            made.remove(17);
        },
        AS_IT_IS,
        &[("acknowledged_and_missing", 1)],
    ),
    (
        "late-and-doubled",
        |made| {
            late(&mut made[5]);
            made.push(made[5].clone());
        },
        AS_IT_IS,
        &[("twice", 1)],
    ),
    (
        "no-success-and-missing",
        |made| drop(made.remove(0)),
        |ledger| unanswered(ledger, 0),
        &[],
    ),
];
/// More than this test takes: nothing is late but what is made so.
const HOLD: &str = "3600000";

/// The first event of a group changes places with the next of the same group. Gives the first, which is behind now.
fn swap(made: &mut [Made]) -> &mut Made {
    let later = made.iter().skip(1).position(|other| other.key == made[0].key);
    let later = later.expect("a group has several events") + 1;
    made.swap(0, later);
    &mut made[later]
}

/// The bridge has marked it.
fn late(made: &mut Made) {
    made.headers.push(("imbridge-late".into(), b"301".to_vec()));
}

/// It arrived long before its time in Kafka.
fn delayed(made: &mut Made) {
    *header(made, "imbridge-received-at") = b"1670574414123".to_vec();
}

fn header<'m>(made: &'m mut Made, wanted: &str) -> &'m mut Vec<u8> {
    let header = made.headers.iter_mut().find(|(name, _)| name == wanted);
    &mut header.expect("the bridge writes it").1
}

/// The event of this number had no success, in each group.
fn unanswered(ledger: &str, number: u64) -> String {
    let number = format!("\"number\":{number},");
    let lines = ledger.lines().map(|line| match line.contains(&number) {
        true => line.replace("\"acknowledged\":true", "\"acknowledged\":false") + "\n",
        false => line.to_owned() + "\n",
    });
    lines.collect()
}

/// A crash in the middle of the last line.
fn without_the_last_line(ledger: &str) -> String {
    ledger[..ledger.len() - 3].to_owned()
}

#[test]
fn the_judge_reports_each_kind_of_broken_promise_and_none_that_was_kept() {
    let mut home = Home::new("judge");
    let bridge = home.start();
    let ledger = Plan::new(&home).with("groups", 8).with("each", 20).start().finish();
    bridge.settle();
    assert!(bridge.terminate().success());
    let original = read_all(&home.prefix, 2 * ledger.acknowledged as usize);
    let lines = std::fs::read_to_string(&ledger.path).expect("the load has written it");
    let origin = home.prefix.clone();
    let alone = CASES.iter().map(|case| (case, None));
    let together = REPLICAS.iter().map(|case| (case, Some(HOLD)));
    for ((name, change, change_ledger, expected), hold) in alone.chain(together) {
        home.prefix = format!("{origin}-{name}");
        let mut made = original.clone();
        change(&mut made);
        write_all(&home.prefix, &made);
        let changed: PathBuf = home.path().join(name);
        std::fs::write(&changed, change_ledger(&lines)).expect("a temporary folder is writable");
        let options: Vec<&str> = hold.into_iter().flat_map(|hold| ["--answer-hold-ms", hold]).collect();
        let verdict = judge_with(&kafka::shared(), &home, &[&changed], &options);
        assert_eq!(faults(&verdict), *expected, "{name}: {verdict:#?}");
        assert_eq!(verdict.is_kept(), expected.is_empty(), "{name}: {verdict:#?}");
        assert_eq!(
            verdict.dead_lettered.values().sum::<u64>(),
            u64::from(*name == "buried")
        );
        let lines_changed = lines.lines().count() - change_ledger(&lines).matches("\"acknowledged\":true").count();
        let without_success = if *name == "unposted" { 0 } else { lines_changed as u64 };
        let absent = u64::from(*name == "no-success-and-missing");
        assert_eq!(
            verdict.unacknowledged_yet_present,
            without_success - absent,
            "{name}: {verdict:#?}"
        );
        let marked = ["marked", "next-late", "late-and-doubled"].contains(name);
        assert_eq!(verdict.late_by_header, u64::from(marked), "{name}: {verdict:#?}");
        assert_eq!(
            verdict.late_by_time,
            u64::from(*name == "delayed"),
            "{name}: {verdict:#?}"
        );
    }
}

#[test]
fn a_bridge_that_sends_again_what_kafka_has_is_reported() {
    let home = Home::new("replay");
    let load = Plan::new(&home).with("rate", 2000).start();
    let mut again = 0;
    // Until a kill leaves records in the file that are delivered and not deleted yet.
    for _ in 0..30 {
        let bridge = home.start();
        eventually("some load", || {
            (bridge.metric(&["imbridge_messages_published_total"]) > 200.0).then_some(())
        });
        bridge.kill();
        again = forget_delivery(&home.path().join("spool/spool.db"));
        if again > 0 {
            break;
        }
    }
    assert!(again > 0, "no kill found a record between delivery and deletion");
    let bridge = home.start();
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka::shared(), &home);
    assert_eq!(verdict.acknowledged_and_missing, 0, "{verdict:#?}");
    assert!(
        verdict.twice >= again && !verdict.is_kept(),
        "{again} were sent again: {verdict:#?}"
    );
}

/// Makes a spool forget which of its records are delivered, and from where Kafka would have to be read back. Gives how many
/// there are to be sent again.
fn forget_delivery(spool: &Path) -> u64 {
    let file = rusqlite::Connection::open(spool).expect("the bridge is dead, its spool is there");
    let number = |sql: &str| {
        file.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))
            .expect("a spool")
    };
    let delivered = number("SELECT value FROM state WHERE key = 'delivered'").unwrap_or(0);
    let first = number("SELECT min(seq) FROM record").unwrap_or(i64::MAX);
    if first > delivered {
        return 0;
    }
    file.execute("UPDATE state SET value = ?1 WHERE key = 'delivered'", [first - 1])
        .expect("the file is writable");
    file.execute("DELETE FROM note WHERE key LIKE 'mark/%'", [])
        .expect("the file is writable");
    (delivered - first + 1) as u64
}

/// What the judge counts as broken, but for zeros.
fn faults(verdict: &Verdict) -> Vec<(&'static str, u64)> {
    let counts = [
        ("acknowledged_and_missing", verdict.acknowledged_and_missing),
        ("twice", verdict.twice),
        ("out_of_order", verdict.out_of_order),
        ("several_partitions", verdict.several_partitions),
        ("wrong_key", verdict.wrong_key),
        ("wrong_position", verdict.wrong_position),
        ("never_posted", verdict.never_posted),
        ("timeline_missing", verdict.timeline_missing),
        ("timeline_twice", verdict.timeline_twice),
        ("timeline_out_of_order", verdict.timeline_out_of_order),
        ("timeline_wrong", verdict.timeline_wrong),
    ];
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// The messages of a prefix, ordered by topic, partition and offset.
fn read_all(prefix: &str, count: usize) -> Vec<Made> {
    let consumer: BaseConsumer = client()
        .set("group.id", "unused")
        .create()
        .expect("the settings are good");
    let mut places = TopicPartitionList::new();
    for topic in &TOPICS[..3] {
        places.add_partition_range(&format!("{prefix}.{topic}"), 0, PARTITIONS - 1);
    }
    places.set_all_offsets(Offset::Beginning).expect("an offset");
    consumer.assign(&places).expect("the topics are there");
    let mut found = Vec::new();
    while found.len() < count {
        let message = consumer.poll(CLOCK).expect("more messages").expect("no fault");
        let made = Made {
            topic: message.topic()[prefix.len() + 1..].to_owned(),
            partition: message.partition(),
            key: message.key().expect("a key").to_owned(),
            payload: message.payload().expect("a value").to_owned(),
            headers: headers(&message),
        };
        found.push((message.offset(), made));
    }
    found.sort_by(|(a, left), (b, right)| (&left.topic, left.partition, a).cmp(&(&right.topic, right.partition, b)));
    found.into_iter().map(|(_, made)| made).collect()
}

fn headers(message: &impl Message) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().expect("the bridge writes some").iter();
    let owned = headers.map(|header| (header.key.to_owned(), header.value.expect("a value").to_owned()));
    owned.collect()
}

/// Makes the topics of a prefix and fills them.
fn write_all(prefix: &str, messages: &[Made]) {
    let admin: AdminClient<DefaultClientContext> = client().create().expect("the settings are good");
    let names = TOPICS.map(|topic| format!("{prefix}.{topic}"));
    let topics = names.iter().map(|name| {
        NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1)).set("message.timestamp.type", "LogAppendTime")
    });
    let options = AdminOptions::new().operation_timeout(Some(CLOCK));
    let created = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(admin.create_topics(&topics.collect::<Vec<_>>(), &options));
    let created = created.expect("Kafka answers");
    assert!(created.iter().all(Result::is_ok), "{created:?}");
    let producer: BaseProducer = client()
        .set("enable.idempotence", "true")
        .create()
        .expect("the settings are good");
    for message in messages {
        let topic = format!("{prefix}.{}", message.topic);
        let record = BaseRecord::to(&topic)
            .partition(message.partition)
            .key(&message.key)
            .headers(owned_headers(&message.headers))
            .payload(&message.payload);
        producer
            .send(record)
            .map_err(|(cause, _)| cause)
            .expect("the queue has room");
    }
    producer.flush(CLOCK).expect("Kafka takes them");
}

fn owned_headers(headers: &[(String, Vec<u8>)]) -> OwnedHeaders {
    let all = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(all, |all, (key, value)| {
        all.insert(Header {
            key,
            value: Some(value),
        })
    })
}

fn client() -> ClientConfig {
    ClientConfig::new().set("bootstrap.servers", kafka::shared()).clone()
}
