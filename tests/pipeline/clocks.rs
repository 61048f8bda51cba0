//! Wrong clocks, and outages that are longer than the retention of a topic. Neither the age of an event nor the
//! bridge's clock decides whether the event can be read.

use std::time::Duration;

use crate::support::admin::Admin;
use crate::support::bridge::{Bridge, Home};
use crate::support::clock::Clock;
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::reader::{Consumed, consume};

const COMMAND: &str = "Group.CallbackAfterCreateGroup";
/// How often brokers look for segments to delete.
const RETENTION_CHECK: &str = "log.retention.check.interval.ms=1000";
/// Several of these intervals.
const CHECKED: Duration = Duration::from_secs(5);

/// A bridge for each mode of delivery.
fn homes(name: &str, brokers: &str, lines: &str) -> [Home; 2] {
    ["idempotent", "transactional"].map(|delivery| {
        let mut home = Home::with_brokers(&format!("{name}-{delivery}"), brokers);
        home.set("KAFKA__DELIVERY", delivery);
        home.configure(lines);
        home
    })
}

fn post(bridge: &Bridge, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let answer = bridge.post(COMMAND, &format!(r#"{{"GroupId":"g","Name":"{number}"}}"#));
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

/// The numbers of the events in the command's topic, in order.
fn numbers(brokers: &str, home: &Home) -> Vec<u32> {
    let topic = format!("{}.tencent.{COMMAND}", home.prefix);
    let all = consume(brokers, &home.prefix, &home.schemas());
    let number = |message: &Consumed| {
        let name = message.value.as_ref()?["Name"].as_str()?;
        name.parse().ok()
    };
    all.iter()
        .filter(|message| message.topic == topic)
        .filter_map(number)
        .collect()
}

#[test]
fn an_outage_longer_than_the_retention_loses_nothing() {
    let mut kafka = Kafka::create("retention", 1, &[RETENTION_CHECK]);
    let homes = homes(
        "retention",
        &kafka.brokers,
        "[kafka.topic_config]\n\"retention.ms\" = \"20000\"\n\"segment.ms\" = \"1000\"",
    );
    let bridges = homes.each_ref().map(Home::start);
    // The topic exists before the outage.
    bridges.iter().for_each(|bridge| post(bridge, 0..1));
    bridges.iter().for_each(Bridge::settle);
    kafka.stop();
    bridges.iter().for_each(|bridge| post(bridge, 1..6));
    std::thread::sleep(Duration::from_secs(22));
    kafka.up();
    bridges.iter().for_each(Bridge::settle);
    std::thread::sleep(CHECKED);
    for home in &homes {
        let found = numbers(&kafka.brokers, home);
        assert!(found.ends_with(&[1, 2, 3, 4, 5]), "{}: {found:?}", home.prefix);
    }
}

#[test]
fn events_accepted_with_a_clock_that_is_days_behind_stay_in_kafka() {
    let kafka = Kafka::create("behind", 1, &[RETENTION_CHECK]);
    let mut homes = homes(
        "behind",
        &kafka.brokers,
        "[kafka.topic_config]\n\"retention.ms\" = \"86400000\"\n\"segment.ms\" = \"1000\"",
    );
    let clocks = homes.each_mut().map(Clock::of);
    clocks.iter().for_each(|clock| clock.set(-10 * 86_400));
    let bridges = homes.each_ref().map(Home::start);
    bridges.iter().for_each(|bridge| post(bridge, 0..5));
    bridges.iter().for_each(Bridge::settle);
    std::thread::sleep(CHECKED);
    for home in &homes {
        assert_eq!(numbers(&kafka.brokers, home), [0, 1, 2, 3, 4], "{}", home.prefix);
    }
    let all = consume(&kafka.brokers, &homes[0].prefix, &homes[0].schemas());
    let (arrival, appended) = (all[0].header("imbridge-received-at").parse::<i64>(), all[0].timestamp);
    let behind_ms = appended - arrival.expect("a time");
    assert!(
        behind_ms.abs_diff(10 * 86_400_000) < 600_000,
        "the arrival time is from the bridge's clock, the timestamp from the broker's: {behind_ms}"
    );
}

#[test]
fn a_clock_that_was_ahead_for_one_callback_delays_nothing() {
    let kafka = Kafka::start("ahead");
    let mut homes = homes("ahead", &kafka.brokers, "");
    let clocks = homes.each_mut().map(Clock::of);
    let bridges = homes.each_ref().map(Home::start);
    for (bridge, clock) in bridges.iter().zip(&clocks) {
        post(bridge, 0..1);
        clock.set(2 * 3600);
        post(bridge, 1..2);
        clock.set(0);
        post(bridge, 2..3);
    }
    bridges.iter().for_each(Bridge::settle);
    for home in &homes {
        assert_eq!(numbers(&kafka.brokers, home), [0, 1, 2], "{}", home.prefix);
    }
}

#[test]
fn only_the_record_with_a_refused_timestamp_becomes_a_dead_letter() {
    let kafka = Kafka::start("timestamps");
    let mut homes = homes(
        "timestamps",
        &kafka.brokers,
        // A topic that somebody else may have created, which keeps the producers' timestamps.
        "[kafka.topic_config]\n\"message.timestamp.type\" = \"CreateTime\"",
    );
    let clocks = homes.each_mut().map(Clock::of);
    let bridges = homes.each_ref().map(Home::start);
    for ((home, bridge), clock) in homes.iter().zip(&bridges).zip(&clocks) {
        post(bridge, 0..1);
        bridge.settle();
        // The dead-letter topic was created by the bridge. The other topic has the producer's timestamps.
        let own = [
            ("message.timestamp.type", "LogAppendTime"),
            ("max.message.bytes", "8388608"),
        ];
        let admin = Admin::of(&kafka.brokers);
        bridge.post("", "");
        bridge.settle();
        admin.configure(&format!("{}.dead-letter", home.prefix), &own);
        kafka.node("pause", 1);
        post(bridge, 1..2);
        // In flight. The next records are one batch after it.
        std::thread::sleep(Duration::from_millis(500));
        post(bridge, 2..4);
        std::thread::sleep(Duration::from_millis(500));
        let is_transactional = home.prefix.ends_with("transactional");
        if is_transactional {
            // Records that wait for a transaction get their timestamp when it begins. With this clock, only the next
            // transaction does.
            kafka.node("resume", 1);
            bridge.settle();
        }
        clock.set(2 * 3600);
        post(bridge, 4..5);
        std::thread::sleep(Duration::from_millis(500));
        if is_transactional {
            eventually("Kafka to refuse the record", || {
                (bridge.metric(&["imbridge_refused_total"]) > 0.0).then_some(())
            });
        }
        clock.set(0);
        post(bridge, 5..7);
        std::thread::sleep(Duration::from_millis(500));
        kafka.node("resume", 1);
        bridge.settle();
        assert_eq!(
            numbers(&kafka.brokers, home),
            [0, 1, 2, 3, 5, 6],
            "{}: the neighbours are there once, in order\n{}",
            home.prefix,
            bridge.log()
        );
        let all = consume(&kafka.brokers, &home.prefix, &home.schemas());
        let letters: Vec<_> = all
            .iter()
            .filter(|message| {
                message
                    .headers
                    .get("imbridge-reason")
                    .is_some_and(|reason| reason == "refused")
            })
            .collect();
        assert_eq!(letters.len(), 1, "{}", home.prefix);
        assert_eq!(
            (letters[0].key.as_deref(), letters[0].raw()),
            (Some("g"), br#"{"GroupId":"g","Name":"4"}"#.to_vec())
        );
        let error = letters[0].header("imbridge-error");
        assert!(
            error.contains("imestamp") && error.contains(COMMAND),
            "the broker's own error message: {error}"
        );
        assert_eq!(
            bridge.metric(&["imbridge_refused_total", COMMAND, "InvalidTimestamp"]),
            1.0
        );
        eventually("one dead letter to be counted once", || {
            (bridge.metric(&["imbridge_dead_letters_total", "reason=\"refused\""]) == 1.0).then_some(())
        });
    }
}
