//! A test of the judge: it must report everything that breaks the promise. The topics that it judges are copies of what
//! a bridge wrote, each with one change. Another test makes a bridge send again what Kafka has.

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

/// One message to send to a copied topic.
#[derive(Clone, PartialEq)]
struct Sent {
    /// Without the prefix.
    topic: String,
    partition: i32,
    key: Vec<u8>,
    payload: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
}

/// A case: its name, the change to the messages, the change to the ledger, and the faults that the judge must report.
type Case = (
    &'static str,
    fn(&mut Vec<Sent>),
    fn(&str) -> String,
    &'static [(&'static str, u64)],
);

const AS_IT_IS: fn(&str) -> String = str::to_owned;
const NOTHING: fn(&mut Vec<Sent>) = |_| {};

const CASES: [Case; 15] = [
    ("untouched", NOTHING, AS_IT_IS, &[]),
    (
        "missing",
        |sent| drop(sent.remove(17)),
        AS_IT_IS,
        &[("acknowledged_and_missing", 1)],
    ),
    ("doubled", |sent| sent.push(sent[5].clone()), AS_IT_IS, &[("twice", 1)]),
    ("swapped", |sent| _ = swap(sent), AS_IT_IS, &[("out_of_order", 1)]),
    (
        "moved",
        |sent| sent[9].partition = (sent[9].partition + 1) % PARTITIONS,
        AS_IT_IS,
        &[("several_partitions", 1)],
    ),
    ("renamed", |sent| sent[3].key.push(b'x'), AS_IT_IS, &[("wrong_key", 1)]),
    (
        "renumbered",
        |sent| header(&mut sent[3], "imbridge-seq").push(b'1'),
        AS_IT_IS,
        &[("wrong_position", 1)],
    ),
    (
        "of-another-spool",
        |sent| header(sent.last_mut().expect("there is a timeline"), "imbridge-spool").push(b'x'),
        AS_IT_IS,
        &[("wrong_position", 1)],
    ),
    (
        "dead-lettered",
        |sent| sent[4].topic = "dead-letter".into(),
        AS_IT_IS,
        &[("acknowledged_and_missing", 1)],
    ),
    (
        "unposted",
        NOTHING,
        without_the_last_line,
        &[("never_posted", 1), ("timeline_wrong", 1)],
    ),
    ("omitted", |sent| drop(sent.pop()), AS_IT_IS, &[("timeline_missing", 1)]),
    (
        "timeline-twice",
        |sent| sent.push(sent[sent.len() - 5].clone()),
        AS_IT_IS,
        &[("timeline_twice", 1)],
    ),
    (
        "timeline-out-of-order",
        |sent| {
            let first = sent.iter().position(|sent| sent.topic == "timeline");
            swap(&mut sent[first.expect("there is a timeline")..]);
        },
        AS_IT_IS,
        &[("timeline_out_of_order", 1)],
    ),
    (
        "timeline-renamed",
        |sent| sent.last_mut().expect("there is a timeline").key.push(b'x'),
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

/// Several bridges promise less: a late event, or one that was not answered with success, has no order.
const REPLICAS: [Case; 10] = [
    ("as-written", NOTHING, AS_IT_IS, &[]),
    ("punctual", |sent| _ = swap(sent), AS_IT_IS, &[("out_of_order", 1)]),
    ("marked", |sent| late(swap(sent)), AS_IT_IS, &[]),
    ("delayed", |sent| delayed(swap(sent)), AS_IT_IS, &[]),
    ("no-success", |sent| _ = swap(sent), |ledger| unanswered(ledger, 0), &[]),
    (
        "next-without-success",
        |sent| _ = swap(sent),
        |ledger| unanswered(ledger, 1),
        &[("out_of_order", 1)],
    ),
    (
        "next-late",
        |sent| {
            swap(sent);
            late(&mut sent[0]);
        },
        AS_IT_IS,
        &[("out_of_order", 1)],
    ),
    (
        "late-and-missing",
        |sent| {
            late(&mut sent[17]);
            sent.remove(17);
        },
        AS_IT_IS,
        &[("acknowledged_and_missing", 1)],
    ),
    (
        "late-and-doubled",
        |sent| {
            late(&mut sent[5]);
            sent.push(sent[5].clone());
        },
        AS_IT_IS,
        &[("twice", 1)],
    ),
    (
        "no-success-and-missing",
        |sent| drop(sent.remove(0)),
        |ledger| unanswered(ledger, 0),
        &[],
    ),
];
/// Longer than this test takes, so that only those events are late that a case makes late.
const HOLD: &str = "3600000";

/// Swaps the first event with the next one of the same group. Returns the first, which is now behind.
fn swap(sent: &mut [Sent]) -> &mut Sent {
    let later = sent.iter().skip(1).position(|other| other.key == sent[0].key);
    let later = later.expect("a group has several events") + 1;
    sent.swap(0, later);
    &mut sent[later]
}

/// Marks a message as late.
fn late(sent: &mut Sent) {
    sent.headers.push(("imbridge-late".into(), b"301".to_vec()));
}

/// Makes a message late by its time: its callback arrived long before its time in Kafka.
fn delayed(sent: &mut Sent) {
    *header(sent, "imbridge-received-at") = b"1670574414123".to_vec();
}

fn header<'m>(sent: &'m mut Sent, wanted: &str) -> &'m mut Vec<u8> {
    let header = sent.headers.iter_mut().find(|(name, _)| name == wanted);
    &mut header.expect("the bridge writes it").1
}

