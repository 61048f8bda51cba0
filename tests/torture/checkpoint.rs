//! Transactional delivery when the checkpoint in Kafka and the delivered position in the spool differ: after a kill
//! between the two, and after a commit whose outcome is unknown.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use crate::disk::{Disk, EIO, Word};
use crate::size::{report, size};
use crate::support::bridge::{Bridge, Home};
use crate::support::kafka::{self, Kafka};
use crate::support::oracle::Plan;
use crate::support::proxy::behind_a_proxy;
use crate::support::proxy::{Loss, Proxy, Request};
use crate::support::reader::consume;
use crate::support::{eventually, within};

const CREATED: &str = "Group.CallbackAfterCreateGroup";
const DROPPED: [&str; 2] = ["imbridge_duplicates_dropped_total", CREATED];
const PUBLISHED: [&str; 1] = ["imbridge_messages_published_total"];
const FAILED: [&str; 2] = ["imbridge_producer_rebuilds_total", "reason=\"transaction\""];

/// Posts an event with this number, which gives it its own identity.
fn post(bridge: &Bridge, number: u64) {
    let time_ms = 1_670_574_414_001 + number * 7;
    let body = json!({"CallbackCommand": CREATED, "GroupId": "g", "Name": number.to_string(), "EventTime": time_ms.to_string()});
    let answer = bridge.post(CREATED, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The record from which each session went on: by the spool, and by the checkpoint.
fn starts(log: &str) -> Vec<(u64, u64)> {
    let from = |words: &str| -> Vec<u64> {
        let lines = log.lines().filter(|line| line.contains(words));
        let numbers = lines.map(|line| line.rsplit_once("from=").and_then(|(_, number)| number.parse().ok()));
        numbers
            .map(|number| number.unwrap_or_else(|| panic!("no number:\n{log}")))
            .collect()
    };
    let noted = from("connected to Kafka");
    noted.into_iter().zip(from("took over publishing")).collect()
}

#[test]
fn copies_are_known_after_a_kill_with_the_checkpoint_ahead_of_the_spool() {
    let rounds = size("AHEAD_KILLS", 6, 60);
    let mut home = Home::new("ahead");
    home.set("KAFKA__DELIVERY", "transactional");
    home.set("KAFKA__PARTITIONS", "1");
    let disk = Disk::under(&mut home, false);
    let (mut ahead, mut dropped) = (0, 0.0);
    let mut bridge = home.start();
    for number in 1..=rounds {
        post(&bridge, 1000 + number);
        bridge.settle();
        let before = bridge.metric(&PUBLISHED);
        post(&bridge, number);
        // The callback is durable. The delivery update cannot be written.
        disk.set(Word::WriteErrno, EIO);
        eventually("the event to be in Kafka", || {
            (bridge.metric(&PUBLISHED) > before).then_some(())
        });
        bridge.kill();
        disk.behave();
        let lives = starts(&std::fs::read_to_string(home.path().join("log")).expect("bridges have logged")).len();
        bridge = home.start();
        (1..=number).for_each(|earlier| post(&bridge, earlier));
        bridge.settle();
        dropped += bridge.metric(&DROPPED) - number as f64;
        let (noted, took_over) = starts(&bridge.log())[lives];
        ahead += u64::from(took_over > noted);
    }
    assert!(bridge.terminate().success());
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let mut names: Vec<u64> = consumed
        .iter()
        .filter_map(|message| message.value.as_ref()?["Name"].as_str()?.parse().ok())
        .collect();
    names.sort_unstable();
    report(
        "checkpoint",
        &format!(
            "{rounds} kills before the note of progress was written, {ahead} of them with the checkpoint ahead of the spool; {} events from {} callbacks",
            names.len(),
            rounds * (rounds + 1) / 2 + 2 * rounds
        ),
    );
    assert_eq!(names, (1..=rounds).chain(1001..=1000 + rounds).collect::<Vec<_>>());
    assert_eq!(dropped, 0.0, "copies that were not counted, or events that were");
    assert!(ahead > 0, "no kill came between the checkpoint and the spool's note");
}

/// Whether the bridge is killed while it waits for the answer, or replaces its producer itself.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Then {
    Killed,
    Left,
}

#[test]
fn a_commit_of_unknown_outcome_is_neither_lost_nor_repeated() {
    let (kafka, proxy) = behind_a_proxy("unknown");
    let mut home = Home::with_brokers("unknown", &kafka.brokers);
    home.set("KAFKA__DELIVERY", "transactional");
    let mut bridge = home.start();
    let load = Plan::new(&home).with("groups", 16).with("rate", 100).start();
    for loss in [Loss::Answer, Loss::Request] {
        for then in [Then::Killed, Then::Left] {
            bridge = unknown_outcome(&home, &proxy, bridge, (loss, then));
        }
    }
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka.brokers, &home);
    report(
        "checkpoint",
        &format!("4 commits of unknown outcome, {}", verdict.summary()),
    );
    verdict.assert_kept();
    assert!(
        verdict.acknowledged > 1000,
        "only {} were acknowledged",
        verdict.acknowledged
    );
}