/// Takes the success away from the event of this number in each group.
fn unanswered(ledger: &str, number: u64) -> String {
    let number = format!("\"number\":{number},");
    let lines = ledger.lines().map(|line| match line.contains(&number) {
        true => line.replace("\"acknowledged\":true", "\"acknowledged\":false") + "\n",
        false => line.to_owned() + "\n",
    });
    lines.collect()
}

/// Cuts the last line, like a crash of the load.
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
        let mut sent = original.clone();
        change(&mut sent);
        write_all(&home.prefix, &sent);
        let changed: PathBuf = home.path().join(name);
        std::fs::write(&changed, change_ledger(&lines)).expect("a temporary folder is writable");
        let options: Vec<&str> = hold.into_iter().flat_map(|hold| ["--answer-hold-ms", hold]).collect();
        let verdict = judge_with(&kafka::shared(), &home, &[&changed], &options);
        assert_eq!(faults(&verdict), *expected, "{name}: {verdict:#?}");
        assert_eq!(verdict.is_kept(), expected.is_empty(), "{name}: {verdict:#?}");
        assert_eq!(
            verdict.dead_lettered.values().sum::<u64>(),
            u64::from(*name == "dead-lettered")
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
    // Repeated until a kill leaves records in the file that are delivered but not deleted yet.
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

/// Removes from a spool that its records are delivered, and the resume offsets of the read-back. Returns how many
/// records will be sent again.
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

/// The faults that the judge has counted, without zeros.
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
fn read_all(prefix: &str, count: usize) -> Vec<Sent> {
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
        let sent = Sent {
            topic: message.topic()[prefix.len() + 1..].to_owned(),
            partition: message.partition(),
            key: message.key().expect("a key").to_owned(),
            payload: message.payload().expect("a value").to_owned(),
            headers: headers(&message),
        };
        found.push((message.offset(), sent));
    }
    found.sort_by(|(a, left), (b, right)| (&left.topic, left.partition, a).cmp(&(&right.topic, right.partition, b)));
    found.into_iter().map(|(_, sent)| sent).collect()
}

fn headers(message: &impl Message) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().expect("the bridge writes some").iter();
    let owned = headers.map(|header| (header.key.to_owned(), header.value.expect("a value").to_owned()));
    owned.collect()
}

/// Creates the topics of a prefix and fills them.
fn write_all(prefix: &str, messages: &[Sent]) {
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