fn unknown_outcome(home: &Home, proxy: &Proxy, mut bridge: Bridge, (loss, then): (Loss, Then)) -> Bridge {
    let published = |bridge: &Bridge| bridge.metric(&PUBLISHED);
    let (lost, failed) = (proxy.lost(), bridge.metric(&FAILED));
    proxy.lose(Request::EndTxn, loss);
    within(Duration::from_secs(20), "the end of a transaction to be lost", || {
        (proxy.lost() > lost).then_some(())
    });
    if then == Then::Killed {
        bridge.kill();
        proxy.lose_nothing();
        bridge = home.start();
    } else {
        let what = format!("the producer to be given up after {loss:?} was lost");
        within(Duration::from_secs(45), &what, || {
            (bridge.metric(&FAILED) > failed).then_some(())
        });
        assert_eq!(bridge.metric(&["imbridge_kafka_connected "]), 0.0, "{}", bridge.log());
        proxy.lose_nothing();
    }
    let before = published(&bridge);
    eventually("publishing to go on", || {
        (published(&bridge) > before + 50.0).then_some(())
    });
    bridge
}

#[test]
fn an_outage_ends_one_producer_and_no_more_however_long_it_lasts() {
    let mut kafka = Kafka::start("transactional-outage");
    let mut home = Home::with_brokers("outage", &kafka.brokers);
    home.set("KAFKA__DELIVERY", "transactional");
    home.configure("[kafka.properties]\n\"transaction.timeout.ms\" = \"3000\"\n\"socket.timeout.ms\" = \"2000\"");
    let bridge = home.start();
    let load = Plan::new(&home).with("groups", 16).with("rate", 100).start();
    eventually("some events in Kafka", || {
        (bridge.metric(&PUBLISHED) > 50.0).then_some(())
    });
    kafka.stop();
    within(Duration::from_secs(90), "two attempts to connect again", || {
        bridge.log().contains("attempts=2").then_some(())
    });
    assert_eq!(bridge.metric(&["imbridge_kafka_connected "]), 0.0, "{}", bridge.log());
    kafka.up();
    let ledger = load.stop();
    // A broker that has just started may leave a request without an answer. It times out after 30 to 90 s and is
    // retried.
    bridge.settle_within(Duration::from_secs(180));
    let rebuilds = bridge.metric(&["imbridge_producer_rebuilds_total"]);
    assert_eq!(rebuilds, 1.0, "{}", bridge.log());
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka.brokers, &home);
    report(
        "checkpoint",
        &format!("an outage, one producer given up, {}", verdict.summary()),
    );
    verdict.assert_kept();
}

#[test]
fn a_transaction_of_others_that_hides_the_checkpoint_is_waited_for_and_is_no_fault_of_a_producer() {
    let mut home = Home::new("hidden");
    home.set("KAFKA__DELIVERY", "transactional");
    home.set("KAFKA__PARTITIONS", "1");
    let bridge = home.start();
    post(&bridge, 1);
    bridge.settle();
    bridge.kill();
    // Longer than the bridge waits in one attempt.
    let other = open_transaction(&format!("{}.checkpoints", home.prefix), Duration::from_secs(34));
    let bridge = home.start();
    post(&bridge, 2);
    within(Duration::from_secs(60), "the checkpoint to be missed", || {
        let log = bridge.log();
        (log.contains("Kafka is not ready") && log.contains("hides the end")).then_some(())
    });
    bridge.settle_within(Duration::from_secs(90));
    drop(other);
    assert_eq!(
        bridge.metric(&["imbridge_producer_rebuilds_total"]),
        0.0,
        "{}",
        bridge.log()
    );
    let messages = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let events = messages.iter().filter(|message| message.topic.ends_with(CREATED));
    assert_eq!(events.count(), 2);
}

/// Leaves a message in a topic's first partition that is neither committed nor aborted until the transaction times out.
fn open_transaction(topic: &str, lasts: Duration) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", kafka::shared())
        .set("transactional.id", format!("another.{topic}"))
        .set("transaction.timeout.ms", lasts.as_millis().to_string())
        .create()
        .expect("the configuration is right");
    producer.init_transactions(lasts).expect("Kafka is up");
    producer.begin_transaction().expect("nothing is open");
    let record = BaseRecord::to(topic).partition(0).key("another").payload("open");
    producer.send(record).expect("there is room for one");
    producer.flush(lasts).expect("Kafka takes it");
    producer
}
